"""Making rooms, and who belongs to them; what members read and those who left do not."""

from __future__ import annotations

import pytest

from chat_protocol.errors import Code
from chat_protocol.messages import (
    LOBBY,
    Add,
    Added,
    Ban,
    Beacon,
    Closed,
    Create,
    Cursor,
    Done,
    EntryKind,
    Fetch,
    Key,
    Leave,
    Open,
    Opened,
    Ping,
    Pong,
    Presence,
    Publication,
    Refusal,
    Remove,
    RoomKind,
    Said,
    Unban,
    Users,
    Who,
)
from tests.broker.bench import EPOCH, Bench, Peer, of_kind, texts

DEN = "#den"


def with_den(bench: Bench, *members: str) -> list[Peer]:
    """alice, keeper of a private room, and its other members, all of whom have it open."""
    alice = bench.join("alice")
    alice.ask(Done, Create, DEN, RoomKind.PRIVATE)
    people = [alice]
    for name in members:
        people.append(bench.join(name))
        alice.ask(Done, Add, DEN, name)
    for peer in people:
        peer.open(DEN)
        peer.inbox.clear()
    return people


def members(bench: Bench, room: str = DEN) -> list[str]:
    return list(bench.hub.state.rooms[room].readers.values())


# ---------------------------------------------------------------------- create


@pytest.mark.parametrize("kind", [RoomKind.PUBLIC, RoomKind.PRIVATE])
def test_a_room_is_there_when_it_is_stored(kind: RoomKind) -> None:
    bench = Bench()
    alice = bench.join("alice")
    request = alice.send(Create, "#Books", kind)
    bench.flush()
    assert alice.answers(request) == []
    bench.store()
    assert alice.answer(Done, request)
    opened = alice.open("#books")
    assert (opened.room, opened.kind, opened.head) == ("#books", kind, 1)
    assert members(bench, "#books") == (["alice"] if kind is RoomKind.PRIVATE else [])


@pytest.mark.parametrize(
    ("room", "kind", "code"),
    [
        ("books", RoomKind.PUBLIC, Code.BAD_NAME),
        ("#", RoomKind.PUBLIC, Code.BAD_NAME),
        ("#a b", RoomKind.PUBLIC, Code.BAD_NAME),
        ("#" + "x" * 33, RoomKind.PUBLIC, Code.BAD_NAME),
        ("@bob", RoomKind.DIRECT, Code.BAD_NAME),
        ("$server", RoomKind.PUBLIC, Code.BAD_NAME),
        ("#\x1b[2J", RoomKind.PUBLIC, Code.BAD_NAME),
        ("#books", RoomKind.DIRECT, Code.NOT_ALLOWED),
        (LOBBY, RoomKind.PUBLIC, Code.ROOM_EXISTS),
        (LOBBY, RoomKind.PRIVATE, Code.ROOM_EXISTS),
        ("#LOBBY", RoomKind.PUBLIC, Code.ROOM_EXISTS),
    ],
)
def test_rooms_that_cannot_be_are_refused(room: str, kind: RoomKind, code: Code) -> None:
    bench = Bench()
    alice = bench.join("alice")
    bench.join("bob")
    before = bench.log.rooms()
    assert alice.refused(Create, room, kind).code == code
    assert bench.log.rooms() == before


@pytest.mark.parametrize("kind", [RoomKind.PUBLIC, RoomKind.PRIVATE])
def test_whoever_asks_again_for_the_room_they_made_is_told_that_it_is_made(kind: RoomKind) -> None:
    """The first answer may have been lost; a restart between changes nothing."""
    bench = Bench(fold_every=1)
    alice = bench.join("alice")
    alice.ask(Done, Create, "#books", kind)
    assert alice.ask(Done, Create, "#books", kind)
    other = RoomKind.PUBLIC if kind is RoomKind.PRIVATE else RoomKind.PRIVATE
    assert alice.refused(Create, "#books", other).code == Code.ROOM_EXISTS
    assert bench.join("bob").refused(Create, "#books", kind).code == Code.ROOM_EXISTS
    bench.restart()
    alice = bench.come("alice", alice.key)
    assert alice.ask(Done, Create, "#books", kind)
    alice.ask(Done, Leave, "#books")
    if kind is RoomKind.PRIVATE:
        assert alice.refused(Create, "#books", kind).code == Code.ROOM_EXISTS, "no longer theirs"
    assert len(bench.entries("#books")) == (2 if kind is RoomKind.PRIVATE else 1)


