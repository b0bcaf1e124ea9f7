"""Mark: how far an account has read, kept once for all its devices."""

from __future__ import annotations

import pytest

from chat_broker.log import MarkKey, MemoryLog
from chat_broker.marks import Marks
from chat_protocol.errors import Code
from chat_protocol.messages import HOPS_MAX, LOBBY, Create, Done, Mark, Marked, Remove, RoomKind, Say
from tests.broker.bench import Bench, Peer

DEN = "#den"


def reads(peer: Peer, seq: int, room: str = LOBBY) -> None:
    peer.ask(Done, Mark, room, seq)


def told(peer: Peer) -> list[tuple[str, int]]:
    return [(marked.room, marked.seq) for marked in peer.unasked(Marked)]


def test_a_marker_is_told_when_the_room_is_opened_from_anywhere() -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob", LOBBY)
    alice.say("1", "2", "3")
    reads(alice, 3)
    assert bench.come("alice", alice.key).open(LOBBY).read == 3
    assert bob.open(LOBBY).read == 0


def test_other_sessions_that_follow_the_room_hear_of_it() -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob", LOBBY)
    phone, elsewhere = bench.come("alice", alice.key, LOBBY), bench.come("alice", alice.key)
    alice.say("1", "2")
    reads(alice, 3)
    assert told(phone) == [(LOBBY, 3)]
    assert [told(peer) for peer in (alice, bob, elsewhere)] == [[], [], []]


def test_a_marker_never_goes_back_and_never_past_the_head() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    phone = bench.come("alice", alice.key, LOBBY)
    alice.say("1", "2", "3")
    for seq in (3, 2, 3, 2**53 - 1, 1):
        reads(alice, seq)
    assert told(phone) == [(LOBBY, 3), (LOBBY, 4)]
    assert alice.open(LOBBY).read == 4


def test_nothing_is_told_of_a_marker_before_it_is_stored() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    phone = bench.come("alice", alice.key, LOBBY)
    alice.say("1")
    request = alice.send(Mark, LOBBY, 2)
    bench.flush()
    assert (alice.answers(request), told(phone)) == ([], [])
    bench.store()
    alice.answer(Done, request)
    assert told(phone) == [(LOBBY, 2)]


def test_marks_of_one_batch_are_one_row() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    alice.say(*"123456")
    for seq in range(1, 7):
        alice.send(Mark, LOBBY, seq)
    bench.flush()
    [batch] = bench.log.waiting
    assert list(batch.marks.values()) == [6]
    assert not batch.entries


def test_it_outlives_the_broker_and_is_gone_if_it_was_not_stored() -> None:
    bench = Bench()
    key = bench.join("alice", LOBBY).key
    alice = bench.come("alice", key, LOBBY)
    alice.say("1", "2")
    reads(alice, 2)
    alice.send(Mark, LOBBY, 3)
    bench.flush()
    bench.restart()
    assert bench.come("alice", key).open(LOBBY).read == 2


def test_a_full_disk_refuses_it_and_the_same_mark_is_taken_later() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    alice.say("1")
    bench.log.fail = Code.STORAGE_FULL
    assert alice.refused(Mark, LOBBY, 2).code == Code.STORAGE_FULL
    bench.log.fail = None
    bench.wait(2)
    assert alice.open(LOBBY).read == 0
    reads(alice, 2)
    assert alice.open(LOBBY).read == 2


@pytest.mark.parametrize("room", [DEN, "#nowhere", "@1:2", "@nobody"])
def test_only_who_may_read_a_room_may_mark_it(room: str) -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob")
    alice.ask(Done, Create, DEN, RoomKind.PRIVATE)
    assert bob.refused(Mark, room, 1).code == Code.NO_SUCH_ROOM


def test_who_is_out_of_a_room_marks_nothing_there() -> None:
    bench = Bench()
    alice = bench.join("alice")
    alice.ask(Done, Create, DEN, RoomKind.PRIVATE)
    reads(alice, 1, DEN)
    alice.ask(Done, Remove, DEN, "alice")
    assert alice.refused(Mark, DEN, 2).code == Code.NO_SUCH_ROOM


def test_markers_in_use_are_bounded_and_those_not_stored_are_kept() -> None:
    log = MemoryLog()
    marks = Marks(log, cached_max=2)
    keys = [MarkKey(account, LOBBY) for account in range(5)]
    for key in keys:
        assert marks.move(key, 7)
    assert len(marks._cache) == 5
    log._marks = dict.fromkeys(keys, 7)
    marks.settle(dict.fromkeys(keys, 7))
    assert len(marks._cache) == 2
    assert [marks.stored(key) for key in keys] == [7] * 5
    assert not any(marks.move(key, 7) for key in keys)


# ---------------------------------------------------------------------- hops


def test_a_line_says_how_many_bots_have_answered_each_other() -> None:
    bench = Bench()
    dice = bench.join("dice", LOBBY)
    dice.prev[LOBBY] = dice.send(Say, LOBBY, 0, ["rolled 4"], None, 1)
    dice.say("by hand")
    bench.round()
    bodies = [bytes(entry.body) for entry in bench.entries()[1:]]
    assert bodies == [b"\x92\xa8rolled 4\x01", b"\x91\xa7by hand"]


def test_a_loop_of_bots_ends_at_the_broker() -> None:
    bench = Bench()
    echo = bench.join("echo", LOBBY)
    request = echo.send(Say, LOBBY, 0, ["again"], None, HOPS_MAX)
    assert echo.refused(Say, LOBBY, request, ["again"], None, HOPS_MAX + 1).code == Code.TOO_MANY_HOPS
    assert bench.texts() == ["again"]


def test_another_number_of_hops_is_another_line() -> None:
    bench = Bench()
    echo = bench.join("echo", LOBBY)
    request = echo.send(Say, LOBBY, 0, ["hi"], None, 1)
    bench.round()
    echo.answers(request)
    assert echo.refused(Say, LOBBY, 0, ["hi"], None, 2, request=request).code == Code.ID_REUSED
