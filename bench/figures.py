"""Pure: rounds to figures, and figures of two peers to a ratio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median


@dataclass(frozen=True)
class Sample:
    """One round of one peer. `units` is what was done: deliveries, lines stored, pages."""

    units: float
    wall_s: float
    server_cpu_s: float
    load_cpu_s: float
    lost: float = 0.0  # share of the units that did not arrive
    peak_kib: int = 0
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def per_s(self) -> float:
        return self.units / self.wall_s if self.wall_s > 0 else 0.0


@dataclass(frozen=True)
class Figure:
    """The rounds of one peer as they are reported: medians, and each round's rate for the curious."""

    per_s: float
    cpu_us: float  # of the server, for each unit
    server_busy: float  # share of its core
    load_busy: float
    lost: float
    peak_mib: float
    rounds: list[float]
    notes: dict[str, float]


def figure(samples: Sequence[Sample]) -> Figure:
    notes = {name: median(sample.notes.get(name, 0.0) for sample in samples) for name in samples[0].notes}
    return Figure(
        per_s=median(sample.per_s for sample in samples),
        cpu_us=median(sample.server_cpu_s / max(1.0, sample.units) * 1e6 for sample in samples),
        server_busy=median(sample.server_cpu_s / sample.wall_s for sample in samples),
        load_busy=median(sample.load_cpu_s / sample.wall_s for sample in samples),
        lost=max(sample.lost for sample in samples),
        peak_mib=max(sample.peak_kib for sample in samples) / 1024,
        rounds=[sample.per_s for sample in samples],
        notes=notes,
    )


def as_json(one: Figure) -> dict[str, object]:
    return {name: rounded(value) for name, value in asdict(one).items()}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Rounds taken in turn, ours beside theirs: the median of what each pair says."""
    pairs = [one / other for one, other in zip(ours, theirs, strict=True) if other > 0]
    return median(pairs) if pairs else math.nan


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def rounded(value: object) -> object:
    """Four digits are more than any of this is exact to."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return value
