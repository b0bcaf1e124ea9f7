"""The two ends of a latency probe of a server that is spoken to in a stream of frames."""

from __future__ import annotations

from collections.abc import Sequence

from bench.load import LINE_BYTES
from bench.stream_load import Subscribe
from bench.wire import Wire


class StreamMouth:
    def __init__(self, subscribe: Subscribe, room: str) -> None:
        self._subscribe, self._room = subscribe, room

    def open(self) -> None:
        self._wire = Wire(self._subscribe.port, self._subscribe.ca)
        self._subscribe.dialect.enter(self._wire, "mouth")
        self._wire.go()
        self._before, self._after = self._subscribe.dialect.publication(self._room)
        self._waste = bytearray(4_096)

    def say(self, text: bytes) -> None:
        self._wire.send_some(memoryview(self._before + text + self._after))
        self._wire.discard(self._waste)

    def keep_alive(self) -> None:
        self._wire.discard(self._waste)


class StreamEar:
    def __init__(self, subscribe: Subscribe, room: str) -> None:
        self._subscribe, self._room = subscribe, room
        self._rest = b""

    def open(self) -> None:
        self._wire = self._subscribe("ear", [self._room])
        self._wire.go()
        before, after = self._subscribe.dialect.delivery("mouth", self._room)
        self._head, self._size = len(before), len(before) + LINE_BYTES + len(after)

    def hear(self, wait_s: float) -> Sequence[bytes]:
        self._wire.poll(wait_s)
        data = self._rest + self._wire.receive()
        interruption = self._subscribe.dialect.interruption
        if interruption and interruption in data:
            data = data.replace(interruption, b"", 1)
        whole = len(data) // self._size * self._size
        self._rest = data[whole:]
        return [data[at + self._head : at + self._head + LINE_BYTES] for at in range(0, whole, self._size)]

    def keep_alive(self) -> None:
        pass
