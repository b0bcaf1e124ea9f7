"""Latency: one process says a line now and then, another notes how long each took to come.

The text of a line is the time at which it was said, by the monotonic clock, which all processes share.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Protocol

from bench import machine
from bench.load import LINE_BYTES, PROBE_MARK
from bench.server import BenchError
from bench.sink import Spawn

OPEN_S = 60.0
LAST_S = 5.0
KEEPALIVE_S = 2.0
NICENESS = -10  # what is measured waits for a server, not for what loads it


_FILLING = b"." * (LINE_BYTES - len(PROBE_MARK) - 20)


class Mouth(Protocol):
    """Says lines. It can be pickled until it is opened."""

    def open(self) -> None: ...

    def say(self, text: bytes) -> None: ...

    def keep_alive(self) -> None: ...


class Ear(Protocol):
    """Hears lines. It can be pickled until it is opened."""

    def open(self) -> None: ...

    def hear(self, wait_s: float) -> Sequence[bytes]:
        """The texts that have come, after waiting for some; as shown to a person, so verified and opened."""

    def keep_alive(self) -> None: ...


class Probe:
    """A mouth and an ear, each in its own process."""

    def __init__(self, mouth: Mouth, ear: Ear, core: int) -> None:
        self._ends = []
        for target, end in ((_listen, ear), (_talk, mouth)):
            pipe, other = Spawn.Pipe()
            process = Spawn.Process(target=target, args=(end, core, other), daemon=True)
            process.start()
            other.close()
            self._ends.append((process, pipe))
        self._ear, self._mouth = (pipe for _, pipe in self._ends)
        for pipe in (self._ear, self._mouth):
            _expect(pipe, OPEN_S)

    def measure(self, count: int, pause_s: float) -> list[float]:
        """Say `count` lines with about `pause_s` between two; how long each took, in seconds."""
        self._ear.send(count)
        self._mouth.send((count, pause_s))
        _expect(self._mouth, count * pause_s * 4 + 30)
        got = _expect(self._ear, LAST_S * 3)
        assert isinstance(got, list)
        if len(got) != count:
            raise BenchError(f"{count - len(got)} of {count} lines did not come")
        return got

    def close(self) -> None:
        for process, pipe in self._ends:
            process.kill()
            process.join()
            pipe.close()


def _expect(pipe: Connection, limit_s: float) -> object:
    if not pipe.poll(limit_s):
        raise BenchError(f"the probe did nothing for {limit_s:g} s")
    got = pipe.recv()
    if isinstance(got, BaseException):
        raise BenchError(str(got))
    return got


def _begin(core: int) -> None:
    machine.pin(core)
    with contextlib.suppress(PermissionError):  # only root may
        os.nice(NICENESS)


def _talk(mouth: Mouth, core: int, pipe: Connection) -> None:
    try:
        _begin(core)
        mouth.open()
        pipe.send("open")
        while True:
            while not pipe.poll(KEEPALIVE_S):
                mouth.keep_alive()
            count, pause_s = pipe.recv()
            for _ in range(count):
                mouth.say(b"%b%020d%b" % (PROBE_MARK, time.monotonic_ns(), _FILLING))
                time.sleep(pause_s * random.uniform(0.5, 1.5))
            pipe.send("said")
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:
        pipe.send(BenchError(f"{type(error).__name__}: {error}"))


def _listen(ear: Ear, core: int, pipe: Connection) -> None:
    try:
        _begin(core)
        ear.open()
        pipe.send("open")
        while True:
            while not pipe.poll(KEEPALIVE_S):
                ear.keep_alive()
            pipe.send(_times(ear, pipe.recv()))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:
        pipe.send(BenchError(f"{type(error).__name__}: {error}"))


def _times(ear: Ear, count: int) -> list[float]:
    """How long lines took that this probe said; others are heard and left aside."""
    times: list[float] = []
    alive_at = heard_at = time.monotonic()
    while len(times) < count:
        texts = ear.hear(0.5)
        now = time.monotonic_ns()
        for text in texts:
            if text.startswith(PROBE_MARK):
                times.append((now - int(text[1:21])) / 1e9)
                heard_at = now / 1e9
        if now / 1e9 - alive_at > KEEPALIVE_S:
            alive_at = now / 1e9
            ear.keep_alive()
        if now / 1e9 - heard_at > LAST_S:
            break
    return times
