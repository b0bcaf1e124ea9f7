"""The limits: libzmq's PUB with nothing around it, without encryption and with CURVE, and a loopback copy."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.utils import z85

import bench
from bench import zmtp
from bench.curve import CurveClient, key_pair
from bench.load import LINE_BYTES
from bench.machine import free_port
from bench.peers.limit_server import CHUNK_LINES, TOPIC, TOTAL
from bench.peers.peer import Peer, Place, Target
from bench.server import BenchError, Server
from bench.wire import Wire

WINDOW = 16_000
CURVE_HEAD_BYTES = 8 + 8 + 16 + 1  # what CURVE adds to a message
ROOT = Path(bench.__file__).parent.parent


@dataclass(frozen=True)
class SubscribeZmq:
    """A subscriber of everything in plain ZMTP; `curve` is the server's public key, if it has one."""

    port: int
    curve: bytes | None

    def __call__(self, who: str, rooms: Sequence[str]) -> Wire:
        wire = Wire(self.port)
        if self.curve is None:
            wire.send(zmtp.greeting(b"NULL"))
            wire.exactly(zmtp.GREETING_BYTES)
            wire.send(zmtp.ready(b"SUB"))
            wire.exactly(wire.exactly(2)[1])
            wire.send(zmtp.subscribe(TOPIC))
            return wire
        client = CurveClient(self.curve, *key_pair(), b"SUB")
        wire.send(client.begin())
        while not client.is_ready:
            out, _ = client.receive(wire.some())
            wire.send(out)
        wire.send(client.message(b"\x01" + TOPIC))
        return wire

    def keep_alive(self, wires: Sequence[Wire]) -> None:
        pass


@dataclass(frozen=True)
class SubscribeCopy:
    port: int

    def __call__(self, who: str, rooms: Sequence[str]) -> Wire:
        return Wire(self.port)

    def keep_alive(self, wires: Sequence[Wire]) -> None:
        pass


@dataclass(frozen=True)
class OpenLimitLoad:
    port: int
    control_port: int
    lines: int  # of a message
    curve: bytes | None
    is_copy: bool = False

    def __call__(self) -> LimitLoad:
        return CopyLoad(self) if self.is_copy else ZmqLoad(self)


class LimitLoad:
    """Tells the server how far it may go."""

    def __init__(self, opening: OpenLimitLoad) -> None:
        self._opening = opening
        self._allowed = 0
        self.owed_bytes = 0
        self._control: socket.socket

    def open(self) -> None:
        self._control = socket.create_connection(("127.0.0.1", self._opening.control_port))
        self._control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def publish(self, lines_max: int) -> int:
        lines = lines_max // self._opening.lines * self._opening.lines
        if lines:
            self._allowed += lines
            self._control.sendall(TOTAL.pack(self._allowed))
        return lines

    def seen(self) -> int:
        raise NotImplementedError

    def wait(self, wait_s: float) -> None:
        raise NotImplementedError

    def idle(self) -> None:
        if self.seen():
            raise BenchError("lines came that nobody asked for")

    def notes(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        self._control.close()


class ZmqLoad(LimitLoad):
    def open(self) -> None:
        self._sub = zmq.Context().socket(zmq.SUB)
        self._sub.rcvhwm = 0
        if self._opening.curve is not None:
            self._sub.curve_publickey, self._sub.curve_secretkey = zmq.curve_keypair()
            self._sub.curve_serverkey = z85.encode(self._opening.curve)
        self._sub.subscribe(TOPIC)
        monitor = self._sub.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._sub.connect(f"tcp://127.0.0.1:{self._opening.port}")
        if not monitor.poll(10_000):
            raise BenchError("libzmq's PUB does not answer")
        self._sub.disable_monitor()
        self._messages = 0
        super().open()

    def seen(self) -> int:
        begun = self._messages
        head = CURVE_HEAD_BYTES if self._opening.curve is not None else 0
        for _ in range(512):
            try:
                body = self._sub.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            if int(body[len(TOPIC) : len(TOPIC) + 10]) != self._messages:
                raise BenchError(f"expected message {self._messages}, got {body[:14]!r}")
            self._messages += 1
            self.owed_bytes += zmtp.frame_bytes(len(body) + head)
        return (self._messages - begun) * self._opening.lines

    def wait(self, wait_s: float) -> None:
        self._sub.poll(int(wait_s * 1_000) or 1)


class CopyLoad(LimitLoad):
    def open(self) -> None:
        self._wire = Wire(self._opening.port)
        self._wire.go()
        self._bytes = 0
        self._waste = bytearray(1 << 20)
        super().open()

    def seen(self) -> int:
        before = self._bytes // LINE_BYTES
        got = self._wire.discard(self._waste)
        self._bytes += got
        self.owed_bytes += got
        return self._bytes // LINE_BYTES - before

    def wait(self, wait_s: float) -> None:
        self._wire.poll(wait_s)


class Limit(Peer):
    """`lines` of a message; `curve` for encrypted."""

    is_local = True

    def __init__(self, key: str, title: str, lines: int, *, curve: bool = False, copy: bool = False) -> None:
        self.key, self.title = key, title
        self._lines, self._curve, self._copy = lines, curve, copy

    def fan_out(self, place: Place, rooms: Sequence[str]) -> Target:
        port, control = free_port(), free_port()
        public, secret = zmq.curve_keypair() if self._curve else (b"", b"")
        kind = "copy" if self._copy else "zmq"
        command = [sys.executable, "-m", "bench.peers.limit_server", kind, str(port), str(control)]
        server = Server(
            self.key, [*command, str(self._lines), secret.decode()], place.fresh(self.key), place.core,
            {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        server.says("ready")
        curve = z85.decode(public) if self._curve else None
        opening = OpenLimitLoad(port, control, self._lines, curve, self._copy)
        subscribe = SubscribeCopy(port) if self._copy else SubscribeZmq(port, curve)
        return Target(server, subscribe, opening, WINDOW)


def limits() -> list[Peer]:
    return [
        Limit("zmq_1", "libzmq PUB, 1 line a message", 1),
        Limit("zmq_20", "libzmq PUB, 20 lines a message", 20),
        Limit("zmq_400", "libzmq PUB, 400 lines a message", 400),
        Limit("zmq_curve_1", "libzmq PUB with CURVE, 1 line a message", 1, curve=True),
        Limit("zmq_curve_20", "libzmq PUB with CURVE, 20 lines a message", 20, curve=True),
        Limit("copy", "loopback copy, 64 KB a call", CHUNK_LINES, copy=True),
    ]
