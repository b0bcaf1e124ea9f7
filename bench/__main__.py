"""`python -m bench`: measure, say what came out, and with --write put it into docs/performance.md."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bench import machine, report
from bench.peers.everyone import peers, stores, titles
from bench.peers.peer import Named, Peer, Place
from bench.run import Run
from bench.tls import make_certificate
from bench.versions import versions
from bench.work import client, clients, fanout, growth, ingest, latency, send

DOCS = Path(__file__).parent.parent / "docs"
RAW = "performance.json"
PAGE = "performance.md"
PLOTS = "performance"

WORKS: dict[str, Callable[[Run, dict[str, Peer]], None]] = {
    "fanout100": lambda run, some: fanout.run(run, some, (100,)),
    "ingest": lambda run, _: ingest.run(run),
    "latency": lambda run, _: latency.run(run),
    "clients": lambda run, _: clients.run(run),
    "client": lambda run, _: client.run(run),
    "send": lambda run, _: send.run(run),
    "fanout": lambda run, some: fanout.run(run, some, (1, 10, 1_000)),
    "many_rooms": fanout.run_many,
    "growth": lambda run, _: growth.run(run),
}
QUICK_WORKS = ("fanout100", "ingest", "latency", "clients", "client", "send")
QUICK_PEERS = frozenset(
    {"simple_chat", "redis_tls", "nats_tls", "ngircd", "zmq_400"}
    | {"simple_chat_single", "redis_aof_always", "jetstream", "fsync"}
)


@click.command()
@click.option("--quick", is_flag=True, help="Rough figures of the most important, in under a minute.")
@click.option("--only", "works", multiple=True, type=click.Choice(list(WORKS)), help="What to measure.")
@click.option("--peer", "chosen", multiple=True, help="Whom: keys such as simple_chat, redis_tls.")
@click.option(
    "--folder", type=click.Path(path_type=Path, exists=True), default=Path(), help="On a disk, not in memory."
)
@click.option("--json", "raw", type=click.Path(path_type=Path), default=None, help="Raw results go there.")
@click.option(
    "--write", is_flag=True, help="Bring docs/performance.* up to date; what is not measured stays."
)
@click.option(
    "--render", is_flag=True, help="Measure nothing: write docs/performance.md from the raw results."
)
def main(
    quick: bool,
    works: tuple[str, ...],
    chosen: tuple[str, ...],
    folder: Path,
    raw: Path | None,
    write: bool,
    render: bool,
) -> None:
    """Measure Simple Chat beside its peers, one after another on the same two cores."""
    if render:
        _write(_known(DOCS / RAW))
        return
    cores = machine.cores()
    about = machine.describe(folder.resolve())
    machine.pin(cores.load)
    if not cores.are_apart:
        click.echo("bench: there is one core only, so servers and load disturb each other", err=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=folder) as name:
        root = Path(name).resolve()
        place = Place(root, cores.server, cores.load, make_certificate(root / "tls"))
        run = Run(place, quick, frozenset(chosen) or (QUICK_PEERS if quick else frozenset()))
        everyone = run.chosen(peers())
        _name_missing(run, [*everyone.values(), *run.chosen(stores()).values()])
        present = {key: peer for key, peer in everyone.items() if peer.missing() is None}
        for work in works or (QUICK_WORKS if quick else tuple(WORKS)):
            try:
                WORKS[work](run, present)
            except Exception as error:
                run.trouble(work, error)
    run.say(f"took {time.monotonic() - begun:.0f} s")
    data: dict[str, Any] = {"machine": about, "versions": versions(), "troubles": run.troubles}
    data |= {"results": run.results, "named": run.named}
    if raw is not None:
        raw.write_text(_dumped(data))
    if write:
        _write(_merged(_known(DOCS / RAW), data))
    for what, value in run.named.items():
        print(f"RESULT {what}={value:g}")
    sys.exit(1 if any(not one.startswith(_NOT_MEASURED) for one in run.troubles) else 0)


_NOT_MEASURED = "not measured: "


def _name_missing(run: Run, everyone: list[Named]) -> None:
    for why in dict.fromkeys(peer.missing() for peer in everyone):
        if why is not None:
            run.say(_NOT_MEASURED + why)
            run.troubles.append(_NOT_MEASURED + why)


def _known(path: Path) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return known


def _merged(known: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """New figures beside those of an earlier run that this one did not take."""
    merged = known | data
    merged["named"] = known.get("named", {}) | data["named"]
    merged["results"] = {
        work: known.get("results", {}).get(work, {}) | data["results"].get(work, {})
        for work in {**known.get("results", {}), **data["results"]}
    }
    return merged


def _write(data: dict[str, Any]) -> None:
    from bench import plots  # needs matplotlib, and only this does

    (DOCS / RAW).write_text(_dumped(data))
    plots.draw(data["results"], titles(), sorted(fanout.LIMITS), DOCS / PLOTS)
    page = DOCS / PAGE
    page.write_text(report.fill(page.read_text(), report.parts(data, titles())))


def _dumped(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
