"""Power cuts: what the log reported as stored is there when the machine starts again, whole and in order.

A real SqliteLog works on a disk that forgets (tests/proof/powercut.py): batches with senders, `once` keys,
read markers, folds and trims, checkpoints, readers that hold them up, backups, closing and opening again.
At a random step the power fails. What is then on the disk is opened as usual and must hold the first n
batches and nothing else, n being no less than what was reported. The next cut happens on top of what is
left, unopened, so that recovery is cut, too.

Everything comes from the seed. Work goes in step, so that the same seed meets the same cut again.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import apsw
from msgspec import Raw

from chat_broker.log import (
    SERVER_ROOM,
    Answer,
    Batch,
    Fold,
    MarkKey,
    MemoryLog,
    OnceKey,
    Result,
    Sender,
    SenderKey,
    Stretch,
    entries_after,
)
from chat_broker.sqlite_log import SqliteLog
from chat_protocol.codec import encode_entries, encode_plain
from chat_protocol.errors import StorageError
from chat_protocol.messages import Entry, EntryKind, Line
from tests.proof.powercut import Disk
from tests.proof.results import Proof

NOW = 1_790_000_000_000
KEYS = {"broker.key": b"secret" * 8}
ROOMS = (SERVER_ROOM, "#lobby", "#ops", "@1-2")
COUNTER = SenderKey(1, b"counts all batch", "#lobby")  # its `last` is the number of the newest batch
CUTS_PER_FOLDER = 8
WAIT_S = 30.0
MEMORY = Path("/dev/shm")  # no real disk is needed, which is faster


class Violation(Exception):
    """Something that was promised is not so."""


def prove_power_cuts(
    *,
    seed: int,
    cuts: int = 1 << 30,
    seconds: float = 1e9,
    synchronous: str = "full",
    heeds_sync: bool = True,
) -> Proof:
    """Cut the power `cuts` times, or for `seconds`; stops at the first violation.

    `synchronous` and `heeds_sync` break the promise on purpose, to see whether it is noticed.
    """
    proof = Proof(
        "a power cut loses nothing that was acknowledged, and damages nothing",
        "tests/proof/storage_power.py",
        f"SEED={seed} pytest tests/proof/test_storage.py -k power",
    )
    until = time.monotonic() + seconds
    found = dict.fromkeys(("steps", "batches", "acknowledged_batches", "backups", "reopened"), 0)
    while proof.runs < cuts and time.monotonic() < until and proof.holds:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
            one = _Machine(Path(name).resolve(), random.Random(seed), synchronous, heeds_sync, found)
            try:
                for _ in range(min(CUTS_PER_FOLDER, cuts - proof.runs)):
                    proof.runs += 1
                    one.run_until_cut()
                    one.start_again()
            except Violation as error:
                proof.violations.append(f"{error} (SEED={seed}, cut {one.cuts} of that folder)")
                proof.repeat = f"SEED={seed} pytest tests/proof/test_storage.py -k power"
            proof.acknowledged += one.lines
            proof.lost += one.lost
        seed += 1
    proof.figures |= {"power_cuts": proof.runs, **found}
    return proof


@dataclass
class _Machine:
    """A machine whose power fails; `batches` are those in its log, and then those appended since."""

    home: Path
    rng: random.Random
    synchronous: str
    heeds_sync: bool
    found: dict[str, int]
    cuts: int = 0
    lines: int = 0
    lost: int = 0
    epoch: bytes | None = None
    batches: list[Batch] = field(default_factory=list)
    stored: int = 0  # so many of the batches were reported as stored
    backups: dict[str, tuple[int, bool]] = field(
        default_factory=dict
    )  # batches in it; whether it was reported

    def __post_init__(self) -> None:
        self.folder = self.home / "0"
        self.folder.mkdir()
        self.ahead = MemoryLog(auto=True)  # the state after all batches

    # ------------------------------------------------------------------ work

    def run_until_cut(self) -> None:
        """Open the log and work with it until the power fails."""
        self.cuts += 1
        reach = int(10 ** self.rng.uniform(0.0, 3.3))
        disk = self.disk = Disk(self.folder, self.rng, cut_at=reach, heeds_sync=self.heeds_sync)
        with disk.mounted():
            for _ in range(3):  # runs of a broker
                if disk.after_cut is None:
                    self._run_broker(disk)
        disk.cut()
        self.found["steps"] += disk.steps

    def _run_broker(self, disk: Disk) -> None:
        woken = threading.Event()
        with ExitStack() as opened:
            log = SqliteLog(self.folder, wake=woken.set, backup_secrets=lambda: KEYS, vfs=disk.vfs)
            opened.callback(log.close)
            if disk.after_cut is None:
                self.epoch = log.epoch
            log._writer.wal_autocheckpoint(self.rng.choice((3, 10, 40, 200)))
            log._writer.pragma("synchronous", self.synchronous)
            reader: apsw.Connection | None = None
            for _ in range(self.rng.randint(0, 25)):
                match self.rng.random():
                    case x if x < 0.05:
                        self._back_up(disk, log, woken)
                    case x if x < 0.12 and reader is None:
                        reader = apsw.Connection(str(log.path), vfs=disk.vfs)
                        opened.callback(reader.close)
                        reader.execute("BEGIN; SELECT count(*) FROM rooms").fetchall()
                    case x if x < 0.3 and reader is not None:
                        reader.close()
                        reader = None
                    case _:
                        self._append(disk, log, woken)
                if disk.after_cut is not None:
                    return

    def _append(self, disk: Disk, log: SqliteLog, woken: threading.Event) -> None:
        """Some batches, in one transaction."""
        group = [self._batch() for _ in range(self.rng.choice((1, 1, 2, 5)))]
        with log._changed:
            for batch in group:
                log.append(batch)
        results = _results(log, woken, len(group))
        for result in results:
            if result.error is not None and disk.after_cut is None:
                raise Violation(f"batch {result.ticket} was refused: {result.error}")
        if disk.after_cut is None:
            self.stored = len(self.batches)
            self.lines += sum(len(one) for batch in group for some in batch.entries.values() for one in some)
            self.found["acknowledged_batches"] += len(group)
        self.found["batches"] += len(group)

    def _batch(self) -> Batch:
        rng = self.rng
        batch = Batch(len(self.batches) + 1, NOW + len(self.batches))
        for room in rng.sample(ROOMS, rng.randint(1, len(ROOMS))):
            head = self.ahead.read(room, 0, 1).head
            seqs = range(head + 1, head + 1 + rng.choice((1, 1, 3, 40)))
            batch.entries[room] = [Stretch.of([_entry(rng, room, seq) for seq in seqs])]
            head = seqs[-1]
            if rng.random() < 0.2:
                batch.folds[room] = Fold(head, rng.randbytes(rng.choice((10, 2_000, 20_000))))
            elif (fold := self.ahead.fold(room)) is not None and rng.random() < 0.2:
                batch.trims[room] = rng.randint(0, fold.seq)
            answers = OrderedDict(
                (n, Answer(rng.randbytes(8), n, 1, batch.now)) for n in range(rng.choice((1, 8, 60)))
            )
            batch.senders[SenderKey(rng.randint(1, 3), bytes(16), room)] = Sender(batch.ticket, answers)
            batch.onces[OnceKey(1, room, batch.ticket.to_bytes(16, "big"))] = answers[0]
            batch.marks[MarkKey(rng.randint(1, 3), room)] = head
        batch.senders[COUNTER] = Sender(batch.ticket)
        self.batches.append(batch)
        self.ahead.append(batch)
        return batch

    def _back_up(self, disk: Disk, log: SqliteLog, woken: threading.Event) -> None:
        name = f"backup-{self.cuts}-{len(self.backups)}.db"
        self.backups[name] = len(self.batches), False
        log.backup(str(self.folder / name), 0)
        (result,) = _results(log, woken, 1)
        if disk.after_cut is None:
            if result.error is not None:
                raise Violation(f"a backup was refused: {result.error}")
            self.backups[name] = len(self.batches), True

    # ------------------------------------------------------------------ after the cut

    def start_again(self) -> None:
        """See what is left on the disk; from then on that is all there is."""
        assert self.disk.after_cut is not None
        left = self.disk.after_cut
        self.folder = self.home / str(self.cuts)
        self.folder.mkdir()
        for name, content in left.items():
            (self.folder / name).write_bytes(content)
        for name, (batches, reported) in self.backups.items():
            if reported or name in left:
                self._check_backup(name, batches)
                (self.folder / name).unlink()
        self.backups.clear()
        look = self.home / "look"
        shutil.copytree(self.folder, look)
        kept = self._check_log(look)
        shutil.rmtree(look)
        del self.batches[kept:]
        self.stored = kept
        self.ahead = _replay(self.batches)

    def _check_log(self, folder: Path) -> int:
        """How many batches the log holds."""
        existed = (folder / "chat.db").exists()
        try:
            with closing(SqliteLog(folder)) as log:
                counter = log.sender(COUNTER)
                kept = counter.last if counter else 0
                if kept < self.stored:
                    self.lost += _size(self.batches[kept : self.stored])
                    raise Violation(
                        f"batches {kept + 1} to {self.stored} were reported as stored and are gone"
                    )
                _compare(log, self.batches[:kept])
                if self.epoch is not None and log.epoch != self.epoch:
                    raise Violation("the epoch is another one")
                if existed:
                    self.epoch = log.epoch
        except StorageError as error:
            raise Violation(f"the log is not served: {error}") from error
        self.found["reopened"] += 1
        return kept

    def _check_backup(self, name: str, batches: int) -> None:
        folder = self.home / "restored"
        folder.mkdir()
        try:
            shutil.copy(self.folder / name, folder / "chat.db")
            with closing(SqliteLog(folder)) as log:
                _compare(log, self.batches[:batches])
                if not log.restored or log.epoch == self.epoch or log.secrets != KEYS:
                    raise Violation(f"{name} does not begin a history of its own, with the keys")
        except FileNotFoundError:
            raise Violation(f"{name} was reported as written and is gone") from None
        except StorageError as error:
            raise Violation(f"{name} is no sound backup: {error}") from error
        shutil.rmtree(folder)
        self.found["backups"] += 1


def _results(log: SqliteLog, woken: threading.Event, count: int) -> list[Result]:
    found: list[Result] = []
    while len(found) < count:
        if not woken.wait(WAIT_S):
            raise Violation(f"no result came within {WAIT_S:g} s")
        woken.clear()
        found += log.take_results()
    return found


def _entry(rng: random.Random, room: str, seq: int) -> Entry:
    text = f"{room} {seq} " + "x" * rng.choice((0, 10, 100, 100, 3_000))
    return Entry(seq, NOW + seq, rng.randint(1, 3), "bob", EntryKind.LINE, Raw(encode_plain(Line(text))))


def _size(batches: list[Batch]) -> int:
    return sum(len(entries) for batch in batches for entries in batch.entries.values())


def _replay(batches: list[Batch]) -> MemoryLog:
    log = MemoryLog(auto=True)
    for batch in batches:
        log.append(batch)
    return log


def _compare(log: SqliteLog, batches: list[Batch]) -> None:
    """That the log holds what these batches hold, and nothing else. Raises Violation, StorageError."""
    right = _replay(batches)
    if sorted(log.rooms()) != sorted(right.rooms()):
        raise Violation(f"it has the rooms {log.rooms()} instead of {right.rooms()}")
    for room in right.rooms():
        span, due = log.read(room, 0, 1), right.read(room, 0, 1)
        if (span.first, span.head) != (due.first, due.head):
            raise Violation(f"{room} has {span.first} to {span.head}, not {due.first} to {due.head}")
        entries = [encode_entries(list(entries_after(one, room, 0))) for one in (log, right)]
        if entries[0] != entries[1]:
            raise Violation(f"the entries of {room} are others")
        if log.fold(room) != right.fold(room):
            raise Violation(f"the fold of {room} is another")
    for sender in {key for batch in batches for key in batch.senders}:
        if log.sender(sender) != right.sender(sender):
            raise Violation(f"the answers to {sender} are others")
    for once in {key for batch in batches for key in batch.onces}:
        if log.once(once) != right.once(once):
            raise Violation(f"the answer to {once} is another")
    for mark in {key for batch in batches for key in batch.marks}:
        if log.mark(mark) != right.mark(mark):
            raise Violation(f"{mark} is at {log.mark(mark)} instead of {right.mark(mark)}")
