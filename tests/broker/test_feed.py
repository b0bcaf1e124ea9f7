"""The feed: what is sealed when, with which key and counter; beacons and notices, and their times."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from chat_broker.feed import BEACON_S, PRESENCE_S, Feed
from chat_protocol.codec import decode_feed, encode_entries, encode_plain
from chat_protocol.envelope import Header, Opener, read_header
from chat_protocol.errors import BadSeal
from chat_protocol.messages import (
    ENTRIES_BYTES_MAX,
    LINE_BYTES_MAX,
    NAME_CHARS_MAX,
    NAMES_PER_MESSAGE_MAX,
    AnyFeed,
    Beacon,
    Entry,
    EntryKind,
    Line,
    Presence,
    Publication,
)
from chat_protocol.sealing import SigningSealer, VerifyingOpener
from tests.broker.bench import ClearSealer, packed

RUN = b"run....1"
ROOM = "#room"


class Stage:
    """A feed and its clock; `listeners` follow each room, and its head is `head`."""

    def __init__(self, listeners: int = 1, *, clear: bool = False) -> None:
        rng = random.Random(1)
        sealer = SigningSealer(rng.randbytes(32))
        self.feed = Feed(RUN, ClearSealer() if clear else sealer, rng.randbytes)
        self.opener: Opener = ClearSealer() if clear else VerifyingOpener(sealer.verify_key)
        self.listeners = listeners
        self.head = 1
        self.clock = 0.0

    def tick(self, clock: float) -> None:
        self.clock = clock
        self.feed.tick(clock, lambda _: self.head, lambda _: self.listeners)

    def wait(self, until: float, *, ticks_between: int = 0) -> list[tuple[float, AnyFeed]]:
        """Tick when the feed says so (and some times between); what it sent, and when."""
        sent: list[tuple[float, AnyFeed]] = [(self.clock, message) for message in self.sent()]
        while self.clock < until:
            deadline = self.feed.next_deadline()
            stop = until if deadline is None else min(until, deadline)
            pause = (stop - self.clock) / (ticks_between + 1)
            for clock in [*(self.clock + pause * number for number in range(1, ticks_between + 1)), stop]:
                self.tick(clock)
                sent += [(clock, message) for message in self.sent()]
        return sent

    def sent(self, room: str = ROOM) -> list[AnyFeed]:
        outgoing, self.feed.outgoing = self.feed.outgoing, []
        key = self.feed.room(room).key
        return [decode_feed(self.opener.open(topic, key, envelope)) for topic, envelope in outgoing]

    def says(self, seq: int = 1, size: int = 10) -> None:
        self.head = seq
        self.feed.publish(ROOM, packed([entry(seq, size)]), self.clock)

    def changes(self, name: str, *, came: bool, present: int = 1) -> None:
        self.feed.presence_changed(ROOM, name, came=came, present=present, clock=self.clock)


def entry(seq: int, size: int = 10) -> Entry:
    return Entry(seq, 0, 1, "bob", EntryKind.LINE, Raw(encode_plain(Line("x" * size))))


def times(sent: list[tuple[float, AnyFeed]], kind: type[AnyFeed] = Beacon) -> list[float]:
    return [at for at, message in sent if isinstance(message, kind)]


# ---------------------------------------------------------------------- publications and keys


@given(st.lists(st.sampled_from([1, 1_000, LINE_BYTES_MAX]), min_size=1, max_size=60))
def test_publications_are_bounded_and_bring_every_entry_in_order(sizes: list[int]) -> None:
    stage = Stage()
    entries = [entry(seq, size) for seq, size in enumerate(sizes, 1)]
    stage.feed.publish(ROOM, packed(entries), 0.0)
    publications = [message for message in stage.sent() if isinstance(message, Publication)]
    assert [one for message in publications for one in message.entries] == entries
    assert all(len(encode_entries(message.entries)) <= ENTRIES_BYTES_MAX for message in publications)


def test_a_turn_gives_a_new_key_that_nobody_holds_and_keeps_the_topic() -> None:
    feed = Stage().feed
    room = feed.room(ROOM)
    room.holders.add(7)
    topic, key = room.topic, room.key
    assert feed.held_by(7) == [ROOM]
    feed.turn(ROOM)
    assert (room.topic, room.generation, room.holders) == (topic, 2, set())
    assert room.key != key
    assert feed.held_by(7) == []


def test_a_turned_key_opens_nothing_of_before_and_the_old_one_nothing_after() -> None:
    stage = Stage()
    old = stage.feed.room(ROOM).key
    stage.says(1)
    stage.feed.turn(ROOM)
    stage.says(2)
    new = stage.feed.room(ROOM).key
    (topic, before), (_, after) = stage.feed.outgoing
    assert [read_header(envelope).generation for envelope in (before, after)] == [1, 2]
    for key, envelope in ((new, before), (old, after)):
        with pytest.raises(BadSeal):
            stage.opener.open(topic, key, envelope)


@given(st.lists(st.sampled_from(["say", "turn", "wait", "come", "other"]), max_size=40))
def test_no_counter_comes_twice_under_one_key(steps: list[str]) -> None:
    stage = Stage()
    seen: set[tuple[bytes, Header]] = set()
    for number, step in enumerate(steps):
        match step:
            case "say":
                stage.says()
            case "other":
                stage.feed.publish("#other", packed([entry(1)]), stage.clock)
            case "turn":
                stage.feed.turn(ROOM)
            case "come":
                stage.changes(f"n{number}", came=True)
            case "wait":
                stage.tick(stage.clock + 1.0)
        outgoing, stage.feed.outgoing = stage.feed.outgoing, []
        for topic, envelope in outgoing:
            nonce = (topic, read_header(envelope))
            assert nonce not in seen
            seen.add(nonce)


# ---------------------------------------------------------------------- beacons


def test_beacons_follow_a_publication_after_03_and_1_s_and_then_ever_more_seldom() -> None:
    stage = Stage()
    stage.says()
    sent = stage.wait(130.0)
    assert times(sent) == pytest.approx([0.3, 1.0, 3.0, 7.0, 15.0, 31.0, 61.0, 91.0, 121.0])


def test_beacons_name_the_stored_head_and_the_presence_version() -> None:
    stage = Stage()
    stage.says(41)
    stage.changes("alice", came=True)
    assert stage.wait(0.3)[-1] == (0.3, Beacon(41, 2))


def test_while_publications_come_they_are_the_news() -> None:
    stage = Stage()
    sent = []
    for tenth in range(50):
        sent += stage.wait(tenth / 10)
        stage.says(tenth + 1)
    assert times(sent) == []
    assert times(stage.wait(7.0)) == pytest.approx([4.9 + 0.3, 4.9 + 1.0])


def test_an_open_pulls_the_beacons_forward() -> None:
    stage = Stage()
    stage.says()
    stage.wait(20.0)
    stage.feed.pull_beacons(ROOM, 20.0)
    assert times(stage.wait(24.0)) == pytest.approx([20.3, 21.0, 23.0])


def test_an_open_among_many_people_pulls_them_forward_less() -> None:
    stage = Stage()
    stage.says()
    stage.wait(20.0)
    stage.feed.pull_beacons(ROOM, 20.0, present=2_000)
    assert times(stage.wait(24.0)) == pytest.approx([21.3, 22.0, 24.0])


def test_many_opens_in_a_row_do_not_push_the_beacons_away() -> None:
    stage = Stage()
    sent = []
    for tenth in range(100):
        sent += stage.wait(tenth / 10)
        stage.feed.pull_beacons(ROOM, stage.clock)
    gaps = [later - earlier for earlier, later in zip(times(sent), times(sent)[1:], strict=False)]
    assert max(gaps) < 0.5


def test_a_room_that_nobody_follows_falls_silent() -> None:
    stage = Stage()
    stage.says()
    stage.wait(0.5)
    stage.listeners = 0
    assert stage.wait(1_000.0) == []
    assert stage.feed.next_deadline() is None


# ---------------------------------------------------------------------- presence


def test_changes_of_presence_within_a_moment_are_one_notice() -> None:
    stage = Stage()
    for name in ("carol", "alice", "bob"):
        stage.changes(name, came=True)
    stage.changes("dan", came=False)
    ((at, notice),) = stage.wait(10.0)
    assert at == pytest.approx(PRESENCE_S, abs=0.01)
    assert notice == Presence(2, 1, ["alice", "bob", "carol"], ["dan"])


@pytest.mark.parametrize("came", [[True, False], [False, True], [True, False, True, False]])
def test_who_is_back_before_the_notice_was_never_away(came: list[bool]) -> None:
    stage = Stage()
    for one in came:
        stage.changes("alice", came=one)
    assert stage.wait(10.0) == []
    assert stage.feed.room(ROOM).presence == 1


@pytest.mark.parametrize("came", [True, False])
def test_who_was_shown_in_a_picture_between_is_named_when_they_are_back(came: bool) -> None:
    """Somebody was shown who is here while alice had gone (or come): the next notice has to say how it is
    now, although nothing changed since the last."""
    stage = Stage()
    stage.changes("alice", came=not came)
    assert stage.feed.picture(ROOM) == 1
    stage.changes("alice", came=came)
    ((_, notice),) = stage.wait(10.0)
    assert isinstance(notice, Presence)
    assert (notice.joined, notice.left) == ((["alice"], []) if came else ([], ["alice"]))


def test_the_more_people_are_told_the_longer_changes_are_gathered() -> None:
    waits = []
    for present in (1, 1_000, 10_000):
        stage = Stage(listeners=present)
        stage.changes("alice", came=True, present=present)
        waits.append(times(stage.wait(60.0), Presence)[0])
    assert waits == pytest.approx([PRESENCE_S + 0.0005, PRESENCE_S + 0.5, PRESENCE_S + 5.0])


@pytest.mark.parametrize(
    ("count", "whole"), [(NAMES_PER_MESSAGE_MAX, True), (NAMES_PER_MESSAGE_MAX + 1, False)]
)
def test_too_many_names_become_a_number(count: int, whole: bool) -> None:
    stage = Stage(listeners=count)
    for number in range(count):
        stage.changes(f"{number:0{NAME_CHARS_MAX}}", came=True)
    ((_, notice),) = stage.wait(10.0)
    assert isinstance(notice, Presence)
    assert (notice.version, notice.count, notice.whole) == (2, count, whole)
    assert len(notice.joined) == (count if whole else 0)


def test_changes_that_nobody_hears_of_still_count() -> None:
    stage = Stage(listeners=0)
    stage.changes("alice", came=False)
    assert stage.wait(10.0) == []
    assert stage.feed.room(ROOM).presence == 2


# ---------------------------------------------------------------------- time


def test_the_alarms_that_are_set_do_not_pile_up() -> None:
    stage = Stage(clear=True)
    for minute in range(600):
        stage.wait(minute * 5.0)
        stage.says(minute + 1)
    assert len(stage.feed._alarms) < 10


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_there_is_nothing_to_do_before_the_next_deadline(seed: int) -> None:
    """Whoever ticks between the deadlines, too, sends the same messages at the same times."""
    rng, clock = random.Random(seed), 0.0
    lazy, eager = Stage(clear=True), Stage(clear=True)
    by_lazy: list[tuple[float, AnyFeed]] = []
    by_eager: list[tuple[float, AnyFeed]] = []
    for number in range(40):
        clock += rng.choice([0.0, 0.01, 0.2, 0.5, 3.0, 40.0])
        by_lazy += lazy.wait(clock)
        by_eager += eager.wait(clock, ticks_between=2)
        what, came = rng.randrange(3), rng.random() < 0.5
        for stage in (lazy, eager):
            if what == 0:
                stage.says(number + 1)
            elif what == 1:
                stage.feed.pull_beacons(ROOM, stage.clock)
            else:
                stage.changes(f"n{number % 5}", came=came)
    assert by_lazy == by_eager


def test_the_schedule_is_the_one_that_is_promised() -> None:
    assert BEACON_S[0] == 0.3
    assert sum(BEACON_S[:2]) == pytest.approx(1.0)
    assert max(BEACON_S) == BEACON_S[-1] == 30.0
