"""The embedded log: crashes, damage, full disks, backups, and what it says about them."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest
from msgspec import Raw

from chat_broker.log import (
    SERVER_ROOM,
    Answer,
    Batch,
    Fold,
    MarkKey,
    OnceKey,
    Result,
    Sender,
    SenderKey,
    Stretch,
    entries_after,
)
from chat_broker.sqlite_file import BLOB_BYTES_MAX, SENDERS_KEPT_MS, storage_error
from chat_broker.sqlite_log import SqliteLog
from chat_protocol.codec import encode_entries, encode_plain, line_text
from chat_protocol.errors import Code, StorageError
from chat_protocol.messages import Entry, EntryKind, Line
from tests.broker.bench import packed

NOW = 1_790_000_000_000
KEY = SenderKey(7, bytes(range(16)), "#lobby")
ONCE = OnceKey(7, "#lobby", b"k" * 16)
MARK = MarkKey(7, "#lobby")
KEYS = {"broker.key": b"secret" * 8, "operator.key": bytes(32)}
WAIT_S = 10.0

NOBODY = 65_534


def lines(first: int, count: int, size: int = 20) -> list[Entry]:
    return [
        Entry(seq, NOW + seq, 7, "bob", EntryKind.LINE, Raw(encode_plain(Line(f"{seq} ".ljust(size, "x")))))
        for seq in range(first, first + count)
    ]


def told(first: int, count: int, size: int = 20) -> list[Stretch]:
    """The same, as a batch holds them."""
    return packed(lines(first, count, size))


class Keeper:
    """A SqliteLog, and how to wait for it."""

    def __init__(self, folder: Path) -> None:
        self.woken = threading.Event()
        self.tickets = 0
        self.log = SqliteLog(folder, wake=self.woken.set, backup_secrets=lambda: KEYS)

    def append(self, batch: Batch) -> None:
        self.tickets += 1
        batch.ticket = self.tickets
        self.log.append(batch)

    def results(self, count: int) -> list[Result]:
        found: list[Result] = []
        while True:
            self.woken.clear()
            found += self.log.take_results()
            if len(found) >= count:
                return found
            assert self.woken.wait(WAIT_S), f"{len(found)} of {count} results came"

    def store(self, batch: Batch) -> StorageError | None:
        self.append(batch)
        return self.results(1)[0].error

    def backup(self, path: Path) -> StorageError | None:
        self.log.backup(str(path), 0)
        return self.results(1)[0].error


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    (tmp_path / "data").mkdir()
    made = Keeper(tmp_path / "data")
    yield made
    made.log.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a stopped broker with some of everything in it."""
    folder = tmp_path_factory.mktemp("sound")
    with closing(SqliteLog(folder)) as log:
        for number in range(12):
            answers = OrderedDict({n: Answer(b"d" * 8, n, 1, NOW) for n in range(number + 1)})
            batch = Batch(number, NOW)
            batch.entries = {
                "#lobby": told(1 + 10 * number, 10),
                SERVER_ROOM: told(1 + number, 1, 2_000),
            }
            batch.senders = {KEY: Sender(number, answers), SenderKey(8, bytes(16), SERVER_ROOM): Sender(1)}
            batch.onces = {OnceKey(7, "#lobby", bytes([number] * 16)): answers[0]}
            batch.marks = {MARK: 10 * number, MarkKey(8, SERVER_ROOM): 1}
            log.append(batch)
        fold = Fold(60, b"members" * 500)
        log.append(Batch(12, NOW, folds={"#lobby": fold}, trims={"#lobby": 33}))
        assert not any(result.error for result in settled(log))
    return folder


def settled(log: SqliteLog) -> list[Result]:
    log.close()
    return log.take_results()


def everything(log: SqliteLog) -> dict[str, object]:
    """All that can be read of the log in `sound`."""
    rooms = sorted(log.rooms())
    found: dict[str, object] = {"epoch": log.epoch, "rooms": rooms}
    for room in rooms:
        span = log.read(room, 0, 1)
        found[room] = encode_entries(list(entries_after(log, room, 0))), span.first, span.head, log.fold(room)
    found["senders"] = log.sender(KEY), log.sender(SenderKey(8, bytes(16), SERVER_ROOM))
    found["onces"] = [log.once(OnceKey(7, "#lobby", bytes([number] * 16))) for number in range(12)]
    found["marks"] = log.mark(MARK), log.mark(MarkKey(8, SERVER_ROOM))
    return found


