"""The proof that hostile peers cost honest people nothing they notice.

One broker, three honest people who talk all the time, and one attack after the other. Each attack has an
outcome of its own, and besides: the broker lives, its memory stays below a ceiling, no honest line is lost,
doubled, disordered or forged, no honest link breaks, and none waits longer than people notice.

    python -m tests.proof.hostile MINUTES SEED
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chat_broker.guard import COMMAND_AHEAD_TOTAL_MAX
from tests.proof.arena import Arena, arena
from tests.proof.attackers import ATTACKS
from tests.proof.honest import History
from tests.proof.results import Proof

QUIET_S = 3.0
AFTER_S = 0.5  # an attack's wake belongs to it
NOTICED_S = 2.0  # an honest p99 above this is a violation, however busy the machine
MEMORY_MIB_MAX = (COMMAND_AHEAD_TOTAL_MAX >> 20) + 128.0  # above what there was before
PROMISE = "an attacker without a key, or a member who turns hostile, costs honest users nothing they notice"


@dataclass
class Window:
    """One attack of one round: when it was, and what was seen of the broker."""

    attack: str
    begin: float
    end: float
    wrong: list[str]
    peak_mib: float = 0.0
    grown_mib: float = 0.0
    cuts: int = 0


def run(minutes: float, seed: int) -> list[Proof]:
    """All attacks, each round harder and on a new broker, for about so many minutes; at least one round."""
    proofs: dict[str, Proof] = {}
    until, effort = time.monotonic() + minutes * 60, 1
    while effort == 1 or time.monotonic() < until:
        with tempfile.TemporaryDirectory() as folder:
            for proof in attack_once(Path(folder) / "arena", seed + effort - 1, effort=min(effort, 10)):
                _add(proofs, proof)
        effort += 1
    return list(proofs.values())


def attack_once(folder: Path, seed: int, *, effort: int = 1, attacks: Iterable[str] = ATTACKS) -> list[Proof]:
    """Every attack once, in one arena."""
    with arena(folder, seed) as one:
        quiet = one.now(), one.now() + QUIET_S
        time.sleep(QUIET_S)
        windows = [_attack(one, name, effort) for name in attacks]
        if not one.broker.runs:
            return [_proof(window, seed, History(), quiet) for window in windows]
        history = one.end()
        return [_proof(window, seed, history, quiet) for window in windows]


def _attack(one: Arena, name: str, effort: int) -> Window:
    if not one.broker.runs:
        return Window(name, one.now(), one.now(), ["the broker had died before"])
    one.forget_peak()
    before, cuts = one.memory_mib("VmRSS"), one.cuts
    window = Window(name, one.now(), 0.0, [])
    try:
        window.wrong = ATTACKS[name](one, effort)
    except (AssertionError, OSError) as error:
        window.wrong = ["".join(traceback.format_exception(error)[-3:])]
    finally:
        one.close_attackers()
    time.sleep(AFTER_S)
    window.end = one.now()
    if not one.broker.runs:
        window.wrong.append(f"the broker died: {one.broker.err[-500:]}")
        return window
    window.peak_mib = one.memory_mib("VmHWM")
    window.grown_mib, window.cuts = window.peak_mib - before, one.cuts - cuts
    if "Traceback" in one.broker.err:
        window.wrong.append(f"the broker wrote a traceback: {one.broker.err[-1_000:]}")
    return window


def _proof(window: Window, seed: int, history: History, quiet: tuple[float, float]) -> Proof:
    begin, end = window.begin, window.end
    latencies, at_rest = history.latencies(begin, end), history.latencies(*quiet)
    wrong = list(window.wrong)
    if not latencies:
        wrong.append("no honest line was seen meanwhile")
    elif (p99 := _p99(latencies)) > NOTICED_S:
        wrong.append(f"an honest line took {p99:.2f} s (p99)")
    if window.grown_mib > MEMORY_MIB_MAX:
        wrong.append(f"the broker grew by {window.grown_mib:.0f} MiB")
    wrong += [f"{name} went offline" for name, when in history.offline if begin <= when < end]
    wrong += [f"an honest line failed: {text}" for text in history.failed]
    wrong += [f"a forged line was seen: {text}" for text in history.forged()]
    return Proof(
        promise=PROMISE,
        test=f"hostile: {window.attack.replace('_', ' ')}",
        repeat=f"python -m tests.proof.hostile 0 {seed}",
        runs=1,
        violations=[f"{window.attack}, seed {seed}: {what}" for what in wrong],
        figures={
            "attack_s": round(end - begin, 1),
            "broker_peak_mib": round(window.peak_mib, 1),
            "broker_grew_mib": round(window.grown_mib, 1),
            "connections_cut": window.cuts,
            "honest_p99_ms": round(_p99(latencies) * 1_000, 1),
            "honest_p99_quiet_ms": round(_p99(at_rest) * 1_000, 1),
        },
        **history.counts(begin, end),
    )


def _p99(latencies: list[float]) -> float:
    return latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))] if latencies else 0.0


def _add(proofs: dict[str, Proof], one: Proof) -> None:
    """Join a further run to those before: counts add up, of figures the largest stays."""
    if (all_runs := proofs.setdefault(one.test, one)) is one:
        return
    for count in ("runs", "acknowledged", "lost", "doubled", "disordered"):
        setattr(all_runs, count, getattr(all_runs, count) + getattr(one, count))
    all_runs.violations += one.violations
    for name, figure in one.figures.items():
        all_runs.figures[name] = max(all_runs.figures[name], figure, key=float)


if __name__ == "__main__":
    found = run(float(sys.argv[1]), int(sys.argv[2]))
    for proof in found:
        print(proof.test, json.dumps(proof.figures), *proof.violations, sep="\n    ")
    sys.exit(not all(proof.holds for proof in found))
