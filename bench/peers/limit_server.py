"""What the limits are measured on: a process that sends as fast as the socket takes it, and no more.

`python -m bench.peers.limit_server zmq|copy PORT CONTROL LINES SECRET`: a PUB (with CURVE if there is a
secret key) or plain TCP connections, all of which get the same. Over the control port it is told how many
lines it may have sent by now.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections.abc import Callable
from typing import Protocol

import zmq

from bench.load import LINE_BYTES

TOPIC = b"room"
CHUNK_LINES = 655  # of a loopback copy: 64 KB
TOTAL = struct.Struct(">Q")


class Output(Protocol):
    """Sends one message of so many lines to everybody."""

    lines: int

    def send(self, number: int) -> None: ...


class ZmqOutput:
    def __init__(self, port: int, lines: int, secret: str) -> None:
        self.lines = lines
        self._tail = bytes(lines * LINE_BYTES - len(TOPIC) - 10)
        self._pub = zmq.Context().socket(zmq.PUB)
        self._pub.sndhwm = 0
        if secret:
            self._pub.curve_server = True
            self._pub.curve_secretkey = secret.encode()
        self._pub.bind(f"tcp://127.0.0.1:{port}")

    def send(self, number: int) -> None:
        self._pub.send(b"%b%010d%b" % (TOPIC, number, self._tail))


class CopyOutput:
    def __init__(self, port: int) -> None:
        self.lines = CHUNK_LINES
        self._chunk = bytes(CHUNK_LINES * LINE_BYTES)
        self._listener = socket.create_server(("127.0.0.1", port), backlog=2_048)
        self._listener.setblocking(False)
        self._connections: list[socket.socket] = []

    def accept(self) -> None:
        try:
            while True:
                self._connections.append(self._listener.accept()[0])
        except BlockingIOError:
            return

    def send(self, number: int) -> None:
        if number == 0:
            self.accept()
        for one in self._connections:
            one.sendall(self._chunk)


def serve(output: Output, control: socket.socket) -> None:
    """Send what is allowed, until whoever controls it hangs up."""
    one, _ = control.accept()
    one.setblocking(False)
    poller = select.poll()
    poller.register(one, select.POLLIN)
    allowed = sent = messages = 0
    told = b""
    while True:
        wait_ms = 0 if sent + output.lines <= allowed else None
        if poller.poll(wait_ms):
            got = one.recv(4_096)
            if not got:
                return
            told += got
            whole = len(told) // TOTAL.size * TOTAL.size
            if whole:
                allowed = TOTAL.unpack(told[whole - TOTAL.size : whole])[0]
                told = told[whole:]
        for _ in range(16):
            if sent + output.lines > allowed:
                break
            output.send(messages)
            messages += 1
            sent += output.lines


def main() -> None:
    kind, port, control_port, lines, *secret = sys.argv[1:]
    kinds: dict[str, Callable[[], Output]] = {
        "zmq": lambda: ZmqOutput(int(port), int(lines), "".join(secret)),
        "copy": lambda: CopyOutput(int(port)),
    }
    output = kinds[kind]()
    control = socket.create_server(("127.0.0.1", int(control_port)))
    print("ready", flush=True)
    serve(output, control)


if __name__ == "__main__":
    main()