def test_of_two_claims_of_one_room_in_one_drain_the_second_loses() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob")
    first = alice.send(Create, DEN, RoomKind.PRIVATE)
    second = bob.send(Create, DEN, RoomKind.PRIVATE)
    bench.round()
    assert alice.answer(Done, first)
    assert bob.answer(Refusal, second).code == Code.ROOM_EXISTS
    assert members(bench) == ["alice"]


def test_there_is_a_most_to_the_rooms_of_an_account_also_after_a_restart() -> None:
    bench = Bench(rooms_per_account=2, fold_every=3)
    alice = bench.join("alice")
    for room, kind in (("#a", RoomKind.PUBLIC), ("#b", RoomKind.PRIVATE)):
        alice.ask(Done, Create, room, kind)
    assert alice.refused(Create, "#c", RoomKind.PUBLIC).code == Code.TOO_MANY_ROOMS
    bench.restart()
    alice = bench.come("alice", alice.key)
    assert alice.refused(Create, "#c", RoomKind.PUBLIC).code == Code.TOO_MANY_ROOMS
    assert bench.join("bob").ask(Done, Create, "#c", RoomKind.PUBLIC)


# ---------------------------------------------------------------------- add, remove, leave


def test_members_are_added_told_and_may_read_it_all() -> None:
    bench = Bench()
    (alice,) = with_den(bench)
    alice.say("before", room=DEN)
    bob = bench.join("bob")
    phone = bench.come("bob", bob.key)
    request = alice.send(Add, DEN, "BOB")
    bench.flush()
    assert (bob.unasked(Added), alice.answers(request)) == ([], [])
    bench.store()
    assert alice.answer(Done, request)
    for peer in (bob, phone):
        assert peer.unasked(Added) == [Added(0, DEN, DEN, RoomKind.PRIVATE, "alice")]
    assert texts(bob.fetch(DEN).entries) == ["before"]
    before = bench.entries(DEN)
    assert alice.ask(Done, Add, DEN, "bob"), "who is in already is not added again"
    assert (bench.entries(DEN), bob.unasked(Added)) == (before, [])


def test_a_new_member_turns_no_key() -> None:
    bench = Bench()
    (alice,) = with_den(bench)
    bench.join("bob")
    alice.ask(Done, Add, DEN, "bob")
    assert alice.unasked(Key) == []


def test_ones_other_devices_hear_of_a_room_one_makes() -> None:
    bench = Bench()
    alice = bench.join("alice")
    phone = bench.come("alice", alice.key)
    bench.join("bob")
    alice.ask(Done, Create, DEN, RoomKind.PRIVATE)
    alice.say("psst", room="@bob")
    assert [notice.title for notice in phone.unasked(Added)] == [DEN, "@bob"]
    assert alice.unasked(Added) == []


