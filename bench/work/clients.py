"""Clients: what each costs the broker, and how soon all are back after it was killed and started again."""

from __future__ import annotations

import resource
import time

from bench import machine
from bench.peers.chat_swarm import Swarm
from bench.peers.connected import kib_per_client
from bench.peers.simple_chat import Broker
from bench.run import Run
from bench.server import BenchError

WORK = "clients"
COUNT = 9_000
FEWER_COUNT = 3_000
QUICK_COUNT = 500
OWN_DESCRIPTORS = 200  # of the broker, beside two for each client
QUICK_QUIET_S = 1.0
QUIET_S = 5.0  # how long idling is looked at
SETTLE_S = 2.0


def run(run: Run) -> None:
    """As many as descriptors allow; if not all of them come in, that is reported, and fewer follow."""
    for count in (QUICK_COUNT,) if run.quick else (min(COUNT, _room_for()), FEWER_COUNT):
        try:
            _measure(run, count)
            return
        except BenchError as error:
            run.trouble(f"{count} clients", error)


def _measure(run: Run, count: int) -> None:
    broker = Broker(run.place.fresh("clients"), run.place.core)
    swarm: Swarm | None = None
    try:
        swarm = Swarm(broker.access, count, run.place.load_core)
        broker.stop()
        broker = broker.again()  # as after an ordinary start, with the accounts there already
        kib, cpu, begun = machine.resident_kib(broker.pid), broker.cpu_s, time.monotonic()
        load = swarm.cpu_s
        swarm.connect()
        came = swarm.all_live(begun)
        connect_s = came.live_s - begun
        time.sleep(SETTLE_S)
        connect_cpu = broker.cpu_s - cpu
        kib = machine.resident_kib(broker.pid) - kib
        idle_cpu, idle_load = broker.cpu_s, swarm.cpu_s
        quiet_s = QUICK_QUIET_S if run.quick else QUIET_S
        time.sleep(quiet_s)
        idle_cpu, idle_load = broker.cpu_s - idle_cpu, swarm.cpu_s - idle_load
        run.note(WORK, "count", count)
        run.note(WORK, "kib_each", kib / count)
        run.note(WORK, "connect_cpu_ms_each", connect_cpu / count * 1e3)
        run.note(WORK, "connect_s", connect_s)
        run.note(WORK, "idle_cpu_us_per_s_each", idle_cpu / quiet_s / count * 1e6)
        run.note(WORK, "idle_load_busy", idle_load / quiet_s)
        run.note(WORK, "connect_load_busy", (swarm.cpu_s - load - idle_load) / (connect_s + SETTLE_S))
        run.say(
            f"{count} clients: {kib / count:.1f} KiB and {connect_cpu / count * 1e3:.2f} ms of CPU each, "
            f"all there after {connect_s:.1f} s; idle {idle_cpu / quiet_s / count * 1e6:.0f} µs/s each"
        )
        run.result("kib_per_client", kib / count)
        bare = kib_per_client(run.place)
        run.note(WORK, "kib_each_libzmq", bare)
        run.say(f"libzmq alone takes {bare:.1f} KiB for the two connections of a client")
        broker = _restart(run, broker, swarm, count)
    finally:
        if swarm is not None:
            swarm.close()
        broker.stop()


def _restart(run: Run, broker: Broker, swarm: Swarm, count: int) -> Broker:
    load, killed = swarm.cpu_s, time.monotonic()
    broker.kill()
    broker = broker.again()
    back = swarm.all_live(broker.begun_s)
    back_s = back.live_s - broker.begun_s
    busy = broker.cpu_s / back_s, (swarm.cpu_s - load) / (back.live_s - killed)
    run.note(WORK, "all_back_s", back_s)
    run.note(WORK, "restart_server_busy", busy[0])
    run.note(WORK, "restart_load_busy", busy[1])
    run.note(WORK, "restart_retries", back.retries)
    run.say(
        f"{count} clients are back {back_s:.1f} s after the start "
        f"(server {busy[0]:.0%}, load {busy[1]:.0%} busy, "
        f"{back.retries} further tries)"
    )
    run.result("restart_all_back_s", back_s)
    return broker


def _room_for() -> int:
    """Clients for whom a broker started from here has descriptors."""
    return int((resource.getrlimit(resource.RLIMIT_NOFILE)[1] - OWN_DESCRIPTORS) // 2)
