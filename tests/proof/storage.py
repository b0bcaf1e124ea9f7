"""The promises about storage, each put to the test for as long as one likes.

`python -m tests.proof.storage MINUTES [SEED]` runs all of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from tests.proof.results import Proof
from tests.proof.storage_backups import prove_backups
from tests.proof.storage_damage import prove_damage
from tests.proof.storage_full import prove_full_disk
from tests.proof.storage_kills import prove_kills
from tests.proof.storage_power import prove_power_cuts

__all__ = ["prove_backups", "prove_damage", "prove_full_disk", "prove_kills", "prove_power_cuts", "run"]

#: Each proof and its part of the time.
PARTS: tuple[tuple[Callable[..., Proof], float], ...] = (
    (prove_kills, 0.45),
    (prove_power_cuts, 0.2),
    (prove_full_disk, 0.1),
    (prove_damage, 0.15),
    (prove_backups, 0.1),
)


def run(minutes: float, seed: int) -> list[Proof]:
    """All proofs, one after the other, in about so many minutes."""
    return [prove(seed=seed, seconds=60 * minutes * part) for prove, part in PARTS]


def main(minutes: float, seed: int) -> int:
    """Print what was found; the exit code is 0 if everything holds."""
    proofs = run(minutes, seed)
    print(json.dumps([proof.as_dict() for proof in proofs], indent=2))
    return 0 if all(proof.holds for proof in proofs) else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
