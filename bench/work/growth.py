"""Growth: what a line, a page of history and a start cost, by how much is stored and how many listen.

The log is filled by clients saying lines, as fast as it goes.
"""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import zmq

from bench import machine
from bench.driver import Driver
from bench.figures import percentile
from bench.load import Opening
from bench.peers.chat import Access, Context, Person, Session
from bench.peers.chat_load import COALESCED, PIPELINE, OpenChatLoad, SubscribeFeed
from bench.peers.simple_chat import Broker
from bench.run import Run
from bench.server import BenchError
from bench.sink import Sinks
from chat_protocol.messages import Cursor, Fetch, Page

WORK = "growth"
LINES = (10**4, 10**5, 10**6, 10**7)
QUICK_LINES = (10**4, 10**5)
SUBSCRIBERS = (10, 100, 1_000, 5_000)
QUICK_SUBSCRIBERS = (10, 100)
ROOM = "#lobby"
FILL_SESSIONS = 4
FILL_S = 8.0  # the longest round of filling
COST_SESSIONS = 4
COST_PACE = 4_000.0  # lines a second, one a request, while the cost of a line is taken
COST_S = 1.0
DELIVERIES_PER_S = 300_000.0  # at most, while the cost by subscribers is taken
PAGES = 200
STARTS = 3
ROUNDS = 5


@dataclass(frozen=True)
class Point:
    """What things cost with so many lines stored."""

    lines: int
    line_us: float  # of the broker's CPU, one line a request at a steady rate
    page_us: float  # of the broker's CPU, for 500 lines of history
    page_wall_us: float
    start_s: float
    start_cpu_s: float
    mib: float  # on the disk


def run(run: Run) -> None:
    by_lines(run)
    by_subscribers(run)


def by_lines(run: Run) -> None:
    """Fill one log further and further. At the end the small and the large are measured in turn."""
    sizes = QUICK_LINES if run.quick else LINES
    folder, kept = run.place.fresh("growth"), run.place.fresh("small")
    points: list[Point] = []
    broker = Broker(folder, run.place.core)
    try:
        for size in sizes:
            _fill(run, broker, size)
            broker.stop()
            if size == sizes[0]:
                shutil.copytree(folder, kept, dirs_exist_ok=True)
            starts: list[tuple[float, float]] = []
            for _ in range(STARTS):
                broker.stop()
                broker = broker.again()
                starts.append((broker.ready_s - broker.begun_s, broker.cpu_s))
            points.append(_measure(run, broker, size, starts))
        _compare(run, kept, broker, sizes)
    finally:
        broker.stop()
    run.note(WORK, "by_lines", [vars(point) for point in points])
    for point in points:
        run.say(
            f"{point.lines:9} lines: {point.line_us:.1f} µs a line, {point.page_us:.0f} µs a page "
            f"({point.page_wall_us:.0f} µs until it is here), "
            f"{point.start_s:.2f} s to start, {point.mib:.0f} MiB"
        )


def by_subscribers(run: Run) -> None:
    rows = []
    for count in QUICK_SUBSCRIBERS if run.quick else SUBSCRIBERS:
        with Broker(run.place.fresh("subscribers"), run.place.core) as broker:
            sinks = Sinks(SubscribeFeed(broker.access), [["lobby"]] * count, run.place.load_core)
            try:
                sinks.settle()
                pace = min(COST_PACE, DELIVERIES_PER_S / count)
                cost = median(_line_cost(run, broker, pace, 1) for _ in range(3))
            finally:
                sinks.close()
        rows.append({"subscribers": count, "line_us": cost * 1e6, "delivery_us": cost * 1e6 / count})
        run.say(f"{count:5} subscribers: {cost * 1e6:.1f} µs of CPU a line, {pace:.0f} lines/s")
    run.note(WORK, "by_subscribers", rows)


