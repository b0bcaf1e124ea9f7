"""What only the operator may do."""

from __future__ import annotations

import pytest

from chat_broker.log import MemoryLog, Result
from chat_protocol.errors import Code
from chat_protocol.messages import (
    LOBBY,
    Backup,
    Ban,
    Bye,
    Create,
    Done,
    Goodbye,
    Hello,
    Open,
    Ping,
    Pong,
    Rate,
    Refusal,
    Report,
    Request,
    RoomKind,
    Status,
    Unban,
    Users,
    Who,
)
from tests.broker.bench import EPOCH, OPERATOR_KEY, Bench

DEN = "#den"


class LogWithBackups(MemoryLog):
    """Backups succeed, when the test says so."""

    def __init__(self) -> None:
        super().__init__(EPOCH)
        self.backups: list[tuple[str, int]] = []

    def backup(self, path: str, ticket: int) -> None:
        self.backups.append((path, ticket))

    def finish_backup(self) -> None:
        _, ticket = self.backups.pop(0)
        self._results.append(Result(ticket))


def test_a_broker_founds_its_operator_and_its_lobby_once() -> None:
    bench = Bench()
    founded = bench.entries("$server")
    bench.restart()
    bench.restart()
    assert bench.entries("$server") == founded
    assert bench.operator().open(LOBBY).head == 1


def test_another_key_file_makes_another_key_of_the_operator() -> None:
    bench = Bench()
    bench.hub.found(b"n" * 32, None)
    bench.round()
    assert bench.come("operator", b"n" * 32).ask(Report, Status)
    assert bench.hub.admits(OPERATOR_KEY, bench.now)


def test_status_tells_how_the_broker_is() -> None:
    bench = Bench(software="simple-chat 9")
    alice = bench.join("alice", LOBBY)
    bench.join("bob")
    alice.say("1", "2")
    bench.jump(90)
    figures = dict(bench.operator().ask(Report, Status).figures)
    assert figures == {
        "software": "simple-chat 9",
        "epoch": EPOCH.hex(),
        "up_s": 90,
        "accounts": 3,
        "connected": 2,
        "sessions": 3,
        "rooms": 1,
        "entries": 3,
        "lines_since_start": 2,
        "open_door": "no",
        "storage": "ok",
    }


def test_the_operator_is_not_counted_among_the_people() -> None:
    bench = Bench()
    bench.join("alice")
    assert bench.operator().ask(Users, Who).names == ["alice"]


@pytest.mark.parametrize(("kind", "fields"), [(Ban, ()), (Unban, ()), (Rate, (1,))])
def test_there_is_nothing_to_do_to_nobody(kind: type[Request], fields: tuple[int, ...]) -> None:
    bench = Bench()
    assert bench.operator().refused(kind, "nobody", *fields).code == Code.NO_SUCH_ACCOUNT


def test_the_operator_is_not_banned() -> None:
    bench = Bench()
    operator = bench.operator()
    assert operator.refused(Ban, "operator").code == Code.NOT_ALLOWED
    assert operator.ask(Pong, Ping)


def test_the_banned_are_out_and_stay_out() -> None:
    bench = Bench()
    mallory, operator = bench.join("mallory", LOBBY), bench.operator()
    phone = bench.come("mallory", mallory.key)
    connected = bench.connect(mallory.key)
    request = operator.send(Ban, "MALLORY")
    bench.flush()
    assert (mallory.unasked(Goodbye), operator.answers(request)) == ([], [])
    bench.store()
    assert operator.answer(Done, request)
    for peer in (mallory, phone):
        assert [told.code for told in peer.unasked(Goodbye)] == [Code.BANNED]
        assert peer.refused(Ping).code == Code.UNKNOWN_SESSION
    assert connected.refused(Hello, "mallory").code == Code.BANNED
    for _ in range(2):
        assert not bench.hub.admits(mallory.key, bench.now)
        bench.restart()
    before = bench.entries("$server")
    assert bench.operator().ask(Done, Ban, "mallory"), "again"
    assert bench.entries("$server") == before


def test_the_unbanned_come_back() -> None:
    bench = Bench()
    mallory, operator = bench.join("mallory"), bench.operator()
    operator.ask(Done, Unban, "mallory")
    assert mallory.ask(Pong, Ping), "who was not banned is what they were"
    operator.ask(Done, Ban, "mallory")
    operator.ask(Done, Unban, "mallory")
    assert bench.come("mallory", mallory.key).ask(Pong, Ping)


def test_a_line_said_ahead_of_the_ban_is_stored_and_acknowledged() -> None:
    bench = Bench()
    mallory, operator = bench.join("mallory"), bench.operator()
    ahead = mallory.send_say("ahead")
    operator.send(Ban, "mallory")
    behind = mallory.send_say("behind")
    bench.round()
    assert mallory.answers(ahead)
    assert mallory.answer(Refusal, behind).code == Code.BANNED
    assert bench.texts() == ["ahead"]


def test_the_operator_reads_no_private_room() -> None:
    bench = Bench()
    bench.join("alice").ask(Done, Create, DEN, RoomKind.PRIVATE)
    assert bench.operator().refused(Open, DEN).code == Code.NO_SUCH_ROOM


def test_a_backup_is_answered_when_it_is_written() -> None:
    log = LogWithBackups()
    bench = Bench(log=log)
    alice, operator = bench.join("alice"), bench.operator()
    request = operator.send(Backup, "/somewhere/chat.backup")
    alice.say("the broker goes on meanwhile")
    assert log.backups[0][0] == "/somewhere/chat.backup"
    assert operator.answers(request) == []
    log.finish_backup()
    bench.round()
    assert operator.answer(Done, request)


def test_a_backup_that_cannot_be_is_refused() -> None:
    bench = Bench()
    refusal = bench.operator().refused(Backup, "/somewhere/chat.backup")
    assert (refusal.code, refusal.text) == (Code.STORAGE_FAILED, "a log in memory has no backup")


def test_nobody_waits_for_a_backup_after_they_left() -> None:
    log = LogWithBackups()
    bench = Bench(log=log)
    operator = bench.operator()
    request = operator.send(Backup, "/somewhere/chat.backup")
    operator.ask(Done, Bye)
    log.finish_backup()
    bench.round()
    assert operator.answers(request) == []
