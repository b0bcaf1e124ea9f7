"""Hostile peers, the short versions: every attack once against one broker, honest people beside it."""

from __future__ import annotations

import random
import sys

import pytest

from tests.proof.attackers import ATTACKS
from tests.proof.fuzz_codec import CORPUS, mutate, one_input
from tests.proof.honest import PEOPLE, History
from tests.proof.hostile import attack_once
from tests.proof.results import Proof

SEED = 1

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and the guard watches only on Linux"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Proof]:
    folder = tmp_path_factory.mktemp("hostile") / "arena"
    return {proof.test: proof for proof in attack_once(folder, SEED)}


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_honest_people_notice_nothing(proofs: dict[str, Proof], attack: str) -> None:
    proof = proofs[f"hostile: {attack.replace('_', ' ')}"]
    assert proof.holds, proof
    assert proof.acknowledged


def test_the_codec_survives_mutations() -> None:
    rng = random.Random(SEED)
    for _ in range(5_000):
        one_input(mutate(rng.choice(CORPUS), rng))


def test_the_watch_bites() -> None:
    """A history with one line lost, one twice, two out of order, and one forged is told as such."""
    ann, bea, cyd = PEOPLE
    said = [f"{ann} {number}" for number in range(4)]
    history = History(
        sent={text: 1.0 + n for n, text in enumerate(said)},
        stored={text: n + 1 for n, text in enumerate(said)},
        seen={
            ann: [(ann, text, n + 1, 6.0) for n, text in enumerate(said)],
            bea: [(ann, said[n], n + 1, 6.0) for n in (0, 1, 1, 2)],
            cyd: [(ann, said[n], n + 1, 6.0) for n in (0, 2, 1, 3)] + [(bea, f"{bea} 9", 5, 7.0)],
        },
    )
    assert history.counts(0.0, 9.0) == {"acknowledged": 4, "lost": 1, "doubled": 1, "disordered": 2}
    assert history.forged() == [f"{bea}: {bea} 9"]
    assert history.latencies(0.0, 9.0)[-1] == 5.0
