"""Simulated time: what is planned happens in order, and nothing else moves the clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable

WALL_AT_START = 1_790_000_000_000  # ms since 1970 UTC


class Clock:
    """`now`: seconds since the simulation began. Things planned for one moment happen as planned."""

    def __init__(self) -> None:
        self.now = 0.0
        self.skipped_ms = 0  # by which the wall clock is ahead of simulated time
        self._plan: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0

    @property
    def wall(self) -> int:
        return WALL_AT_START + self.skipped_ms + int(self.now * 1_000)

    def at(self, time: float, do: Callable[[], None]) -> None:
        self._planned += 1
        heapq.heappush(self._plan, (max(time, self.now), self._planned, do))

    def after(self, delay: float, do: Callable[[], None]) -> None:
        self.at(self.now + delay, do)

    def run_until(self, time: float) -> None:
        while self._plan and self._plan[0][0] <= time:
            self.now, _, do = heapq.heappop(self._plan)
            do()
        self.now = max(self.now, time)
