"""The chat on bad networks, in short: every scenario of `network.py` once, all worlds side by side."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.proof.network import LANES, plan_for, run_lane
from tests.proof.network_record import Record, Row, Window
from tests.proof.network_world import what_is_missing
from tests.proof.results import Proof

pytestmark = pytest.mark.timeout(180)  # the first test waits for all lanes, on a machine that may be busy
SEED = 1


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[list[Proof]]]:
    """Every lane, run. Where that cannot be: a skip, or with CI=true a failure."""
    if missing := what_is_missing():
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    plan, folder = plan_for(0, SEED), tmp_path_factory.mktemp("worlds")
    with ThreadPoolExecutor(len(LANES)) as threads:
        return {lane: threads.submit(run_lane, lane, Path(folder, lane), plan) for lane in LANES}


@pytest.mark.parametrize("lane", LANES)
def test_holds_on_bad_networks(lanes: dict[str, Future[list[Proof]]], lane: str) -> None:
    for proof in lanes[lane].result():
        assert proof.holds, proof
        assert proof.acknowledged > 0


def _row(t: float, what: str, **more: object) -> Row:
    return {"t": t, "what": what, **more}


def _logs() -> dict[str, list[Row]]:
    """Alice says two lines, one of them during a fault from 2 to 10; both see both."""
    shown = [
        _row(1.1, "shown", seq=1, sender="alice", text="alice 1"),
        _row(12.0, "shown", seq=2, sender="alice", text="alice 2"),
    ]
    alice = [
        _row(1.0, "said", text="alice 1"),
        _row(1.1, "stored", text="alice 1", seq=1),
        _row(3.0, "said", text="alice 2"),
        _row(9.0, "link", link="offline"),
        _row(11.0, "link", link="live"),
        _row(11.5, "stored", text="alice 2", seq=2),
    ]
    return {"alice": [*alice, *shown], "bob": shown}


def _judged(logs: dict[str, list[Row]]) -> tuple[int, int, int, int]:
    proof = Proof("", "", "")
    Record(logs).judge(proof)
    return proof.acknowledged, proof.lost, proof.doubled, proof.disordered


def test_a_record_measures_notice_and_repair() -> None:
    record = Record(_logs())
    assert record.is_level(20.0)
    assert record.notice_s("alice", 2.0) == 7.0
    assert record.notice_s("bob", 2.0) is None
    assert record.repair_s(Window(2.0, 10.0)) == 2.0
    assert record.healed_s("alice", 2.0) == 10.0
    assert record.latencies("bob", Window(2.0, 10.0)) == [9.0]


def test_a_record_finds_what_was_lost_doubled_or_disordered() -> None:
    assert _judged(_logs()) == (2, 0, 0, 0)
    first, second = _logs()["bob"]
    assert _judged(_logs() | {"bob": [first]}) == (2, 1, 0, 0)
    assert not Record(_logs() | {"bob": [first]}).is_level(20.0)
    assert _judged(_logs() | {"bob": [first, first, second]}) == (2, 0, 1, 0)
    assert _judged(_logs() | {"bob": [first, second, second | {"seq": 3}]}) == (2, 0, 1, 1)
    assert _judged(_logs() | {"bob": [first | {"text": "alice 0"}, first, second]}) == (2, 0, 2, 0)
    assert _judged(_logs() | {"bob": [second, first]})[3] == 2
