"""Fan-out: one room with 1 to 1,000 subscribers, and 1,000 rooms of ten. Lines delivered a second."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.driver import Driver
from bench.figures import Figure, Sample, figure
from bench.peers.peer import Peer, Target
from bench.run import Run
from bench.sink import Sinks

WORK = "fanout"
ROOM = "room"
MAIN_SIZE = 100  # the one that is compared most closely
MAIN_LIMITS = frozenset({"zmq_1", "zmq_400", "zmq_curve_1", "copy"})  # are measured at that size only
MANY = 1_000  # rooms
MANY_FOLLOWERS = 10  # of each: nine sinks, and the reader, which follows all
MANY_SINKS = 90
ROUND_S = 1.3
FEW_ROUNDS = 3  # at other sizes
SHORT_ROUND_S = 0.7
QUICK_ROUND_S = 0.6
LAST_BYTES_S = 10.0  # how long sinks may take for what the reader has seen already


@dataclass
class _Setup:
    """One peer with its subscribers, ready to be loaded. `fan` is how many get each line."""

    peer: Peer
    target: Target
    sinks: Sinks
    driver: Driver
    fan: int

    def close(self) -> None:
        self.driver.close()
        self.sinks.close()
        self.target.close()


def run(run: Run, peers: Mapping[str, Peer], sizes: Sequence[int]) -> None:
    """Measure each size; note figures, and the ratios at 100."""
    for size in sizes:
        if size != MAIN_SIZE:
            peers = {key: peer for key, peer in peers.items() if key not in MAIN_LIMITS}
        figures = _measure(run, peers, [ROOM], [[ROOM]] * (size - 1), size)
        run.note_figures(WORK, str(size), figures)
        if size == MAIN_SIZE:
            for name, theirs in RATIOS.items():
                run.result_ratio(f"fanout100_vs_{name}", figures, "simple_chat", theirs)


def run_many(run: Run, peers: Mapping[str, Peer]) -> None:
    """1,000 rooms with ten followers each; each sink follows a hundred of them."""
    peers = {key: peer for key, peer in peers.items() if key not in LIMITS}  # they know no rooms
    rooms = [f"r{index:04}" for index in range(MANY)]
    per_room = MANY_FOLLOWERS - 1
    followed: list[list[str]] = [[] for _ in range(MANY_SINKS)]
    for index in range(MANY * per_room):
        followed[index % MANY_SINKS].append(rooms[index // per_room])
    figures = _measure(run, peers, rooms, followed, MANY_FOLLOWERS)
    run.note_figures("many_rooms", f"{MANY}x{MANY_FOLLOWERS}", figures)


LIMITS = frozenset({"zmq_1", "zmq_20", "zmq_400", "zmq_curve_1", "zmq_curve_20", "copy"})
RATIOS = {
    "redis": ["redis"],
    "redis_tls": ["redis_tls"],
    "nats": ["nats"],
    "nats_tls": ["nats_tls"],
    "ngircd": ["ngircd"],
    "mosquitto": ["mosquitto"],
    "limit": ["zmq_1", "zmq_20", "zmq_400"],
    "curve_limit": ["zmq_curve_1", "zmq_curve_20"],
}


def _measure(
    run: Run, peers: Mapping[str, Peer], rooms: list[str], followed: list[list[str]], fan: int
) -> dict[str, Figure]:
    """All peers are set up, and then loaded in turn, round by round: what else the machine does hits all."""
    setups: list[_Setup] = []
    samples: dict[str, list[Sample]] = {}
    try:
        for peer in peers.values():
            try:
                setups.append(_set_up(run, peer, rooms, followed, fan))
            except Exception as error:
                run.trouble(f"{peer.title}, fan-out to {fan}", error)
        for number in range(run.rounds if fan == MAIN_SIZE or run.quick else FEW_ROUNDS):
            for setup in list(setups):
                try:
                    seconds = QUICK_ROUND_S if run.quick else ROUND_S if fan == MAIN_SIZE else SHORT_ROUND_S
                    sample = _round(setup, seconds, is_warm=number > 0)
                    samples.setdefault(setup.peer.key, []).append(sample)
                except Exception as error:
                    run.trouble(f"{setup.peer.title}, fan-out to {fan}", error)
                    setups.remove(setup)
                    setup.close()
                    samples.pop(setup.peer.key, None)
    finally:
        for setup in setups:
            setup.close()
    figures = {key: figure(some) for key, some in samples.items()}
    for key, one in figures.items():
        run.say(
            f"{peers[key].title:41} to {fan:5}: {one.per_s / 1e6:7.3f} M deliveries/s, "
            f"{one.cpu_us:.3f} µs each, server {one.server_busy:4.0%} load {one.load_busy:4.0%} "
            f"{one.peak_mib:5.0f} MiB" + (f", LOST {one.lost:.2%}" if one.lost else "")
        )
    return figures


def _set_up(run: Run, peer: Peer, rooms: list[str], followed: list[list[str]], fan: int) -> _Setup:
    target = peer.fan_out(run.place, rooms)
    core = run.place.load_core
    sinks: Sinks | None = None
    try:
        sinks = Sinks(target.subscribe, followed, core)
        setup = _Setup(peer, target, sinks, Driver(target.opening, core, sinks.shared, sinks.count), fan)
    except BaseException:
        if sinks is not None:
            sinks.close()
        target.close()
        raise
    sinks.settle()
    return setup


def _round(setup: _Setup, seconds: float, *, is_warm: bool) -> Sample:
    if not is_warm:
        setup.driver.round(seconds / 3, setup.target.window_to(setup.fan))
        _wait(setup.sinks, 0.05)
    before, server, sink = setup.sinks.counts(), setup.target.server.cpu_s, setup.sinks.cpu_s
    done = setup.driver.round(seconds, setup.target.window_to(setup.fan))
    owed = done.owed_bytes * (setup.fan - 1)
    give_up = time.monotonic() + LAST_BYTES_S
    while (missing := _missing(setup, before, done.owed_bytes)) and time.monotonic() < give_up:
        time.sleep(0.02)
    ended = max(done.ended_s, setup.sinks.last_s if setup.sinks.count and not missing else 0.0)
    lost_lines = (done.published - done.lines) / max(1, done.published)
    return Sample(
        units=done.lines * setup.fan * (1 - missing / max(1, owed)),
        wall_s=ended - done.begun_s,
        server_cpu_s=setup.target.server.cpu_s - server,
        load_cpu_s=done.cpu_s + setup.sinks.cpu_s - sink,
        lost=max(missing / max(1, owed), lost_lines),
        peak_kib=setup.target.server.peak_kib,
        notes=done.notes,
    )


def _missing(setup: _Setup, before: list[int], owed_bytes: int) -> int:
    """Bytes that the sinks have not received of what the reader has. In one room all get the same; in many
    a sink follows a tenth of the rooms, in turn, and so a tenth of the bytes, within a round of the rooms."""
    counts = setup.sinks.counts()
    if len(counts) == setup.fan - 1:
        return sum(max(0, owed_bytes - (now - then)) for then, now in zip(before, counts, strict=True))
    owed = owed_bytes * (setup.fan - 1)
    return max(0, owed - (sum(counts) - sum(before)))


def _wait(sinks: Sinks, quiet_s: float) -> None:
    sinks.settle(quiet_s)
