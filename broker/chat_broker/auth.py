"""Keys, and the answers to ZAP (ZeroMQ RFC 27): who gets past the handshake of either socket.

The command socket speaks CURVE: the hub says whether it admits the public key. The feed speaks PLAIN,
its password a session's feed token in hex: a ticket, not a secret (SPEC.md, "Feed"). 400 is a plain
no; 300, trouble of our own, makes a client try again.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import zmq
from zmq.utils import z85

from chat_broker.clock import Now
from chat_broker.hub import Hub
from chat_protocol.address import decode_key, encode_key
from chat_protocol.errors import BadAddress, SetupError

COMMAND_DOMAIN = b"commands"
FEED_DOMAIN = b"feed"
FEED_USER = "feed"


class KeyPair(NamedTuple):
    """A CURVE key pair, 32 raw bytes each."""

    public: bytes
    secret: bytes


def new_keys() -> KeyPair:
    public, secret = zmq.curve_keypair()
    return KeyPair(z85.decode(public), z85.decode(secret))


def keys_of(secret: bytes) -> KeyPair:
    return KeyPair(z85.decode(zmq.curve_public(z85.encode(secret))), secret)


def load_keys(path: Path) -> KeyPair:
    """The key pair in a file, made on first use. Raises SetupError if others may read it."""
    try:
        if not path.exists():
            write_private(path, encode_key(new_keys().secret).encode() + b"\n")
        info = path.stat()
        if info.st_uid != os.geteuid() or info.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SetupError(f"{path} holds a secret key, and others may read it: chmod 600 it and own it")
        return keys_of(decode_key(path.read_text().strip()))
    except OSError as error:
        raise SetupError(f"the key file {path} cannot be used: {error.strerror}") from error
    except (BadAddress, UnicodeDecodeError) as error:
        raise SetupError(f"{path} holds no key: {error}") from error


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all, and for good. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name, too
    finally:
        os.close(folder)


def answer_zap(request: Sequence[bytes], hub: Hub | None, now: Now) -> list[bytes]:
    """The reply to a ZAP request; `hub` None says that we are not ready and the peer may try again.
    The user id is the connection's public key in hex."""
    if len(request) < 6 or request[0] != b"1.0":
        return [b"1.0", request[1] if len(request) > 1 else b"", b"500", b"not ZAP 1.0", b"", b""]
    _, number, domain, _, _, mechanism, *credentials = request
    status, text, user = b"400", b"no", b""
    if hub is None:
        status, text = b"300", b"not ready"
    elif domain == COMMAND_DOMAIN and mechanism == b"CURVE" and len(credentials) == 1:
        if hub.admits(credentials[0], now):
            status, text, user = b"200", b"ok", credentials[0].hex().encode()
    elif domain == FEED_DOMAIN and mechanism == b"PLAIN" and _is_ticket(credentials, hub):
        status, text = b"200", b"ok"
    return [b"1.0", number, status, text, user, b""]


def _is_ticket(credentials: Sequence[bytes], hub: Hub) -> bool:
    """Whether a PLAIN user and password are `FEED_USER` and a live session's feed token."""
    try:
        user, password = credentials
        return user == FEED_USER.encode() and hub.admits_feed(bytes.fromhex(password.decode("ascii")))
    except ValueError:
        return False
