"""A load for servers whose clients read and write a stream of frames: fan-out over plain TCP or TLS."""

from __future__ import annotations

import itertools
import select
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.load import LINE_BYTES, PROBE_MARK, text_of
from bench.server import BenchError
from bench.wire import Wire

UNSENT_BYTES = 1 << 16  # a publisher with more than this in hand gets no more

HEAD_BYTES = len(text_of(0)[0])


class Dialect(Protocol):
    """How a server is spoken to. Frames around a line of fixed length are of fixed length themselves;
    `interruption` is what a subscriber may get between them."""

    interruption: bytes

    def enter(self, wire: Wire, who: str) -> None:
        """What comes first on a connection."""

    def subscribe(self, wire: Wire, rooms: Sequence[str]) -> None:
        """Follow rooms, and wait until that holds."""

    def publication(self, room: str) -> tuple[bytes, bytes]:
        """What stands before and after the text of a line that is published."""

    def delivery(self, who: str, room: str) -> tuple[bytes, bytes]:
        """The same as a subscriber gets it."""


@dataclass(frozen=True)
class Subscribe:
    """Makes one subscriber's connection, ready to receive."""

    dialect: Dialect
    port: int
    ca: str | None

    def __call__(self, who: str, rooms: Sequence[str]) -> Wire:
        wire = Wire(self.port, self.ca)
        self.dialect.enter(wire, who)
        self.dialect.subscribe(wire, rooms)
        return wire

    def keep_alive(self, wires: Sequence[Wire]) -> None:
        pass  # these servers are told to wait


@dataclass(frozen=True)
class OpenStreamLoad:
    subscribe: Subscribe
    rooms: tuple[str, ...]
    publishers: int

    def __call__(self) -> StreamLoad:
        return StreamLoad(self)


class Publisher:
    """One connection that says lines, numbered for each of its rooms."""

    def __init__(self, wire: Wire, frames: list[tuple[bytes, bytes]]) -> None:
        self.wire = wire
        self._frames = frames
        self._lines = 0
        self._unsent = memoryview(b"")

    def publish(self, lines_max: int) -> int:
        """Put lines into the connection, all rooms in turn."""
        self._push()
        room_left = UNSENT_BYTES - len(self._unsent)
        size = len(self._frames[0][0]) + len(self._frames[0][1]) + 10
        lines = min(lines_max, max(0, room_left // size))
        if not lines:
            return 0
        rooms = len(self._frames)
        numbers = range(self._lines, self._lines + lines)
        if rooms == 1:
            before, after = self._frames[0]
            data = b"".join([b"%b%010d%b" % (before, number, after) for number in numbers])
        else:
            frames = self._frames
            data = b"".join(
                [
                    b"%b%010d%b" % (frames[number % rooms][0], number // rooms, frames[number % rooms][1])
                    for number in numbers
                ]
            )
        self._lines += lines
        self._unsent = memoryview(bytes(self._unsent) + data)
        self._push()
        return lines

    def _push(self) -> None:
        while self._unsent:
            sent = self.wire.send_some(self._unsent)
            if not sent:
                return
            self._unsent = self._unsent[sent:]


class StreamLoad:
    """Several publishers, and one subscriber that checks that every line comes, and in order."""

    def __init__(self, opening: OpenStreamLoad) -> None:
        self._opening = opening
        self.owed_bytes = 0
        self._publishers: list[Publisher] = []
        self._reader: Wire
        self._rest = b""
        self._next: dict[bytes, int] = {}
        self._waste = bytearray(1 << 16)
        self._poller = select.epoll()

    def open(self) -> None:
        subscribe, rooms, count = self._opening.subscribe, self._opening.rooms, self._opening.publishers
        dialect = subscribe.dialect
        self._reader = subscribe("reader", rooms)
        self._reader.go()
        self._poller.register(self._reader, select.EPOLLIN)
        for index in range(count):
            who, (head, tail) = f"p{index:02}", text_of(index)
            wire = Wire(subscribe.port, subscribe.ca)
            dialect.enter(wire, who)
            wire.go()
            own = rooms[index::count] or (rooms[index % len(rooms)],)
            frames = [
                (before + head, tail + after) for before, after in (dialect.publication(room) for room in own)
            ]
            for room in own:
                before, after = dialect.delivery(who, room)
                self._next[before + head] = 0
                self._key_bytes = len(before) + len(head)
                self._size = len(before) + LINE_BYTES + len(after)
            self._publishers.append(Publisher(wire, frames))
            self._poller.register(wire, select.EPOLLIN)
        self._turn = itertools.cycle(self._publishers)

    def publish(self, lines_max: int) -> int:
        done = 0
        share = max(1, lines_max // len(self._publishers))
        for _ in self._publishers:
            done += next(self._turn).publish(min(share, lines_max - done))
            if done >= lines_max:
                break
        return done

    def seen(self) -> int:
        for publisher in self._publishers:
            publisher.wire.discard(self._waste)
        data = self._rest + self._reader.receive()
        data = self._skip(data)
        size, key_bytes, expected = self._size, self._key_bytes, self._next
        lines, probes = len(data) // size, 0
        for at in range(0, lines * size, size):
            key = data[at : at + key_bytes]
            if key[-HEAD_BYTES:].startswith(PROBE_MARK):
                probes += 1
                continue
            number = int(data[at + key_bytes : at + key_bytes + 10])
            if expected.get(key) != number:
                raise BenchError(f"expected line {expected.get(key)}, got {data[at : at + size]!r}")
            expected[key] = number + 1
        self._rest = data[lines * size :]
        self.owed_bytes += lines * size
        return lines - probes

    def _skip(self, data: bytes) -> bytes:
        """Take an interruption out, if there is one."""
        interruption = self._opening.subscribe.dialect.interruption
        if interruption and interruption in data:
            return data.replace(interruption, b"", 1)
        return data

    def wait(self, wait_s: float) -> None:
        self._poller.poll(wait_s)

    def idle(self) -> None:
        if self.seen():
            raise BenchError("lines came that nobody said")

    def notes(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        self._reader.close()
        for publisher in self._publishers:
            publisher.wire.close()
