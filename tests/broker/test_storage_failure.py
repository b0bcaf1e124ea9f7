"""When the log takes nothing: everything queued is refused, nothing of it remains, reads go on, and the
broker recovers by itself."""

from __future__ import annotations

import pytest

from chat_broker.log import Answer, MemoryLog, OnceKey, Sender, SenderKey, Span
from chat_protocol.errors import Code, StorageError
from chat_protocol.messages import (
    ENTRIES_BYTES_MAX,
    LOBBY,
    Add,
    Ban,
    Create,
    Cursor,
    Done,
    Enroll,
    Enrolled,
    Fetch,
    Hello,
    Open,
    Opened,
    Page,
    Ping,
    Pong,
    Refusal,
    Remove,
    Report,
    Revoke,
    RoomKind,
    RoomList,
    Rooms,
    Said,
    Status,
    Users,
    Welcome,
    Who,
)
from tests.broker.bench import EPOCH, PROCESS_INVITE, Bench, Peer

DEN = "#den"
KEY = b"k" * 32


class TroubledLog(MemoryLog):
    """A log that cannot be read, either, while `unreadable`."""

    def __init__(self) -> None:
        super().__init__(EPOCH)
        self.unreadable = False

    def _check(self) -> None:
        if self.unreadable:
            raise StorageError("the disk does not answer")

    def read(self, room: str, after: int, limit: int, bytes_max: int = ENTRIES_BYTES_MAX) -> Span:
        self._check()
        return super().read(room, after, limit, bytes_max)

    def sender(self, key: SenderKey) -> Sender | None:
        self._check()
        return super().sender(key)

    def once(self, key: OnceKey) -> Answer | None:
        self._check()
        return super().once(key)


def fail(bench: Bench, code: Code = Code.STORAGE_FULL) -> None:
    """The next commits fail."""
    bench.log.fail = code


def heal(bench: Bench) -> None:
    """There is room again, and the broker may find out."""
    bench.log.fail = None
    bench.wait(1.0)


def picture(bench: Bench) -> object:
    """All that the hub makes of its log."""
    state = bench.hub.state
    rooms = {room.name: (room.fold(), room.stored, room.readers) for room in state.rooms}
    return state.accounts.fold(), rooms


# ---------------------------------------------------------------------- refusing


@pytest.mark.parametrize("code", [Code.STORAGE_FULL, Code.STORAGE_FAILED])
def test_everything_that_was_queued_is_refused_with_the_logs_code(code: Code) -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob", LOBBY)
    fail(bench, code)
    requests = [
        (alice, alice.send_say("never")),
        (bob, bob.send_say("never")),
        (alice, alice.send(Create, DEN, RoomKind.PRIVATE)),
        (alice, alice.send(Add, DEN, "bob")),
        (bob, bob.send_say("never", room="@alice")),
    ]
    bench.round()
    for peer, request in requests:
        refusal = peer.answer(Refusal, request)
        assert (refusal.code, refusal.retry_ms) == (code, 1_000)
    assert (alice.heard(), bob.heard(), alice.inbox, bob.inbox) == ([], [], [], [])
    assert bench.entries()[1:] == []


def test_batches_behind_one_that_failed_fail_too() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    good = alice.send_say("good")
    bench.flush()
    lost = [alice.send_say("lost")]
    bench.flush()
    lost.append(alice.send_say("lost, too"))
    bench.store(1)
    fail(bench)
    bench.flush()
    bench.log.commit(1)
    bench.log.fail = None  # there is room again, but what follows stood on what failed
    lost.append(alice.send_say("lost, in the open batch"))
    bench.store(1)
    assert alice.answer(Said, good)
    assert [alice.answer(Refusal, request).code for request in lost] == [Code.STORAGE_FULL] * 3
    assert bench.texts() == ["good"]
    heal(bench)
    alice.prev[LOBBY] = good
    alice.say("again")
    assert bench.texts() == alice.heard() == ["good", "again"]


def test_for_a_moment_nothing_new_is_tried() -> None:
    bench = Bench()
    alice = bench.join("alice")
    fail(bench)
    assert alice.refused_say("never").code == Code.STORAGE_FULL
    bench.log.fail = None
    for request in (alice.send(Create, DEN, RoomKind.PRIVATE), alice.send(Open, "@alice")):
        refusal = alice.answer(Refusal, request)
        assert (refusal.code, refusal.retry_ms) == (Code.STORAGE_FULL, 1_000)
    assert alice.answer(Refusal, alice.send_say("never", prev=0)).code == Code.STORAGE_FULL
    assert bench.connect(PROCESS_INVITE).refused(Enroll, "bob", KEY).code == Code.STORAGE_FULL
    bench.wait(1.0)
    alice.prev.clear()
    assert alice.say("and then it is")


