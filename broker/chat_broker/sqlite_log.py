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

import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

import apsw
import structlog

from chat_broker.log import (
    Answer,
    Batch,
    Fold,
    MarkKey,
    OnceKey,
    Result,
    Sender,
    SenderKey,
    Span,
    entry_bytes,
)
from chat_broker.sqlite_file import (
    EPOCH_BYTES,
    FILE_NAME,
    FORMAT,
    GROUP_BYTES_MAX,
    INSERT_BATCH,
    INSERT_FOLD,
    INSERT_MARK,
    INSERT_META,
    INSERT_ONCE,
    INSERT_ROOM,
    INSERT_SECRET,
    INSERT_SENDER,
    PRUNE_EVERY_MS,
    ROOMS_MAX,
    SECRETS_SCHEMA,
    SENDERS_KEPT_MS,
    SEQ_BITS,
    SEQ_MASK,
    WAL_BYTES_KEPT,
    WAL_PAGES,
    Extent,
    Staged,
    Write,
    bring_up_to_date,
    checksum,
    claim,
    connect,
    create_database,
    damaged,
    decode_answers,
    encode_batch,
    explained,
    fetch_all,
    give_name,
    inspect_file,
    inspect_wal,
    mark_row,
    marker_of,
    named_row,
    room_row,
    row_by_row,
    sends_of,
    storage_error,
    stretch,
    survey,
)
from chat_protocol.codec import decode_entries, encode_entries
from chat_protocol.errors import Code, StorageError
from chat_protocol.messages import ENTRIES_BYTES_MAX, Entry

_log = structlog.get_logger()


