"""`python -m bench`: measure, and say what came out."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from bench import machine
from bench.peers.everyone import peers
from bench.peers.peer import Peer, Place
from bench.run import Run
from bench.tls import make_certificate
from bench.work import client, clients, fanout, growth, ingest, latency, send

WORKS: dict[str, Callable[[Run, dict[str, Peer]], None]] = {
    "fanout100": lambda run, some: fanout.run(run, some, (100,)),
    "fanout": lambda run, some: fanout.run(run, some, (1, 10, 1_000)),
    "many_rooms": fanout.run_many,
    "ingest": lambda run, _: ingest.run(run),
    "latency": lambda run, _: latency.run(run),
    "client": lambda run, _: client.run(run),
    "clients": lambda run, _: clients.run(run),
    "growth": lambda run, _: growth.run(run),
    "send": lambda run, _: send.run(run),
}


@click.command()
@click.option("--quick", is_flag=True, help="Rough figures, in under a minute.")
@click.option("--only", "works", multiple=True, type=click.Choice(list(WORKS)), help="What to measure.")
@click.option("--peer", "chosen", multiple=True, help="Whom to measure: keys such as simple_chat, redis_tls.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(), help="On the disk that servers use."
)
@click.option("--json", "raw", type=click.Path(path_type=Path), default=None, help="Write raw results there.")
def main(
    quick: bool, works: tuple[str, ...], chosen: tuple[str, ...], folder: Path, raw: Path | None
) -> None:
    """Measure Simple Chat beside its peers, one after another on the same two cores."""
    cores = machine.cores()
    machine.pin(cores.load)
    if not cores.are_apart:
        click.echo("bench: there is one core only, so servers and load disturb each other", err=True)
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=folder) as name:
        root = Path(name).resolve()
        place = Place(root, cores.server, cores.load, make_certificate(root / "tls"))
        run = Run(place, quick, frozenset(chosen))
        everyone = run.chosen(peers())
        for peer in everyone.values():
            if (why := peer.missing()) is not None:
                run.say(f"not measured: {why}")
                run.troubles.append(f"not measured: {why}")
        present = {key: peer for key, peer in everyone.items() if peer.missing() is None}
        for work in works or WORKS:
            WORKS[work](run, present)
    if raw is not None:
        raw.write_text(json.dumps({"results": run.results, "named": run.named}, indent=1) + "\n")
    for name, value in run.named.items():
        print(f"RESULT {name}={value:g}")
    sys.exit(1 if any("not measured" not in one for one in run.troubles) else 0)


if __name__ == "__main__":
    main()
