"""The hub as a whole: what leaves it and when, what it notes, when it wants to be woken, what it holds."""

from __future__ import annotations

import random
from collections.abc import Sized
from typing import Any

import pytest

from chat_broker.feed import PRESENCE_S
from chat_broker.roster import STALL_S
from chat_protocol.codec import decode_request
from chat_protocol.errors import BadFrame, Code
from chat_protocol.messages import (
    LOBBY,
    NAMES_PER_MESSAGE_MAX,
    REFUSAL_CHARS_MAX,
    Add,
    Ban,
    Beacon,
    Bye,
    Create,
    Done,
    Enroll,
    Goodbye,
    Hello,
    Invite,
    Leave,
    Open,
    Ping,
    Pong,
    Presence,
    Refusal,
    Remove,
    Request,
    Revoke,
    RoomKind,
    Users,
    Who,
)
from tests.broker.anything import Anything
from tests.broker.bench import EPOCH, OPERATOR_KEY, PROCESS_INVITE, Bench, Peer, of_kind

DEN = "#den"
KEY = b"k" * 32


# ---------------------------------------------------------------------- nothing before it is stored


CHANGES: list[tuple[str, type[Request], tuple[Any, ...]]] = [
    ("alice", Create, ("#new", RoomKind.PUBLIC)),
    ("alice", Create, ("#new", RoomKind.PRIVATE)),
    ("alice", Add, (DEN, "carol")),
    ("alice", Remove, (DEN, "bob")),
    ("bob", Leave, (DEN,)),
    ("bob", Invite, (KEY, 1, 60, True)),
    ("operator", Invite, (KEY, 1, 60)),
    ("operator", Ban, ("bob",)),
    ("alice", Open, ("@bob",)),
    ("carol", Revoke, (b"c" * 32,)),
    ("stranger", Enroll, ("dan", KEY)),
]


@pytest.mark.parametrize(
    ("who", "kind", "fields"), CHANGES, ids=[f"{who} {kind.__name__}" for who, kind, _ in CHANGES]
)
def test_nothing_of_a_change_leaves_before_it_is_stored(
    who: str, kind: type[Request], fields: tuple[Any, ...]
) -> None:
    """No answer, no notice, no key, no publication; then at least the answer."""
    bench = Bench()
    people = {name: bench.join(name, LOBBY) for name in ("alice", "bob")}
    people["carol"] = bench.come("carol", bench.enroll("carol", b"c" * 32), LOBBY)
    people |= {"operator": bench.operator(), "stranger": bench.connect(PROCESS_INVITE)}
    people["alice"].ask(Done, Create, DEN, RoomKind.PRIVATE)
    people["alice"].ask(Done, Add, DEN, "bob")
    for name in ("alice", "bob"):
        people[name].open(DEN)
    bench.wait(1.2)
    for peer in people.values():
        peer.inbox.clear()
    bench.feed.clear()
    request = people[who].send(kind, *fields)
    nothing: list[Any] = [[] for _ in people]
    assert ([peer.inbox for peer in people.values()], bench.feed) == (nothing, [])
    bench.flush()
    assert ([peer.inbox for peer in people.values()], bench.feed) == (nothing, [])
    bench.store()
    assert people[who].answers(request)


def test_a_batch_is_as_old_as_its_flush() -> None:
    """By it the log knows which senders have long said nothing."""
    bench = Bench()
    alice = bench.join("alice")
    bench.jump(3_600)
    alice.send_say("hi")
    bench.flush()
    assert [batch.now for batch in bench.log.waiting] == [bench.wall]


def test_each_thing_is_to_be_done_once() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    alice.send_say("hi")
    bench.hub.flush(bench.now)
    bench.log.commit()
    bench.hub.log_results(bench.now)
    first, second = bench.hub.take(), bench.hub.take()
    assert (len(first.replies), len(first.feed)) == (1, 1)
    assert (second.replies, second.feed, second.notes) == ([], [], [])


# ---------------------------------------------------------------------- bad frames


