"""The Log port: where entries are kept. What was appended and reported as stored is never lost.

A log has many *rooms* (and `SERVER_ROOM`, the broker's own), each a contiguous sequence of entries
from seq 1. The hub appends batches, asynchronously and in order; each is stored whole or not at all.
After one failed, every batch appended later fails too, until the hub has rebuilt its state and called
`recover`. Reads see what is stored, never what is only on its way.

Beside the entries a batch carries what must change with them in the same transaction: each sender's
answers (SPEC.md, "Exactly once"), `once` keys, read markers, and folds: a room's state at a seq, so that
a start need not read its whole history and retention never forgets members.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from msgspec import Struct

from chat_protocol.codec import decode_entries, entries_array, pack_entries
from chat_protocol.errors import Code, StorageError
from chat_protocol.messages import ENTRIES_BYTES_MAX, Entry

#: The broker's own log: accounts, keys, invites, rooms, bans.
SERVER_ROOM = "$server"
ARRAY_HEAD_BYTES = 5  # what stands before the entries of an array, at most
ENTRY_BYTES = 36  # what an entry takes at most, encoded, beside its body and its sender's name


class Answer(Struct, frozen=True, gc=False):
    """What one Say was answered with, kept so that the same request gets the same answer."""

    digest: bytes  # 8 bytes, of what was said
    first: int
    count: int
    at: int


@dataclass(slots=True)
class Sender:
    """One instance's sends into one room: the newest request id that was taken, and recent answers."""

    last: int = 0
    answers: OrderedDict[int, Answer] = field(default_factory=OrderedDict)


class SenderKey(NamedTuple):
    account: int
    instance: bytes  # 16 bytes
    room: str


class OnceKey(NamedTuple):
    account: int
    room: str
    key: bytes  # 16 bytes


@dataclass(frozen=True, slots=True)
class MarkKey:
    """Whose read marker, and where."""

    account: int
    room: str


@dataclass(frozen=True, slots=True)
class Fold:
    """A room's state after `seq`, as the hub encoded it."""

    seq: int
    state: bytes


class Stretch(NamedTuple):
    """Consecutive entries of one room, encoded one behind the other, as they are stored and sent."""

    first: int
    last: int
    data: bytes

    @classmethod
    def of(cls, entries: list[Entry]) -> Stretch:
        return cls(entries[0].seq, entries[-1].seq, pack_entries(entries))

    def __len__(self) -> int:
        return self.last - self.first + 1

    def entries(self) -> list[Entry]:
        return decode_entries(entries_array(len(self), [self.data]))


def joined(stretches: Iterable[Stretch], bytes_max: int) -> Iterator[list[Stretch]]:
    """Stretches in groups whose array has at most `bytes_max`, a single longer one by itself."""
    group: list[Stretch] = []
    size = ARRAY_HEAD_BYTES
    for one in stretches:
        if group and size + len(one.data) > bytes_max:
            yield group
            group, size = [], ARRAY_HEAD_BYTES
        group.append(one)
        size += len(one.data)
    if group:
        yield group


@dataclass(slots=True)
class Batch:
    """What is stored together. `ticket` counts up by one from batch to batch. A room's entries are
    stretches, each beginning where the one before it ended."""

    ticket: int
    now: int  # wall clock, ms
    entries: dict[str, list[Stretch]] = field(default_factory=dict)
    senders: dict[SenderKey, Sender] = field(default_factory=dict)
    onces: dict[OnceKey, Answer] = field(default_factory=dict)
    marks: dict[MarkKey, int] = field(default_factory=dict)  # -> the seq read; the room has entries
    folds: dict[str, Fold] = field(default_factory=dict)
    trims: dict[str, int] = field(default_factory=dict)  # room -> newest seq that may go; needs a fold there

    def __bool__(self) -> bool:
        return bool(self.entries or self.senders or self.onces or self.marks or self.folds or self.trims)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a batch (`error` None: stored) or of a backup."""

    ticket: int
    error: StorageError | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive entries after what was asked for, and where the room begins and ends now."""

    entries: list[Entry]
    first: int  # the oldest kept seq; head + 1 when nothing is kept
    head: int


class Log(Protocol):
    epoch: bytes  # 8 bytes: the identity of this history

    def append(self, batch: Batch) -> None:
        """Store a batch, soon. Returns at once; the outcome comes from `take_results`."""

    def take_results(self) -> list[Result]:
        """Outcomes since the last call, batches in the order of their tickets; a backup's when it is done."""

    def recover(self) -> None:
        """After a failure and once everything appended has its result: take batches again."""

    def rooms(self) -> Iterable[str]:
        """Every room with entries, `SERVER_ROOM` included."""

    def fold(self, room: str) -> Fold | None:
        """The newest stored fold."""

    def read(self, room: str, after: int, limit: int, bytes_max: int = ENTRIES_BYTES_MAX) -> Span:
        """Up to `limit` entries with seq > `after`, at least one if there is one, of at most
        `bytes_max` encoded bytes beyond the first. Raises StorageError."""

    def sender(self, key: SenderKey) -> Sender | None:
        """What is stored of an instance's sends into a room; a copy the caller may change."""

    def once(self, key: OnceKey) -> Answer | None: ...

    def mark(self, key: MarkKey) -> int:
        """The seq up to which an account has read a room; 0 if nothing is stored. Raises StorageError."""

    def backup(self, path: str, ticket: int) -> None:
        """Write a backup of what is stored now; the outcome comes from `take_results`."""

    def close(self) -> None:
        """Finish what was appended, and let go of everything."""


