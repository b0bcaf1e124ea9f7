"""Coming in and going: enrolling, invites, sessions and their leases, the keys of an account."""

from __future__ import annotations

import pytest

from chat_broker.accounts import DEVICE_INVITES_MAX, KEYS_PER_ACCOUNT_MAX
from chat_broker.hub import Hub
from chat_protocol.errors import Code
from chat_protocol.messages import (
    LOBBY,
    Ban,
    Bye,
    Close,
    DeviceList,
    Devices,
    Done,
    Enroll,
    Enrolled,
    Goodbye,
    Hello,
    Invite,
    Open,
    Ping,
    Pong,
    Presence,
    Refusal,
    Revoke,
    Said,
    Say,
    Users,
    Welcome,
    Who,
)
from tests.broker.bench import EPOCH, OPERATOR_KEY, PROCESS_INVITE, WALL, Bench, of_kind

KEY = b"k" * 32
OTHER_KEY = b"o" * 32
INVITE = b"i" * 32
DAY_S = 24 * 3_600
DAY_MS = DAY_S * 1_000


# ---------------------------------------------------------------------- past the handshake


def test_the_door_opens_to_accounts_and_live_invites_only() -> None:
    bench = Bench()
    alice = bench.enroll("alice")
    bench.operator().ask(Done, Invite, INVITE, 1, 60)
    doors = {key: bench.hub.admits(key, bench.now) for key in (alice, PROCESS_INVITE, INVITE, KEY)}
    assert doors == {alice: True, PROCESS_INVITE: True, INVITE: True, KEY: False}
    bench.jump(60)
    assert not bench.hub.admits(INVITE, bench.now)


def test_without_an_invite_of_the_process_there_is_none() -> None:
    bench = Bench()
    hub = Hub(bench.log, bench.hub.state.feed.sealer, bench.random.randbytes, bench.now)
    hub.found(OPERATOR_KEY, None)
    assert not hub.admits(PROCESS_INVITE, bench.now)
    assert not hub.admits(b"", bench.now)


def test_an_open_door_lets_any_key_in_to_enroll_itself() -> None:
    bench = Bench(open=True)
    zoe = bench.connect(KEY)
    assert zoe.ask(Refusal, Hello, "zoe").code == Code.NOT_ENROLLED
    assert zoe.ask(Refusal, Enroll, "zoe", OTHER_KEY).code == Code.INVITE_INVALID, "its own key only"
    assert zoe.ask(Enrolled, Enroll, "zoe", KEY).name == "zoe"
    assert zoe.hello("zoe").name == "zoe"


def test_a_feed_token_is_good_as_long_as_its_session() -> None:
    bench = Bench()
    alice = bench.join("alice")
    assert alice.welcome
    token = alice.welcome.feed_token
    assert bench.hub.admits_feed(token)
    assert not bench.hub.admits_feed(bytes(16))
    alice.ask(Done, Bye)
    assert not bench.hub.admits_feed(token)


# ---------------------------------------------------------------------- enrolling


def test_an_account_is_there_when_it_is_stored() -> None:
    bench = Bench()
    newcomer = bench.connect(PROCESS_INVITE)
    request = newcomer.send(Enroll, "alice", KEY)
    bench.flush()
    assert newcomer.answers(request) == []
    bench.store()
    assert newcomer.answer(Enrolled, request).name == "alice"


def test_of_two_claims_of_one_name_in_one_drain_the_second_loses() -> None:
    bench = Bench()
    one, two = bench.connect(PROCESS_INVITE), bench.connect(PROCESS_INVITE)
    first, second = one.send(Enroll, "alice", KEY), two.send(Enroll, "Alice", OTHER_KEY)
    bench.round()
    assert one.answer(Enrolled, first)
    assert two.answer(Refusal, second).code == Code.NAME_TAKEN


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("alice", Code.NAME_TAKEN),
        ("ALICE", Code.NAME_TAKEN),
        ("al1ce", Code.NAME_TAKEN),
        ("a.l.i.c.e", Code.NAME_TAKEN),
        ("0perator", Code.NAME_TAKEN),
        ("operator", Code.BAD_NAME),
        ("users", Code.BAD_NAME),
        ("exit", Code.BAD_NAME),
        ("x" * 33, Code.BAD_NAME),
        ("аlice", Code.BAD_NAME),  # the first letter is Cyrillic
        ("a b", Code.BAD_NAME),
        ("\x1b[2Ja", Code.BAD_NAME),
        ("@a", Code.BAD_NAME),
        ("-", Code.BAD_NAME),
        ("alicia", None),
        ("x" * 32, None),
    ],
)
def test_names_that_are_taken_look_like_one_or_are_none_are_refused(name: str, code: Code | None) -> None:
    bench = Bench()
    bench.enroll("alice")
    newcomer = bench.connect(PROCESS_INVITE)
    if code is None:
        assert newcomer.ask(Enrolled, Enroll, name, KEY).name == name
    else:
        assert newcomer.refused(Enroll, name, KEY).code == code


