"""`make prove`: puts every promise to the test for as long as it is given, and writes down what came out.

    python -m tests.proof MINUTES [--seed N] [--only simulation,storage,network,hostile,soak]

The soak takes all of the time, in a process of its own; the other parts share it, one after the other.
Writes docs/reliability.md and docs/reliability.json. The last line on stdout is the sum; the exit status
is 0 only if nothing was lost, doubled, disordered, leaked or otherwise violated.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from chat_client.events import Stored
from tests.proof import hostile, network, soak, storage
from tests.proof.results import Proof
from tests.simulation.world import World

DOCS = Path(__file__).parents[2] / "docs"
LIBRARIES = ("pyzmq", "apsw", "msgspec", "cryptography")


def simulate(minutes: float, seed: int) -> list[Proof]:
    """Run seeds, one after the other, until the time is up."""
    proof = Proof(
        promise="every acknowledged line survives and is shown exactly once, in one order, to those who may "
        "read it; after the last fault all is right within 60 s",
        test="simulation",
        repeat="make simulate SEED=…",
    )
    until = time.monotonic() + minutes * 60
    slowest_s = 0.0
    while time.monotonic() < until:
        try:
            world = World(seed).run()
            outcomes = world.history.outcomes.values()
            proof.acknowledged += sum(isinstance(outcome, Stored) for outcome in outcomes)
            slowest_s = max(slowest_s, world.converged_after)
        except Exception as error:
            proof.violations.append(f"seed {seed}: {error}")
        proof.runs += 1
        seed += 1
    proof.figures = {"last_seed": seed - 1, "slowest_to_converge_s": round(slowest_s, 1)}
    return [proof]


#: What is run, and how the parts that take turns share the time.
PARTS: dict[str, tuple[Callable[[float, int], list[Proof]], float]] = {
    "simulation": (simulate, 0.25),
    "storage": (storage.run, 0.35),
    "network": (network.run, 0.2),
    "hostile": (hostile.run, 0.2),
}
SOAK = "soak"  # a steady trickle, which takes the whole time beside them


def main() -> int:
    parser = argparse.ArgumentParser(prog="make prove")
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join((*PARTS, SOAK)))
    options = parser.parse_args()
    chosen = [name for name in options.only.split(",") if name]
    unknown = [name for name in chosen if name not in PARTS and name != SOAK]
    if unknown:
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)} and {SOAK}")
    proofs = prove(chosen, options.minutes, options.seed)
    if {*PARTS, SOAK} <= set(chosen):
        write(proofs, options.minutes, options.seed)
    for proof in proofs:
        for violation in proof.violations:
            print(f"VIOLATION {proof.test}: {violation}", flush=True)
    print(summary(proofs))
    return 0 if all(proof.holds for proof in proofs) else 1


def prove(chosen: list[str], minutes: float, seed: int) -> list[Proof]:
    """Run the chosen parts in about so many minutes."""
    # A process of its own: how much memory its clients hold is one of the things it watches.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as beside:
        soaking = beside.submit(soak.run, minutes, seed) if SOAK in chosen else None
        if soaking:
            print(f"proving {SOAK} for {minutes:g} min, beside what follows", flush=True)
        proofs: list[Proof] = []
        turns = [name for name in chosen if name in PARTS]
        share = sum(PARTS[name][1] for name in turns)
        for name in turns:
            run, part = PARTS[name]
            print(f"proving {name} for about {minutes * part / share:.1f} min", flush=True)
            proofs += run(minutes * part / share, seed)
        return proofs + (soaking.result() if soaking else [])


def summary(proofs: list[Proof]) -> str:
    """The last line: all counts over all proofs."""
    counts = {
        name: sum(getattr(proof, name) for proof in proofs)
        for name in ("acknowledged", "lost", "doubled", "disordered", "leaked")
    }
    counts["violations"] = sum(len(proof.violations) for proof in proofs)
    return " ".join(f"{name}={count}" for name, count in counts.items())


def write(proofs: list[Proof], minutes: float, seed: int) -> None:
    """The report for people, and the raw results beside it."""
    commit = at_commit()  # before the reports themselves are changes
    machine: dict[str, object] = {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        **{name: version(name) for name in LIBRARIES},
    }
    raw = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "minutes": minutes,
        "seed": seed,
        "machine": machine,
        "proofs": [proof.as_dict() for proof in proofs],
    }
    (DOCS / "reliability.json").write_text(json.dumps(raw, indent=1) + "\n")
    (DOCS / "reliability.md").write_text(report(proofs, minutes, seed, commit, machine))


def at_commit() -> str:
    """What was put to the test, as git calls it."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=DOCS, capture_output=True, text=True, check=False).stdout.strip()


def report(proofs: list[Proof], minutes: float, seed: int, commit: str, machine: dict[str, object]) -> str:
    lines = [
        "# What is promised, and what came out when it was put to the test",
        "",
        f"Written by `make prove MINUTES={minutes:g} SEED={seed}` on {datetime.now(UTC):%Y-%m-%d} "
        f"at commit {commit}, on "
        + ", ".join(f"{name} {value}" for name, value in machine.items())
        + ". Raw results: [reliability.json](reliability.json).",
        "",
        "| promise | test | runs | acknowledged | lost | doubled | disordered | leaked | violations |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for proof in proofs:
        counts = (proof.acknowledged, proof.lost, proof.doubled, proof.disordered, proof.leaked)
        lines.append(
            f"| {proof.promise} | {proof.test} | {proof.runs} | "
            + " | ".join(f"{count:,}" for count in counts)
            + f" | {len(proof.violations)} |"
        )
    lines += ["", f"In all: `{summary(proofs)}`.", "", "## Figures", ""]
    for proof in proofs:
        lines += [f"**{proof.test}** (again: `{proof.repeat}`)", ""]
        lines += [f"- {name}: {figure}" for name, figure in proof.figures.items()]
        lines += [f"- violation: {violation}" for violation in proof.violations]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