@pytest.mark.parametrize(
    ("who", "kind", "fields", "code"),
    [
        ("bob", Remove, (DEN, "carol"), Code.NOT_ALLOWED),  # not the keeper
        ("bob", Remove, (DEN, "alice"), Code.NOT_ALLOWED),
        ("alice", Add, (DEN, "nobody"), Code.NO_SUCH_ACCOUNT),
        ("alice", Remove, (DEN, "nobody"), Code.NO_SUCH_ACCOUNT),
        ("dan", Add, (DEN, "dan"), Code.NO_SUCH_ROOM),
        ("dan", Remove, (DEN, "alice"), Code.NO_SUCH_ROOM),
        ("dan", Add, (LOBBY, "bob"), Code.NOT_ALLOWED),
        ("dan", Remove, (LOBBY, "bob"), Code.NOT_ALLOWED),
        ("alice", Add, ("@bob", "carol"), Code.NO_SUCH_ROOM),
        ("alice", Remove, ("#nowhere", "bob"), Code.NO_SUCH_ROOM),
    ],
)
def test_who_may_not_change_who_is_in(who: str, kind: type[Add], fields: tuple[str, str], code: Code) -> None:
    bench = Bench()
    people = {peer.name: peer for peer in [*with_den(bench, "bob", "carol"), bench.join("dan")]}
    before = bench.entries(DEN)
    assert people[who].refused(kind, *fields).code == code
    assert bench.entries(DEN) == before


def test_any_member_may_add_and_everyone_may_remove_themselves() -> None:
    bench = Bench()
    alice, bob = with_den(bench, "bob")
    bench.join("carol")
    bob.ask(Done, Add, DEN, "carol")
    bob.ask(Done, Remove, DEN, "bob")
    assert members(bench) == ["alice", "carol"]
    assert [closed.code for closed in bob.unasked(Closed)] == [Code.LEFT]
    assert alice.ask(Done, Remove, DEN, "bob"), "who is out already"


def test_when_the_keeper_leaves_the_next_member_keeps_the_room() -> None:
    bench = Bench()
    alice, bob, _ = with_den(bench, "bob", "carol")
    alice.ask(Done, Leave, DEN)
    assert [closed.code for closed in alice.unasked(Closed)] == [Code.LEFT]
    bob.ask(Done, Remove, DEN, "carol")
    bob.ask(Done, Leave, DEN)
    assert members(bench) == []
    for peer in (alice, bob):
        assert peer.refused(Open, DEN).code == Code.NO_SUCH_ROOM, "nobody's, for ever"


@pytest.mark.parametrize("room", [LOBBY, "#nowhere", "@nobody", DEN])
def test_to_leave_what_one_is_not_in_is_done_at_once(room: str) -> None:
    bench = Bench()
    with_den(bench)
    before = bench.entries(DEN)
    assert bench.join("dan").ask(Done, Leave, room)
    assert bench.entries(DEN) == before


# ---------------------------------------------------------------------- what was removed reads nothing


def test_whoever_is_removed_is_told_and_reads_nothing_more() -> None:
    bench = Bench()
    alice, bob, carol = with_den(bench, "bob", "carol")
    bench.wait(1)
    for peer in (alice, bob, carol):
        peer.read()
    old = dict(bob.keys)
    alice.ask(Done, Remove, DEN, "bob")
    assert bob.unasked(Closed) == [Closed(0, DEN, "removed", "alice removed you from #den")]
    assert bob.keys == old
    alice.say("only among us", room=DEN)
    bench.wait(1)
    last = of_kind(bob.read())[Publication]
    assert [[entry.kind for entry in one.entries] for one in last] == [[EntryKind.REMOVED]], "of bob"
    assert carol.heard(DEN) == ["only among us"]
    assert bob.refused(Open, DEN).code == Code.NO_SUCH_ROOM
    assert bob.refused(Fetch, DEN, Cursor(EPOCH, 0)).code == Code.NO_SUCH_ROOM
    assert bob.refused(Who, DEN).code == Code.NO_SUCH_ROOM
    assert bob.ask(Pong, Ping).rooms == []


def test_what_follows_a_removal_is_sealed_from_whoever_is_gone() -> None:
    bench = Bench()
    alice, bob = with_den(bench, "bob")
    alice.ask(Done, Remove, DEN, "bob")
    bob.read()
    alice.say("only me", room=DEN)
    bench.live(1)
    assert bob.sealed() >= 3, "the line, a notice, beacons"


