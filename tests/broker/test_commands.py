"""The command table: everything that may be asked is in it, and is checked before any handler runs."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from chat_broker.commands import COMMANDS, May
from chat_protocol import messages as m
from chat_protocol.errors import Code
from chat_protocol.messages import LOBBY, RoomKind
from tests.broker.bench import Bench, Peer

KEY = b"k" * 32
ELSEWHERE = m.Cursor(b"another.", 0)

#: Fields that make a well-formed request of each kind, after its id and token.
FIELDS: dict[type[m.Request], tuple[Any, ...]] = {
    m.Enroll: ("zoe", KEY),
    m.Hello: ("alice",),
    m.Open: (LOBBY,),
    m.Close: (LOBBY,),
    m.Say: (LOBBY, 0, ["hi"]),
    m.Fetch: (LOBBY, ELSEWHERE),
    m.Who: (),
    m.Rooms: (),
    m.Ping: (),
    m.Bye: (),
    m.Create: ("#new", RoomKind.PUBLIC),
    m.Add: ("#den", "bob"),
    m.Remove: ("#den", "bob"),
    m.Leave: ("#den",),
    m.Invite: (KEY, 1, 60, True),
    m.Devices: (),
    m.Revoke: (KEY,),
    m.Mark: (LOBBY, 1),
    m.Status: (),
    m.Backup: ("/tmp/x",),
    m.Ban: ("bob",),
    m.Unban: ("bob",),
    m.Rate: ("bob", 1),
}
OPERATOR_ONLY = [m.Status, m.Backup, m.Ban, m.Unban, m.Rate]
kinds = pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
for_sessions = pytest.mark.parametrize(
    "kind",
    [kind for kind, command in COMMANDS.items() if command.may is not May.CONNECTION],
    ids=lambda kind: kind.__name__,
)


def test_every_request_has_its_command() -> None:
    assert set(COMMANDS) == set(m.AnyRequest.__args__)
    assert set(FIELDS) == set(COMMANDS)


def test_only_signs_of_life_are_answered_at_any_time() -> None:
    """A client that gets no Pong takes the broker for dead, and comes again."""
    assert [kind for kind, command in COMMANDS.items() if command.always] == [m.Ping]


@kinds
def test_handlers_take_what_the_hub_gives_them(kind: type[m.Request]) -> None:
    command = COMMANDS[kind]
    takes = list(inspect.signature(command.handle).parameters)
    connection = ["state", "peer", "key", "message"]
    session = ["state", "session", "run" if command.together else "message"]
    assert takes == (connection if command.may is May.CONNECTION else session)


@kinds
def test_who_may_ask_is_as_the_message_says(kind: type[m.Request]) -> None:
    command = COMMANDS[kind]
    assert (command.may is May.CONNECTION) is not issubclass(kind, m.SessionRequest)
    assert (command.may is May.OPERATOR) is (kind in OPERATOR_ONLY)


@kinds
def test_every_request_gets_exactly_one_answer(kind: type[m.Request]) -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    bench.join("bob")
    ask(alice, kind)


@for_sessions
def test_before_hello_nothing_else_is_answered(kind: type[m.Request]) -> None:
    bench = Bench()
    alice = bench.connect(bench.enroll("alice"))
    assert ask(alice, kind) == Code.UNKNOWN_SESSION


@for_sessions
def test_a_token_counts_only_on_the_connection_where_its_session_said_hello(kind: type[m.Request]) -> None:
    bench = Bench()
    alice, mallory = bench.join("alice", LOBBY), bench.join("mallory", LOBBY)
    mallory.welcome = alice.welcome
    assert ask(mallory, kind) == Code.UNKNOWN_SESSION
    beside = bench.connect(alice.key)
    beside.welcome = alice.welcome
    assert ask(beside, kind) == Code.UNKNOWN_SESSION, "not even with the same key"
    assert alice.ask(m.Pong, m.Ping)


@for_sessions
def test_only_the_token_of_now_counts(kind: type[m.Request]) -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    before = alice.welcome
    alice.hello("alice")
    now, alice.welcome = alice.welcome, before
    assert ask(alice, kind) == Code.UNKNOWN_SESSION
    alice.welcome = now
    assert ask(alice, m.Ping) is None


@pytest.mark.parametrize("kind", OPERATOR_ONLY, ids=lambda kind: kind.__name__)
def test_some_things_only_the_operator_may_do(kind: type[m.Request]) -> None:
    bench = Bench()
    alice = bench.join("alice")
    bench.join("bob")
    assert ask(alice, kind) == Code.NOT_ALLOWED
    assert ask(bench.operator(), kind) in (None, Code.STORAGE_FAILED)  # a log in memory has no backup


@for_sessions
def test_the_banned_are_told_so_and_nothing_else(kind: type[m.Request]) -> None:
    """Also between the ban and its being stored, when their session is still there."""
    bench = Bench()
    alice, operator = bench.join("alice", LOBBY), bench.operator()
    operator.send(m.Ban, "alice")
    request = alice.send(kind, *FIELDS[kind])
    assert alice.answers(request) == []
    bench.round()
    assert alice.answer(m.Refusal, request).code == Code.BANNED


@for_sessions
def test_whoever_has_too_much_in_flight_has_to_wait(kind: type[m.Request]) -> None:
    bench = Bench(requests_in_flight=3)
    alice = bench.join("alice", LOBBY)
    for number in range(3):
        alice.send_say(f"{number}")
    request = alice.send(kind, *FIELDS[kind])
    if COMMANDS[kind].always:
        assert alice.answer(m.Pong, request)
        return
    refusal = alice.answer(m.Refusal, request)
    told = (refusal.code, refusal.retry_ms > 0)
    assert told == ((Code.NOT_ALLOWED, False) if kind in OPERATOR_ONLY else (Code.TOO_MANY_IN_FLIGHT, True))
    bench.round()
    alice.request += 1
    assert alice.ask(m.Done, m.Close, LOBBY), "and then it goes on"


@kinds
def test_when_too_much_waits_for_the_log_only_signs_of_life_are_answered(kind: type[m.Request]) -> None:
    bench = Bench()
    alice, operator = bench.join("alice", LOBBY), bench.operator()
    bench.hub.state.pending_bytes += bench.settings.pending_bytes_max + 1
    peer = operator if kind in OPERATOR_ONLY else alice
    request = peer.send(kind, *FIELDS[kind])
    if COMMANDS[kind].always:
        assert peer.answer(m.Pong, request)
    else:
        refusal = peer.answer(m.Refusal, request)
        assert (refusal.code, refusal.retry_ms > 0) == (Code.BUSY, True)


def test_what_waits_for_the_log_is_counted_and_let_go_of() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    state = bench.hub.state
    assert state.pending_bytes == 0
    alice.send_say("x" * 10_000)
    assert state.pending_bytes > 10_000
    said = state.pending_bytes
    alice.send(m.Open, LOBBY)
    assert state.pending_bytes > said, "requests that only wait count, too"
    bench.round()
    assert state.pending_bytes == 0


def ask(peer: Peer, kind: type[m.Request]) -> str | None:
    """Ask something well-formed; the code of the refusal, if it is one. There is exactly one answer."""
    reply = peer.ask(m.Reply, kind, *FIELDS[kind])
    return reply.code if isinstance(reply, m.Refusal) else None
