"""ZMTP 3.1 as far as a subscriber needs it, as bytes: greeting, PLAIN handshake, frames (ZeroMQ RFC 37)."""

from __future__ import annotations

import struct

GREETING_BYTES = 64
PING = b"\x04\x07\x04PING\x00\x00"  # with no TTL
_MORE, _LONG, _COMMAND = 1, 2, 4


def greeting(mechanism: bytes) -> bytes:
    """What a client begins with: signature, version 3.1, mechanism."""
    return b"\xff" + bytes(8) + b"\x7f\x03\x01" + mechanism.ljust(20, b"\0") + bytes(32)


def frame(body: bytes, *, more: bool = False, command: bool = False) -> bytes:
    """A message frame or a command, in the shorter of its two forms."""
    flags = (_MORE if more else 0) | (_COMMAND if command else 0)
    if len(body) < 256:
        return bytes((flags, len(body))) + body
    return struct.pack(">BQ", flags | _LONG, len(body)) + body


def frame_bytes(size: int) -> int:
    """What a body of `size` bytes takes on the wire."""
    return size + (2 if size < 256 else 9)


def command(name: bytes, body: bytes = b"") -> bytes:
    return frame(bytes((len(name),)) + name + body, command=True)


def metadata(**properties: bytes) -> bytes:
    """Properties of a peer; `_` stands for the `-` of their names."""
    out = b""
    for name, value in properties.items():
        title = name.replace("_", "-").encode()
        out += bytes((len(title),)) + title + struct.pack(">I", len(value)) + value
    return out


def plain_hello(user: bytes, password: bytes) -> bytes:
    return command(b"HELLO", bytes((len(user),)) + user + bytes((len(password),)) + password)


def initiate(kind: bytes) -> bytes:
    """The INITIATE of PLAIN."""
    return command(b"INITIATE", metadata(Socket_Type=kind))


def ready(kind: bytes) -> bytes:
    """The READY of NULL."""
    return command(b"READY", metadata(Socket_Type=kind))


def subscribe(topic: bytes) -> bytes:
    return command(b"SUBSCRIBE", topic)


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Whole frames as (flags, body), and what is left of the bytes."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while len(data) - at >= 2:
        flags = data[at]
        if flags & _LONG:
            if len(data) - at < 9:
                break
            size, begin = struct.unpack_from(">Q", data, at + 1)[0], at + 9
        else:
            size, begin = data[at + 1], at + 2
        if len(data) < begin + size:
            break
        found.append((flags, data[begin : begin + size]))
        at = begin + size
    return found, data[at:]


def is_command(flags: int) -> bool:
    return bool(flags & _COMMAND)