def test_the_removal_goes_out_under_the_old_key_and_no_publication_spans_the_turn() -> None:
    bench = Bench()
    alice, bob, carol = with_den(bench, "bob", "carol")
    for peer in (bob, carol):
        peer.read()
    alice.send_say("1", room=DEN)
    alice.send(Remove, DEN, "bob")
    alice.send_say("2", "3", room=DEN)
    alice.send(Remove, DEN, "carol")
    alice.send_say("4", room=DEN)
    bench.round()
    assert [key.generation for key in alice.unasked(Key)] == [2, 3]
    shapes = [
        [entry.kind for entry in message.entries]
        for _, message in alice.read()
        if isinstance(message, Publication)
    ][-3:]
    line, removed = EntryKind.LINE, EntryKind.REMOVED
    assert shapes == [[line, removed], [line, line, removed], [line]]
    assert (bob.heard(DEN), carol.heard(DEN)) == (["1"], ["1"]), "nobody was given a key on the way out"


def test_a_turn_brings_a_beacon_soon() -> None:
    bench = Bench()
    alice, _, carol = with_den(bench, "bob", "carol")
    bench.live(20.0)
    carol.read()
    alice.send(Remove, DEN, "bob")
    bench.round()
    bench.wait(0.3)
    assert [beacon.head for beacon in of_kind(carol.read())[Beacon]] == [4]


def test_a_key_is_handed_out_when_the_removal_is_stored() -> None:
    bench = Bench()
    alice, _ = with_den(bench, "bob")
    alice.send(Remove, DEN, "bob")
    bench.flush()
    assert alice.unasked(Key) == []
    bench.store()
    (key,) = alice.unasked(Key)
    assert (key.room, key.generation, key.head) == (DEN, 2, 3)
    assert key.key == bench.hub.state.feed.room(DEN).key


def test_an_open_behind_a_removal_gets_no_key_and_one_ahead_gets_the_old_one() -> None:
    bench = Bench()
    alice, bob = with_den(bench, "bob")
    again = bench.come("bob", bob.key)
    alice.send_say("something to wait for", room=DEN)
    ahead = again.send(Open, DEN)
    alice.send(Remove, DEN, "bob")
    behind = bob.send(Open, DEN)
    bench.round()
    assert again.answer(Refusal, ahead).code == bob.answer(Refusal, behind).code == Code.NO_SUCH_ROOM
    for peer in (again, bob):
        peer.read()
    alice.say("after", room=DEN)
    assert (again.heard(DEN), bob.heard(DEN)) == ([], [])


def test_an_open_in_the_batch_before_a_removal_is_closed_by_it() -> None:
    bench = Bench()
    alice, bob = with_den(bench, "bob")
    again = bench.come("bob", bob.key)
    alice.send_say("something to wait for", room=DEN)
    ahead = again.send(Open, DEN)
    bench.flush()
    alice.send(Remove, DEN, "bob")
    bench.flush()
    bench.store(1)
    assert again.answer(Opened, ahead).generation == 1
    bench.store(1)
    assert [closed.code for closed in again.unasked(Closed)] == [Code.REMOVED]
    again.read()
    alice.say("after", room=DEN)
    assert again.heard(DEN) == []


def test_whoever_is_removed_and_added_again_in_one_drain_has_to_open_anew() -> None:
    bench = Bench()
    alice, bob = with_den(bench, "bob")
    alice.send(Remove, DEN, "bob")
    alice.send(Add, DEN, "bob")
    bench.round()
    assert [type(reply) for reply in bob.inbox if not isinstance(reply, Key)] == [Closed, Added]
    assert bob.open(DEN)
    alice.say("welcome back", room=DEN)
    assert bob.heard(DEN) == ["welcome back"]


def test_those_who_stay_see_the_removed_go() -> None:
    bench = Bench()
    alice, _ = with_den(bench, "bob")
    bench.wait(1)
    alice.read()
    alice.ask(Done, Remove, DEN, "bob")
    assert alice.ask(Users, Who, DEN).names == ["alice"]
    bench.wait(1)
    assert [notice.left for notice in of_kind(alice.read())[Presence]] == [["bob"]]