def entry_bytes(entry: Entry) -> int:
    """The bytes that an entry takes at most, encoded."""
    return len(entry.body) + len(entry.sender.encode()) + ENTRY_BYTES


def entries_after(log: Log, room: str, after: int) -> Iterator[Entry]:
    """All entries of a room after a seq, read page by page."""
    while True:
        span = log.read(room, after, 1_000, 1 << 20)
        if not span.entries:
            return
        yield from span.entries
        after = span.entries[-1].seq


@dataclass(slots=True)
class _MemoryRoom:
    entries: list[Entry] = field(default_factory=list)
    trimmed: int = 0  # how many entries are gone from the front
    fold: Fold | None = None


class MemoryLog:
    """A Log in memory, for tests. Nothing is stored before `commit` (or at once with `auto`).

    `fail` makes the next commits fail with that code; `entries_max` bounds what it takes.
    """

    def __init__(
        self, epoch: bytes = b"epoch..1", *, auto: bool = False, entries_max: int = 1_000_000
    ) -> None:
        self.epoch = epoch
        self.auto = auto
        self.fail: Code | None = None
        self.waiting: list[Batch] = []
        self._room_left = entries_max
        self._failed: Code | None = None
        self._results: list[Result] = []
        self._rooms: dict[str, _MemoryRoom] = {}
        self._senders: dict[SenderKey, Sender] = {}
        self._onces: dict[OnceKey, Answer] = {}
        self._marks: dict[MarkKey, int] = {}

    def append(self, batch: Batch) -> None:
        self.waiting.append(batch)
        if self.auto:
            self.commit()

    def commit(self, batches: int | None = None) -> None:
        """Store (or fail) the oldest `batches` waiting ones; all if None."""
        for batch in self.waiting[:batches]:
            self._results.append(Result(batch.ticket, self._store(batch)))
        del self.waiting[:batches]

    def crash(self) -> None:
        """Forget what was not committed, as a killed process does."""
        self.waiting.clear()
        self._results.clear()
        self._failed = None

    def _store(self, batch: Batch) -> StorageError | None:
        size = sum(len(one) for stretches in batch.entries.values() for one in stretches)
        if self.fail is None and size > self._room_left:
            self.fail = Code.STORAGE_FULL
        self._failed = self._failed or self.fail
        if self._failed is not None:
            return StorageError("the log took nothing", self._failed)
        for name, stretches in batch.entries.items():
            room = self._rooms.setdefault(name, _MemoryRoom())
            for one in stretches:
                assert one.first == room.trimmed + len(room.entries) + 1, "a room's entries are contiguous"
                room.entries.extend(one.entries())
        for name, fold in batch.folds.items():
            self._rooms.setdefault(name, _MemoryRoom()).fold = fold
        for name, through in batch.trims.items():
            room = self._rooms[name]
            assert room.fold is not None
            assert room.fold.seq >= through, "trimmed entries are in the fold"
            gone = max(0, through - room.trimmed)
            del room.entries[:gone]
            room.trimmed += gone
        for key, sender in batch.senders.items():
            self._senders[key] = Sender(sender.last, OrderedDict(sender.answers))
        self._onces.update(batch.onces)
        self._marks.update(batch.marks)
        self._room_left -= size
        return None

    def take_results(self) -> list[Result]:
        results, self._results = self._results, []
        return results

    def recover(self) -> None:
        self._failed = None

    def rooms(self) -> list[str]:
        return list(self._rooms)

    def fold(self, room: str) -> Fold | None:
        return self._rooms[room].fold if room in self._rooms else None

    def read(self, room: str, after: int, limit: int, bytes_max: int = ENTRIES_BYTES_MAX) -> Span:
        kept = self._rooms.get(room, _MemoryRoom())
        start = max(0, after - kept.trimmed)
        found: list[Entry] = []
        size = 0
        for entry in kept.entries[start : start + limit]:
            size += entry_bytes(entry)
            if found and size > bytes_max:
                break
            found.append(entry)
        return Span(found, kept.trimmed + 1, kept.trimmed + len(kept.entries))

    def sender(self, key: SenderKey) -> Sender | None:
        stored = self._senders.get(key)
        return Sender(stored.last, OrderedDict(stored.answers)) if stored else None

    def once(self, key: OnceKey) -> Answer | None:
        return self._onces.get(key)

    def mark(self, key: MarkKey) -> int:
        return self._marks.get(key, 0)

    def backup(self, path: str, ticket: int) -> None:
        self._results.append(Result(ticket, StorageError("a log in memory has no backup")))

    def close(self) -> None:
        self.commit()