@pytest.mark.parametrize(
    ("frame", "code", "request_id"),
    [
        (b"", Code.BAD_FRAME, 0),
        (b"\x01\xc1", Code.BAD_FRAME, 0),
        (b"\x01\x92\x09\x07", Code.BAD_FRAME, 7),  # a Ping without its token
        (b"\x01\x92\x7b\x07", Code.UNKNOWN_KIND, 7),
        (b"\x09\x92\x09\x07", Code.VERSION, 7),
        (b"\x09\x95\x49\x07\xa1x\xad\x1b[2Jboo\nfake!\x00", Code.VERSION, 7),
    ],
)
def test_what_is_no_message_is_refused_and_keeps_no_session(
    frame: bytes, code: Code, request_id: int
) -> None:
    bench = Bench()
    alice = bench.join("alice")
    for _ in range(8):
        bench.wait(2.0)
        with pytest.raises(BadFrame) as caught:
            decode_request(frame)
        bench.hub.receive_bad(alice.id, caught.value, bench.now)
        bench.collect()
    refusal = next(reply for reply in alice.inbox if isinstance(reply, Refusal))
    assert (refusal.code, refusal.request) == (code, request_id)
    assert refusal.text.isprintable()
    assert len(refusal.text) <= REFUSAL_CHARS_MAX
    assert alice.unasked(Goodbye)


# ---------------------------------------------------------------------- notes and texts


def test_the_brokers_log_shows_who_came_who_went_and_what_was_refused() -> None:
    bench = Bench()
    bench.notes.clear()
    alice = bench.join("alice")
    alice.refused(Open, "#nowhere")
    alice.ask(Done, Bye)
    text = "there is no room #nowhere; /rooms lists them, /create #nowhere makes it"
    assert bench.notes == [
        ("enrolled", {"name": "alice"}),
        ("came", {"name": "alice"}),
        ("refused", {"name": "alice", "code": "no_such_room", "text": text}),
        ("left", {"name": "alice", "reason": "left"}),
    ]


@pytest.mark.parametrize(
    "evil", ["\x1b]0;owned\x07", "\x1b[2J", "a\nb", "a\rb", "\u202egnp", "\x9b31m", "\u2028"]
)
def test_what_a_peer_sent_moves_no_cursor_where_it_is_quoted(evil: str) -> None:
    """Neither in a refusal nor in the broker's own log."""
    bench = Bench()
    alice, operator = bench.join("alice"), bench.operator()
    stranger = bench.connect(PROCESS_INVITE)
    bench.notes.clear()
    refusals = [
        alice.refused(Open, f"#{evil}"),
        alice.refused(Open, f"@{evil}"),
        alice.refused(Create, f"#{evil}", RoomKind.PUBLIC),
        alice.refused(Add, evil, "bob"),
        alice.refused(Hello, evil),
        alice.refused_say("hi", room=f"#{evil}"),
        operator.refused(Ban, evil),
        stranger.refused(Enroll, evil, KEY),
    ]
    told = [refusal.text for refusal in refusals]
    told += [str(value) for _, what in bench.notes for value in what.values()]
    assert all(text.isprintable() for text in told), told
    assert all(len(refusal.text) <= REFUSAL_CHARS_MAX for refusal in refusals)


# ---------------------------------------------------------------------- being woken


def test_an_idle_broker_sleeps_for_good() -> None:
    bench = Bench()
    assert bench.hub.next_deadline() is None
    alice = bench.join("alice", LOBBY)
    alice.say("hi")
    alice.ask(Done, Bye)
    bench.wait(60.0)
    assert bench.hub.next_deadline() is None


def test_with_somebody_there_the_broker_wakes_often_enough_to_know_that_it_ran() -> None:
    bench = Bench()
    bench.join("alice")
    deadline = bench.hub.next_deadline()
    assert deadline is not None
    assert 0 < deadline - bench.clock < STALL_S


def test_a_room_that_nobody_follows_any_more_falls_silent() -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob")
    alice.say("hi")
    bench.live(2.0)
    alice.ask(Done, Bye)
    bench.wait(1.0)
    sent = len(bench.feed)
    bob.say("to nobody")
    bench.live(60.0)
    assert len(bench.feed) == sent


