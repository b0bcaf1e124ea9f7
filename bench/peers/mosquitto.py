"""Mosquitto: MQTT 3.1.1 at QoS 0, which stores nothing."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from bench.load import LINE_BYTES
from bench.machine import free_port
from bench.peers.peer import Peer, Place, Target, found
from bench.server import Server
from bench.stream_load import OpenStreamLoad, Subscribe
from bench.wire import Wire

PUBLISHERS = 2
WINDOW = 4_000
DELIVERIES_MAX = 60_000  # it takes some ten microseconds for each
CONFIG = """
listener {port} 127.0.0.1
user root
allow_anonymous true
persistence false
max_queued_messages 0
max_queued_bytes 0
set_tcp_nodelay true
log_type error
"""


class MqttDialect:
    interruption = b""

    def enter(self, wire: Wire, who: str) -> None:
        wire.send(packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x00" + text(who)))  # keep alive 0: for ever
        wire.exactly(4)

    def subscribe(self, wire: Wire, rooms: Sequence[str]) -> None:
        for room in rooms:
            wire.send(packet(0x82, b"\x00\x01" + text(room) + b"\x00"))
            wire.exactly(5)

    def publication(self, room: str) -> tuple[bytes, bytes]:
        return packet(0x30, text(room) + bytes(LINE_BYTES))[:-LINE_BYTES], b""

    def delivery(self, who: str, room: str) -> tuple[bytes, bytes]:
        return self.publication(room)


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def packet(kind: int, body: bytes) -> bytes:
    size, head = len(body), bytes((kind,))
    while size >= 128:
        head += bytes((size % 128 | 128,))
        size //= 128
    return head + bytes((size,)) + body


class Mosquitto(Peer):
    key = "mosquitto"
    title = "Mosquitto, QoS 0"
    program = "mosquitto"
    install = "on Debian: apt-get install mosquitto"

    def fan_out(self, place: Place, rooms: Sequence[str]) -> Target:
        port, folder = free_port(), place.fresh(self.key)
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "mosquitto.conf"
        config.write_text(CONFIG.format(port=port))
        server = Server(self.key, [found("mosquitto"), "-c", str(config)], folder, place.core).listens(port)
        subscribe = Subscribe(MqttDialect(), port, None)
        return Target(
            server, subscribe, OpenStreamLoad(subscribe, tuple(rooms), PUBLISHERS), WINDOW, DELIVERIES_MAX
        )