@contextmanager
def edited(folder: Path) -> Iterator[apsw.Connection]:
    """The database as an outsider changes it."""
    with closing(apsw.Connection(str(folder / "chat.db"))) as database:
        yield database


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(folder: Path) -> str:
    """The sentence with which a log there is refused."""
    with pytest.raises(StorageError) as caught:
        SqliteLog(folder).close()
    text = str(caught.value)
    assert "\n" not in text
    return text


# --------------------------------------------------------------------------- open


def test_everything_is_there_after_a_restart(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    with closing(SqliteLog(tmp_path)) as log:
        first = everything(log)
        assert not log.restored
        assert log.secrets == {}
    with closing(SqliteLog(tmp_path)) as log:
        assert everything(log) == first
    assert first["rooms"] == ["#lobby", SERVER_ROOM]


def test_every_file_is_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keeper = Keeper(tmp_path)
        keeper.store(Batch(0, NOW, {"#lobby": told(1, 1)}))
        found = {path.name: mode(path) for path in tmp_path.iterdir()}
        keeper.backup(tmp_path / "backup.db")
        assert mode(tmp_path / "backup.db") == 0o600
        keeper.log.close()
    finally:
        os.umask(before)
    assert found == dict.fromkeys(["chat.db", "chat.db-wal", "chat.db-shm", "chat.lock"], 0o600)
    (tmp_path / "chat.db").chmod(0o644)
    SqliteLog(tmp_path).close()
    assert mode(tmp_path / "chat.db") == 0o600


def test_two_brokers_do_not_share_a_folder(keeper: Keeper) -> None:
    assert "another broker" in refusal(keeper.log.path.parent)
    assert keeper.store(Batch(0, NOW, {"#lobby": told(1, 1)})) is None


def test_closing_twice_and_asking_afterwards(keeper: Keeper) -> None:
    keeper.log.close()
    keeper.log.close()
    with pytest.raises(StorageError):
        keeper.log.fold("#lobby")


def test_a_beginning_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "chat.db.new").write_bytes(b"SQLite format 3\0 and no more")
    SqliteLog(tmp_path).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chat.db", "chat.lock"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b"#!/bin/sh\nexit\n" * 1_000, "does not begin as"),
        (b"SQLite format 3\0" + bytes(5_000), "is damaged"),
    ],
)
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "chat.db").write_bytes(content)
    assert says in refusal(tmp_path)
    assert (tmp_path / "chat.db").read_bytes() == content


def test_another_programs_database(tmp_path: Path) -> None:
    with edited(tmp_path) as database:
        database.execute("CREATE TABLE songs (title)")
    assert "not, or no longer, a log of Simple Chat" in refusal(tmp_path)
    with edited(tmp_path) as database:
        database.execute("CREATE TABLE meta (name, value)")
    assert "is damaged" in refusal(tmp_path)


