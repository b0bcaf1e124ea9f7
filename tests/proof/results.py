"""What a proof found: its runs, violations and figures, as `make prove` reports them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Proof:
    """One promise, put to the test.

    `violations` are sentences that name what was broken and how to see it again; `repeat` is the command
    for that. The counts are of lines over all runs; `figures` are whatever else was measured, by name with
    its unit (`repair_p99_s`).
    """

    promise: str
    test: str
    repeat: str
    runs: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    leaked: int = 0
    violations: list[str] = field(default_factory=list)
    figures: dict[str, float | int | str] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return not (self.violations or self.lost or self.doubled or self.disordered or self.leaked)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
