"""The embedded Log: one SQLite file, `chat.db` in the data folder, with the broker as its only writer.

The rules of this module:

- *One writer.* A single connection on a single thread writes; SQLite has room for no second one, and
  in this way no commit ever waits for a lock. The caller's thread encodes what it appends, because
  the hub goes on changing what it handed over; it reads through a connection of its own.
- *Group commit.* What waits while a commit is on its way shares the next transaction, so that fsync
  at every commit costs little. If a transaction fails, every batch in it fails; nothing of it is kept.
- *A blob per batch and room, not a row per line.* A row costs more than the line in it. A blob's key
  is the room's number and its last seq, so that a read is one range scan. Where a trim cuts a blob in
  two, the blob is rewritten.
- *Every row carries a checksum* over its key and its content: SQLite notices damage to its own
  structure, not to what it holds. All are checked at open, a row again when it is read, and each room
  must have all its entries from its first kept seq to its head. A damaged log is refused, unchanged.
- *Folds are stored, never derived*: once old entries are trimmed, nothing else knows the members.
- *After a failure nothing is taken* until `recover`: what comes after a lost batch was judged as if
  that batch were stored.
- *Nothing comes to exist half-made.* A new database and a backup are written under another name,
  synced and renamed.

`append` never waits and never refuses: whoever appends bounds what waits (the hub does, by
`Settings.pending_bytes_max`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import tempfile
import threading
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec
import structlog

from chat_broker.log import Answer, Batch, Fold, OnceKey, Result, Sender, SenderKey, Span, entry_bytes
from chat_protocol.codec import decode_entries, encode_entries
from chat_protocol.errors import BadFrame, Code, StorageError
from chat_protocol.messages import ENTRIES_BYTES_MAX, Entry

FILE_NAME = "chat.db"
LOCK_NAME = "chat.lock"
FORMAT = 1
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
_SECRETS_SCHEMA = (
    "CREATE TABLE secrets (name TEXT PRIMARY KEY, crc INTEGER NOT NULL, value BLOB NOT NULL)"
    " STRICT, WITHOUT ROWID"
)
_INSERT_META = "INSERT OR REPLACE INTO meta (name, crc, value) VALUES (?, ?, ?)"
_INSERT_SECRET = "INSERT INTO secrets (name, crc, value) VALUES (?, ?, ?)"
_INSERT_ROOM = "INSERT OR REPLACE INTO rooms (no, first, head, crc, room) VALUES (?, ?, ?, ?, ?)"
_INSERT_BATCH = "INSERT INTO batches (position, first, crc, entries) VALUES (?, ?, ?, ?)"
_INSERT_FOLD = "INSERT OR REPLACE INTO folds (no, seq, crc, state) VALUES (?, ?, ?, ?)"
_INSERT_SENDER = (
    "INSERT OR REPLACE INTO senders (account, instance, no, last, touched, crc, answers)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_ONCE = "INSERT OR REPLACE INTO onces (account, no, key, crc, answer) VALUES (?, ?, ?, ?, ?)"

_SQLITE_MAGIC = b"SQLite format 3\0"
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

_log = structlog.get_logger()


# --------------------------------------------------------------------------- errors


def _storage_error(error: Exception, path: Path, connection: apsw.Connection | None = None) -> StorageError:
    """Any exception as the one sentence that people and clients are told."""
    if isinstance(error, StorageError):
        return error
    number = 0
    if isinstance(error, OSError):
        number = error.errno or 0
    elif isinstance(error, (apsw.IOError, apsw.CantOpenError)) and connection is not None:
        number = connection.system_errno
    if isinstance(error, apsw.FullError) or number in _FULL_ERRNOS:
        fault = StorageError(f"there is no room on the disk for {path}", Code.STORAGE_FULL)
    elif isinstance(error, _FILE_ERRORS):
        fault = _damaged(path, str(error))
    else:
        reason = os.strerror(number) if number else str(error) or type(error).__name__
        fault = StorageError(f"{path} cannot be read or written: {reason}")
    fault.__cause__ = error
    return fault


@contextmanager
def _explained(path: Path, connection: apsw.Connection | None = None) -> Iterator[None]:
    """Whatever goes wrong in here, with the file or what it holds, becomes a StorageError."""
    try:
        yield
    except _ROW_ERRORS as error:
        raise _damaged(path, str(error)) from error
    except (apsw.Error, OSError) as error:
        raise _storage_error(error, path, connection) from error


def _damaged(path: Path, what: str) -> StorageError:
    return StorageError(
        f"{path} is damaged ({what}); nothing was changed: restore a backup by putting it as {FILE_NAME}"
        " in an empty data folder and starting there"
    )


def _part(room: str, first: int, last: int) -> str:
    return f"seq {first} of {room}" if first >= last else f"seqs {first} to {last} of {room}"


def _said(account: int, room: str) -> str:
    return f"the record of what account {account} sent to {room} did not read as written"


# --------------------------------------------------------------------------- rows


class _Extent(NamedTuple):
    """What is kept of a room: its number, `first` to `head`, and the seq of its fold (-1: none)."""

    no: int
    first: int = 1
    head: int = 0
    fold: int = -1


class _Write(NamedTuple):
    """A batch, encoded: it no longer depends on anything that the hub may change."""

    ticket: int
    now: int
    size: int  # bytes
    blobs: list[tuple[str, int, int, bytes]]  # room, first, last, entries
    folds: list[tuple[str, int, bytes]]
    trims: list[tuple[str, int]]
    senders: list[tuple[int, bytes, str, int, bytes]]
    onces: list[tuple[int, str, bytes, bytes]]


_SenderRow = tuple[int, bytes, int, int, int, int, bytes]


class _Staged(NamedTuple):
    """What a transaction changes only once, however many of its batches change it."""

    rooms: dict[str, _Extent]
    senders: dict[tuple[int, bytes, int], _SenderRow]


_AnswerRow = tuple[int, bytes, int, int, int]  # request, digest, first, count, at
_answers_decoder = msgspec.msgpack.Decoder(list[_AnswerRow])
_row_encoder = msgspec.msgpack.Encoder()


def _crc(content: bytes, *numbers: int) -> int:
    return zlib.crc32(content, zlib.crc32(struct.pack(f">{len(numbers)}q", *numbers)))


def _named_row(name: str, value: bytes) -> tuple[str, int, bytes]:
    """A row of `meta` or `secrets`."""
    return name, _crc(name.encode() + b"\0" + value), value


def _room_row(room: str, extent: _Extent) -> tuple[int, int, int, int, str]:
    no, first, head, _ = extent
    return no, first, head, _crc(room.encode(), no, first, head), room


def _encode_answers(answers: Iterable[tuple[int, Answer]]) -> bytes:
    return _row_encoder.encode([(n, a.digest, a.first, a.count, a.at) for n, a in answers])


def _decode_answers(data: bytes) -> OrderedDict[int, Answer]:
    """Raises one of `_ROW_ERRORS`."""
    return OrderedDict((row[0], Answer(*row[1:])) for row in _answers_decoder.decode(data))


def _blobs(entries: list[Entry]) -> Iterator[tuple[int, int, bytes]]:
    """Consecutive entries as (first, last, encoded), each small enough for a row."""
    data = encode_entries(entries)
    if len(data) <= BLOB_BYTES_MAX or len(entries) == 1:
        yield entries[0].seq, entries[-1].seq, data
        return
    middle = len(entries) // 2
    yield from _blobs(entries[:middle])
    yield from _blobs(entries[middle:])


def _encode(batch: Batch) -> _Write:
    blobs = [(room, *blob) for room, entries in batch.entries.items() for blob in _blobs(entries)]
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
    trims = list(batch.trims.items())
    return _Write(batch.ticket, batch.now, size, blobs, folds, trims, senders, onces)


# --------------------------------------------------------------------------- files


def _claim(folder: Path) -> int:
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


def _create(path: Path) -> None:
    """A new, empty log. Raises StorageError or OSError."""
    part = path.with_name(path.name + ".new")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)  # whatever the umask; SQLite gives its side files the same mode
    os.close(descriptor)
    with closing(_connect(part)) as connection, _explained(path, connection):
        connection.pragma("page_size", PAGE_BYTES)
        _fill(connection)
    _publish(part, path)


def _fill(connection: apsw.Connection) -> None:
    """Make an empty database a log. Raises apsw.Error."""
    with connection:
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(_INSERT_META, _named_row("format", str(FORMAT).encode()))
        connection.execute(_INSERT_META, _named_row("epoch", os.urandom(EPOCH_BYTES)))


def _publish(part: Path, path: Path) -> None:
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


def _inspect(path: Path) -> None:
    """Look at the file before SQLite does, which would mend what it should not. Raises StorageError, OSError.

    An empty file is a lost database, not a new one. And a database that was not left in write-ahead
    mode (new, or a backup) has no write-ahead log: one lying beside it belongs to another database,
    and SQLite would write that one's pages into this one.
    """
    wal = path.with_name(path.name + "-wal")
    wal_bytes = wal.stat().st_size if wal.exists() else 0
    if not path.exists():
        if wal_bytes:
            raise _damaged(path, f"it is missing, and only {wal.name} is left of it")
        return
    with path.open("rb") as file:
        head = file.read(100)
    if not head:
        raise _damaged(path, "it is empty")
    if not head.startswith(_SQLITE_MAGIC):
        raise _damaged(path, "it does not begin as a SQLite database")
    if wal_bytes and head[_WAL_VERSION_AT] == 1:
        raise StorageError(
            f"beside {path} lies {wal.name}, which belongs to another database: put {path.name} alone in an"
            " empty data folder"
        )


def _connect(path: Path) -> apsw.Connection:
    """A connection to an existing file. Raises apsw.Error."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(BUSY_MS)
    return connection