def test_reads_go_on() -> None:
    bench = Bench()
    alice, bob, operator = bench.join("alice", LOBBY), bench.join("bob"), bench.operator()
    alice.say("kept")
    fail(bench)
    say = alice.send_say("never")
    asked: list[tuple[Peer, type, int]] = [
        (bob, Opened, bob.send(Open, LOBBY)),
        (bob, Page, bob.send(Fetch, LOBBY, Cursor(EPOCH, 0))),
        (bob, Users, bob.send(Who, LOBBY)),
        (bob, RoomList, bob.send(Rooms)),
        (bob, Pong, bob.send(Ping)),
        (operator, Report, operator.send(Status)),
    ]
    bench.round()
    assert alice.answer(Refusal, say).code == Code.STORAGE_FULL
    for peer, kind, request in asked:
        assert peer.answer(kind, request)
    assert bench.come("alice", alice.key).fetch().head == 2
    assert dict(operator.ask(Report, Status).figures)["storage"] == "the log took nothing"


# ---------------------------------------------------------------------- rolling back


def test_nothing_of_what_was_not_stored_remains() -> None:
    bench = Bench(fold_every=1)
    alice, bob, operator = bench.join("alice"), bench.join("bob", LOBBY), bench.operator()
    alice.ask(Done, Create, DEN, RoomKind.PRIVATE)
    alice.ask(Done, Add, DEN, "bob")
    for peer in (alice, bob):
        peer.open(DEN)
        peer.inbox.clear()
    before = picture(bench)
    fail(bench)
    alice.send(Create, "#other", RoomKind.PRIVATE)
    alice.send_say("never", room="#other")
    alice.send(Remove, DEN, "bob")
    alice.send_say("never", room=DEN)
    alice.send_say("never", room="@bob")
    bench.connect(PROCESS_INVITE).send(Enroll, "carol", KEY)
    operator.send(Ban, "alice")
    operator.send(Revoke, bob.key)
    bench.round()
    assert picture(bench) == before
    assert {type(reply) for peer in (alice, bob) for reply in peer.inbox} == {Refusal}
    heal(bench)
    alice.prev.clear()
    alice.say("all as it was", room=DEN)
    assert bob.heard(DEN) == ["all as it was"]
    assert alice.ask(Done, Create, "#other", RoomKind.PUBLIC), "the name is free"
    assert bench.connect(PROCESS_INVITE).ask(Enrolled, Enroll, "carol", KEY)
    bench.restart()
    assert [room for room in bench.log.rooms() if room.startswith("#")] == [LOBBY, DEN, "#other"]


def test_a_refusal_by_the_log_does_not_move_the_order() -> None:
    bench = Bench()
    alice = bench.join("alice")
    first = alice.send_say("1")
    bench.round()
    fail(bench)
    second = alice.send_say("2")
    bench.round()
    assert alice.answer(Refusal, second).code == Code.STORAGE_FULL
    heal(bench)
    alice.send_say("2", request=second, prev=first)
    bench.round()
    assert alice.answer(Said, second)
    assert bench.texts() == ["1", "2"]


def test_a_once_key_of_a_line_that_was_not_stored_is_free() -> None:
    bench = Bench()
    bot = bench.join("bot")
    fail(bench)
    assert bot.refused_say("hi", once=b"once-and-for-all").code == Code.STORAGE_FULL
    heal(bench)
    assert bot.say("hi", once=b"once-and-for-all").stored[0].first == 2


def test_what_is_stored_is_acknowledged_also_while_nothing_new_can_be() -> None:
    """A client that never got its Said asks again; "storage_full" would have its person say it twice."""
    bench = Bench()
    alice = bench.join("alice")
    stored = alice.send_say("stored")
    bench.round()
    alice.answers(stored)
    fail(bench)
    assert alice.refused_say("never").code == Code.STORAGE_FULL
    alice.send_say("stored", request=stored, prev=0)
    assert alice.answer(Said, stored).stored[0].first == 2


