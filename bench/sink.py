"""A process that receives for many subscribers and only counts bytes, so that it does not hold anything up.

The handshake and the subscriptions are done properly; from then on the kernel is asked to throw away what
comes (MSG_TRUNC), and says how much it was.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import select
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawArray
from typing import Any, Protocol

from bench import machine
from bench.server import BenchError
from bench.wire import Wire

OPEN_S = 120.0
PAUSE_S = 0.002  # between two rounds over the sockets: more bytes for each call
KEEPALIVE_S = 3.0
DISCARD_BYTES = 1 << 22
_TOTAL, _LAST_NS = 0, 1

Spawn = multiprocessing.get_context("spawn")


class Subscribe(Protocol):
    """Makes one subscriber's connection; it can be pickled."""

    def __call__(self, who: str, rooms: Sequence[str]) -> Wire: ...

    def keep_alive(self, wires: Sequence[Wire]) -> None:
        """Called every few seconds: say what the server wants to hear from a silent subscriber."""


class Sinks:
    """Subscribers in a process of their own: one for each list of rooms in `rooms`."""

    def __init__(self, subscribe: Subscribe, rooms: Sequence[Sequence[str]], core: int) -> None:
        self._shared: Any = RawArray(ctypes.c_uint64, 2)
        self._pipe, other = Spawn.Pipe()
        self.count = len(rooms)
        self._process = Spawn.Process(
            target=_run, args=(subscribe, rooms, core, self._shared, other), daemon=True
        )
        self._process.start()
        other.close()
        if self.count and self._hear(OPEN_S) != "open":
            raise BenchError("the sinks did not come up")

    @property
    def shared(self) -> Any:
        """Two counters for `received`, to hand on to another process."""
        return self._shared

    @property
    def cpu_s(self) -> float:
        assert self._process.pid is not None
        return machine.cpu_s(self._process.pid)

    @property
    def last_s(self) -> float:
        """When a byte came last, by the monotonic clock."""
        return int(self._shared[_LAST_NS]) / 1e9

    @property
    def total(self) -> int:
        return int(self._shared[_TOTAL])

    def counts(self) -> list[int]:
        """The bytes that each has received so far."""
        if not self.count:
            return []
        self._pipe.send("count")
        counts = self._hear(10.0)
        assert isinstance(counts, list)
        return counts

    def settle(self, quiet_s: float = 0.3, limit_s: float = 60.0) -> None:
        """Wait until nothing comes any more: greetings, notices of others' coming."""
        give_up, seen, since = time.monotonic() + limit_s, -1, time.monotonic()
        while time.monotonic() - since < quiet_s and time.monotonic() < give_up:
            if self.total != seen:
                seen, since = self.total, time.monotonic()
            time.sleep(0.02)

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _hear(self, limit_s: float) -> object:
        if not self._pipe.poll(limit_s):
            raise BenchError(f"the sinks said nothing for {limit_s:g} s")
        got = self._pipe.recv()
        if isinstance(got, BaseException):
            raise BenchError(f"the sinks failed: {got!r}")
        return got


def _run(
    subscribe: Subscribe,
    rooms: Sequence[Sequence[str]],
    core: int,
    shared: Any,
    pipe: Connection,
) -> None:
    machine.pin(core)
    machine.raise_descriptor_limit(len(rooms) + 64)
    try:
        wires = []
        alive_at = time.monotonic()
        for index, some in enumerate(rooms):
            wires.append(subscribe(f"s{index:05}", some))
            if time.monotonic() - alive_at > KEEPALIVE_S:
                alive_at = time.monotonic()
                subscribe.keep_alive(wires)
        for wire in wires:
            wire.go()
        pipe.send("open")
        gc.disable()
        _drain(wires, subscribe, shared, pipe)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return  # the one who counts on us is gone
    except Exception as error:
        pipe.send(BenchError(f"{type(error).__name__}: {error}"))


def _drain(wires: list[Wire], subscribe: Subscribe, shared: Any, pipe: Connection) -> None:
    """Count what comes, until killed."""
    counts = dict.fromkeys((wire.fileno() for wire in wires), 0)
    by_fd = {wire.fileno(): wire for wire in wires}
    waste = bytearray(DISCARD_BYTES)
    poller = select.epoll()
    for fd in by_fd:
        poller.register(fd, select.EPOLLIN)
    poller.register(pipe.fileno(), select.EPOLLIN)
    alive_at = time.monotonic()
    while True:
        for fd, _ in poller.poll(1.0, len(wires) + 1):
            if fd == pipe.fileno():
                pipe.recv()
                pipe.send(list(counts.values()))
                continue
            got = by_fd[fd].discard(waste)
            if not got:
                poller.unregister(fd)  # the server hung up: its count tells
            counts[fd] += got
            shared[_TOTAL] += got
            shared[_LAST_NS] = time.monotonic_ns()
        now = time.monotonic()
        if now - alive_at > KEEPALIVE_S:
            alive_at = now
            subscribe.keep_alive(wires)
        time.sleep(PAUSE_S)
