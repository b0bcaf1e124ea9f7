"""A broker that is killed and started again is the one that its log makes of it."""

from __future__ import annotations

import pytest

from chat_protocol.errors import Code
from chat_protocol.messages import (
    LOBBY,
    Add,
    Ban,
    Create,
    Cursor,
    Done,
    Enroll,
    Enrolled,
    Fetch,
    Invite,
    Open,
    Opened,
    Page,
    Ping,
    Rate,
    Remove,
    Request,
    Revoke,
    RoomKind,
    Say,
    entry_digest,
)
from tests.broker.bench import EPOCH, PROCESS_INVITE, Bench, texts

DEN = "#den"
KEY = b"k" * 32
INVITE = b"i" * 32


def picture(bench: Bench) -> object:
    """All that the hub makes of its log."""
    state = bench.hub.state
    rooms = {room.name: (room.fold(), room.stored, room.readers) for room in state.rooms}
    lists = {
        account: (state.rooms.of_account(account), account in state.accounts.by_id)
        for account in range(1, 20)
    }
    kinds = {kind: state.rooms.of_kind(kind) for kind in RoomKind}
    return state.accounts.fold(), state.accounts.by_key, rooms, lists, kinds


def live_a_little(bench: Bench) -> None:
    """A bit of everything that is stored."""
    alice, bob, operator = bench.join("alice", LOBBY), bench.join("bob"), bench.operator()
    alice.ask(Done, Create, DEN, RoomKind.PRIVATE)
    alice.ask(Done, Create, "#books", RoomKind.PUBLIC)
    for name in ("bob", "operator"):
        alice.ask(Done, Add, DEN, name)
    for number in range(10):
        alice.say(f"{number}", room=DEN)
        bob.say(f"{number}", "and more", once=b"%16d" % number)
    alice.say("psst", room="@bob")
    alice.ask(Done, Remove, DEN, "bob")
    operator.ask(Done, Invite, INVITE, 3, 60)
    bench.connect(INVITE).ask(Enrolled, Enroll, "carol", KEY)
    operator.ask(Done, Rate, "bob", 7)
    operator.ask(Done, Ban, "carol")
    bob.ask(Done, Invite, b"d" * 32, 1, 60, True)
    bench.connect(b"d" * 32).ask(Enrolled, Enroll, "bob", b"p" * 32)
    bob.ask(Done, Revoke, b"p" * 32)


@pytest.mark.parametrize("fold_every", [1, 2, 3, 7, 1_000])
@pytest.mark.parametrize("keep_entries", [0, 1, 5])
def test_a_start_makes_the_same_of_the_log(fold_every: int, keep_entries: int) -> None:
    bench = Bench(fold_every=fold_every, keep_entries=keep_entries)
    live_a_little(bench)
    before = picture(bench)
    for _ in range(2):
        bench.restart()
        assert picture(bench) == before


@pytest.mark.parametrize("committed", range(6))
def test_a_crash_leaves_whole_batches(committed: int) -> None:
    """What was acknowledged is there, what was not stored is not, whatever was on its way."""
    bench = Bench(fold_every=2, batch_bytes=0)
    alice, bob = bench.join("alice"), bench.join("bob")
    steps: list[tuple[type[Request], tuple[object, ...]]] = [
        (Create, (DEN, RoomKind.PRIVATE)),
        (Add, (DEN, "bob")),
        (Say, (DEN, 0, ["1", "2"])),
        (Remove, (DEN, "bob")),
        (Say, (DEN, 103, ["3"])),
    ]
    for request, (kind, fields) in enumerate(steps, 101):
        alice.send(kind, *fields, request=request)
        bench.flush()
    bench.store(committed)
    told = len(alice.inbox)
    assert told == committed
    bench.restart()
    seqs = [0, 1, 2, 4, 5, 6][committed]
    assert [entry.seq for entry in bench.entries(DEN)] == list(range(1, seqs + 1))
    room = bench.hub.state.rooms.get(DEN)
    members = list(room.members.values()) if room else None
    assert members == [None, ["alice"], ["alice", "bob"], ["alice", "bob"], ["alice"], ["alice"]][committed]
    alice, bob = bench.come("alice", alice.key), bench.come("bob", bob.key)
    if committed == 0:
        assert bob.ask(Done, Create, DEN, RoomKind.PRIVATE), "the name is free"