def test_to_enroll_again_with_the_same_key_changes_nothing() -> None:
    """The answer may have been lost."""
    bench = Bench()
    newcomer = bench.connect(PROCESS_INVITE)
    first = newcomer.ask(Enrolled, Enroll, "alice", KEY)
    before = bench.entries("$server")
    again = newcomer.ask(Enrolled, Enroll, "alice", KEY)
    assert (again.account, again.name) == (first.account, "alice")
    assert newcomer.refused(Enroll, "bob", KEY).code == Code.WRONG_NAME
    assert bench.entries("$server") == before


def test_an_invite_is_good_for_as_many_as_it_was_made_for() -> None:
    bench = Bench()
    bench.operator().ask(Done, Invite, INVITE, 2, 60)
    first, second, third = (bench.connect(INVITE) for _ in range(3))
    assert first.ask(Enrolled, Enroll, "ann", b"1" * 32)
    waiting = [second.send(Enroll, "ben", b"2" * 32), third.send(Enroll, "cat", b"3" * 32)]
    bench.round()
    assert second.answer(Enrolled, waiting[0])
    assert third.answer(Refusal, waiting[1]).code == Code.INVITE_INVALID, "in the same drain, too"
    assert not bench.hub.admits(INVITE, bench.now)


def test_an_invite_that_expired_after_the_handshake_is_none() -> None:
    bench = Bench()
    bench.operator().ask(Done, Invite, INVITE, 1, 60)
    newcomer = bench.connect(INVITE)
    bench.jump(60)
    assert newcomer.refused(Enroll, "ann", KEY).code == Code.INVITE_INVALID


def test_an_account_invites_nobody_by_its_own_key() -> None:
    bench = Bench()
    assert bench.join("alice").refused(Enroll, "bob", KEY).code == Code.INVITE_INVALID


def test_the_process_invite_does_not_outlive_the_process() -> None:
    bench = Bench()
    newcomer = bench.connect(PROCESS_INVITE)
    bench.hub.state.process_invite = INVITE  # the next process makes its own
    assert newcomer.refused(Enroll, "ann", KEY).code == Code.INVITE_INVALID


@pytest.mark.parametrize("invite", [PROCESS_INVITE, INVITE])
def test_the_key_of_an_invite_becomes_nobodys_account(invite: bytes) -> None:
    """Else all who hold the invite could be that account, and banning it would bar the door to them."""
    bench = Bench()
    bench.operator().ask(Done, Invite, INVITE, 5, 60)
    assert bench.connect(PROCESS_INVITE).refused(Enroll, "mallory", invite).code == Code.NOT_ALLOWED


def test_with_an_invites_key_there_is_no_session() -> None:
    bench = Bench()
    assert bench.connect(PROCESS_INVITE).refused(Hello, "alice").code == Code.INVITE_ONLY


def test_there_is_a_most_to_accounts() -> None:
    bench = Bench(accounts_max=2)
    bench.enroll("alice")  # the operator is the other
    assert bench.connect(PROCESS_INVITE).refused(Enroll, "bob", KEY).code == Code.BUSY


# ---------------------------------------------------------------------- hello