class SqliteLog:
    """The Log in `folder`/chat.db, which is created if there is none. Raises StorageError.

    `wake` is called from another thread whenever `take_results` has something; it must return at once.
    `backup_secrets` gives what a backup must hold beside the log (the broker's keys), by file name; it
    is called from another thread, too. `vfs` names another of SQLite's VFSes than the default one.

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
        vfs: str | None = None,
    ) -> None:
        self.path = folder / FILE_NAME
        self.restored = False
        self._wake = wake
        self._backup_secrets = backup_secrets
        self._vfs = vfs
        self._tips: dict[str, tuple[int, int]] = {}  # head and fold with all that waits; caller's thread only
        self._pruned_at = 0
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[Write] = deque()
        self._results: list[Result] = []
        self._rooms: dict[str, Extent] = {}
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
        with ExitStack() as opened, explained(self.path):
            opened.callback(os.close, claim(folder))
            inspect_file(self.path)
            if not self.path.exists():
                create_database(self.path, self._vfs)
            self.path.chmod(0o600)  # a copied backup may have come with any mode
            self._writer = opened.enter_context(closing(connect(self.path, self._vfs)))
            with explained(self.path, self._writer):
                self._open_writer()
            self._reader = opened.enter_context(closing(connect(self.path, self._vfs)))
            self._reader.pragma("query_only", True)
            self._held = opened.pop_all()

    def _open_writer(self) -> None:
        # Until the file is known to be sound, closing it must not write into it.
        self._writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        contents = survey(self._writer, self.path)
        inspect_wal(self.path, self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)[0])
        self._writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        self._configure_writer()
        if int(contents.meta["format"]) < FORMAT:
            bring_up_to_date(self._writer)
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
            self._writer.execute(INSERT_META, named_row("epoch", epoch))
            self._writer.execute("DELETE FROM meta WHERE name = 'backup'")
        self.epoch = epoch
        self.restored = True

    def forget_secrets(self) -> None:
        """The caller has written out `secrets`. Raises StorageError."""
        with self._writing, explained(self.path, self._writer), self._writer:
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
        write = encode_batch(batch)
        with self._changed:
            assert not self._closing, "a closed log takes nothing"
            self._waiting.append(write)
            self._changed.notify_all()

    def _advance_tips(self, batch: Batch) -> None:
        for room, stretches in batch.entries.items():
            head, fold = self._tip(room)
            for one in stretches:
                assert one.first == head + 1, "a room's entries are contiguous"
                head = one.last
            self._tips[room] = head, fold
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

    def _next_group(self) -> list[Write]:
        """The batches of the next transaction; none when the log closes."""
        group: list[Write] = []
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

    def _store(self, group: list[Write]) -> StorageError | None:
        """Store the batches in one transaction: all, or none and why."""
        staged = Staged({}, {})
        with self._writing:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                for write in group:
                    self._write(write, staged)
                self._writer.executemany(INSERT_SENDER, staged.senders.values())
                self._writer.executemany(INSERT_ROOM, [room_row(*item) for item in staged.rooms.items()])
                self._commit(staged.rooms, trims=any(write.trims for write in group))
            except Exception as error:  # whatever it was: nothing is stored, and this thread goes on
                fault = storage_error(error, self.path, self._writer)
                self._undo()
                return fault
        return None

    def _commit(self, rooms: dict[str, Extent], *, trims: bool) -> None:
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

    def _write(self, write: Write, staged: Staged) -> None:
        """One batch, within a transaction."""
        execute = self._writer.execute
        for room, first, last, entries in write.blobs:
            extent = self._staged_extent(staged, room)
            position = extent.no << SEQ_BITS | last
            execute(INSERT_BATCH, (position, first, checksum(entries, position, first), entries))
            staged.rooms[room] = extent._replace(head=last)
        for room, seq, state in write.folds:
            extent = self._staged_extent(staged, room)
            execute(INSERT_FOLD, (extent.no, seq, checksum(state, extent.no, seq), state))
            staged.rooms[room] = extent._replace(fold=seq)
        for room, through in write.trims:
            extent = self._staged_extent(staged, room)
            if through >= extent.first:
                self._trim(extent, through)
                staged.rooms[room] = extent._replace(first=through + 1)
        for account, instance, room, last, answers in write.senders:
            no = self._staged_extent(staged, room).no
            crc = checksum(instance + answers, account, no, last, write.now)
            row = account, instance, no, last, write.now, crc, answers
            staged.senders[account, instance, no] = row
        for account, room, key, answer in write.onces:
            no = self._staged_extent(staged, room).no
            execute(INSERT_ONCE, (account, no, key, checksum(key + answer, account, no), answer))
        for account, room, seq in write.marks:
            execute(INSERT_MARK, mark_row(account, self._staged_extent(staged, room).no, seq))
        self._prune(write.now)

    def _staged_extent(self, staged: Staged, room: str) -> Extent:
        """The room as the transaction leaves it so far; a new room gets its number."""
        extent = staged.rooms.get(room) or self._rooms.get(room)
        if extent is None:
            # Rooms are numbered from 1 without gaps, for they are never removed.
            no = 1 + len(self._rooms) + sum(other not in self._rooms for other in staged.rooms)
            if no > ROOMS_MAX:
                text = f"{self.path} has no place for more than {ROOMS_MAX} rooms"
                raise StorageError(text, Code.STORAGE_FULL)
            extent = staged.rooms[room] = Extent(no)
        return extent

    def _trim(self, extent: Extent, through: int) -> None:
        base = extent.no << SEQ_BITS
        self._writer.execute("DELETE FROM batches WHERE position BETWEEN ? AND ?", (base + 1, base | through))
        sql = "SELECT position, first, crc, entries FROM batches WHERE position BETWEEN ? AND ? LIMIT 1"
        for position, first, crc, data in fetch_all(self._writer, sql, base + 1, base | extent.head):
            if first > through:
                return
            if checksum(data, position, first) != crc:
                raise damaged(self.path, "entries that were to be trimmed did not read as written")
            rest = encode_entries(decode_entries(data)[through + 1 - first :])
            row = (through + 1, checksum(rest, position, through + 1), rest, position)
            self._writer.execute("UPDATE batches SET first = ?, crc = ?, entries = ? WHERE position = ?", row)

    def _prune(self, now: int) -> None:
        """Forget instances that have long said nothing, now and then."""
        if now - self._pruned_at >= PRUNE_EVERY_MS:
            self._writer.execute("DELETE FROM senders WHERE touched < ?", (now - SENDERS_KEPT_MS,))
            self._pruned_at = now

    # ----------------------------------------------------------------- read

    def _extent(self, room: str) -> Extent:
        with self._changed:
            return self._rooms.get(room) or Extent(0)

    def rooms(self) -> list[str]:
        with self._changed:
            return [room for room, extent in self._rooms.items() if extent.head]

    def read(self, room: str, after: int, limit: int, bytes_max: int = ENTRIES_BYTES_MAX) -> Span:
        """See `Log.read`. Raises StorageError, also when an entry is not as it was written."""
        with self._reading, explained(self.path, self._reader):
            extent = self._extent(room)
            after = max(after, extent.first - 1)
            found: list[Entry] = []
            if after < extent.head and limit > 0:
                found = self._scan(room, extent, after, limit, bytes_max)
        return Span(found, extent.first, extent.head)

    def _scan(self, room: str, extent: Extent, after: int, limit: int, bytes_max: int) -> list[Entry]:
        base = extent.no << SEQ_BITS
        sql = (
            "SELECT position, first, crc, entries FROM batches WHERE position > ? AND position <= ?"
            " ORDER BY position LIMIT ?"
        )
        found: list[Entry] = []
        size = 0
        with closing(self._reader.execute(sql, (base | after, base | extent.head, limit))) as rows:
            for position, first, crc, data in rows:
                if checksum(data, position, first) != crc or first > after + 1:
                    break
                entries = decode_entries(data)[after + 1 - first :]
                if len(found) + len(entries) > limit or size + len(data) > bytes_max:
                    return found + _fitting(entries, limit - len(found), bytes_max - size, bool(found))
                found += entries
                size += len(data)
                after = position & SEQ_MASK
                if len(found) == limit or after == extent.head:
                    return found
        raise damaged(self.path, f"{stretch(room, after + 1, after + 1)} did not read as written")

    def fold(self, room: str) -> Fold | None:
        """The newest stored fold. Raises StorageError."""
        no = self._extent(room).no
        with self._reading, explained(self.path, self._reader):
            for seq, crc, state in fetch_all(
                self._reader, "SELECT seq, crc, state FROM folds WHERE no = ?", no
            ):
                if checksum(state, no, seq) != crc:
                    raise damaged(self.path, f"the state of {room} did not read as written")
                return Fold(seq, state)
        return None

    def sender(self, key: SenderKey) -> Sender | None:
        """What is stored of an instance's sends into a room. Raises StorageError."""
        no = self._extent(key.room).no
        sql = "SELECT last, touched, crc, answers FROM senders WHERE account = ? AND instance = ? AND no = ?"
        with self._reading, explained(self.path, self._reader):
            for last, touched, crc, answers in fetch_all(self._reader, sql, key.account, key.instance, no):
                if checksum(key.instance + answers, key.account, no, last, touched) != crc:
                    raise damaged(self.path, sends_of(key.account, key.room))
                return Sender(last, decode_answers(answers))
        return None

    def once(self, key: OnceKey) -> Answer | None:
        """What was stored under a `once` key. Raises StorageError."""
        no = self._extent(key.room).no
        sql = "SELECT crc, answer FROM onces WHERE account = ? AND no = ? AND key = ?"
        with self._reading, explained(self.path, self._reader):
            for crc, answer in fetch_all(self._reader, sql, key.account, no, key.key):
                if checksum(key.key + answer, key.account, no) != crc:
                    raise damaged(self.path, sends_of(key.account, key.room))
                return decode_answers(answer)[0]
        return None

    def mark(self, key: MarkKey) -> int:
        """How far an account has read a room. Raises StorageError."""
        no = self._extent(key.room).no
        sql = "SELECT seq, crc FROM marks WHERE account = ? AND no = ?"
        with self._reading, explained(self.path, self._reader):
            for seq, crc in fetch_all(self._reader, sql, key.account, no):
                if mark_row(key.account, no, seq)[3] != crc:
                    raise damaged(self.path, marker_of(key.account, key.room))
                return int(seq)
        return 0

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
            error = storage_error(problem, path)
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
            give_name(part, path)
        finally:
            part.unlink(missing_ok=True)
            part.with_name(part.name + "-journal").unlink(missing_ok=True)

    def _copy(self, path: Path, part: Path) -> None:
        """Put everything into `part`, which will be `path`, and check it. Raises StorageError.

        What is wrong with the content of a copy is wrong with the log.
        """
        with (
            closing(self._interruptible(self.path)) as source,
            explained(path, source),
            row_by_row(self.path, "its content"),
        ):
            source.execute("VACUUM INTO ?", (str(part),))
        with closing(self._interruptible(part)) as copy, explained(path, copy):
            self._mark(copy)
            survey(copy, self.path)

    def _interruptible(self, path: Path) -> apsw.Connection:
        """A connection whose work ends with apsw.InterruptError when the log closes."""
        connection = connect(path, self._vfs)
        connection.set_progress_handler(lambda: self._closing, 10_000)
        return connection

    def _mark(self, copy: apsw.Connection) -> None:
        """Make a copy a backup: whoever opens it begins a new history, with the same keys."""
        with copy:
            copy.execute(INSERT_META, named_row("backup", b"1"))
            copy.execute("DROP TABLE IF EXISTS secrets")
            copy.execute(SECRETS_SCHEMA)
            copy.executemany(INSERT_SECRET, [named_row(*item) for item in self._backup_secrets().items()])


def _fitting(entries: list[Entry], limit: int, bytes_max: int, may_be_none: bool) -> list[Entry]:
    """As many of the entries as fit; at least one unless there may be none."""
    size = 0
    for index, entry in enumerate(entries[:limit]):
        size += entry_bytes(entry)
        if size > bytes_max and (index or may_be_none):
            return entries[:index]
    return entries[:limit]