def test_a_removal_that_nobody_follows_turns_the_key_all_the_same() -> None:
    bench = Bench()
    alice, _ = with_den(bench, "bob")
    alice.welcome = None
    bench.live(20)
    alice = bench.come("alice", alice.key)
    alice.ask(Done, Remove, DEN, "bob")
    assert alice.open(DEN).generation == 2


# ---------------------------------------------------------------------- bans


def test_a_ban_turns_the_keys_of_all_rooms_that_the_account_could_read() -> None:
    bench = Bench()
    alice, mallory = with_den(bench, "mallory")
    mallory.open(LOBBY)
    alice.open(LOBBY)
    alice.say("hi", room="@mallory")
    alice.open("@mallory")
    bench.operator().ask(Done, Ban, "mallory")
    assert {key.room: key.generation for key in alice.unasked(Key)} == {DEN: 2, LOBBY: 2}
    mallory.read()
    for room in (DEN, LOBBY):
        alice.say("after", room=room)
    assert mallory.sealed() == 2
    alice.read()


@pytest.mark.parametrize("flushed", [False, True])
def test_an_open_that_waits_while_its_account_is_banned_brings_no_key(flushed: bool) -> None:
    bench = Bench()
    alice, mallory, operator = bench.join("alice", LOBBY), bench.join("mallory"), bench.operator()
    alice.send_say("something to wait for")
    request = mallory.send(Open, LOBBY)
    if flushed:
        bench.flush()
    operator.send(Ban, "mallory")
    bench.round()
    assert mallory.answer(Refusal, request).code == Code.BANNED
    assert mallory.keys == {}
    alice.say("after")
    assert mallory.heard() == []


def test_a_direct_room_that_is_made_while_its_maker_is_banned_is_not_opened() -> None:
    bench = Bench()
    mallory, operator = bench.join("mallory"), bench.operator()
    bench.join("bob")
    request = mallory.send(Open, "@bob")
    operator.send(Ban, "mallory")
    bench.round()
    assert mallory.answer(Refusal, request).code == Code.BANNED
    assert mallory.keys == {}


@pytest.mark.parametrize("flushed", [False, True])
def test_a_fetch_that_waits_while_its_account_is_banned_brings_nothing(flushed: bool) -> None:
    bench = Bench()
    alice, mallory, operator = bench.join("alice"), bench.join("mallory"), bench.operator()
    alice.send_say("something to wait for")
    request = mallory.send(Fetch, LOBBY, Cursor(EPOCH, 0))
    if flushed:
        bench.flush()
    operator.send(Ban, "mallory")
    bench.round()
    assert mallory.answer(Refusal, request).code == Code.BANNED


def test_a_ban_that_is_on_its_way_back_gives_no_key_to_the_banned() -> None:
    """The ban is stored, the unban is not yet."""
    bench = Bench()
    mallory, operator = bench.join("mallory", LOBBY), bench.operator()
    operator.send(Ban, "mallory")
    bench.flush()
    operator.send(Unban, "mallory")
    bench.flush()
    bench.store(1)
    assert mallory.unasked(Key) == []
    bench.round()
    assert bench.come("mallory", mallory.key).open(LOBBY).generation == 2


def test_the_unbanned_are_what_they_were() -> None:
    bench = Bench()
    alice, mallory = with_den(bench, "mallory")
    operator = bench.operator()
    operator.ask(Done, Ban, "mallory")
    assert not bench.hub.admits(mallory.key, bench.now)
    operator.ask(Done, Unban, "mallory")
    mallory = bench.come("mallory", mallory.key, DEN)
    alice.say("hi", room=DEN)
    assert mallory.heard(DEN) == ["hi"]


# ---------------------------------------------------------------------- direct rooms


