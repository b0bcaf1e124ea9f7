"""The shape of `chat.db`: its tables and rows, and the check that finds it whole or names the damage.

Every row carries a checksum over its key and its content: SQLite notices damage to its own structure,
not to what it holds. A new database and a backup are written under another name, synced and renamed, so
that nothing comes to exist half-made.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec

from chat_broker.log import Answer, Batch, Stretch, joined
from chat_protocol.codec import entries_array
from chat_protocol.errors import BadFrame, Code, StorageError

FILE_NAME = "chat.db"
LOCK_NAME = "chat.lock"
FORMAT = 2  # 1 had no read markers
EPOCH_BYTES = 8
SENDERS_KEPT_MS = 7 * 24 * 3600 * 1000
PRUNE_EVERY_MS = 3600 * 1000
BLOB_BYTES_MAX = 256 * 1024  # of one row's entries; a single longer entry has a row of its own
GROUP_BYTES_MAX = 8 << 20  # of one transaction; a single larger batch has one of its own
PAGE_BYTES = 8_192  # a sender's whole window of answers fits into one
WAL_PAGES = 2_000  # write-ahead log that is carried over into the database at once
WAL_BYTES_KEPT = 64 << 20  # of its file, after a backup or a burst made it longer
BUSY_MS = 5_000  # somebody's database tool may hold the file for a moment
SEQ_BITS = 40  # a batch's position is its room's number, then its last seq
SEQ_MASK = (1 << SEQ_BITS) - 1
ROOMS_MAX = (1 << (63 - SEQ_BITS)) - 1

#: The table `meta` has this shape in every format: a version that is too old must be able to say so.
_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, crc INTEGER NOT NULL, value BLOB NOT NULL)"
    " STRICT, WITHOUT ROWID",
    "CREATE TABLE rooms (no INTEGER PRIMARY KEY, first INTEGER NOT NULL, head INTEGER NOT NULL,"
    " crc INTEGER NOT NULL, room TEXT NOT NULL) STRICT",
    "CREATE TABLE batches (position INTEGER PRIMARY KEY, first INTEGER NOT NULL, crc INTEGER NOT NULL,"
    " entries BLOB NOT NULL) STRICT",
    "CREATE TABLE folds (no INTEGER PRIMARY KEY, seq INTEGER NOT NULL, crc INTEGER NOT NULL,"
    " state BLOB NOT NULL) STRICT",
    "CREATE TABLE senders (account INTEGER NOT NULL, instance BLOB NOT NULL, no INTEGER NOT NULL,"
    " last INTEGER NOT NULL, touched INTEGER NOT NULL, crc INTEGER NOT NULL, answers BLOB NOT NULL,"
    " PRIMARY KEY (account, instance, no)) STRICT, WITHOUT ROWID",
    "CREATE TABLE onces (account INTEGER NOT NULL, no INTEGER NOT NULL, key BLOB NOT NULL,"
    " crc INTEGER NOT NULL, answer BLOB NOT NULL, PRIMARY KEY (account, no, key)) STRICT, WITHOUT ROWID",
)
MARKS_SCHEMA = (
    "CREATE TABLE marks (account INTEGER NOT NULL, no INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " crc INTEGER NOT NULL, PRIMARY KEY (account, no)) STRICT, WITHOUT ROWID"
)
SECRETS_SCHEMA = (
    "CREATE TABLE secrets (name TEXT PRIMARY KEY, crc INTEGER NOT NULL, value BLOB NOT NULL)"
    " STRICT, WITHOUT ROWID"
)
INSERT_META = "INSERT OR REPLACE INTO meta (name, crc, value) VALUES (?, ?, ?)"
INSERT_SECRET = "INSERT INTO secrets (name, crc, value) VALUES (?, ?, ?)"
INSERT_ROOM = "INSERT OR REPLACE INTO rooms (no, first, head, crc, room) VALUES (?, ?, ?, ?, ?)"
INSERT_BATCH = "INSERT INTO batches (position, first, crc, entries) VALUES (?, ?, ?, ?)"
INSERT_FOLD = "INSERT OR REPLACE INTO folds (no, seq, crc, state) VALUES (?, ?, ?, ?)"
INSERT_SENDER = (
    "INSERT OR REPLACE INTO senders (account, instance, no, last, touched, crc, answers)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
INSERT_MARK = "INSERT OR REPLACE INTO marks (account, no, seq, crc) VALUES (?, ?, ?, ?)"
INSERT_ONCE = "INSERT OR REPLACE INTO onces (account, no, key, crc, answer) VALUES (?, ?, ?, ?, ?)"

_SQLITE_MAGIC = b"SQLite format 3\0"
_WAL_HEADER = struct.Struct(">4I8s2I")  # magic, version, page size, number, salts, checksum
_WAL_FRAME = struct.Struct(">2I8s2I")  # page, pages after a commit (else 0), salts, checksum; then the page
_WAL_VERSION_AT = 18  # offset in the file's header; 2 there: a write-ahead log belongs to the file
_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# What a row that is not as it was written may raise while it is taken apart.
_ROW_ERRORS = (
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
    BadFrame,
    apsw.CorruptError,
)
# What SQLite may raise on a file that it cannot make sense of.
_FILE_ERRORS = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError)


# --------------------------------------------------------------------------- errors


def storage_error(error: Exception, path: Path, connection: apsw.Connection | None = None) -> StorageError:
    """Any exception as the one sentence that people and clients are told."""
    if isinstance(error, StorageError):
        return error
    number = 0
    if isinstance(error, OSError):
        number = error.errno or 0
    elif isinstance(error, (apsw.IOError, apsw.CantOpenError)) and connection is not None:
        number = connection.system_errno
    if getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHORT_READ:
        # Nothing failed, so the system's error number is that of something long ago.
        fault = damaged(path, "it ends before its end")
    elif isinstance(error, apsw.FullError) or number in _FULL_ERRNOS:
        fault = StorageError(f"there is no room on the disk for {path}", Code.STORAGE_FULL)
    elif isinstance(error, _FILE_ERRORS):
        fault = damaged(path, str(error))
    else:
        reason = os.strerror(number) if number else str(error) or type(error).__name__
        fault = StorageError(f"{path} cannot be read or written: {reason}")
    fault.__cause__ = error
    return fault


@contextmanager
def explained(path: Path, connection: apsw.Connection | None = None) -> Iterator[None]:
    """Whatever goes wrong in here, with the file or what it holds, becomes a StorageError."""
    try:
        yield
    except _ROW_ERRORS as error:
        raise damaged(path, str(error)) from error
    except (apsw.Error, OSError) as error:
        raise storage_error(error, path, connection) from error


def damaged(path: Path, what: str) -> StorageError:
    return StorageError(
        f"{path} is damaged ({what}); nothing was changed: restore a backup by putting it as {FILE_NAME}"
        " in an empty data folder and starting there"
    )


def stretch(room: str, first: int, last: int) -> str:
    return f"seq {first} of {room}" if first >= last else f"seqs {first} to {last} of {room}"


def sends_of(account: int, room: str) -> str:
    return f"the record of what account {account} sent to {room} did not read as written"


def marker_of(account: int, room: str) -> str:
    return f"how far account {account} has read {room} did not read as written"


# --------------------------------------------------------------------------- rows


class Extent(NamedTuple):
    """What is kept of a room: its number, `first` to `head`, and the seq of its fold (-1: none)."""

    no: int
    first: int = 1
    head: int = 0
    fold: int = -1


class Write(NamedTuple):
    """A batch, encoded: it no longer depends on anything that the hub may change."""

    ticket: int
    now: int
    size: int  # bytes
    blobs: list[tuple[str, int, int, bytes]]  # room, first, last, entries
    folds: list[tuple[str, int, bytes]]
    trims: list[tuple[str, int]]
    senders: list[tuple[int, bytes, str, int, bytes]]
    onces: list[tuple[int, str, bytes, bytes]]
    marks: list[tuple[int, str, int]]


_SenderRow = tuple[int, bytes, int, int, int, int, bytes]


class Staged(NamedTuple):
    """What a transaction changes only once, however many of its batches change it."""

    rooms: dict[str, Extent]
    senders: dict[tuple[int, bytes, int], _SenderRow]


_AnswerRow = tuple[int, bytes, int, int, int]  # request, digest, first, count, at
_answers_decoder = msgspec.msgpack.Decoder(list[_AnswerRow])
_row_encoder = msgspec.msgpack.Encoder()


def checksum(content: bytes, *numbers: int) -> int:
    return zlib.crc32(content, zlib.crc32(struct.pack(f">{len(numbers)}q", *numbers)))


def named_row(name: str, value: bytes) -> tuple[str, int, bytes]:
    """A row of `meta` or `secrets`."""
    return name, checksum(name.encode() + b"\0" + value), value


def room_row(room: str, extent: Extent) -> tuple[int, int, int, int, str]:
    no, first, head, _ = extent
    return no, first, head, checksum(room.encode(), no, first, head), room


def mark_row(account: int, no: int, seq: int) -> tuple[int, int, int, int]:
    return account, no, seq, checksum(b"mark", account, no, seq)


def _encode_answers(answers: Iterable[tuple[int, Answer]]) -> bytes:
    return _row_encoder.encode([(n, a.digest, a.first, a.count, a.at) for n, a in answers])


def decode_answers(data: bytes) -> OrderedDict[int, Answer]:
    """Raises one of `_ROW_ERRORS`."""
    return OrderedDict((row[0], Answer(*row[1:])) for row in _answers_decoder.decode(data))


def _blobs(stretches: list[Stretch]) -> Iterator[tuple[int, int, bytes]]:
    """Consecutive entries as (first, last, encoded), each small enough for a row."""
    for some in joined(stretches, BLOB_BYTES_MAX):
        first, last = some[0].first, some[-1].last
        yield first, last, entries_array(last - first + 1, [one.data for one in some])


def encode_batch(batch: Batch) -> Write:
    blobs = [(room, *blob) for room, stretches in batch.entries.items() for blob in _blobs(stretches)]
    folds = [(room, fold.seq, fold.state) for room, fold in batch.folds.items()]
    senders = [
        (key.account, key.instance, key.room, sender.last, _encode_answers(sender.answers.items()))
        for key, sender in batch.senders.items()
    ]
    onces = [
        (key.account, key.room, key.key, _encode_answers([(0, answer)]))
        for key, answer in batch.onces.items()
    ]
    size = sum(len(row[-1]) for rows in (blobs, folds, senders, onces) for row in rows)
    size += 32 * len(batch.marks)
    trims = list(batch.trims.items())
    marks = [(key.account, key.room, seq) for key, seq in batch.marks.items()]
    return Write(batch.ticket, batch.now, size, blobs, folds, trims, senders, onces, marks)


# --------------------------------------------------------------------------- files


def claim(folder: Path) -> int:
    """The lock that keeps a second broker out of the folder; it ends with the descriptor (or the process).
    Raises StorageError."""
    if not folder.is_dir():
        raise StorageError(f"{folder} is no folder: create it, or name another data folder")
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"the data folder {folder} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StorageError(f"another broker is running on the data folder {folder}") from error
    return descriptor


def is_claimed(folder: Path) -> bool:
    """Whether somebody holds the folder."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def create_database(path: Path, vfs: str | None = None) -> None:
    """A new, empty log. Raises StorageError or OSError."""
    part = path.with_name(path.name + ".new")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)  # whatever the umask; SQLite gives its side files the same mode
    os.close(descriptor)
    with closing(connect(part, vfs)) as connection, explained(path, connection):
        connection.pragma("page_size", PAGE_BYTES)
        _fill(connection)
    give_name(part, path)


