"""One run of the benchmark: where it runs, who takes part, and what was found so far."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from bench.figures import Figure, as_json, ratio, rounded
from bench.peers.peer import Place
from bench.server import BenchError

T = TypeVar("T")
Results = dict[str, dict[str, object]]  # work -> figure -> value, or a table of them


@dataclass
class Run:
    """`quick` asks for rough figures in little time. `only` names peers if not all take part."""

    place: Place
    quick: bool = False
    only: frozenset[str] = frozenset()
    results: Results = field(default_factory=dict)
    named: dict[str, float] = field(default_factory=dict)  # the RESULT lines
    troubles: list[str] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        return 2 if self.quick else 5

    def chosen(self, peers: Mapping[str, T]) -> dict[str, T]:
        """Those of the peers that take part."""
        return {key: peer for key, peer in peers.items() if not self.only or key in self.only}

    def say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def note(self, work: str, name: str, value: object) -> None:
        """A value of the report."""
        self.results.setdefault(work, {})[name] = rounded(value)

    def note_figures(self, work: str, name: str, figures: Mapping[str, Figure]) -> None:
        self.note(work, name, {key: as_json(one) for key, one in figures.items()})

    def result(self, name: str, value: float) -> None:
        """A RESULT line."""
        self.named[name] = float(f"{value:.4g}")

    def result_ratio(
        self, name: str, figures: Mapping[str, Figure], ours: str, theirs: Iterable[str]
    ) -> None:
        """The ratio of ours to the best of theirs, if both were measured."""
        others = [figures[key] for key in theirs if key in figures]
        if ours in figures and others:
            best = max(others, key=lambda one: one.per_s)
            self.result(name, ratio(figures[ours].rounds, best.rounds))

    def trouble(self, what: str, error: Exception) -> None:
        """Something could not be measured; the rest goes on."""
        if not isinstance(error, BenchError | OSError):
            raise error
        self.say(f"{what}: {error}")
        self.troubles.append(f"{what}: {error}")
