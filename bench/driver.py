"""Runs a load in a process of its own, round by round, never further ahead than a window allows.

A publisher that runs ahead without a bound measures how a server throws things away. So what was said and
not yet seen by the subscriber that checks stays below the window, and the counting sinks are waited for, too.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from bench import machine
from bench.load import Load, Opening
from bench.server import BenchError
from bench.sink import Spawn

OPEN_S = 120.0
LOST_S = 10.0  # without anything new for this long, what is missing is lost
SINK_LAG_BYTES = 8 << 20  # how far each sink may be behind the reader before publishing pauses
IDLE_S = 1.0


@dataclass(frozen=True)
class Round:
    """What a round was: `lines` were seen of those `published`, from `begun_s` to `ended_s` (monotonic)."""

    published: int
    lines: int
    begun_s: float
    ended_s: float
    cpu_s: float  # of the process that published and checked
    owed_bytes: int
    notes: dict[str, float] = field(default_factory=dict)


class Driver:
    """A load in its own process. `sinks` are the shared counters of the sinks beside it."""

    def __init__(self, opening: Opening, core: int, sinks: Any = None, sink_count: int = 0) -> None:
        self._pipe, other = Spawn.Pipe()
        self._process = Spawn.Process(
            target=_run, args=(opening, core, sinks, sink_count, other), daemon=True
        )
        self._process.start()
        other.close()
        self._hear(OPEN_S)

    def round(self, seconds: float, window: int, pace: float = 0.0) -> Round:
        """Publish for so long (at `pace` lines a second; 0: as fast as it goes), then wait for the rest."""
        self.begin(seconds, window, pace)
        return self.finish()

    def begin(self, seconds: float, window: int, pace: float = 0.0) -> None:
        """The first half of `round`: it goes on by itself until `finish` waits for it."""
        self._seconds = seconds
        self._pipe.send((seconds, window, pace))

    def finish(self) -> Round:
        got = self._hear(self._seconds + 120.0)
        assert isinstance(got, Round)
        if not got.lines:
            raise BenchError(f"none of {got.published} lines came")
        return got

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _hear(self, limit_s: float) -> object:
        if not self._pipe.poll(limit_s):
            raise BenchError(f"the load did nothing for {limit_s:g} s")
        got = self._pipe.recv()
        if isinstance(got, BaseException):
            raise BenchError(str(got))
        return got


def _run(opening: Opening, core: int, sinks: Any, sink_count: int, pipe: Connection) -> None:
    machine.pin(core)
    try:
        load = opening()
        load.open()
        pipe.send("open")
        gc.disable()
        while True:
            while not pipe.poll(IDLE_S):
                load.idle()
            seconds, window, pace = pipe.recv()
            load.idle()
            pipe.send(_round(load, seconds, window, pace, sinks, sink_count))
            gc.collect()
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return  # nobody measures any more
    except Exception as error:
        pipe.send(BenchError(f"{type(error).__name__}: {error}"))


def _round(load: Load, seconds: float, window: int, pace: float, sinks: Any, sink_count: int) -> Round:
    published = lines = 0
    owed, sunk = load.owed_bytes, int(sinks[0]) if sink_count else 0
    cpu, begun = time.process_time(), time.monotonic()
    last = begun
    while True:
        now = time.monotonic()
        is_over = now - begun >= seconds
        moved = 0
        if not is_over:
            allowed = window - (published - lines)
            if pace:
                allowed = min(allowed, int((now - begun) * pace) - published)
            if sink_count and (load.owed_bytes - owed) - (int(sinks[0]) - sunk) / sink_count > SINK_LAG_BYTES:
                allowed = 0
            if allowed > 0:
                moved = load.publish(allowed)
                published += moved
        got = load.seen()
        if got:
            lines += got
            last = time.monotonic()
        if is_over and (lines >= published or now - max(last, begun + seconds) > LOST_S):
            break
        if not got and not moved:
            load.wait(0.001 if pace or sink_count else 0.05)
    cpu = time.process_time() - cpu
    return Round(published, lines, begun, last, cpu, load.owed_bytes - owed, load.notes())
