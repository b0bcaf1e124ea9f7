"""A load for servers that acknowledge what they have stored, spoken to in a stream of frames."""

from __future__ import annotations

import itertools
import select
from dataclasses import dataclass
from typing import Protocol

from bench.load import text_of
from bench.stream_load import Publisher
from bench.wire import Wire


class AckDialect(Protocol):
    """How lines are stored, and how that is acknowledged."""

    def enter(self, wire: Wire, who: str) -> None:
        """What comes first on a connection."""

    def storing(self, who: str) -> tuple[bytes, bytes]:
        """What stands before and after the text of a line to be stored."""

    def acknowledged(self, data: bytes) -> tuple[int, bytes]:
        """How many acknowledgements these bytes hold, and what is left of them. Raises BenchError if the
        server says that something was not stored."""


@dataclass(frozen=True)
class OpenAckLoad:
    dialect: AckDialect
    port: int
    connections: int

    def __call__(self) -> AckLoad:
        return AckLoad(self)


class AckLoad:
    """Connections that pipeline lines and count acknowledgements."""

    def __init__(self, opening: OpenAckLoad) -> None:
        self._opening = opening
        self.owed_bytes = 0
        self._publishers: list[Publisher] = []
        self._rests: list[bytes] = []
        self._poller = select.epoll()

    def open(self) -> None:
        dialect = self._opening.dialect
        for index in range(self._opening.connections):
            who, (head, tail) = f"p{index:02}", text_of(index)
            wire = Wire(self._opening.port)
            dialect.enter(wire, who)
            wire.go()
            before, after = dialect.storing(who)
            self._publishers.append(Publisher(wire, [(before + head, tail + after)]))
            self._rests.append(b"")
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
        lines = 0
        for index, publisher in enumerate(self._publishers):
            data = publisher.wire.receive()
            if data:
                count, self._rests[index] = self._opening.dialect.acknowledged(self._rests[index] + data)
                lines += count
        return lines

    def wait(self, wait_s: float) -> None:
        self._poller.poll(wait_s)

    def idle(self) -> None:
        self.seen()

    def notes(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        for publisher in self._publishers:
            publisher.wire.close()
