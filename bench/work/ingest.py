"""Ingest: lines a second that a server stores and acknowledges, fast publishers pipelining them."""

from __future__ import annotations

from bench.driver import Driver
from bench.figures import Figure, Sample, figure
from bench.peers.everyone import stores
from bench.peers.peer import Store, Storing
from bench.run import Run

WORK = "ingest"
ROUND_S = 2.0
QUICK_ROUND_S = 0.7

RATIOS = {
    "ingest_vs_redis_aof_always": ("simple_chat", "redis_aof_always"),
    "ingest_vs_redis_aof_everysec": ("simple_chat", "redis_aof_everysec"),
    "ingest_vs_jetstream": ("simple_chat", "jetstream"),
    "ingest_vs_jetstream_sync": ("simple_chat", "jetstream_sync"),
    "ingest_single_vs_redis_aof_always": ("simple_chat_single", "redis_aof_always"),
}


def run(run: Run) -> None:
    """Measure everyone in turn; note figures and ratios."""
    figures = measure(run, {key: one for key, one in run.chosen(stores()).items() if one.missing() is None})
    run.note_figures(WORK, "acknowledged", figures)
    for name, (ours, theirs) in RATIOS.items():
        run.result_ratio(name, figures, ours, [theirs])


def measure(run: Run, everyone: dict[str, Storing]) -> dict[str, Figure]:
    setups: list[tuple[Storing, Store, Driver]] = []
    samples: dict[str, list[Sample]] = {}
    try:
        for peer in everyone.values():
            try:
                store = peer.ingest(run.place)
                try:
                    setups.append((peer, store, Driver(store.opening, run.place.load_core)))
                except BaseException:
                    store.server.stop()
                    raise
            except Exception as error:
                run.trouble(f"{peer.title}, ingest", error)
        for number in range(run.rounds):
            for peer, store, driver in setups:
                try:
                    seconds = QUICK_ROUND_S if run.quick else ROUND_S
                    if not number:
                        driver.round(seconds / 3, store.window)
                    samples.setdefault(peer.key, []).append(_round(store, driver, seconds))
                except Exception as error:
                    run.trouble(f"{peer.title}, ingest", error)
    finally:
        for _, store, driver in setups:
            driver.close()
            store.server.stop()
    figures = {key: figure(some) for key, some in samples.items() if len(some) == run.rounds}
    for key, one in figures.items():
        run.say(
            f"{everyone[key].title:38} {one.per_s / 1e3:7.1f} k lines/s, {one.cpu_us:6.2f} µs of CPU each, "
            f"server {one.server_busy:4.0%} load {one.load_busy:4.0%} {one.peak_mib:5.0f} MiB"
        )
    return figures


def _round(store: Store, driver: Driver, seconds: float) -> Sample:
    cpu = store.server.cpu_s
    done = driver.round(seconds, store.window)
    return Sample(
        units=done.lines,
        wall_s=done.ended_s - done.begun_s,
        server_cpu_s=store.server.cpu_s - cpu,
        load_cpu_s=done.cpu_s,
        lost=(done.published - done.lines) / max(1, done.published),
        peak_kib=store.server.peak_kib,
    )
