"""Latency from saying a line to somebody else seeing it: on an idle server, and at half of what it can do.

The limit is a bare ROUTER and PUB in Python that does one fsync a line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from bench.driver import Driver
from bench.figures import percentile, ratio
from bench.load import Opening
from bench.machine import free_port
from bench.peers.bare import BareEar, BareMouth
from bench.peers.chat_load import OpenChatLoad
from bench.peers.chat_probe import ChatEar, ChatMouth
from bench.peers.limits import ROOT
from bench.peers.nats import Nats
from bench.peers.peer import Peer
from bench.peers.redis import Redis
from bench.peers.simple_chat import SINGLE_SAYS, Broker
from bench.peers.stream_probe import StreamEar, StreamMouth
from bench.probe import Probe
from bench.run import Run
from bench.server import Server
from bench.stream_load import Subscribe

WORK = "latency"
ROOM = "room"
ROUNDS = 3
LINES = 700  # a round; quick: QUICK_LINES
QUICK_LINES = 150
PAUSE_S = 0.004
BUSY_SESSIONS = 8
MAXIMUM_S = 1.0


@dataclass
class _Setup:
    """A server with a probe; `busy` and `window` load it, if that is to be measured."""

    key: str
    title: str
    server: Server
    probe: Probe
    busy: Opening | None = None
    window: int = 0

    def close(self) -> None:
        self.probe.close()
        self.server.stop()


def run(run: Run) -> None:
    makers: dict[str, Callable[[Run], _Setup]] = {
        "simple_chat": _chat,
        "fsync": lambda run: _bare(run, "fsync", "limit: bare ROUTER and PUB, one fsync", fsync=True),
        "zmq": lambda run: _bare(run, "zmq", "bare ROUTER and PUB, nothing stored", fsync=False),
        "redis": lambda run: _stream(run, Redis(tls=False)),
        "nats": lambda run: _stream(run, Nats(tls=False)),
    }
    setups: list[_Setup] = []
    try:
        for key, make in run.chosen(makers).items():
            try:
                setups.append(make(run))
            except Exception as error:
                run.trouble(f"{key}, latency", error)
        _measure_idle(run, setups)
        _measure_busy(run, setups)
    finally:
        for setup in setups:
            setup.close()


def _measure_idle(run: Run, setups: list[_Setup]) -> None:
    times: dict[str, list[float]] = {setup.key: [] for setup in setups}
    middles: dict[str, list[float]] = {setup.key: [] for setup in setups}
    for _ in range(ROUNDS):
        for setup in setups:
            some = setup.probe.measure(QUICK_LINES if run.quick else LINES, PAUSE_S)
            times[setup.key] += some
            middles[setup.key].append(percentile(some, 0.5))
    _note(run, "idle", setups, times)
    if {"simple_chat", "fsync"} <= middles.keys():
        run.result("latency_p50_vs_limit", ratio(middles["simple_chat"], middles["fsync"]))


def _measure_busy(run: Run, setups: list[_Setup]) -> None:
    times: dict[str, list[float]] = {}
    paces: dict[str, float] = {}
    for setup in setups:
        if setup.busy is None:
            continue
        try:
            driver = Driver(setup.busy, run.place.load_core)
            try:
                done = driver.round(MAXIMUM_S, setup.window)
                pace = paces[setup.key] = done.lines / (done.ended_s - done.begun_s) / 2
                lines = QUICK_LINES if run.quick else LINES * 2
                driver.begin(lines * PAUSE_S * 1.6 + 1.0, setup.window, pace)
                times[setup.key] = setup.probe.measure(lines, PAUSE_S)
                driver.finish()
            finally:
                driver.close()
        except Exception as error:
            run.trouble(f"{setup.title}, latency at half of the maximum", error)
    _note(run, "busy", [setup for setup in setups if setup.key in times], times)
    run.note(WORK, "busy_lines_per_s", paces)


def _note(run: Run, name: str, setups: list[_Setup], times: dict[str, list[float]]) -> None:
    shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    figures = {
        key: {title: percentile(some, share) * 1e6 for title, share in shares.items()}
        for key, some in times.items()
    }
    run.note(WORK, name, figures)
    for setup in setups:
        one = figures[setup.key]
        run.say(
            f"latency {name}: {setup.title:40} p50 {one['p50']:6.0f} µs, p99 {one['p99']:6.0f} µs, "
            f"p99.9 {one['p999']:6.0f} µs"
        )


def _chat(run: Run) -> _Setup:
    broker = Broker(run.place.fresh("latency"), run.place.core)
    room = "#lobby"
    probe = Probe(ChatMouth(broker.access, room), ChatEar(broker.access, room), run.place.load_core)
    busy = OpenChatLoad(broker.access, (room,), BUSY_SESSIONS, lines_per_say=1, says_in_flight=SINGLE_SAYS)
    return _Setup("simple_chat", "Simple Chat", broker, probe, busy, BUSY_SESSIONS * SINGLE_SAYS)


def _bare(run: Run, key: str, title: str, *, fsync: bool) -> _Setup:
    port, feed_port, folder = free_port(), free_port(), run.place.fresh(key)
    command = [sys.executable, "-m", "bench.peers.bare", str(port), str(feed_port)]
    files = [str(folder / "log")] if fsync else []
    env = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    server = Server(key, [*command, *files], folder, run.place.core, env)
    server.says("ready")
    return _Setup(key, title, server, Probe(BareMouth(port), BareEar(feed_port), run.place.load_core))


def _stream(run: Run, peer: Peer) -> _Setup:
    target = peer.fan_out(run.place, [ROOM])
    assert isinstance(target.subscribe, Subscribe)
    probe = Probe(StreamMouth(target.subscribe, ROOM), StreamEar(target.subscribe, ROOM), run.place.load_core)
    return _Setup(peer.key, peer.title, target.server, probe, target.opening, target.window)