def _rows(connection: apsw.Connection, sql: str, *key: int | bytes) -> list[tuple[Any, ...]]:
    """All rows at once: an unfinished read would hold up the write-ahead log. Raises apsw.Error."""
    return connection.execute(sql, key).fetchall()


# --------------------------------------------------------------------------- the check


class _Contents(NamedTuple):
    """What `_survey` found in a sound database."""

    meta: dict[str, bytes]
    rooms: dict[str, _Extent]
    secrets: dict[str, bytes]


def _survey(connection: apsw.Connection, path: Path) -> _Contents:
    """Check everything there is: structure, checksums, and that no entry is missing.

    Raises StorageError that names what is damaged, or that this is no log, or a newer version's.
    Raises apsw.Error if the file cannot be read, or is damaged in a way that SQLite sees by itself.
    """
    meta = _survey_meta(connection, path)
    _survey_structure(connection, path)
    with _row_by_row(path, "its list of rooms"):
        rooms = _survey_rooms(connection)
    _survey_batches(connection, path, rooms)
    rooms = _survey_folds(connection, path, rooms)
    _survey_sends(connection, path, {extent.no: room for room, extent in rooms.items()})
    with _row_by_row(path, "its keys"):
        secrets = _named_rows(connection, "secrets") if connection.table_exists(None, "secrets") else {}
    return _Contents(meta, rooms, secrets)


