"""What every Log does, in memory or on disk: the contract that the hub builds on."""

from __future__ import annotations

import resource
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from chat_broker.log import (
    SERVER_ROOM,
    Answer,
    Batch,
    Fold,
    Log,
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
from chat_protocol.errors import Code
from chat_protocol.messages import Entry, EntryKind, Line
from tests.broker.bench import packed

NOW = 1_790_000_000_000
INSTANCE = bytes(range(16))
WAIT_S = 10.0
SMALL_DISK_BYTES = 256 * 1024


def lines(first: int, count: int, size: int = 20) -> list[Entry]:
    """Entries of `size` characters each, no two alike."""
    return [
        Entry(seq, NOW + seq, 7, "bob", EntryKind.LINE, Raw(encode_plain(Line(f"{seq} ".ljust(size, "x")))))
        for seq in range(first, first + count)
    ]


def told(first: int, count: int, size: int = 20) -> list[Stretch]:
    """The same, as a batch holds them."""
    return packed(lines(first, count, size))


class Subject:
    """A log under test, and how to wait for it."""

    def __init__(self) -> None:
        self.woken = threading.Event()
        self.tickets = 0
        self.log: Log

    def append(self, batch: Batch) -> None:
        self.tickets += 1
        batch.ticket = self.tickets
        self.log.append(batch)

    def results(self, count: int) -> list[Result]:
        """The next `count` outcomes."""
        found: list[Result] = []
        while True:
            self.woken.clear()
            found += self.log.take_results()
            if len(found) >= count:
                assert len(found) == count
                return found
            assert self.woken.wait(WAIT_S), f"{len(found)} of {count} results came"

    def store(self, batch: Batch) -> Result:
        self.append(batch)
        return self.results(1)[0]

    def reopen(self) -> None:
        """Stop and start again, if what was stored outlives that."""

    def fill_disk(self) -> None:
        """From now on a batch of `SMALL_DISK_BYTES` finds no room."""

    def empty_disk(self) -> None: ...


class MemorySubject(Subject):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.log: MemoryLog = MemoryLog(auto=True)

    def fill_disk(self) -> None:
        self.log.fail = Code.STORAGE_FULL

    def empty_disk(self) -> None:
        self.log.fail = None


class SqliteSubject(Subject):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.log: SqliteLog = SqliteLog(folder, wake=self.woken.set)

    def reopen(self) -> None:
        self.log.close()
        self.log = SqliteLog(self.folder, wake=self.woken.set)

    def fill_disk(self) -> None:
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (SMALL_DISK_BYTES // 2, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        )

    def empty_disk(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


Kind = Callable[[Path], Subject]
KINDS: list[Kind] = [MemorySubject, SqliteSubject]
all_kinds = pytest.mark.parametrize("kind", KINDS, ids=["memory", "sqlite"])


@pytest.fixture(params=KINDS, ids=["memory", "sqlite"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    made: Subject = request.param(tmp_path)
    yield made
    made.empty_disk()
    made.log.close()


def test_a_room_nobody_wrote_to_is_empty(subject: Subject) -> None:
    span = subject.log.read("#lobby", 0, 10)
    assert (span.entries, span.first, span.head) == ([], 1, 0)
    assert list(subject.log.rooms()) == []
    assert subject.log.fold("#lobby") is None


def test_what_was_stored_is_read_in_order(subject: Subject) -> None:
    assert subject.store(Batch(0, NOW, {"#lobby": told(1, 3), SERVER_ROOM: told(1, 1)})).error is None
    assert subject.store(Batch(0, NOW, {"#lobby": told(4, 2)})).error is None
    for _ in range(2):
        span = subject.log.read("#lobby", 0, 10)
        assert encode_entries(span.entries) == encode_entries(lines(1, 5))
        assert (span.first, span.head) == (1, 5)
        assert sorted(subject.log.rooms()) == ["#lobby", SERVER_ROOM]
        subject.reopen()


@pytest.mark.parametrize(
    ("after", "limit", "seqs"),
    [(0, 2, [1, 2]), (3, 4, [4, 5, 6, 7]), (4, 100, list(range(5, 13))), (12, 5, []), (99, 5, [])],
)
def test_a_read_begins_after_a_seq_and_ends_at_its_limit(
    subject: Subject, after: int, limit: int, seqs: list[int]
) -> None:
    for first in (1, 5, 9):
        subject.append(Batch(0, NOW, {"#lobby": told(first, 4)}))
    subject.results(3)
    span = subject.log.read("#lobby", after, limit)
    assert [entry.seq for entry in span.entries] == seqs
    assert span.head == 12


def test_a_read_keeps_to_its_bytes_but_gives_one_entry(subject: Subject) -> None:
    subject.store(Batch(0, NOW, {"#lobby": told(1, 20, 1_000)}))
    assert len(subject.log.read("#lobby", 0, 100, 10).entries) == 1
    span = subject.log.read("#lobby", 0, 100, 5_000)
    assert len(span.entries) == 4
    assert len(encode_entries(span.entries)) <= 5_000


def test_a_batch_larger_than_any_page(subject: Subject) -> None:
    entries = lines(1, 3_000, 400)
    subject.store(Batch(0, NOW, {"#lobby": packed(entries)}))
    subject.reopen()
    assert encode_entries(list(entries_after(subject.log, "#lobby", 0))) == encode_entries(entries)
    assert [entry.seq for entry in subject.log.read("#lobby", 2_997, 9).entries] == [2_998, 2_999, 3_000]


def test_a_read_marker_is_the_newest_that_was_stored(subject: Subject) -> None:
    bob = MarkKey(7, "#lobby")
    subject.store(Batch(0, NOW, {"#lobby": told(1, 9), "#den": told(1, 1)}, marks={bob: 3}))
    subject.append(Batch(0, NOW, marks={bob: 5}))
    subject.append(Batch(0, NOW, marks={bob: 9, MarkKey(7, "#den"): 1}))
    assert not any(result.error for result in subject.results(2))
    for _ in range(2):
        assert subject.log.mark(bob) == 9
        assert subject.log.mark(MarkKey(7, "#den")) == 1
        assert subject.log.mark(MarkKey(8, "#lobby")) == subject.log.mark(MarkKey(7, "#none")) == 0
        subject.reopen()


def test_senders_and_once_keys_are_stored_with_their_entries(subject: Subject) -> None:
    key = SenderKey(7, INSTANCE, "#lobby")
    once = OnceKey(7, "#lobby", b"k" * 16)
    sender = Sender(9, OrderedDict({8: Answer(b"8" * 8, 1, 1, NOW), 9: Answer(b"9" * 8, 2, 2, NOW)}))
    answer = Answer(b"9" * 8, 2, 2, NOW)
    subject.store(Batch(0, NOW, {"#lobby": told(1, 3)}, {key: sender}, {once: answer}))
    for _ in range(2):
        assert subject.log.sender(key) == sender
        assert list((subject.log.sender(key) or Sender()).answers) == [8, 9]
        assert subject.log.once(once) == answer
        for account, instance, room in [
            (8, INSTANCE, "#lobby"),
            (7, bytes(16), "#lobby"),
            (7, INSTANCE, "#x"),
        ]:
            assert subject.log.sender(SenderKey(account, instance, room)) is None
        for other in [
            OnceKey(8, "#lobby", once.key),
            OnceKey(7, "#x", once.key),
            OnceKey(7, "#lobby", INSTANCE),
        ]:
            assert subject.log.once(other) is None
        subject.reopen()


def test_what_the_hub_changes_later_is_not_stored(subject: Subject) -> None:
    key = SenderKey(7, INSTANCE, "#lobby")
    sender = Sender(1, OrderedDict({1: Answer(b"1" * 8, 1, 1, NOW)}))
    subject.append(Batch(0, NOW, {"#lobby": told(1, 1)}, {key: sender}))
    sender.last = 2
    sender.answers[2] = Answer(b"2" * 8, 2, 1, NOW)
    subject.results(1)
    stored = subject.log.sender(key)
    assert stored is not None
    assert (stored.last, list(stored.answers)) == (1, [1])
    stored.answers.clear()
    assert list((subject.log.sender(key) or Sender()).answers) == [1]


def test_the_newest_fold_counts(subject: Subject) -> None:
    subject.store(Batch(0, NOW, {"#lobby": told(1, 5)}, folds={"#lobby": Fold(4, b"four")}))
    assert subject.log.fold("#lobby") == Fold(4, b"four")
    subject.store(Batch(0, NOW, folds={"#lobby": Fold(5, b"five")}))
    for _ in range(2):
        assert subject.log.fold("#lobby") == Fold(5, b"five")
        assert subject.log.fold("#other") is None
        subject.reopen()


@pytest.mark.parametrize("through", [1, 4, 5, 9, 10])
def test_trimmed_entries_are_gone_exactly(subject: Subject, through: int) -> None:
    subject.store(Batch(0, NOW, {"#lobby": told(1, 5), "#other": told(1, 5)}))
    subject.store(
        Batch(
            0,
            NOW,
            {"#lobby": told(6, 5)},
            folds={"#lobby": Fold(10, b"")},
            trims={"#lobby": through},
        )
    )
    for _ in range(2):
        span = subject.log.read("#lobby", 0, 100)
        assert encode_entries(span.entries) == encode_entries(lines(through + 1, 10 - through))
        assert (span.first, span.head) == (through + 1, 10)
        assert len(subject.log.read("#other", 0, 100).entries) == 5
        assert sorted(subject.log.rooms()) == ["#lobby", "#other"]
        subject.reopen()
    assert subject.store(Batch(0, NOW, {"#lobby": told(11, 1)})).error is None
    assert subject.log.read("#lobby", 10, 9).head == 11


def test_an_older_trim_changes_nothing(subject: Subject) -> None:
    subject.store(
        Batch(0, NOW, {"#lobby": told(1, 10)}, folds={"#lobby": Fold(10, b"")}, trims={"#lobby": 6})
    )
    assert subject.store(Batch(0, NOW, trims={"#lobby": 3})).error is None
    assert subject.log.read("#lobby", 0, 100).first == 7
    subject.reopen()
    assert subject.log.read("#lobby", 0, 100).first == 7


def test_results_come_in_the_order_of_tickets(subject: Subject) -> None:
    for seq in range(1, 101):
        subject.append(Batch(0, NOW, {"#lobby": told(seq, 1)}))
    assert subject.results(100) == [Result(ticket) for ticket in range(1, 101)]


def test_after_a_failure_everything_fails_until_recovery(subject: Subject) -> None:
    subject.store(Batch(0, NOW, {"#lobby": told(1, 3)}))
    subject.fill_disk()
    key = SenderKey(7, INSTANCE, "#lobby")
    subject.append(Batch(0, NOW, {"#lobby": told(4, SMALL_DISK_BYTES // 1_000, 1_000)}, {key: Sender(1)}))
    refused = subject.results(1)
    subject.empty_disk()
    head = 3 + SMALL_DISK_BYTES // 1_000
    for seq in (head + 1, head + 2):
        subject.append(Batch(0, NOW, {"#lobby": told(seq, 1)}))
    refused += subject.results(2)
    assert [result.ticket for result in refused] == [2, 3, 4]
    assert [result.error.code for result in refused if result.error] == [Code.STORAGE_FULL] * 3
    assert [entry.seq for entry in subject.log.read("#lobby", 0, 100).entries] == [1, 2, 3]
    assert subject.log.sender(key) is None

    subject.log.recover()
    assert subject.store(Batch(0, NOW, {"#lobby": told(4, 1)})).error is None
    subject.reopen()
    assert [entry.seq for entry in subject.log.read("#lobby", 0, 100).entries] == [1, 2, 3, 4]


def test_it_may_fail_and_recover_again_and_again(subject: Subject) -> None:
    for head in range(5):
        subject.fill_disk()
        big = lines(head + 1, SMALL_DISK_BYTES // 1_000, 1_000)
        error = subject.store(Batch(0, NOW, {"#lobby": packed(big)})).error
        assert error is not None
        assert error.code == Code.STORAGE_FULL
        subject.empty_disk()
        subject.log.recover()
        assert subject.store(Batch(0, NOW, {"#lobby": told(head + 1, 1)})).error is None
    subject.reopen()
    assert encode_entries(subject.log.read("#lobby", 0, 100).entries) == encode_entries(lines(1, 5))


def test_closing_stores_what_was_appended(subject: Subject) -> None:
    for seq in range(1, 51):
        subject.append(Batch(0, NOW, {"#lobby": told(seq, 1)}))
    subject.reopen()
    assert len(subject.log.read("#lobby", 0, 100).entries) == 50


# --------------------------------------------------------------------------- against a plain list

ROOMS = ("#lobby", "#team", SERVER_ROOM)


@dataclass
class Model:
    """The same as lists: all that was ever said, how much is gone, and the newest fold."""

    said: dict[str, list[Entry]] = field(default_factory=lambda: {room: [] for room in ROOMS})
    trimmed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROOMS, 0))
    folds: dict[str, Fold] = field(default_factory=dict)

    def batch(self, sizes: dict[str, list[int]], trims: dict[str, float]) -> Batch:
        """A batch of lines of these sizes, which then keeps only so large a part of each room."""
        batch = Batch(0, NOW)
        for room, room_sizes in sizes.items():
            head = len(self.said[room])
            said = [lines(head + 1 + n, 1, size)[0] for n, size in enumerate(room_sizes)]
            batch.entries[room] = packed(said)
            self.said[room] += said
        for room, part in trims.items():
            head = len(self.said[room])
            through = int(head * part)
            if through > self.trimmed[room]:
                batch.folds[room] = self.folds[room] = Fold(head, f"{room} {head}".encode())
                batch.trims[room] = self.trimmed[room] = through
        return batch

    def check(self, log: Log, after: int, limit: int, bytes_max: int) -> None:
        for room in ROOMS:
            begin = max(after, self.trimmed[room])
            wanted = self.said[room][begin:]
            span = log.read(room, after, limit, bytes_max)
            assert (span.first, span.head) == (self.trimmed[room] + 1, len(self.said[room]))
            assert encode_entries(span.entries) == encode_entries(wanted[: len(span.entries)])
            assert min(1, len(wanted)) <= len(span.entries) <= limit
            assert len(span.entries) <= 1 or len(encode_entries(span.entries)) <= bytes_max
            assert encode_entries(list(entries_after(log, room, after))) == encode_entries(wanted)
            assert log.fold(room) == self.folds.get(room)


steps = st.lists(
    st.one_of(
        st.builds(
            lambda sizes, trims: ("batch", sizes, trims),
            st.dictionaries(
                st.sampled_from(ROOMS), st.lists(st.integers(1, 300), min_size=1, max_size=40), max_size=3
            ),
            st.dictionaries(st.sampled_from(ROOMS), st.floats(0, 1), max_size=1),
        ),
        st.builds(
            lambda *numbers: ("check", *numbers),
            st.integers(0, 120),
            st.integers(1, 60),
            st.integers(0, 5_000),
        ),
        st.just(("reopen",)),
    ),
    max_size=20,
)


@all_kinds
@given(steps=steps)
@settings(max_examples=100, deadline=None)
def test_it_reads_as_a_plain_list_would(kind: Kind, steps: list[tuple[str, ...]]) -> None:
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        subject = kind(Path(folder))
        for name, *arguments in steps:
            if name == "batch":
                assert subject.store(model.batch(*arguments)).error is None  # type: ignore[arg-type]
            elif name == "check":
                model.check(subject.log, *arguments)  # type: ignore[arg-type]
            else:
                subject.reopen()
        model.check(subject.log, 0, 1_000, 1 << 20)
        subject.log.close()