def test_welcome_brings_all_that_a_session_needs() -> None:
    bench = Bench(feed_host="feed.example", feed_port=7, newcomer_lines=9, software="simple-chat 9")
    alice = bench.join("alice")
    told, state = alice.welcome, bench.hub.state
    assert told
    assert (told.name, told.account) == ("alice", state.accounts.by_key[alice.key].id)
    assert (told.epoch, told.run, told.verify_key) == (
        EPOCH,
        state.feed.run,
        state.feed.sealer.verify_key,
    )
    assert (told.feed_host, told.feed_port, told.software) == ("feed.example", 7, "simple-chat 9")
    assert (told.limits, told.ping_s, told.lease_s) == (bench.settings.limits, 2.5, 15.0)
    assert (told.now, int.from_bytes(told.instance[:8], "big")) == (WALL, WALL)
    assert len({told.token, told.feed_token, told.instance}) == 3


@pytest.mark.parametrize("name", ["Alice", "ALICE", "alice"])
def test_a_name_may_be_written_in_any_case_and_comes_back_as_it_is(name: str) -> None:
    bench = Bench()
    assert bench.connect(bench.enroll("Alice")).hello(name).name == "Alice"


def test_a_key_is_good_for_its_own_name_only() -> None:
    bench = Bench()
    bench.enroll("bob")
    refusal = bench.connect(bench.enroll("alice")).refused(Hello, "bob")
    assert (refusal.code, refusal.text) == (Code.WRONG_NAME, "this key belongs to alice, not to bob")


def test_hello_speaks_only_of_accounts_that_are_stored() -> None:
    """Even where it waited with one batch, and the account came with the next."""
    bench = Bench(open=True)
    alice = bench.join("alice")
    zoe = bench.connect(KEY)
    alice.send_say("first")
    hello = zoe.send(Hello, "zoe")
    bench.flush()
    enroll = zoe.send(Enroll, "zoe", KEY)
    bench.flush()
    bench.store(1)
    assert zoe.answers(hello) == []
    bench.store(1)
    assert zoe.answer(Enrolled, enroll)
    assert zoe.answer(Welcome, hello)


def test_hello_again_takes_an_instance_over_and_nobody_sees_it_go() -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob", LOBBY)
    bench.wait(1)
    bob.read()
    again = bench.come("alice", alice.key, instance=alice.instance)
    assert again.instance == alice.instance
    assert [told.code for told in alice.unasked(Goodbye)] == [Code.REPLACED]
    assert alice.refused(Ping).code == Code.UNKNOWN_SESSION
    assert bob.ask(Users, Who, LOBBY).names == ["alice", "bob"]
    bench.wait(1)
    assert of_kind(bob.read())[Presence] == []


def test_hello_on_the_same_connection_begins_anew() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    before = alice.welcome
    after = alice.hello("alice")
    assert before
    assert before.token != after.token
    assert before.instance != after.instance
    assert alice.unasked(Goodbye) == []
    assert len(bench.hub.state.roster) == 1


def test_a_hello_that_was_overtaken_by_the_next_takes_nothing_over() -> None:
    """It was on its way on an old connection when the new one had begun its session already."""
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    late, now = bench.connect(alice.key), bench.connect(alice.key)
    now.request = 20
    now.hello("alice", alice.instance)
    late.request = 10
    assert late.refused(Hello, "alice", alice.instance).code == Code.REPLACED
    assert now.unasked(Goodbye) == []
    assert now.ask(Pong, Ping)


def test_somebody_elses_instance_is_only_a_number() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    bench.come("bob", bench.enroll("bob"), instance=alice.instance)
    assert alice.unasked(Goodbye) == []
    assert alice.ask(Pong, Ping)


def test_there_is_a_most_to_sessions_and_a_known_instance_may_come_back_all_the_same() -> None:
    bench = Bench(sessions_per_account=2)
    alice = bench.join("alice")
    bench.come("alice", alice.key)
    refusal = bench.connect(alice.key).refused(Hello, "alice")
    assert (refusal.code, refusal.retry_ms > 0) == (Code.BUSY, True)
    assert bench.come("alice", alice.key, instance=alice.instance).ask(Pong, Ping)
    assert bench.join("bob")


# ---------------------------------------------------------------------- leases