def test_a_repeat_behind_a_batch_that_fails_is_answered_by_what_became_of_its_own() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob")
    stored = alice.send_say("stored")
    bench.flush()
    lost = alice.send_say("lost")
    bob.send_say("lost, too")
    alice.send_say("stored", request=stored, prev=0)
    alice.send_say("lost", request=lost, prev=stored)
    bench.store(1)
    assert isinstance(alice.answers(stored)[0], Said)
    fail(bench)
    bench.round()
    assert alice.answer(Said, stored).stored[0].first == 2
    assert [reply.code for reply in alice.answers(lost) if isinstance(reply, Refusal)] == [
        Code.STORAGE_FULL
    ] * 2


def test_a_hello_that_waited_for_its_account_is_told_that_there_is_none() -> None:
    bench = Bench(open=True)
    zoe = bench.connect(KEY)
    fail(bench)
    enroll, hello = zoe.send(Enroll, "zoe", KEY), zoe.send(Hello, "zoe")
    bench.round()
    assert zoe.answer(Refusal, enroll).code == Code.STORAGE_FULL
    assert zoe.answer(Refusal, hello).code == Code.NOT_ENROLLED
    heal(bench)
    assert zoe.ask(Enrolled, Enroll, "zoe", KEY)
    assert zoe.ask(Welcome, Hello, "zoe")


def test_sessions_keep_counting_what_they_have_in_flight() -> None:
    bench = Bench(requests_in_flight=4)
    alice = bench.join("alice")
    for _ in range(5):
        fail(bench)
        for _ in range(4):
            alice.send_say("never", prev=0)
        bench.round()
        heal(bench)
        bench.live(1)
    alice.prev.clear()
    assert alice.say("now")
    assert bench.hub.state.pending_bytes == 0


# ---------------------------------------------------------------------- recovering


def test_the_broker_notes_that_storage_failed_and_that_it_is_back() -> None:
    bench = Bench()
    alice, operator = bench.join("alice"), bench.operator()
    fail(bench)
    alice.refused_say("never")
    heal(bench)
    alice.say("now")
    assert [event for event, _ in bench.notes if event.startswith("storage")] == [
        "storage_failed",
        "storage_recovered",
    ]
    assert dict(operator.ask(Report, Status).figures)["storage"] == "ok"


def test_a_log_that_is_full_again_fails_again() -> None:
    bench = Bench()
    alice = bench.join("alice")
    fail(bench)
    for _ in range(5):
        assert alice.refused_say("never").code == Code.STORAGE_FULL
        bench.wait(1.0)
        alice.ping()
    heal(bench)
    assert alice.say("now")


def test_a_broker_that_could_not_found_itself_tries_again() -> None:
    log = MemoryLog(EPOCH)
    log.fail = Code.STORAGE_FULL
    bench = Bench(log=log)
    assert bench.log.rooms() == []
    bench.wait(3.0)
    bench.round()
    assert bench.log.rooms() == []
    log.fail = None
    deadline = bench.hub.next_deadline()
    assert deadline is not None
    bench.wait(deadline - bench.clock)
    bench.round()
    assert bench.operator().open(LOBBY).head == 1
    assert len(bench.entries("$server")) == 2


# ---------------------------------------------------------------------- a log that cannot be read


def test_what_cannot_be_read_is_refused_and_the_broker_goes_on() -> None:
    log = TroubledLog()
    bench = Bench(log=log)
    alice, bob = bench.join("alice"), bench.join("bob")
    bob.send_say("something to wait for")
    waiting = alice.send(Open, LOBBY, Cursor(EPOCH, 1, b"digest.."))
    direct = alice.send(Open, "@bob", Cursor(EPOCH, 1, b"digest.."))
    bench.flush()
    log.unreadable = True
    bench.round()
    assert alice.answer(Refusal, waiting).code == Code.STORAGE_FAILED
    assert alice.answer(Refusal, direct).code == Code.STORAGE_FAILED
    assert alice.refused(Fetch, LOBBY, Cursor(EPOCH, 0)).code == Code.STORAGE_FAILED
    assert alice.refused_say("the sender is not known yet").code == Code.STORAGE_FAILED
    assert alice.ask(Pong, Ping)
    log.unreadable = False
    assert alice.open(LOBBY)
    assert alice.say("hi")


def test_a_state_that_cannot_be_restored_ends_the_broker() -> None:
    """Nobody knows then what is stored; a start finds out."""
    log = TroubledLog()
    bench = Bench(log=log)
    alice = bench.join("alice")
    alice.send_say("never")
    fail(bench)
    bench.flush()
    log.unreadable = True
    with pytest.raises(StorageError):
        bench.store()
