"""Rooms as folds: what their entries make of them, and what of that is stored."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from chat_broker.rooms import Room, Rooms
from chat_protocol.codec import encode_plain
from chat_protocol.messages import Created, Entry, EntryKind, Line, Membership, Message, RoomKind

NOW = 1_790_000_000_000
ALICE, BOB, CAROL = (1, "alice"), (2, "bob"), (3, "carol")
LINE = Line("hi")


def entries(*what: tuple[EntryKind, Message], first: int = 1, by: int = 1) -> list[Entry]:
    return [
        Entry(first + index, NOW, by, "", kind, Raw(encode_plain(body)))
        for index, (kind, body) in enumerate(what)
    ]


def created(kind: RoomKind, *members: tuple[int, str]) -> tuple[EntryKind, Message]:
    return EntryKind.CREATED, Created(kind, list(members))


def added(who: tuple[int, str]) -> tuple[EntryKind, Message]:
    return EntryKind.ADDED, Membership(*who)


def removed(who: tuple[int, str]) -> tuple[EntryKind, Message]:
    return EntryKind.REMOVED, Membership(*who)


def line() -> tuple[EntryKind, Message]:
    return EntryKind.LINE, LINE


def room_of(*what: tuple[EntryKind, Message], name: str = "#room", recent: int = 3) -> Room:
    room = Room(name, recent)
    for entry in entries(*what):
        room.apply(entry)
    return room


def test_members_come_and_go_and_the_first_is_the_keeper() -> None:
    room = room_of(created(RoomKind.PRIVATE, ALICE), added(BOB), added(CAROL))
    assert room.members == dict([ALICE, BOB, CAROL])
    assert (room.keeper, room.maker) == (1, 1)
    room.apply(entries(removed(ALICE), first=4)[0])
    assert room.keeper == 2
    room.apply(entries(added(ALICE), first=5)[0])
    assert room.keeper == 2, "who comes back comes last"
    assert room_of(created(RoomKind.PUBLIC)).keeper == 0


def test_to_say_something_membership_is_enough_to_read_it_has_to_be_stored() -> None:
    what = entries(created(RoomKind.PRIVATE, ALICE), added(BOB), removed(BOB))
    room = Room("#room", 3)
    seen = []
    for entry in what:
        room.apply(entry)
        seen.append((room.may_say(1), room.may_say(2), room.may_read(1), room.may_read(2)))
    assert seen == [(True, False, False, False), (True, True, False, False), (True, False, False, False)]
    room.settle(1, what[:1])
    assert (room.may_read(1), room.may_read(2)) == (True, False)
    room.settle(2, what[1:2])
    assert (room.may_read(1), room.may_read(2)) == (True, True), "the removal is only on its way"
    room.settle(3, what[2:])
    assert (room.may_read(1), room.may_read(2)) == (True, False)


def test_a_public_room_is_open_to_everyone_once_it_is_stored() -> None:
    what = entries(created(RoomKind.PUBLIC))
    room = room_of(created(RoomKind.PUBLIC))
    assert room.may_say(99)
    assert not room.may_read(99)
    room.settle(1, what)
    assert room.may_read(99)


@pytest.mark.parametrize(
    ("lines", "recent", "first", "since"),
    [
        (0, 3, 1, 1),  # nothing was said: after what made the room
        (2, 3, 1, 1),
        (3, 3, 1, 1),
        (5, 3, 1, 3),  # the last three lines are 4, 5, 6
        (5, 3, 6, 5),  # of which only 6 is kept
        (5, 0, 1, 6),  # no lines for newcomers
        (5, 50, 1, 1),
    ],
)
def test_newcomers_begin_before_the_last_lines_that_are_kept(
    lines: int, recent: int, first: int, since: int
) -> None:
    room = room_of(created(RoomKind.PUBLIC), *[line()] * lines, recent=recent)
    room.stored = room.head
    assert room.since(first) == since


def test_where_newcomers_begin_is_never_beyond_what_is_stored() -> None:
    room = room_of(created(RoomKind.PUBLIC), *[line()] * 9)
    room.stored = 2
    assert room.since(1) == 2


@pytest.mark.parametrize(("account", "title"), [(1, "@bob"), (2, "@alice")])
def test_a_direct_room_bears_the_others_name(account: int, title: str) -> None:
    room = room_of(created(RoomKind.DIRECT, ALICE, BOB), name="@1:2")
    assert room.title(account) == title


def test_a_direct_room_with_oneself_and_other_rooms_have_titles_too() -> None:
    assert room_of(created(RoomKind.DIRECT, ALICE), name="@1:1").title(1) == "@alice"
    assert room_of(created(RoomKind.PUBLIC)).title(1) == "#room"


@pytest.mark.parametrize("kind", [EntryKind.CREATED, EntryKind.ADDED, EntryKind.REMOVED, 4_711])
@pytest.mark.parametrize("body", [b"\xc0", b"\x90", b"\x01", b"\x92\x01"])
def test_an_entry_that_nobody_can_read_counts_and_changes_nothing(kind: int, body: bytes) -> None:
    room = room_of(created(RoomKind.PRIVATE, ALICE))
    room.apply(Entry(2, NOW, 1, "", kind, Raw(body)))
    assert (room.head, room.kind, room.members) == (2, RoomKind.PRIVATE, dict([ALICE]))


def told_at_random(seed: int, count: int) -> list[Entry]:
    rng = random.Random(seed)
    kind = rng.choice([RoomKind.PUBLIC, RoomKind.PRIVATE])
    what = [created(kind, ALICE) if kind is RoomKind.PRIVATE else created(kind)]
    while len(what) < count:
        what.append(
            rng.choice([line(), line(), added(rng.choice([BOB, CAROL])), removed(BOB), removed(ALICE)])
        )
    return entries(*what[:count])


@given(st.integers(0, 1_000), st.integers(1, 60), st.integers(0, 60))
def test_a_fold_and_the_entries_after_it_are_the_whole_room(seed: int, count: int, folded: int) -> None:
    told = told_at_random(seed, count)
    whole, first = Room("#room", 5), Room("#room", 5)
    for entry in told:
        whole.apply(entry)
    for entry in told[:folded]:
        first.apply(entry)
    again = Rooms(5)
    again.load("#room", first.fold() if folded else None, told[folded:])
    assert again["#room"].fold() == whole.fold()
    assert again["#room"].stored == whole.head
    assert again["#room"].readers == whole.members


def test_rooms_are_listed_by_what_is_stored() -> None:
    rooms = Rooms(3)
    first = entries(created(RoomKind.PRIVATE, ALICE))
    rooms.apply("#den", first[0])
    assert (rooms.of_account(1), rooms.of_kind(RoomKind.PRIVATE)) == (set(), set())
    rooms.settle("#den", 1, first)
    assert (rooms.of_account(1), rooms.of_kind(RoomKind.PRIVATE)) == ({"#den"}, {"#den"})
    for what, alice, bob in [(added(BOB), {"#den"}, {"#den"}), (removed(ALICE), set(), {"#den"})]:
        more = entries(what, first=rooms["#den"].head + 1)
        rooms.apply("#den", more[0])
        rooms.settle("#den", more[-1].seq, more)
        assert (rooms.of_account(1), rooms.of_account(2)) == (alice, bob)
    rooms.forget("#den")
    assert (rooms.of_account(2), rooms.of_kind(RoomKind.PRIVATE), rooms.get("#den")) == (set(), set(), None)


def test_somebody_who_came_and_went_within_one_batch_is_listed_nowhere() -> None:
    rooms = Rooms(3)
    told = entries(created(RoomKind.PRIVATE, ALICE), added(BOB), removed(BOB))
    for entry in told:
        rooms.apply("#den", entry)
    rooms.settle("#den", 3, told)
    assert rooms.of_account(2) == set()