@contextmanager
def _row_by_row(path: Path, what: str) -> Iterator[None]:
    """Whatever goes wrong in here means that `what` is damaged."""
    try:
        yield
    except _ROW_ERRORS as error:
        raise _damaged(path, f"{what} did not read as written") from error


def _named_rows(connection: apsw.Connection, table: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, crc, value in connection.execute(f"SELECT name, crc, value FROM {table}"):
        if _named_row(name, value)[1] != crc:
            raise ValueError(name)
        found[name] = value
    return found


def _survey_meta(connection: apsw.Connection, path: Path) -> dict[str, bytes]:
    if not connection.table_exists(None, "meta"):
        raise _damaged(path, "it is not, or no longer, a log of Simple Chat")
    with _row_by_row(path, "its description"):
        meta = _named_rows(connection, "meta")
        version = int(meta.get("format", b""))
    if version > FORMAT:
        raise StorageError(
            f"{path} was written by a newer version of Simple Chat (its format is {version}, the newest known"
            f" here {FORMAT}): start that version, or a later one"
        )
    if version != FORMAT or len(meta.get("epoch", b"")) != EPOCH_BYTES:
        raise _damaged(path, "its description did not read as written")
    return meta


def _survey_structure(connection: apsw.Connection, path: Path) -> None:
    found = {
        sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
    }
    if found - {_SECRETS_SCHEMA} != set(_SCHEMA):
        raise _damaged(path, "its tables are not those of a log")
    for (verdict,) in _rows(connection, "PRAGMA quick_check(1)"):
        if verdict != "ok":
            raise _damaged(path, " ".join(verdict.split()))


def _survey_rooms(connection: apsw.Connection) -> dict[str, _Extent]:
    rooms: dict[str, _Extent] = {}
    for no, first, head, crc, room in connection.execute("SELECT no, first, head, crc, room FROM rooms"):
        extent = _Extent(no, first, head)
        if _room_row(room, extent)[3] != crc or room in rooms:
            raise ValueError(room)
        rooms[room] = extent
    return rooms


def _survey_batches(connection: apsw.Connection, path: Path, rooms: dict[str, _Extent]) -> None:
    names = {extent.no: room for room, extent in rooms.items()}
    due = {extent.no: extent.first for extent in rooms.values()}  # the seq that must come next
    rows = connection.execute("SELECT position, first, crc, entries FROM batches ORDER BY position")
    for position, first, crc, entries in rows:
        no, last = position >> SEQ_BITS, position & SEQ_MASK
        if no not in names:
            raise _damaged(path, f"{_part('an unknown room', last, last)} did not read as written")
        if _crc(entries, position, first) != crc:
            raise _damaged(path, f"{_part(names[no], due[no], last)} did not read as written")
        if first != due[no]:
            raise _damaged(path, f"{_part(names[no], due[no], first - 1)} went missing")
        due[no] = last + 1
    for room, extent in rooms.items():
        if due[extent.no] != extent.head + 1:
            raise _damaged(path, f"{_part(room, due[extent.no], extent.head)} went missing")


def _survey_folds(connection: apsw.Connection, path: Path, rooms: dict[str, _Extent]) -> dict[str, _Extent]:
    """The rooms, with the seqs of their folds."""
    folds: dict[int, int] = {}
    for no, seq, crc, state in connection.execute("SELECT no, seq, crc, state FROM folds"):
        if _crc(state, no, seq) != crc:
            room = next((room for room, extent in rooms.items() if extent.no == no), "an unknown room")
            raise _damaged(path, f"the state of {room} did not read as written")
        folds[no] = seq
    found = {room: extent._replace(fold=folds.pop(extent.no, -1)) for room, extent in rooms.items()}
    for room, extent in found.items():
        if extent.fold > extent.head:
            raise _damaged(path, f"{_part(room, extent.head + 1, extent.fold)} went missing")
        if extent.first > 1 and extent.fold < extent.first - 1:
            raise _damaged(path, f"the state of {room} after seq {extent.first - 1} went missing")
    if folds:
        raise _damaged(path, "there is a state of an unknown room")
    return found


def _survey_sends(connection: apsw.Connection, path: Path, names: dict[int, str]) -> None:
    sql = "SELECT account, instance, no, last, touched, crc, answers FROM senders"
    for account, instance, no, last, touched, crc, answers in connection.execute(sql):
        if no not in names or _crc(instance + answers, account, no, last, touched) != crc:
            raise _damaged(path, _said(account, names.get(no, "an unknown room")))
    for account, no, key, crc, answer in connection.execute(
        "SELECT account, no, key, crc, answer FROM onces"
    ):
        if no not in names or _crc(key + answer, account, no) != crc:
            raise _damaged(path, _said(account, names.get(no, "an unknown room")))


# --------------------------------------------------------------------------- the log


class SqliteLog:
    """The Log in `folder`/chat.db, which is created if there is none. Raises StorageError.

    `wake` is called from another thread whenever `take_results` has something; it must return at once.
    `backup_secrets` gives what a backup must hold beside the log (the broker's keys), by file name; it
    is called from another thread, too.

    If the file is a backup that is opened for the first time, `restored` is True and the epoch is new.
    `secrets` is what the backup held beside the log: write it out, then call `forget_secrets`. Until
    then every open brings it again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wake: Callable[[], None] = lambda: None,
        backup_secrets: Callable[[], dict[str, bytes]] = dict,
    ) -> None:
        self.path = folder / FILE_NAME
        self.restored = False
        self._wake = wake
        self._backup_secrets = backup_secrets
        self._tips: dict[str, tuple[int, int]] = {}  # head and fold with all that waits; caller's thread only
        self._pruned_at = 0
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[_Write] = deque()
        self._results: list[Result] = []
        self._rooms: dict[str, _Extent] = {}
        self._fault: StorageError | None = None
        self._closing = False
        self._writing = threading.Lock()  # held over each transaction
        self._reading = threading.Lock()  # held over each read, and while entries go away
        self._backup: threading.Thread | None = None
        self._open(folder)
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()

    # ----------------------------------------------------------------- open and close

    def _open(self, folder: Path) -> None:
        with ExitStack() as opened, _explained(self.path):
            opened.callback(os.close, _claim(folder))
            _inspect(self.path)
            if not self.path.exists():
                _create(self.path)
            self.path.chmod(0o600)  # a copied backup may have come with any mode
            self._writer = opened.enter_context(closing(_connect(self.path)))
            with _explained(self.path, self._writer):
                self._open_writer()
            self._reader = opened.enter_context(closing(_connect(self.path)))
            self._reader.pragma("query_only", True)
            self._held = opened.pop_all()

    def _open_writer(self) -> None:
        # Until the file is known to be sound, closing it must not write into it.
        self._writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        contents = _survey(self._writer, self.path)
        self._writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        self._configure_writer()
        self.epoch = contents.meta["epoch"]
        self.secrets = contents.secrets
        self._rooms = contents.rooms
        if "backup" in contents.meta:
            self._begin_new_history()

    def _configure_writer(self) -> None:
        if self._writer.pragma("journal_mode", "wal") != "wal":
            raise StorageError(f"{self.path} is on a file system that cannot keep a log: use a local disk")
        self._writer.pragma("synchronous", "full")
        self._writer.pragma("fullfsync", True)  # where fsync alone leaves data in the drive's cache
        self._writer.pragma("secure_delete", True)  # what retention removes is gone from the file
        self._writer.pragma("journal_size_limit", WAL_BYTES_KEPT)
        self._writer.wal_autocheckpoint(WAL_PAGES)

    def _begin_new_history(self) -> None:
        epoch = os.urandom(EPOCH_BYTES)
        with self._writer:
            self._writer.execute(_INSERT_META, _named_row("epoch", epoch))
            self._writer.execute("DELETE FROM meta WHERE name = 'backup'")
        self.epoch = epoch
        self.restored = True

    def forget_secrets(self) -> None:
        """The caller has written out `secrets`. Raises StorageError."""
        with self._writing, _explained(self.path, self._writer), self._writer:
            self._writer.execute("DROP TABLE IF EXISTS secrets")
        self.secrets = {}

    def close(self) -> None:
        """Finish what was appended and let go of the file; a backup under way is given up.

        The last results can be taken afterwards. Closing again does nothing.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._backup is not None:
            self._backup.join()
        with self._reading, self._writing:
            self._held.close()

    # ----------------------------------------------------------------- append

    def append(self, batch: Batch) -> None:
        """Store a batch, soon; it is encoded before this returns. Its outcome comes from `take_results`."""
        self._advance_tips(batch)
        write = _encode(batch)
        with self._changed:
            assert not self._closing, "a closed log takes nothing"
            self._waiting.append(write)
            self._changed.notify_all()

    def _advance_tips(self, batch: Batch) -> None:
        for room, entries in batch.entries.items():
            head, fold = self._tip(room)
            assert entries[0].seq == head + 1, "a room's entries are contiguous"
            assert entries[-1].seq == head + len(entries), "a room's entries are contiguous"
            self._tips[room] = entries[-1].seq, fold
        for room, state in batch.folds.items():
            head, fold = self._tip(room)
            assert fold <= state.seq <= head, "a fold is of entries that are there, and newer than the last"
            self._tips[room] = head, state.seq
        for room, through in batch.trims.items():
            assert through <= self._tip(room)[1], "trimmed entries are in the fold"

    def _tip(self, room: str) -> tuple[int, int]:
        if room not in self._tips:
            extent = self._extent(room)
            self._tips[room] = extent.head, extent.fold
        return self._tips[room]

    def take_results(self) -> list[Result]:
        with self._changed:
            results, self._results = self._results, []
        return results

    def recover(self) -> None:
        self._tips.clear()
        with self._changed:
            self._fault = None

    # ----------------------------------------------------------------- the writer's thread

    def _run(self) -> None:
        while group := self._next_group():
            fault = self._fault or self._store(group)
            with self._changed:
                self._fault = fault
                self._results += [Result(write.ticket, fault) for write in group]
            self._wake_caller()

    def _next_group(self) -> list[_Write]:
        """The batches of the next transaction; none when the log closes."""
        group: list[_Write] = []
        size = 0
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            while self._waiting and (not group or size + self._waiting[0].size <= GROUP_BYTES_MAX):
                group.append(self._waiting.popleft())
                size += group[-1].size
        return group

    def _wake_caller(self) -> None:
        try:
            self._wake()
        except Exception:  # the caller's bug must not stop the log
            _log.exception("could not tell that the log has results")

    def _store(self, group: list[_Write]) -> StorageError | None:
        """Store the batches in one transaction: all, or none and why."""
        staged = _Staged({}, {})
        with self._writing:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                for write in group:
                    self._write(write, staged)
                self._writer.executemany(_INSERT_SENDER, staged.senders.values())
                self._writer.executemany(_INSERT_ROOM, [_room_row(*item) for item in staged.rooms.items()])
                self._commit(staged.rooms, trims=any(write.trims for write in group))
            except Exception as error:  # whatever it was: nothing is stored, and this thread goes on
                fault = _storage_error(error, self.path, self._writer)
                self._undo()
                return fault
        return None

    def _commit(self, rooms: dict[str, _Extent], *, trims: bool) -> None:
        # A read that knows the old extents must still find those entries.
        with self._reading if trims else nullcontext():
            self._writer.execute("COMMIT")
            with self._changed:
                self._rooms |= rooms

    def _undo(self) -> None:
        """After a failed transaction, leave nothing of it.

        If it was the sync that failed, the transaction lies complete in the write-ahead log, and a
        process that starts next would take it for stored. Any commit writes over it.
        """
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            self._writer.pragma("user_version", 0)
        except apsw.Error:
            pass  # the disk is still full or failing: the next commit writes over it

    def _write(self, write: _Write, staged: _Staged) -> None:
        """One batch, within a transaction."""
        execute = self._writer.execute
        for room, first, last, entries in write.blobs:
            extent = self._staged_extent(staged, room)
            position = extent.no << SEQ_BITS | last
            execute(_INSERT_BATCH, (position, first, _crc(entries, position, first), entries))
            staged.rooms[room] = extent._replace(head=last)
        for room, seq, state in write.folds:
            extent = self._staged_extent(staged, room)
            execute(_INSERT_FOLD, (extent.no, seq, _crc(state, extent.no, seq), state))
            staged.rooms[room] = extent._replace(fold=seq)
        for room, through in write.trims:
            extent = self._staged_extent(staged, room)
            if through >= extent.first:
                self._trim(extent, through)
                staged.rooms[room] = extent._replace(first=through + 1)
        for account, instance, room, last, answers in write.senders:
            no = self._staged_extent(staged, room).no
            crc = _crc(instance + answers, account, no, last, write.now)
            row = account, instance, no, last, write.now, crc, answers
            staged.senders[account, instance, no] = row
        for account, room, key, answer in write.onces:
            no = self._staged_extent(staged, room).no
            execute(_INSERT_ONCE, (account, no, key, _crc(key + answer, account, no), answer))
        self._prune(write.now)

    def _staged_extent(self, staged: _Staged, room: str) -> _Extent:
        """The room as the transaction leaves it so far; a new room gets its number."""
        extent = staged.rooms.get(room) or self._rooms.get(room)
        if extent is None:
            # Rooms are numbered from 1 without gaps, for they are never removed.
            no = 1 + len(self._rooms) + sum(other not in self._rooms for other in staged.rooms)
            if no > ROOMS_MAX:
                text = f"{self.path} has no place for more than {ROOMS_MAX} rooms"
                raise StorageError(text, Code.STORAGE_FULL)
            extent = staged.rooms[room] = _Extent(no)
        return extent

    def _trim(self, extent: _Extent, through: int) -> None:
        base = extent.no << SEQ_BITS
        self._writer.execute("DELETE FROM batches WHERE position BETWEEN ? AND ?", (base + 1, base | through))
        sql = "SELECT position, first, crc, entries FROM batches WHERE position BETWEEN ? AND ? LIMIT 1"
        for position, first, crc, data in _rows(self._writer, sql, base + 1, base | extent.head):
            if first > through:
                return
            if _crc(data, position, first) != crc:
                raise _damaged(self.path, "entries that were to be trimmed did not read as written")
            rest = encode_entries(decode_entries(data)[through + 1 - first :])
            row = (through + 1, _crc(rest, position, through + 1), rest, position)
            self._writer.execute("UPDATE batches SET first = ?, crc = ?, entries = ? WHERE position = ?", row)

    def _prune(self, now: int) -> None:
        """Forget instances that have long said nothing, now and then."""
        if now - self._pruned_at >= PRUNE_EVERY_MS:
            self._writer.execute("DELETE FROM senders WHERE touched < ?", (now - SENDERS_KEPT_MS,))
            self._pruned_at = now

    # ----------------------------------------------------------------- read

    def _extent(self, room: str) -> _Extent:
        with self._changed:
            return self._rooms.get(room) or _Extent(0)

    def rooms(self) -> list[str]:
        with self._changed:
            return [room for room, extent in self._rooms.items() if extent.head]

    def read(self, room: str, after: int, limit: int, bytes_max: int = ENTRIES_BYTES_MAX) -> Span:
        """See `Log.read`. Raises StorageError, also when an entry is not as it was written."""
        with self._reading, _explained(self.path, self._reader):
            extent = self._extent(room)
            after = max(after, extent.first - 1)
            found: list[Entry] = []
            if after < extent.head and limit > 0:
                found = self._scan(room, extent, after, limit, bytes_max)
        return Span(found, extent.first, extent.head)

    def _scan(self, room: str, extent: _Extent, after: int, limit: int, bytes_max: int) -> list[Entry]:
        base = extent.no << SEQ_BITS
        sql = (
            "SELECT position, first, crc, entries FROM batches WHERE position > ? AND position <= ?"
            " ORDER BY position LIMIT ?"
        )
        found: list[Entry] = []
        size = 0
        with closing(self._reader.execute(sql, (base | after, base | extent.head, limit))) as rows:
            for position, first, crc, data in rows:
                if _crc(data, position, first) != crc or first > after + 1:
                    break
                entries = decode_entries(data)[after + 1 - first :]
                if len(found) + len(entries) > limit or size + len(data) > bytes_max:
                    return found + _fitting(entries, limit - len(found), bytes_max - size, bool(found))
                found += entries
                size += len(data)
                after = position & SEQ_MASK
                if len(found) == limit or after == extent.head:
                    return found
        raise _damaged(self.path, f"{_part(room, after + 1, after + 1)} did not read as written")

    def fold(self, room: str) -> Fold | None:
        """The newest stored fold. Raises StorageError."""
        no = self._extent(room).no
        with self._reading, _explained(self.path, self._reader):
            for seq, crc, state in _rows(self._reader, "SELECT seq, crc, state FROM folds WHERE no = ?", no):
                if _crc(state, no, seq) != crc:
                    raise _damaged(self.path, f"the state of {room} did not read as written")
                return Fold(seq, state)
        return None

    def sender(self, key: SenderKey) -> Sender | None:
        """What is stored of an instance's sends into a room. Raises StorageError."""
        no = self._extent(key.room).no
        sql = "SELECT last, touched, crc, answers FROM senders WHERE account = ? AND instance = ? AND no = ?"
        with self._reading, _explained(self.path, self._reader):
            for last, touched, crc, answers in _rows(self._reader, sql, key.account, key.instance, no):
                if _crc(key.instance + answers, key.account, no, last, touched) != crc:
                    raise _damaged(self.path, _said(key.account, key.room))
                return Sender(last, _decode_answers(answers))
        return None

    def once(self, key: OnceKey) -> Answer | None:
        """What was stored under a `once` key. Raises StorageError."""
        no = self._extent(key.room).no
        sql = "SELECT crc, answer FROM onces WHERE account = ? AND no = ? AND key = ?"
        with self._reading, _explained(self.path, self._reader):
            for crc, answer in _rows(self._reader, sql, key.account, no, key.key):
                if _crc(key.key + answer, key.account, no) != crc:
                    raise _damaged(self.path, _said(key.account, key.room))
                return _decode_answers(answer)[0]
        return None

    # ----------------------------------------------------------------- backup

    def backup(self, path: str, ticket: int) -> None:
        """Write a backup of what is stored now to a new file; the outcome comes from `take_results`.

        Reads and appends go on meanwhile. The backup holds the broker's keys: keep it as they are kept.
        """
        if self._backup is not None and self._backup.is_alive():
            self._report_backup(ticket, StorageError("a backup is being written: wait until it is done"))
            return
        self._backup = threading.Thread(
            target=self._run_backup, args=(Path(path), ticket), name="log backup", daemon=True
        )
        self._backup.start()

    def _run_backup(self, path: Path, ticket: int) -> None:
        error: StorageError | None = None
        try:
            self._write_backup(path)
        except Exception as problem:  # whatever it was, the operator is told
            error = _storage_error(problem, path)
            if self._closing:
                error = StorageError(f"{path} was not written: the broker stopped first")
        self._report_backup(ticket, error)

    def _report_backup(self, ticket: int, error: StorageError | None) -> None:
        with self._changed:
            self._results.append(Result(ticket, error))
        self._wake_caller()

    def _write_backup(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise StorageError(f"{path.parent} is no folder: create it, or name another file")
        if os.path.lexists(path):
            raise StorageError(f"{path} exists already: name a new file")
        descriptor, name = tempfile.mkstemp(".part", path.name + ".", path.parent)  # 0600
        os.close(descriptor)
        part = Path(name)
        try:
            self._copy(path, part)
            if os.path.lexists(path):
                raise StorageError(f"{path} exists already: name a new file")
            _publish(part, path)
        finally:
            part.unlink(missing_ok=True)
            part.with_name(part.name + "-journal").unlink(missing_ok=True)

    def _copy(self, path: Path, part: Path) -> None:
        """Put everything into `part`, which will be `path`, and check it. Raises StorageError.

        What is wrong with the content of a copy is wrong with the log.
        """
        with (
            closing(self._interruptible(self.path)) as source,
            _explained(path, source),
            _row_by_row(self.path, "its content"),
        ):
            source.execute("VACUUM INTO ?", (str(part),))
        with closing(self._interruptible(part)) as copy, _explained(path, copy):
            self._mark(copy)
            _survey(copy, self.path)

    def _interruptible(self, path: Path) -> apsw.Connection:
        """A connection whose work ends with apsw.InterruptError when the log closes."""
        connection = _connect(path)
        connection.set_progress_handler(lambda: self._closing, 10_000)
        return connection

    def _mark(self, copy: apsw.Connection) -> None:
        """Make a copy a backup: whoever opens it begins a new history, with the same keys."""
        with copy:
            copy.execute(_INSERT_META, _named_row("backup", b"1"))
            copy.execute("DROP TABLE IF EXISTS secrets")
            copy.execute(_SECRETS_SCHEMA)
            copy.executemany(_INSERT_SECRET, [_named_row(*item) for item in self._backup_secrets().items()])


def _fitting(entries: list[Entry], limit: int, bytes_max: int, may_be_none: bool) -> list[Entry]:
    """As many of the entries as fit; at least one unless there may be none."""
    size = 0
    for index, entry in enumerate(entries[:limit]):
        size += entry_bytes(entry)
        if size > bytes_max and (index or may_be_none):
            return entries[:index]
    return entries[:limit]