def test_what_is_not_kept_any_more_is_gone_and_what_it_made_stays() -> None:
    bench = Bench(fold_every=10, keep_entries=20, newcomer_lines=5)
    alice, bob = bench.join("alice"), bench.join("bob")
    alice.ask(Done, Create, DEN, RoomKind.PRIVATE)
    alice.ask(Done, Add, DEN, "bob")
    for number in range(100):
        alice.say(f"{number}", room=DEN)
    bench.restart()
    bob = bench.come("bob", bob.key)
    opened = bob.open(DEN)
    assert (opened.head, opened.since) == (102, 97)
    assert 20 <= opened.head - opened.first + 1 < 40
    page = bob.fetch(DEN)
    assert [entry.seq for entry in page.entries] == list(range(opened.first, 103))
    assert (page.first, page.head) == (opened.first, 102)
    assert texts(page.entries)[-1] == "99"
    alice = bench.come("alice", alice.key)
    alice.ask(Done, Remove, DEN, "bob")
    bench.restart()
    assert bench.come("bob", bob.key).refused(Open, DEN).code == Code.NO_SUCH_ROOM


def test_folds_are_stored_every_so_many_entries_and_no_more_often() -> None:
    bench = Bench(fold_every=10)
    alice = bench.join("alice")
    seqs = set()
    for number in range(50):
        alice.say(f"{number}")
        fold = bench.log.fold(LOBBY)
        seqs.add(fold.seq if fold else 0)
    assert seqs == {0, 10, 20, 30, 40, 50}


def test_the_folds_of_a_room_with_many_members_are_not_most_of_the_work() -> None:
    bench = Bench(fold_every=2)
    alice = bench.join("alice")
    alice.ask(Done, Create, DEN, RoomKind.PRIVATE)
    folds = []
    for number in range(60):
        bench.enroll(f"person{number}")
        alice.ask(Done, Add, DEN, f"person{number}")
        fold = bench.log.fold(DEN)
        folds.append(fold.seq if fold else 0)
    assert len(set(folds)) < 12


def test_a_client_goes_on_from_its_cursor() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob", LOBBY)
    alice.say("1", "2")
    cursor = Cursor(EPOCH, 2, entry_digest(bench.entries()[1]))
    bench.restart()
    bob = bench.come("bob", bob.key)
    assert bob.ask(Opened, Open, LOBBY, cursor).head == 3
    assert texts(bob.ask(Page, Fetch, LOBBY, cursor).entries) == ["2"]


def test_nothing_of_an_earlier_run_is_good_any_more() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    before, token, feed = dict(alice.keys), alice.welcome, bench.hub.state.feed
    assert token
    topic, run = feed.room(LOBBY).topic, feed.run
    bench.restart()
    assert not bench.hub.admits_feed(token.feed_token)
    again = bench.connect(alice.key)
    again.welcome = token
    assert again.refused(Ping).code == Code.UNKNOWN_SESSION
    fresh = bench.come("alice", alice.key, LOBBY)
    assert fresh.welcome
    assert fresh.welcome.run != run
    assert fresh.keys[LOBBY, 1] != before[LOBBY, 1]
    assert topic not in fresh.topics
    again.welcome, again.keys, again.topics = fresh.welcome, before, fresh.topics
    fresh.say("hi")
    assert (fresh.heard(), again.heard()) == (["hi"], [])


def test_a_request_id_of_before_the_restart_is_known() -> None:
    bench = Bench()
    alice = bench.join("alice")
    request = alice.send_say("once")
    bench.round()
    bench.restart()
    again = bench.come("alice", alice.key, instance=alice.instance)
    assert again.refused_say("other", request=request, prev=0).code == Code.ID_REUSED


def test_the_invite_of_a_process_ends_with_it() -> None:
    bench = Bench()
    bench.restart()
    bench.hub.state.process_invite = None
    assert not bench.hub.admits(PROCESS_INVITE, bench.now)