def _fill(connection: apsw.Connection) -> None:
    """Make an empty database a log. Raises apsw.Error."""
    with connection:
        for statement in (*_SCHEMA, MARKS_SCHEMA):
            connection.execute(statement)
        connection.execute(INSERT_META, named_row("format", str(FORMAT).encode()))
        connection.execute(INSERT_META, named_row("epoch", os.urandom(EPOCH_BYTES)))


def bring_up_to_date(connection: apsw.Connection) -> None:
    """Make a sound log of an older format one of this. Raises apsw.Error."""
    with connection:
        connection.execute(MARKS_SCHEMA)
        connection.execute(INSERT_META, named_row("format", str(FORMAT).encode()))


def give_name(part: Path, path: Path) -> None:
    """Sync a finished file and give it its name. Raises OSError."""
    _sync(part)
    part.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def inspect_file(path: Path) -> None:
    """Look at the file before SQLite does, which would mend what it should not. Raises StorageError, OSError.

    An empty file is a lost database, not a new one. And a database that was not left in write-ahead
    mode (new, or a backup) has no write-ahead log: one lying beside it belongs to another database,
    and SQLite would write that one's pages into this one.
    """
    wal = path.with_name(path.name + "-wal")
    wal_bytes = wal.stat().st_size if wal.exists() else 0
    if not path.exists():
        if wal_bytes:
            raise damaged(path, f"it is missing, and only {wal.name} is left of it")
        return
    with path.open("rb") as file:
        head = file.read(100)
    if not head:
        raise damaged(path, "it is empty")
    if not head.startswith(_SQLITE_MAGIC):
        raise damaged(path, "it does not begin as a SQLite database")
    if wal_bytes and head[_WAL_VERSION_AT] == 1:
        raise StorageError(
            f"beside {path} lies {wal.name}, which belongs to another database: put {path.name} alone in an"
            " empty data folder"
        )


