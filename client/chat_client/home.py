"""The client's folder: keys, the brokers it knows, how far rooms were read.

    keys/FINGERPRINT/bob.key       bob's secret key at that broker, once it is enrolled there
    keys/FINGERPRINT/bob.new       the same before it is
    keys/FINGERPRINT/bob.cursors   how far bob has read there
    keys/FINGERPRINT/bob.screen    what bob wants of the screen there: muted rooms, quiet hours, theme
    known_brokers                  HOST:PORT and the key that was seen there first; lan:NAME and the key
                                   that was confirmed for the broker announced as NAME

FINGERPRINT is the broker's (`chat_protocol.address.fingerprint`). Files with secrets are readable by
their owner alone, and not used otherwise.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import msgspec

from chat_protocol.address import Address, decode_key, encode_key, fingerprint
from chat_protocol.errors import BadAddress, SetupError, Unreachable
from chat_protocol.messages import Cursor


class Home:
    """A client's folder; made when something is first written. Raises SetupError for what the disk or
    the permissions do not allow."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # ------------------------------------------------------------------ keys

    def secret_key(self, broker: bytes, name: str, make: bytes) -> tuple[bytes, bool]:
        """The secret key of `name` at a broker and whether it is enrolled there; `make` becomes it if
        there is none."""
        key, new = self._keys(broker, name)
        if not key.exists() and not new.exists():
            self._make_key(new, make)
        for path, enrolled in ((key, True), (new, False), (key, True)):  # it may be enrolled meanwhile
            secret = self._read_key(path)
            if secret is not None:
                return secret, enrolled
        raise SetupError(f"{new} went away while it was read")

    def enrolled(self, broker: bytes, name: str) -> None:
        """The broker knows this name's key now."""
        key, new = self._keys(broker, name)
        try:
            if not key.exists():
                new.rename(key)
        except FileNotFoundError:
            pass  # another process of ours was first
        except OSError as error:
            raise _unusable(new, error) from error

    def _keys(self, broker: bytes, name: str) -> tuple[Path, Path]:
        folder = self._folder(broker)
        return folder / f"{name.lower()}.key", folder / f"{name.lower()}.new"

    def _make_key(self, path: Path, secret: bytes) -> None:
        """Write a key for good: a name whose key is lost is lost with it."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(encode_key(secret).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except FileExistsError:
            pass  # another process of ours was first, and its key is as good
        except OSError as error:
            raise _unusable(path, error) from error

    def _read_key(self, path: Path) -> bytes | None:
        """The key in a file; None if there is no such file."""
        try:
            check_private(path)
            return decode_key(path.read_text().strip())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(path, error) from error
        except (BadAddress, UnicodeDecodeError) as error:
            hint = "; no broker has enrolled it, so delete it" if path.suffix == ".new" else ""
            raise SetupError(f"{path} holds no key: {error}{hint}") from error

    # ------------------------------------------------------------------ known brokers

    def pinned(self, place: str) -> bytes | None:
        """The key that was seen at HOST:PORT."""
        for known, key in self._known():
            if known == place:
                return key
        return None

    def pinned_name(self, name: str) -> bytes | None:
        """The key that was confirmed for the broker announced as `name` on a local network."""
        return self.pinned(_place_of_name(name))

    def knows(self, key: bytes) -> bool:
        """Whether this key was seen anywhere before."""
        return any(known == key for _, known in self._known())

    def is_enrolled(self, broker: bytes, name: str) -> bool:
        """Whether there is a key here with which `name` was let in at a broker."""
        return (self.path / "keys" / fingerprint(broker) / f"{name.lower()}.key").exists()

    @property
    def known_brokers(self) -> Path:
        return self.path / "known_brokers"

    def check_pin(self, address: Address) -> None:
        """Raise Unreachable if another key was seen at this place before."""
        known = self.pinned(address.place)
        if known is not None and address.key is not None and known != address.key:
            raise Unreachable(
                f"the broker at {address.place} had another key before ({fingerprint(known)}) than this "
                f"address names ({fingerprint(address.key)}): somebody may stand between, or the broker was "
                "set up anew; ask its operator, and if all is right delete its line from "
                f"{self.known_brokers}"
            )

    def pin(self, address: Address) -> None:
        """Remember the key of a broker that was reached."""
        if address.key is not None:
            self._pin(address.place, address.key)

    def pin_name(self, name: str, key: bytes) -> None:
        """Remember the key of a broker that announces itself as `name`."""
        self._pin(_place_of_name(name), key)

    def _pin(self, place: str, key: bytes) -> None:
        if self.pinned(place) is not None:
            return
        path = self.known_brokers
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(path, "ab+") as file:
                line = f"{place} {encode_key(key)}\n".encode()
                file.write(line if _ends_with_newline(file) else b"\n" + line)
        except OSError as error:
            raise _unusable(path, error) from error

    def _known(self) -> list[tuple[str, bytes]]:
        path = self.known_brokers
        try:
            lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
            return [(place, decode_key(key)) for place, key in lines]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable(path, error) from error
        except (ValueError, BadAddress) as error:
            raise SetupError(f"{path} cannot be read ({error}); mend or delete it") from error

    # ------------------------------------------------------------------ cursors

    def cursors(self, broker: bytes, name: str) -> dict[str, Cursor]:
        """How far rooms were read; empty if nothing usable is there."""
        try:
            data = (self._folder(broker) / f"{name.lower()}.cursors").read_bytes()
            return msgspec.msgpack.decode(data, type=dict[str, Cursor])
        except (OSError, ValueError):
            return {}  # a convenience: without it the recent lines are shown again

    def save_cursors(self, broker: bytes, name: str, cursors: dict[str, Cursor]) -> None:
        path = self._folder(broker) / f"{name.lower()}.cursors"
        draft = path.with_suffix(f".{os.getpid()}")
        try:
            draft.write_bytes(msgspec.msgpack.encode(cursors))
            draft.replace(path)
        except OSError as error:
            raise _unusable(path, error) from error

    # ------------------------------------------------------------------ preferences

    def preferences(self, broker: bytes, name: str) -> Path:
        """The file for what a person wants of the screen."""
        return self._folder(broker) / f"{name.lower()}.screen"

    def _folder(self, broker: bytes) -> Path:
        keys = self.path / "keys"
        folder = keys / fingerprint(broker)
        try:
            for one in (self.path, keys, folder):
                one.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(folder, error) from error
        return folder


def check_private(path: Path) -> None:
    """Raise SetupError unless the file is ours and nobody else may read it."""
    info = path.stat()
    if info.st_uid != os.geteuid() or info.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SetupError(f"{path} holds a secret, and others may read it: chmod 600 it and own it")


def _place_of_name(name: str) -> str:
    """How a broker's announced name stands among the known brokers: in one word, in any case."""
    return f"lan:{quote(name.lower(), safe='')}"


def _ends_with_newline(file: BinaryIO) -> bool:
    """Whether another line may follow: people edit these files, and editors differ."""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _unusable(path: Path, error: OSError) -> SetupError:
    return SetupError(f"{path} cannot be used: {error.strerror}; CHAT_HOME chooses another folder")