def test_a_session_not_heard_for_a_lease_is_over_and_its_rooms_hear_of_it() -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob", LOBBY)
    bench.wait(1)
    bob.read()
    alice.welcome = None  # its process was killed
    bench.live(13.9)
    assert alice.unasked(Goodbye) == []
    bench.live(1.0)
    assert [told.code for told in alice.unasked(Goodbye)] == [Code.EXPIRED]
    assert [notice.left for notice in of_kind(bob.read())[Presence]] == [["alice"]]
    assert ("left", {"name": "alice", "reason": "expired"}) in bench.notes
    assert bob.ask(Pong, Ping)


def test_anything_that_is_heard_keeps_a_session() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    for _ in range(5):
        bench.wait(10)
        alice.send(Ping)
        bench.wait(10)
        alice.refused(Say, "#nowhere", 0, ["hi"])
    assert alice.unasked(Goodbye) == []


def test_a_broker_that_stood_still_loses_nobody() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    bench.live(10)
    for _ in range(10):
        bench.jump(3_600)
        bench.hub.tick(bench.now)
        bench.collect()
    assert alice.unasked(Goodbye) == []
    assert alice.ask(Pong, Ping)


def test_bye_is_answered_behind_all_that_was_asked_before() -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob", LOBBY)
    say, bye = alice.send_say("last words"), alice.send(Bye)
    bench.round()
    assert [type(reply) for reply in alice.inbox] == [Said, Done]
    assert (alice.answer(Said, say).request, alice.answer(Done, bye).request) == (say, bye)
    assert bob.ask(Users, Who, LOBBY).names == ["bob"]
    assert alice.refused(Ping).code == Code.UNKNOWN_SESSION


def test_a_stop_says_goodbye_to_everyone() -> None:
    bench = Bench()
    people = [bench.join("alice", LOBBY), bench.join("bob")]
    bench.hub.stop(bench.now)
    bench.collect()
    assert [[told.code for told in one.unasked(Goodbye)] for one in people] == [[Code.SHUTTING_DOWN]] * 2


# ---------------------------------------------------------------------- pong


def test_pong_names_head_key_and_presence_of_each_open_room() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    alice.say("one", "two")
    notes = alice.open("@alice").room
    bench.live(1)
    pong = alice.ask(Pong, Ping)
    assert [(room.room, room.head, room.generation, room.presence) for room in pong.rooms] == [
        (LOBBY, 3, 1, 2),
        (notes, 1, 1, 2),
    ]
    assert pong.now == bench.wall
    alice.ask(Done, Close, LOBBY)
    assert [room.room for room in alice.ask(Pong, Ping).rooms] == [notes]


def test_pong_knows_only_what_is_stored() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    alice.send_say("not yet")
    assert alice.answer(Pong, alice.send(Ping)).rooms[0].head == 1
    bench.round()
    assert alice.ask(Pong, Ping).rooms[0].head == 2


# ---------------------------------------------------------------------- devices


def test_a_device_is_added_by_an_invite_of_ones_own() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    alice.ask(Done, Invite, INVITE, 1, 60, True)
    phone = bench.connect(INVITE)
    assert phone.refused(Enroll, "bob", KEY).code == Code.WRONG_NAME
    assert phone.ask(Enrolled, Enroll, "alice", KEY).name == "alice"
    assert not bench.hub.admits(INVITE, bench.now), "one use"
    beside = bench.come("alice", KEY, LOBBY)
    assert [(one.key, one.current) for one in beside.ask(DeviceList, Devices).devices] == [
        (alice.key, False),
        (KEY, True),
    ]
    assert alice.ask(Users, Who, LOBBY).count == 1


def test_there_is_a_most_to_keys_and_to_invites_that_wait() -> None:
    bench = Bench()
    alice = bench.join("alice")
    for number in range(DEVICE_INVITES_MAX):
        alice.ask(Done, Invite, bytes([number]) * 32, 1, 60 + number, True)
    refusal = alice.refused(Invite, INVITE, 1, 60, True)
    assert refusal.code == Code.TOO_MANY_KEYS
    bench.jump(60)
    assert alice.ask(Done, Invite, INVITE, 100, 600, True), "one has expired"
    for number in range(1, KEYS_PER_ACCOUNT_MAX):
        assert bench.connect(INVITE).ask(Enrolled, Enroll, "alice", bytes([200 + number]) * 32)
    assert bench.connect(INVITE).refused(Enroll, "alice", KEY).code == Code.TOO_MANY_KEYS