def inspect_wal(path: Path, frames: int) -> None:
    """See whether the write-ahead log goes on behind the first `frames`, which SQLite found sound.

    Raises StorageError, OSError. SQLite takes the first frame that does not read as written for the end,
    as it is after a power cut. But a transaction begins only when the one before it is synced, and its
    first frame carries on the checksum of the last: where a commit and the frame after it fit together,
    everything up to there had been stored, and was damaged since.
    """
    wal = path.with_name(path.name + "-wal")
    if not wal.exists():
        return
    with wal.open("rb") as file:
        header = file.read(_WAL_HEADER.size)
        if len(header) < _WAL_HEADER.size:
            return
        magic, _, page_bytes, _, salts, *sums = _WAL_HEADER.unpack(header)
        words = ">" if magic & 1 else "<"
        if tuple(sums) != _wal_checksum(words, header[:24], 0, 0):
            return  # torn while it was written anew, when all behind it was in the database
        file.seek(frames * (_WAL_FRAME.size + page_bytes), os.SEEK_CUR)
        commit: tuple[int, int] | None = None  # checksum of the frame before, if that was a commit
        while len(frame := file.read(_WAL_FRAME.size + page_bytes)) == _WAL_FRAME.size + page_bytes:
            _, pages, its_salts, one, other = _WAL_FRAME.unpack_from(frame)
            if commit and its_salts == salts:
                data = frame[:8] + frame[_WAL_FRAME.size :]
                if _wal_checksum(words, data, *commit) == (one, other):
                    raise damaged(path, f"what {wal.name} holds for it did not read as written")
            commit = (one, other) if pages and its_salts == salts else None


