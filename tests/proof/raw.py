"""Connections byte by byte: ZMTP as an attacker writes it, over a plain TCP socket."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence

CONNECT_S = 10.0


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), CONNECT_S)


def greeting(mechanism: bytes) -> bytes:
    """The 64 bytes with which a ZMTP 3.0 peer begins."""
    return b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)


def frame(body: bytes, *, more: bool = False, command: bool = False) -> bytes:
    flags = more | 2 | (4 if command else 0)
    return struct.pack(">BQ", flags, len(body)) + body


def plain_peer(port: int, token: bytes) -> socket.socket:
    """A connection to the feed that has shown its ticket."""
    one = connect(port)
    password = token.hex().encode()
    one.sendall(greeting(b"PLAIN"))
    hello = b"\x05HELLO\x04feed" + bytes([len(password)]) + password
    ready = b"\x08INITIATE" + b"\x0bSocket-Type" + struct.pack(">I", 3) + b"SUB"
    _wait_for(one, 64)
    one.sendall(_short_command(hello))
    _wait_for(one, 10)
    one.sendall(_short_command(ready))
    return one


def _short_command(body: bytes) -> bytes:
    return bytes([4, len(body)]) + body


def _wait_for(one: socket.socket, size: int) -> None:
    one.settimeout(CONNECT_S)
    while size > 0:
        got = one.recv(size)
        if not got:
            raise ConnectionError("the broker broke the handshake off")
        size -= len(got)


def closed(connections: Sequence[socket.socket], limit_s: float) -> int:
    """How many of these the broker closes within the limit."""
    until, left = time.monotonic() + limit_s, list(connections)
    poller = select.poll()
    by_number = {one.fileno(): one for one in left}
    for one in left:
        one.setblocking(False)
        poller.register(one, select.POLLIN)
    while by_number and (wait := until - time.monotonic()) > 0:
        for number, _ in poller.poll(wait * 1_000):
            if _is_over(by_number[number]):
                poller.unregister(number)
                del by_number[number]
    return len(left) - len(by_number)


def _is_over(one: socket.socket) -> bool:
    try:
        return not one.recv(65_536)
    except BlockingIOError:
        return False
    except OSError:
        return True