def test_newcomers_are_invited_by_the_operator_only() -> None:
    bench = Bench()
    assert bench.join("alice").refused(Invite, INVITE, 1, 60).code == Code.NOT_ALLOWED
    assert bench.operator().ask(Done, Invite, INVITE, 1, 60)


def test_an_invite_made_twice_by_the_same_is_one() -> None:
    """The first answer may have been lost; who asks again gives out no further uses."""
    bench = Bench()
    operator = bench.operator()
    operator.ask(Done, Invite, INVITE, 1, 60)
    bench.connect(INVITE)
    assert operator.ask(Done, Invite, INVITE, 5, 600)
    invite = bench.hub.state.accounts.invites[INVITE]
    assert (invite.uses_left, invite.expires) == (1, bench.wall + 60_000)


@pytest.mark.parametrize("taken", ["an invite", "the process's", "an account's"])
def test_nobody_takes_a_key_over_for_an_invite(taken: str) -> None:
    """Who was invited knows the invite's key, and could turn it away from those who come after."""
    bench = Bench()
    bench.operator().ask(Done, Invite, INVITE, 10, 60)
    key = {"an invite": INVITE, "the process's": PROCESS_INVITE, "an account's": bench.enroll("bob")}[taken]
    assert bench.join("mallory").refused(Invite, key, 1, 60, True).code == Code.NOT_ALLOWED
    if taken == "an invite":
        assert bench.connect(INVITE).ask(Enrolled, Enroll, "carol", KEY)


def test_a_revoked_key_opens_nothing_any_more() -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob", LOBBY)
    alice.ask(Done, Invite, INVITE, 1, 60, True)
    bench.connect(INVITE).ask(Enrolled, Enroll, "alice", KEY)
    lost = bench.come("alice", KEY, LOBBY)
    alice.ask(Done, Revoke, KEY)
    assert [told.code for told in lost.unasked(Goodbye)] == [Code.REVOKED]
    assert not bench.hub.admits(KEY, bench.now)
    assert lost.refused(Ping).code == Code.UNKNOWN_SESSION
    assert lost.refused(Hello, "alice").code == Code.NOT_ENROLLED
    for peer in (alice, bob, lost):
        peer.read()
    bob.say("only among us")
    assert (alice.heard(), bob.heard(), lost.heard()) == (["only among us"], ["only among us"], [])
    assert bob.ask(Users, Who, LOBBY).names == ["alice", "bob"]


def test_whoever_revokes_their_own_key_hears_that_it_is_done_before_the_goodbye() -> None:
    bench = Bench()
    alice = bench.join("alice")
    request = alice.send(Revoke, alice.key)
    bench.round()
    assert [type(reply) for reply in alice.inbox] == [Done, Goodbye]
    assert alice.answer(Done, request)


@pytest.mark.parametrize("asker", ["bob", "operator"])
def test_of_other_accounts_only_the_operator_revokes_keys(asker: str) -> None:
    bench = Bench()
    alice = bench.join("alice")
    if asker == "operator":
        assert bench.operator().ask(Done, Revoke, alice.key)
        assert [told.code for told in alice.unasked(Goodbye)] == [Code.REVOKED]
    else:
        assert bench.join("bob").refused(Revoke, alice.key).code == Code.NOT_ALLOWED
        assert alice.ask(Pong, Ping)


def test_the_operators_only_key_stays() -> None:
    bench = Bench()
    assert bench.operator().refused(Revoke, OPERATOR_KEY).code == Code.NOT_ALLOWED


def test_an_invite_for_a_device_of_somebody_banned_is_none() -> None:
    bench = Bench()
    alice = bench.join("alice")
    alice.ask(Done, Invite, INVITE, 1, 60, True)
    phone = bench.connect(INVITE)
    bench.operator().ask(Done, Ban, "alice")
    assert phone.refused(Enroll, "alice", KEY).code == Code.BANNED


def test_what_is_open_when_asked_in_one_go_is_what_was_asked_last() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob", LOBBY)
    bob.send_say("something to store")
    alice.send(Open, LOBBY)
    alice.send(Close, LOBBY)
    bench.round()
    assert alice.ask(Pong, Ping).rooms == []