def _wal_checksum(words: str, data: bytes, one: int, other: int) -> tuple[int, int]:
    """SQLite's, carried on: https://sqlite.org/fileformat2.html#checksum_algorithm"""
    for left, right in struct.iter_unpack(f"{words}2I", data):
        one = (one + left + other) & 0xFFFFFFFF
        other = (other + right + one) & 0xFFFFFFFF
    return one, other


def connect(path: Path, vfs: str | None = None) -> apsw.Connection:
    """A connection to an existing file, through SQLite's VFS of that name. Raises apsw.Error."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    connection.set_busy_timeout(BUSY_MS)
    return connection


def fetch_all(connection: apsw.Connection, sql: str, *key: int | bytes) -> list[tuple[Any, ...]]:
    """All rows at once: an unfinished read would hold up the write-ahead log. Raises apsw.Error."""
    return connection.execute(sql, key).fetchall()


# --------------------------------------------------------------------------- the check


class _Contents(NamedTuple):
    """What `survey` found in a sound database."""

    meta: dict[str, bytes]
    rooms: dict[str, Extent]
    secrets: dict[str, bytes]


def survey(connection: apsw.Connection, path: Path) -> _Contents:
    """Check everything there is: structure, checksums, and that no entry is missing.

    Raises StorageError that names what is damaged, or that this is no log, or a newer version's.
    Raises apsw.Error if the file cannot be read, or is damaged in a way that SQLite sees by itself.
    """
    meta = _survey_meta(connection, path)
    has_marks = meta["format"] != b"1"
    _survey_structure(connection, path, has_marks)
    with row_by_row(path, "its list of rooms"):
        rooms = _survey_rooms(connection)
    _survey_batches(connection, path, rooms)
    rooms = _survey_folds(connection, path, rooms)
    names = {extent.no: room for room, extent in rooms.items()}
    _survey_sends(connection, path, names)
    if has_marks:
        _survey_marks(connection, path, names)
    with row_by_row(path, "its keys"):
        secrets = _named_rows(connection, "secrets") if connection.table_exists(None, "secrets") else {}
    return _Contents(meta, rooms, secrets)


@contextmanager
def row_by_row(path: Path, what: str) -> Iterator[None]:
    """Whatever goes wrong in here means that `what` is damaged."""
    try:
        yield
    except _ROW_ERRORS as error:
        raise damaged(path, f"{what} did not read as written") from error


def _named_rows(connection: apsw.Connection, table: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, crc, value in connection.execute(f"SELECT name, crc, value FROM {table}"):
        if named_row(name, value)[1] != crc:
            raise ValueError(name)
        found[name] = value
    return found


def _survey_meta(connection: apsw.Connection, path: Path) -> dict[str, bytes]:
    if not connection.table_exists(None, "meta"):
        raise damaged(path, "it is not, or no longer, a log of Simple Chat")
    with row_by_row(path, "its description"):
        meta = _named_rows(connection, "meta")
        version = int(meta.get("format", b""))
    if version > FORMAT:
        raise StorageError(
            f"{path} was written by a newer version of Simple Chat (its format is {version}, the newest known"
            f" here {FORMAT}): start that version, or a later one"
        )
    if version < 1 or len(meta.get("epoch", b"")) != EPOCH_BYTES:
        raise damaged(path, "its description did not read as written")
    return meta


def _survey_structure(connection: apsw.Connection, path: Path, has_marks: bool) -> None:
    found = {
        sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
    }
    if found - {SECRETS_SCHEMA} != {*_SCHEMA, *([MARKS_SCHEMA] if has_marks else [])}:
        raise damaged(path, "its tables are not those of a log")
    for (verdict,) in fetch_all(connection, "PRAGMA quick_check(1)"):
        if verdict != "ok":
            raise damaged(path, " ".join(verdict.split()))


def _survey_rooms(connection: apsw.Connection) -> dict[str, Extent]:
    rooms: dict[str, Extent] = {}
    for no, first, head, crc, room in connection.execute("SELECT no, first, head, crc, room FROM rooms"):
        extent = Extent(no, first, head)
        if room_row(room, extent)[3] != crc or room in rooms:
            raise ValueError(room)
        rooms[room] = extent
    return rooms


def _survey_batches(connection: apsw.Connection, path: Path, rooms: dict[str, Extent]) -> None:
    names = {extent.no: room for room, extent in rooms.items()}
    due = {extent.no: extent.first for extent in rooms.values()}  # the seq that must come next
    rows = connection.execute("SELECT position, first, crc, entries FROM batches ORDER BY position")
    for position, first, crc, entries in rows:
        no, last = position >> SEQ_BITS, position & SEQ_MASK
        if no not in names:
            raise damaged(path, f"{stretch('an unknown room', last, last)} did not read as written")
        if checksum(entries, position, first) != crc:
            raise damaged(path, f"{stretch(names[no], due[no], last)} did not read as written")
        if first != due[no]:
            raise damaged(path, f"{stretch(names[no], due[no], first - 1)} went missing")
        due[no] = last + 1
    for room, extent in rooms.items():
        if due[extent.no] != extent.head + 1:
            raise damaged(path, f"{stretch(room, due[extent.no], extent.head)} went missing")


def _survey_folds(connection: apsw.Connection, path: Path, rooms: dict[str, Extent]) -> dict[str, Extent]:
    """The rooms, with the seqs of their folds."""
    folds: dict[int, int] = {}
    for no, seq, crc, state in connection.execute("SELECT no, seq, crc, state FROM folds"):
        if checksum(state, no, seq) != crc:
            room = next((room for room, extent in rooms.items() if extent.no == no), "an unknown room")
            raise damaged(path, f"the state of {room} did not read as written")
        folds[no] = seq
    found = {room: extent._replace(fold=folds.pop(extent.no, -1)) for room, extent in rooms.items()}
    for room, extent in found.items():
        if extent.fold > extent.head:
            raise damaged(path, f"{stretch(room, extent.head + 1, extent.fold)} went missing")
        if extent.first > 1 and extent.fold < extent.first - 1:
            raise damaged(path, f"the state of {room} after seq {extent.first - 1} went missing")
    if folds:
        raise damaged(path, "there is a state of an unknown room")
    return found


def _survey_sends(connection: apsw.Connection, path: Path, names: dict[int, str]) -> None:
    sql = "SELECT account, instance, no, last, touched, crc, answers FROM senders"
    for account, instance, no, last, touched, crc, answers in connection.execute(sql):
        if no not in names or checksum(instance + answers, account, no, last, touched) != crc:
            raise damaged(path, sends_of(account, names.get(no, "an unknown room")))
    for account, no, key, crc, answer in connection.execute(
        "SELECT account, no, key, crc, answer FROM onces"
    ):
        if no not in names or checksum(key + answer, account, no) != crc:
            raise damaged(path, sends_of(account, names.get(no, "an unknown room")))


def _survey_marks(connection: apsw.Connection, path: Path, names: dict[int, str]) -> None:
    for account, no, seq, crc in connection.execute("SELECT account, no, seq, crc FROM marks"):
        if no not in names or mark_row(account, no, seq)[3] != crc:
            raise damaged(path, marker_of(account, names.get(no, "an unknown room")))


# --------------------------------------------------------------------------- the log