def _fill(run: Run, broker: Broker, size: int) -> None:
    """Say lines until so many are stored."""
    stored = _head(broker.access)
    if stored >= size:
        return
    opening = OpenChatLoad(broker.access, (ROOM,), FILL_SESSIONS, COALESCED, PIPELINE, follows=False)
    driver = Driver(opening, run.place.load_core)
    rate = 50_000.0
    try:
        while stored < size:
            seconds = min(FILL_S, max(0.02, (size - stored) / rate))
            done = driver.round(seconds, FILL_SESSIONS * PIPELINE * COALESCED)
            stored += done.lines
            rate = done.lines / max(0.01, done.ended_s - done.begun_s)
    finally:
        driver.close()


def _measure(run: Run, broker: Broker, size: int, starts: list[tuple[float, float]]) -> Point:
    page_us, page_wall_us = _page_cost(broker)
    return Point(
        lines=size,
        line_us=median(_line_cost(run, broker, COST_PACE, COST_SESSIONS) for _ in range(3)) * 1e6,
        page_us=page_us,
        page_wall_us=page_wall_us,
        start_s=median(wall for wall, _ in starts),
        start_cpu_s=median(cpu for _, cpu in starts),
        mib=sum(path.stat().st_size for path in broker.data.iterdir()) / 2**20,
    )


def _compare(run: Run, kept: Path, large: Broker, sizes: tuple[int, ...]) -> None:
    """A line in the small log and one in the large, in turn; the small one anew each time."""
    ratios = []
    for _ in range(ROUNDS if not run.quick else 2):
        again = run.place.fresh("small")
        shutil.copytree(kept, again, dirs_exist_ok=True)
        with Broker(again, run.place.core) as small:
            cost = _line_cost(run, small, COST_PACE, COST_SESSIONS)
        ratios.append(_line_cost(run, large, COST_PACE, COST_SESSIONS) / cost)
    name = "line_cost_10m_vs_10k" if sizes == LINES else f"line_cost_{sizes[-1]}_vs_{sizes[0]}"
    run.result(name, median(ratios))


def _line_cost(run: Run, broker: Broker, pace: float, sessions: int) -> float:
    """Seconds of the broker's CPU for a line, at a steady rate."""
    opening: Opening = OpenChatLoad(broker.access, (ROOM,), sessions, 1, 64, follows=False)
    driver = Driver(opening, run.place.load_core)
    try:
        driver.round(0.2, sessions * 64, pace)
        before = machine.exact_cpu_s(broker.pid)
        done = driver.round(COST_S, sessions * 64, pace)
        return (machine.exact_cpu_s(broker.pid) - before) / done.lines
    finally:
        driver.close()


def _page_cost(broker: Broker) -> tuple[float, float]:
    """Microseconds of the broker's CPU, and until a page is here, for pages from all over the log."""
    with _Reader(broker.access) as reader:
        head = reader.head()
        walls = []
        before = machine.exact_cpu_s(broker.pid)
        for _ in range(PAGES):
            begun = time.monotonic()
            if not reader.page(random.randrange(max(1, head - 500))).entries:
                raise BenchError("a page came without entries")
            walls.append(time.monotonic() - begun)
        cpu = machine.exact_cpu_s(broker.pid) - before
    return cpu / PAGES * 1e6, percentile(walls, 0.5) * 1e6


def _head(access: Access) -> int:
    with _Reader(access) as reader:
        return reader.head()


class _Reader:
    """A session that fetches pages."""

    def __init__(self, access: Access) -> None:
        self._context: Context = zmq.Context()
        self._session: Session = Person(access, self._context, f"reader-{time.monotonic_ns()}").session()

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._context.term()

    def head(self) -> int:
        return self.page(0, 1).head

    def page(self, after: int, limit: int = 500) -> Page:
        session = self._session
        cursor = Cursor(session.welcome.epoch, after)
        return session.ask(Fetch(session.next(), session.token, ROOM, cursor, limit), Page)