def test_a_direct_room_is_one_from_either_side_and_under_any_of_its_names() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob")
    assert alice.welcome
    assert bob.welcome
    room = alice.open("@bob").room
    for peer, ref in [
        (bob, "@alice"),
        (bob, "@ALICE"),
        (alice, room),
        (bob, f"@{alice.welcome.account}:{bob.welcome.account}"),
    ]:
        assert peer.open(ref).room == room
    backwards = f"@{bob.welcome.account}:{alice.welcome.account}"
    assert bob.refused(Open, backwards).code == Code.NO_SUCH_ACCOUNT, "each room has one id"
    assert (alice.open("@bob").title, bob.open("@alice").title) == ("@bob", "@alice")
    alice.say("hi", room="@bob")
    assert (alice.heard(room), bob.heard(room)) == (["hi"], ["hi"])
    assert sorted(bench.log.rooms()) == sorted([LOBBY, "$server", room])


def test_something_said_to_somebody_who_is_away_waits_for_them() -> None:
    bench = Bench()
    alice, key = bench.join("alice"), bench.enroll("bob")
    alice.say("for later", room="@bob")
    bob = bench.come("bob", key)
    opened = bob.open("@alice")
    assert opened.since == 1
    assert texts(bob.fetch("@alice", opened.since).entries) == ["for later"]


def test_whoever_is_there_hears_that_somebody_begins_a_conversation_with_them() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob")
    said = alice.say("hi", room="@bob")
    assert bob.unasked(Added) == [Added(0, said.stored[0].room, "@alice", RoomKind.DIRECT, "alice")]
    alice.say("again", room="@bob")
    alice.open("@bob")
    assert bob.unasked(Added) == [], "once"


def test_both_may_begin_in_one_drain() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob")
    requests = [alice.send_say("hi", room="@bob"), bob.send_say("oh hi", room="@alice")]
    bench.round()
    rooms = {
        peer.answer(Said, request).stored[0].room
        for peer, request in zip((alice, bob), requests, strict=True)
    }
    (room,) = rooms
    assert bench.texts(room) == ["hi", "oh hi"]


def test_one_may_talk_to_oneself() -> None:
    bench = Bench()
    alice = bench.join("alice")
    phone = bench.come("alice", alice.key)
    alice.say("buy milk", room="@alice")
    assert phone.open("@alice").title == "@alice"
    assert texts(phone.fetch("@alice").entries) == ["buy milk"]


def test_a_direct_room_is_for_two_and_for_good() -> None:
    bench = Bench()
    alice, bob, mallory = (bench.join(name) for name in ("alice", "bob", "mallory"))
    room = alice.open("@bob").room
    assert alice.refused(Add, room, "mallory").code == Code.NOT_ALLOWED
    assert alice.refused(Remove, room, "bob").code == Code.NOT_ALLOWED
    assert bob.refused(Leave, "@alice").code == Code.NOT_ALLOWED
    assert mallory.refused(Open, room).code == Code.NO_SUCH_ROOM
    mallory.topics, mallory.keys = dict(alice.topics), {}
    alice.say("psst", room="@bob")
    assert mallory.heard(room) == []


def test_there_is_a_most_to_conversations_that_one_begins() -> None:
    bench = Bench(directs_per_account=2)
    people = {name: bench.join(name) for name in ("alice", "bob", "carol", "dan")}
    alice = people["alice"]
    alice.open("@bob")
    alice.say("hi", room="@carol")
    assert alice.refused(Open, "@dan").code == Code.TOO_MANY_ROOMS
    assert alice.refused_say("hi", room="@dan").code == Code.TOO_MANY_ROOMS
    assert people["dan"].say("hi", room="@alice")
    assert alice.say("hi yourself", room="@dan")


def test_an_opened_direct_room_is_stored_before_it_is_told_of() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob")
    request = alice.send(Open, "@bob")
    bench.flush()
    assert (alice.inbox, bob.inbox) == ([], [])
    bench.store()
    assert alice.answer(Opened, request).head == 1