def test_a_newer_versions_log(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    with edited(tmp_path) as database:
        row = (zlib.crc32(b"format\x003"), b"3")
        database.execute("UPDATE meta SET crc = ?, value = ? WHERE name = 'format'", row)
        database.execute("CREATE TABLE reactions (a)")
    assert "newer version" in refusal(tmp_path)


def test_a_log_of_the_time_before_read_markers(sound: Path, tmp_path: Path) -> None:
    """Is opened as it is, and keeps them from then on; so is a backup of that time."""
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    with edited(tmp_path) as database:
        database.execute("DROP TABLE marks")
        row = (zlib.crc32(b"format\x001"), b"1")
        database.execute("UPDATE meta SET crc = ?, value = ? WHERE name = 'format'", row)
    shutil.copy(tmp_path / "chat.db", tmp_path / "old.db")
    keeper = Keeper(tmp_path)
    before = everything(keeper.log)
    assert before.pop("marks") == (0, 0)
    assert keeper.store(Batch(0, NOW, marks={MARK: 40})) is None
    keeper.log.close()
    with closing(SqliteLog(tmp_path)) as log:
        after = everything(log)
        assert after.pop("marks") == (40, 0)
        assert after == before
    (tmp_path / "restored").mkdir()
    shutil.copy(tmp_path / "old.db", tmp_path / "restored" / "chat.db")
    with edited(tmp_path / "restored") as database:
        database.execute("INSERT INTO meta VALUES ('backup', ?, x'31')", (zlib.crc32(b"backup\x001"),))
    with closing(SqliteLog(tmp_path / "restored")) as log:
        assert log.restored
        assert log.mark(MARK) == 0


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    assert "is no folder" in refusal(tmp_path / "missing")
    (tmp_path / "file").touch()
    assert "is no folder" in refusal(tmp_path / "file")
    (tmp_path / "chat.db").mkdir()
    assert "Is a directory" in refusal(tmp_path)


@contextmanager
def an_ordinary_user() -> Iterator[Path]:
    """A folder of somebody's who is not the superuser, as whom the block runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid() != 0:
            yield folder
            return
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(0)


def test_a_folder_or_file_without_permission_is_explained(sound: Path) -> None:
    database = (sound / "chat.db").read_bytes()
    with an_ordinary_user() as home:
        closed = home / "closed"
        closed.mkdir(0o500)
        assert "cannot be written: Permission denied" in refusal(closed)
        folder = home / "data"
        folder.mkdir()
        (folder / "chat.db").write_bytes(database)
        (folder / "chat.db").chmod(0)
        assert "Permission denied" in refusal(folder)


# --------------------------------------------------------------------------- damage


def test_any_flipped_bit_is_found_or_harmless(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    with closing(SqliteLog(tmp_path)) as log:
        right = everything(log)
    data = bytearray((tmp_path / "chat.db").read_bytes())
    shaken = random.Random(len(data))
    places = {*range(100), *shaken.sample(range(len(data)), 300)}
    sentences = set[str]()
    for place in sorted(places):
        bit = 1 << shaken.randrange(8)
        data[place] ^= bit
        (tmp_path / "chat.db").write_bytes(data)
        data[place] ^= bit
        try:
            log = SqliteLog(tmp_path)
        except StorageError as error:
            sentences.add(str(error))
            continue
        finally:
            for side in ("chat.db-wal", "chat.db-shm"):
                (tmp_path / side).unlink(missing_ok=True)
        with closing(log):
            assert everything(log) == right, f"bit {bit} of byte {place}"
    assert len(sentences) > 10
    assert all("damaged" in text and "nothing was changed" in text for text in sentences)


@pytest.mark.parametrize(
    "kept", [1, 60, 99, 512, 4_096, 8_192, 0.3, 0.5, 0.9, -2]
)  # its last byte is 0, as what is read behind it
def test_a_truncated_file_is_refused(sound: Path, tmp_path: Path, kept: float) -> None:
    data = (sound / "chat.db").read_bytes()
    cut = data[: int(len(data) * kept) if 0 < kept < 1 else int(kept)]
    (tmp_path / "chat.db").write_bytes(cut)
    assert "damaged" in refusal(tmp_path)
    assert (tmp_path / "chat.db").read_bytes() == cut


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE batches SET entries = x'90' WHERE first = 41", "seqs 41 to 50 of #lobby did not read"),
        ("UPDATE batches SET first = first + 1 WHERE first = 41", "seqs 41 to 50 of #lobby did not read"),
        ("DELETE FROM batches WHERE first = 41", "seqs 41 to 50 of #lobby went missing"),
        ("DELETE FROM batches WHERE first = 34", "seqs 34 to 40 of #lobby went missing"),
        ("DELETE FROM batches WHERE first = 111", "seqs 111 to 120 of #lobby went missing"),
        ("DELETE FROM batches WHERE first < 12", f"seqs 1 to 11 of {SERVER_ROOM} went missing"),
        ("DELETE FROM rooms WHERE room = '#lobby'", "an unknown room"),
        ("UPDATE rooms SET head = 110 WHERE room = '#lobby'", "its list of rooms"),
        ("UPDATE folds SET state = x'00'", "the state of #lobby did not read"),
        ("UPDATE folds SET seq = 121", "the state of #lobby did not read"),
        ("DELETE FROM folds", "the state of #lobby after seq 33 went missing"),
        ("UPDATE senders SET last = 3 WHERE account = 7", "account 7 sent to #lobby"),
        ("UPDATE onces SET key = zeroblob(17) WHERE key = zeroblob(16)", "account 7 sent to #lobby"),
        ("UPDATE marks SET seq = seq + 1 WHERE account = 7", "how far account 7 has read #lobby"),
        ("UPDATE marks SET no = 99 WHERE account = 8", "how far account 8 has read an unknown room"),
        ("UPDATE meta SET value = x'00' WHERE name = 'epoch'", "its description"),
        ("DELETE FROM meta WHERE name = 'epoch'", "its description"),
        ("DROP TABLE onces", "its tables"),
        ("DROP TABLE marks", "its tables"),
        ("CREATE INDEX i ON onces (key)", "its tables"),
    ],
)
def test_damage_is_named_and_nothing_is_changed(sound: Path, tmp_path: Path, sql: str, says: str) -> None:
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    with edited(tmp_path) as database:
        database.execute(sql)
    before = (tmp_path / "chat.db").read_bytes()
    text = refusal(tmp_path)
    assert says in text
    assert "restore a backup by putting it as chat.db in an empty data folder" in text
    assert (tmp_path / "chat.db").read_bytes() == before


def test_a_fold_past_the_head_is_refused(keeper: Keeper, tmp_path: Path) -> None:
    keeper.store(Batch(0, NOW, {"#lobby": told(1, 5)}))
    keeper.store(Batch(0, NOW, {"#lobby": told(6, 4)}, folds={"#lobby": Fold(9, b"")}))
    keeper.log.close()
    with edited(tmp_path / "data") as database:
        crc = zlib.crc32(b"#lobby", zlib.crc32(b"".join(n.to_bytes(8, "big") for n in (1, 1, 5))))
        database.execute("DELETE FROM batches WHERE first = 6")
        database.execute("UPDATE rooms SET head = 5, crc = ?", (crc,))
    assert "seqs 6 to 9 of #lobby went missing" in refusal(tmp_path / "data")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE batches SET entries = x'90'",
        "DELETE FROM batches",
        "UPDATE folds SET state = x'00'",
        "UPDATE senders SET last = 3",
        "UPDATE onces SET answer = x'90'",
    ],
)
def test_what_was_damaged_meanwhile_is_not_served(keeper: Keeper, sql: str) -> None:
    batch = Batch(0, NOW, {"#lobby": told(1, 9)}, {KEY: Sender(1)}, {ONCE: Answer(bytes(8), 1, 1, NOW)})
    batch.folds["#lobby"] = Fold(9, b"members")
    keeper.store(batch)
    with edited(keeper.log.path.parent) as database:
        database.execute(sql)
    with pytest.raises(StorageError, match="did not read as written"):
        assert [
            keeper.log.read("#lobby", 0, 5),
            keeper.log.fold("#lobby"),
            keeper.log.sender(KEY),
            keeper.log.once(ONCE),
        ]


# --------------------------------------------------------------------------- crashes and full disks

APPENDING = """
import json, sys, threading
from pathlib import Path
from chat_broker.log import Batch, Sender, SenderKey, Stretch
from chat_broker.sqlite_log import SqliteLog
from chat_protocol.codec import pack_lines
from chat_protocol.messages import Entry, Line
from msgspec import Raw

woken = threading.Event()
log = SqliteLog(Path(sys.argv[1]), wake=woken.set)
heads = {room: log.read(room, 0, 1).head for room in ("#lobby", "#team")}
sent = {}
ticket = done = 0
while True:
    while ticket - done < 8:
        ticket += 1
        batch = Batch(ticket, 1_790_000_000_000 + ticket)
        for room in heads:
            first, count = heads[room] + 1, 1 + ticket % 50
            batch.entries[room] = [
                Stretch(seq, seq, pack_lines(seq, seq, 7, "bob", [f"{room} {seq}" * (1 + seq % 9)]))
                for seq in range(first, first + count)
            ]
            heads[room] += count
            batch.senders[SenderKey(7, bytes(16), room)] = Sender(heads[room])
        sent[ticket] = dict(heads)
        log.append(batch)
    woken.wait()
    woken.clear()
    for result in log.take_results():
        done += 1
        print(json.dumps([result.ticket, str(result.error or ""), sent.pop(result.ticket)]), flush=True)
"""


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    shaken = random.Random(12)
    for _ in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", APPENDING, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        said = [json.loads(child.stdout.readline()) for _ in range(shaken.randrange(1, 60))]
        child.kill()
        said += [json.loads(line) for line in child.stdout if line.endswith("\n")]
        child.stdout.close()
        child.wait(WAIT_S)
        assert [ticket for ticket, _, _ in said] == list(range(1, len(said) + 1))
        assert not any(error for _, error, _ in said)
        with closing(SqliteLog(tmp_path)) as log:
            for room, acknowledged in said[-1][2].items():
                stored = list(entries_after(log, room, 0))
                assert len(stored) >= acknowledged
                sender = log.sender(SenderKey(7, bytes(16), room))
                assert sender is not None
                assert sender.last == len(stored) == log.read(room, 0, 1).head
                for seq, entry in enumerate(stored, 1):
                    assert entry.seq == seq
                    assert line_text(entry) == f"{room} {seq}" * (1 + seq % 9)


@contextmanager
def file_bytes_max(limit: int) -> Iterator[None]:
    """No file of this process grows beyond `limit` meanwhile, as on a full disk."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_full_disk_stops_writing_and_not_reading(keeper: Keeper) -> None:
    head = 0
    with file_bytes_max(1 << 20):
        while (error := keeper.store(Batch(0, NOW, {"#lobby": told(head + 1, 100, 200)}))) is None:
            head += 100
        assert error.code == Code.STORAGE_FULL
        assert "no room on the disk" in str(error)
        for _ in range(3):
            keeper.log.recover()
            again = keeper.store(Batch(0, NOW, {"#lobby": told(head + 1, 1_000, 200)}))
            assert again is not None
            assert again.code == Code.STORAGE_FULL
        assert len(list(entries_after(keeper.log, "#lobby", 0))) == head > 0
    keeper.log.recover()
    assert keeper.store(Batch(0, NOW, {"#lobby": told(head + 1, 100, 200)})) is None
    keeper.log.close()
    with closing(SqliteLog(keeper.log.path.parent)) as log:
        assert encode_entries(list(entries_after(log, "#lobby", 0))) == encode_entries(
            lines(1, head + 100, 200)
        )


def test_a_database_that_may_not_grow_is_full(keeper: Keeper) -> None:
    keeper.log._writer.pragma("max_page_count", 30)
    error = keeper.store(Batch(0, NOW, {"#lobby": told(1, 1_000, 1_000)}))
    assert error is not None
    assert error.code == Code.STORAGE_FULL
    keeper.log.recover()
    assert keeper.store(Batch(0, NOW, {"#lobby": told(1, 1)})) is None


def test_no_room_to_begin_in(tmp_path: Path) -> None:
    with file_bytes_max(10_000), pytest.raises(StorageError) as caught:
        SqliteLog(tmp_path)
    assert caught.value.code == Code.STORAGE_FULL
    SqliteLog(tmp_path).close()


def test_the_writer_outlives_a_bug(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    woken = threading.Semaphore(0)

    def wake() -> None:
        woken.release()
        raise RuntimeError("nobody expected this")

    with closing(SqliteLog(tmp_path, wake=wake)) as log:
        for ticket in (1, 2):
            log.append(Batch(ticket, NOW, {"#lobby": told(ticket, 1)}))
            assert woken.acquire(timeout=WAIT_S)
            assert log.take_results() == [Result(ticket)]
        batch = Batch(3, NOW, {"#lobby": told(3, 1)})
        batch.folds["#lobby"] = Fold(3, "no bytes")  # type: ignore[arg-type]
        log.append(batch)
        assert woken.acquire(timeout=WAIT_S)
        assert [result.error is None for result in log.take_results()] == [False]
        log.recover()
        log.append(Batch(4, NOW, {"#lobby": told(3, 1)}))
        assert woken.acquire(timeout=WAIT_S)
        assert log.take_results() == [Result(4)]


def test_a_file_that_ends_too_early_is_damaged_whatever_failed_before(keeper: Keeper) -> None:
    error = apsw.IOError("disk I/O error")
    error.extendedresult = apsw.SQLITE_IOERR_SHORT_READ  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="No such file"):
        os.stat(keeper.log.path.with_name("not there"))
    fault = storage_error(error, keeper.log.path, keeper.log._reader)
    assert "is damaged (it ends before its end)" in str(fault)


# --------------------------------------------------------------------------- what is kept how


def test_a_blob_has_a_bound(keeper: Keeper) -> None:
    huge = lines(5_001, 1, 2 * BLOB_BYTES_MAX)
    keeper.store(Batch(0, NOW, {"#lobby": packed(lines(1, 5_000, 300) + huge)}))
    with edited(keeper.log.path.parent) as database:
        sizes = [size for (size,) in database.execute("SELECT length(entries) FROM batches")]
    assert len(sizes) > 5
    assert sum(size > BLOB_BYTES_MAX for size in sizes) == 1
    assert len(list(entries_after(keeper.log, "#lobby", 0))) == 5_001


def test_senders_are_forgotten_after_a_while(keeper: Keeper) -> None:
    other = SenderKey(8, bytes(16), "#lobby")
    answer = Answer(bytes(8), 1, 1, NOW)
    keeper.store(Batch(0, NOW, {"#lobby": told(1, 1)}, {KEY: Sender(1)}, {ONCE: answer}))
    keeper.store(Batch(0, NOW + SENDERS_KEPT_MS, {"#lobby": told(2, 1)}, {other: Sender(1)}))
    assert keeper.log.sender(KEY) is not None
    keeper.store(Batch(0, NOW + SENDERS_KEPT_MS + 3_600_001, {"#lobby": told(3, 1)}))
    assert keeper.log.sender(KEY) is None
    assert keeper.log.sender(other) is not None
    assert keeper.log.once(ONCE) == answer


def test_what_is_trimmed_is_gone_from_the_file(keeper: Keeper) -> None:
    keeper.store(Batch(0, NOW, {"#lobby": told(1, 100, 500)}, folds={"#lobby": Fold(100, b"")}))
    keeper.store(Batch(0, NOW, trims={"#lobby": 50}))
    keeper.log.close()
    data = keeper.log.path.read_bytes()
    assert b"50 xxxx" not in data
    assert b"51 xxxx" in data


def test_reads_never_meet_half_a_trim(keeper: Keeper) -> None:
    for number in range(200):
        head = 10 * (number + 1)
        batch = Batch(number, NOW, {"#lobby": told(head - 9, 10)}, folds={"#lobby": Fold(head, b"")})
        batch.trims["#lobby"] = max(0, head - 25)
        keeper.log.append(batch)
        for _ in range(100_000):
            span = keeper.log.read("#lobby", 0, 1_000)
            assert [entry.seq for entry in span.entries] == list(range(span.first, span.head + 1))
            if span.head == head:
                break
        assert (span.first, span.head) == (batch.trims["#lobby"] + 1, head)


# --------------------------------------------------------------------------- backups


def restore(backup: Path, folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(backup, folder / "chat.db")
    return folder


def test_a_backup_made_while_lines_come_in(keeper: Keeper, tmp_path: Path) -> None:
    for seq in range(1, 2_001, 20):
        keeper.append(
            Batch(
                0,
                NOW,
                {"#lobby": told(seq, 20), "#team": told(seq, 20)},
                {KEY: Sender(seq)},
                marks={MARK: seq},
            )
        )
    assert not any(result.error for result in keeper.results(100))
    target = tmp_path / "backup.db"
    keeper.log.backup(str(target), 777)
    head, results = 2_000, list[Result]()
    while not any(result.ticket == 777 for result in results):
        keeper.append(Batch(0, NOW, {"#lobby": told(head + 1, 20), "#team": told(head + 1, 20)}))
        head += 20
        results += keeper.results(1)
    assert not any(result.error for result in results)
    assert mode(target) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.db", "data"]

    with closing(SqliteLog(restore(target, tmp_path / "restored"))) as restored:
        assert restored.restored
        assert restored.epoch != keeper.log.epoch
        assert len(restored.epoch) == 8
        assert restored.secrets == KEYS
        for room in ("#lobby", "#team"):
            kept = list(entries_after(restored, room, 0))
            assert 2_000 <= len(kept) <= head
            assert encode_entries(kept) == encode_entries(
                list(entries_after(keeper.log, room, 0))[: len(kept)]
            )
        assert restored.sender(KEY) == Sender(1_981)
        assert restored.mark(MARK) == 1_981


def test_a_restored_log_is_new_once_and_keeps_secrets_until_told(keeper: Keeper, tmp_path: Path) -> None:
    keeper.store(Batch(0, NOW, {"#lobby": told(1, 3)}))
    assert keeper.backup(tmp_path / "backup.db") is None
    folder = restore(tmp_path / "backup.db", tmp_path / "restored")
    with closing(SqliteLog(folder)) as log:
        assert (log.restored, log.secrets) == (True, KEYS)
        epoch = log.epoch
    with closing(SqliteLog(folder)) as log:
        assert (log.restored, log.secrets, log.epoch) == (False, KEYS, epoch)
        log.forget_secrets()
        assert log.secrets == {}
        log.append(Batch(1, NOW, {"#lobby": told(4, 1)}))
    with closing(SqliteLog(folder)) as log:
        assert (log.restored, log.secrets, log.epoch) == (False, {}, epoch)
        assert log.read("#lobby", 0, 9).head == 4
        log.forget_secrets()
    assert KEYS["broker.key"] not in (folder / "chat.db").read_bytes()


def test_a_backup_of_a_restored_log_holds_todays_secrets(keeper: Keeper, tmp_path: Path) -> None:
    assert keeper.backup(tmp_path / "one.db") is None
    folder = restore(tmp_path / "one.db", tmp_path / "restored")
    again = Keeper(folder)
    assert again.backup(tmp_path / "two.db") is None
    again.log.close()
    with closing(SqliteLog(restore(tmp_path / "two.db", tmp_path / "last"))) as log:
        assert (log.restored, log.secrets) == (True, KEYS)
        assert log.epoch not in (again.log.epoch, keeper.log.epoch)


def test_a_backup_overwrites_nothing(keeper: Keeper, tmp_path: Path) -> None:
    keeper.store(Batch(0, NOW, {"#lobby": told(1, 3)}))
    (tmp_path / "here").write_text("mine")
    assert "exists already" in str(keeper.backup(tmp_path / "here"))
    assert "exists already" in str(keeper.backup(keeper.log.path))
    assert "is no folder" in str(keeper.backup(tmp_path / "missing" / "backup.db"))
    assert (tmp_path / "here").read_text() == "mine"
    assert keeper.store(Batch(0, NOW, {"#lobby": told(4, 1)})) is None


def test_a_backup_that_finds_no_room_leaves_nothing(keeper: Keeper, tmp_path: Path) -> None:
    keeper.store(Batch(0, NOW, {"#lobby": told(1, 1_000, 500)}))
    with file_bytes_max(100_000):
        error = keeper.backup(tmp_path / "backup.db")
    assert error is not None
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert keeper.store(Batch(0, NOW, {"#lobby": told(1_001, 1)})) is None


def test_a_backup_of_a_damaged_log_fails(keeper: Keeper, tmp_path: Path) -> None:
    keeper.store(Batch(0, NOW, {"#lobby": told(1, 9)}))
    with edited(keeper.log.path.parent) as database:
        database.execute("UPDATE batches SET entries = x'90'")
    assert "seqs 1 to 9 of #lobby did not read as written" in str(keeper.backup(tmp_path / "backup.db"))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_closing_gives_up_a_backup(keeper: Keeper, tmp_path: Path) -> None:
    for seq in range(1, 10_001):
        keeper.append(Batch(0, NOW, {"#lobby": told(seq, 1)}))
    keeper.results(10_000)
    keeper.log.backup(str(tmp_path / "backup.db"), 1)
    keeper.log.backup(str(tmp_path / "second.db"), 2)
    keeper.log.close()
    first, second = sorted(keeper.log.take_results(), key=lambda result: result.ticket)
    assert second.error is not None
    assert "wait until it is done" in str(second.error)
    written = [path.name for path in tmp_path.iterdir() if path.name != "data"]
    assert written == ([] if first.error else ["backup.db"])


def test_a_damaged_backup_is_refused(keeper: Keeper, tmp_path: Path) -> None:
    assert keeper.backup(tmp_path / "backup.db") is None
    folder = restore(tmp_path / "backup.db", tmp_path / "restored")
    with edited(folder) as database:
        database.execute("UPDATE secrets SET value = x'00' WHERE name = 'broker.key'")
    assert "its keys" in refusal(folder)


def test_a_backup_beside_another_logs_remains_is_refused(keeper: Keeper, tmp_path: Path) -> None:
    keeper.store(Batch(0, NOW, {"#lobby": told(1, 3)}))
    assert keeper.backup(tmp_path / "backup.db") is None
    folder = restore(tmp_path / "backup.db", tmp_path / "restored")
    shutil.copy(keeper.log.path.parent / "chat.db-wal", folder / "chat.db-wal")
    assert "belongs to another database" in refusal(folder)
    (folder / "chat.db").unlink()
    assert "only chat.db-wal is left" in refusal(folder)