def test_ticking_only_at_deadlines_every_beacon_comes() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    alice.say("hi")
    alice.read()
    bench.live(130.0)
    beacons = of_kind(alice.read())[Beacon]
    assert len(beacons) == 9
    assert {beacon.head for beacon in beacons} == {2}


# ---------------------------------------------------------------------- presence


def test_many_who_come_at_once_are_one_notice() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    bench.wait(1.0)
    alice.read()
    names = [bench.join(f"p{number:02}", LOBBY).name for number in range(50)]
    bench.wait(1.0)
    (notice,) = of_kind(alice.read())[Presence]
    assert (notice.joined, notice.left, notice.count, notice.whole) == (names, [], 51, True)


def test_a_restart_with_many_clients_is_few_notices_in_all() -> None:
    bench = Bench(clear=True)
    keys = {f"p{number:03}": bench.enroll(f"p{number:03}") for number in range(3 * NAMES_PER_MESSAGE_MAX)}
    bench.restart()
    peers = []
    for number, (name, key) in enumerate(keys.items()):
        peers.append(bench.come(name, key, LOBBY))
        if number % 20 == 0:
            bench.wait(0.1)
    bench.wait(PRESENCE_S + 1.0)
    notices = of_kind(peers[0].read())[Presence]
    assert len(notices) < 10
    page = peers[0].ask(Users, Who, LOBBY)
    assert (page.count, page.presence) == (len(keys), notices[-1].version)


def test_who_tells_of_the_version_that_the_next_notice_follows() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    bench.wait(1.0)
    version = alice.ask(Users, Who, LOBBY).presence
    alice.read()
    bench.join("bob", LOBBY)
    bench.wait(1.0)
    (notice,) = of_kind(alice.read())[Presence]
    assert (notice.version, notice.joined) == (version + 1, ["bob"])
    assert alice.ask(Pong, Ping).rooms[0].presence == notice.version


# ---------------------------------------------------------------------- hostile peers


def test_strangers_and_members_may_ask_anything_and_the_hub_stands() -> None:
    bench = Bench(open=True, lines_burst=10, open_rooms=3, clear=True)
    rng = random.Random(1)
    alice, operator = bench.join("alice", LOBBY), bench.operator()
    alice.ask(Done, Create, DEN, RoomKind.PRIVATE)
    blobs = [alice.key, OPERATOR_KEY, PROCESS_INVITE, KEY, EPOCH, alice.token, operator.token]
    anything = Anything(rng, ["alice", "operator", "@alice", DEN, LOBBY], blobs)
    for number in range(3_000):
        if number % 100 == 0:
            keys = [alice.key, OPERATOR_KEY, PROCESS_INVITE, bench.key()]
            peers = [bench.connect(key) for key in keys if bench.hub.admits(key, bench.now)]
            alice, operator = (Peer(bench, peer.id, peer.key) for peer in (alice, operator))
        peer = rng.choice(peers)
        session = bench.hub.state.roster.at(peer.id)
        peer.deliver(anything.request(session.token if session else bytes(16)))
        peer.inbox.clear()
        if rng.random() < 0.3:
            bench.round()
        if rng.random() < 0.1:
            bench.wait(rng.choice([0.3, 3.0, 20.0]))
    bench.round()
    assert bench.hub.state.pending_bytes == 0


def test_whoever_came_and_went_leaves_nothing_behind() -> None:
    bench = Bench(clear=True)
    key = bench.enroll("alice")
    for _ in range(200):
        peer = bench.come("alice", key, LOBBY)
        peer.say("hi")
        peer.open("@alice")
        if bench.random.random() < 0.5:
            peer.ask(Done, Bye)
        bench.wait(1.0)
    bench.wait(60.0)
    roster, state = bench.hub.state.roster, bench.hub.state
    assert (len(roster), len(roster.everyone)) == (0, 0)
    left: list[Sized] = [
        roster._by_peer, roster._by_instance, roster._by_feed_token, roster._by_account, roster._heard,
        roster._rooms, roster._present, state.backups, state.feed._alarms,
    ]  # fmt: skip
    assert [len(one) for one in left] == [0] * len(left)
    assert sum(map(len, roster._spent.values())) < 20, "as many allowances as there were sessions at a time"
