"""The promises about storage, each shortly; `SEED` chooses what happens."""

from __future__ import annotations

import os
import random
import shutil
import threading
from contextlib import closing
from pathlib import Path

import pytest

from chat_broker.log import Batch, Result, Stretch
from chat_broker.sqlite_log import SqliteLog
from chat_client.events import Failed
from chat_protocol.codec import pack_lines
from chat_protocol.errors import StorageError
from tests.proof.powercut import SECTOR, Disk
from tests.proof.results import Proof
from tests.proof.storage import prove_backups, prove_damage, prove_full_disk, prove_kills, prove_power_cuts
from tests.proof.storage_talk import Said, Talker, check

SEED = int(os.environ.get("SEED", "1"))
CUTS_TO_BITE = 80


def assert_holds(proof: Proof) -> None:
    assert proof.holds, proof


def test_the_check_finds_what_is_lost_doubled_or_disordered() -> None:
    ann = Talker("ann")
    ann.said["#lobby"] = ["0", "1", "2", "3", "4"]
    ann.places["#lobby"] = {"0": 1, "1": 2, "2": 3, "3": 4}
    ann.failures = [Failed(5, "#lobby", "4", "storage_full", "")]
    sound = [Said(seq, "ann", text) for seq, text in enumerate("0123", 1)]
    proof = Proof("", "", "")
    check(proof, {"#lobby": sound}, [ann])
    assert proof.holds
    assert proof.acknowledged == 4
    shaken = [sound[0], sound[2], sound[1], Said(9, "ann", "0"), Said(10, "ann", "4"), Said(11, "ann", "?")]
    check(proof, {"#lobby": shaken}, [ann])
    assert (proof.lost, proof.doubled, proof.disordered) == (2, 1, 2)  # one is elsewhere, one is gone
    assert len(proof.violations) == 2


def test_kill_9_loses_nothing_that_was_acknowledged() -> None:
    proof = prove_kills(seed=SEED, kills=3)
    assert_holds(proof)
    assert proof.acknowledged > 500


def test_a_power_cut_loses_nothing_that_was_acknowledged() -> None:
    proof = prove_power_cuts(seed=SEED, cuts=40)
    assert_holds(proof)
    assert proof.runs == 40
    assert proof.acknowledged > 1_000


@pytest.mark.parametrize(("synchronous", "heeds_sync"), [("off", True), ("normal", True), ("full", False)])
def test_power_cuts_find_a_log_that_does_not_sync(synchronous: str, heeds_sync: bool) -> None:
    proof = prove_power_cuts(seed=1, cuts=CUTS_TO_BITE, synchronous=synchronous, heeds_sync=heeds_sync)
    assert proof.violations


def test_a_seed_repeats_its_power_cuts() -> None:
    first, second = (prove_power_cuts(seed=SEED, cuts=8, heeds_sync=False) for _ in range(2))
    assert first.violations
    assert first.figures == second.figures
    assert first.lost == second.lost


def test_what_is_synced_outlives_a_cut_and_the_rest_may_not(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"o" * SECTOR)
    found = set()
    for seed in range(200):
        disk = Disk(tmp_path, random.Random(seed))
        synced, unsynced = disk.file("synced"), disk.file("unsynced")
        disk.write(synced, b"s" * 700, 0)
        disk.sync(synced)
        disk.write(unsynced, b"u" * 3 * SECTOR, 0)
        disk.write(disk.file("old"), b"O" * SECTOR, 0)
        disk.rename("synced", "renamed")
        disk.cut()
        left = disk.after_cut
        assert left is not None
        assert (left.get("synced") or left.get("renamed")) == b"s" * 700
        assert "old" in left
        found.add((left.get("unsynced"), left["old"], "renamed" in left))
    contents = {content for content, _, _ in found}
    assert {None, b"", b"u" * 3 * SECTOR} <= contents
    assert len(contents) > 10
    assert {b"o" * SECTOR, b"O" * SECTOR} <= {old for _, old, _ in found}
    assert {renamed for _, _, renamed in found} == {True, False}


def test_a_full_disk_refuses_lines_and_loses_none() -> None:
    proof = prove_full_disk(seed=SEED, rounds=2)
    assert_holds(proof)
    if "not_run" in proof.figures:
        pytest.skip(str(proof.figures["not_run"]))
    assert int(proof.figures["refused_lines"]) >= 100


def test_damage_is_named_or_harmless() -> None:
    proof = prove_damage(seed=SEED, damages=4)
    assert_holds(proof)
    assert int(proof.figures["named"]) >= 1


def test_damage_to_what_a_killed_broker_left_is_named(tmp_path: Path) -> None:
    """Bits flip in the write-ahead log, where SQLite by itself takes what is damaged for the end of it.
    Of the last transaction alone nobody can tell whether it was damaged or never finished."""
    rng = random.Random(SEED)
    settled = threading.Semaphore(0)
    data, left = tmp_path / "data", tmp_path / "left"
    data.mkdir()
    sizes = []
    with closing(SqliteLog(data, wake=settled.release)) as log:
        for seq in range(1, 21):
            entry = pack_lines(seq, seq, 1, "ann", ["x" * 9_000])
            log.append(Batch(seq, seq, {"#lobby": [Stretch(seq, seq, entry)]}))
            settled.acquire()
            assert log.take_results() == [Result(seq)]
            sizes.append((data / "chat.db-wal").stat().st_size)
        shutil.copytree(data, left, ignore=shutil.ignore_patterns("*-shm"))
    wal = (left / "chat.db-wal").read_bytes()
    for _ in range(40):
        folder = tmp_path / "damaged"
        shutil.copytree(left, folder)
        flipped = bytearray(wal)
        flipped[rng.randrange(32, sizes[-2])] ^= 1 << rng.randrange(8)
        (folder / "chat.db-wal").write_bytes(flipped)
        with pytest.raises(StorageError, match=r"chat\.db-wal holds for it did not read"):
            SqliteLog(folder).close()
        assert (folder / "chat.db-wal").read_bytes() == flipped
        shutil.rmtree(folder)
    with closing(SqliteLog(left)) as log:
        assert log.read("#lobby", 0, 1).head == 20


def test_a_backup_of_a_live_broker_holds_everything() -> None:
    proof = prove_backups(seed=SEED, backups=1)
    assert_holds(proof)
    assert int(proof.figures["lines_compared"]) > 100
