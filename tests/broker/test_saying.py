"""Say: every line exactly once, in the order in which its sender said it, and only where they may."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_broker.sends import new_instance
from chat_protocol.errors import Code
from chat_protocol.messages import (
    LINE_BYTES_MAX,
    LINE_ROWS_MAX,
    LOBBY,
    SAY_BYTES_MAX,
    Add,
    Added,
    Ban,
    Create,
    Done,
    Publication,
    Rate,
    Refusal,
    Remove,
    RoomKind,
    Said,
    Say,
    Stored,
)
from tests.broker.bench import EPOCH, WALL, Bench, Peer, of_kind

DAY_S = 24 * 3_600
ONCE = b"once-and-for-all"
OTHER_ONCE = b"another-time...."


def spot(said: Said) -> tuple[int, int]:
    """Where a Say's lines are: first and count."""
    (stored,) = said.stored
    return stored.first, stored.count


# ---------------------------------------------------------------------- saying


def test_a_line_is_acknowledged_and_published_when_it_is_stored_and_not_before() -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob", LOBBY)
    request = alice.send_say("hello", "world")
    assert (alice.answers(request), bob.heard()) == ([], [])
    bench.flush()
    assert (alice.answers(request), bob.heard(), bench.texts()) == ([], [], [])
    bench.store()
    assert alice.answer(Said, request) == Said(request, EPOCH, [Stored(request, LOBBY, 2, 2, WALL)])
    assert bob.heard() == alice.heard() == bench.texts() == ["hello", "world"]


def test_a_line_is_its_senders() -> None:
    bench = Bench()
    alice = bench.join("Alice")
    alice.say("hello")
    entry = bench.entries()[-1]
    assert alice.welcome
    assert (entry.account, entry.sender, entry.at) == (alice.welcome.account, "Alice", WALL)


def test_all_that_is_said_in_a_batch_is_one_publication_and_one_said_for_each_sender() -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob", LOBBY)
    asked = {peer: [peer.send_say(f"{peer.name} {number}") for number in range(5)] for peer in (alice, bob)}
    bench.round()
    for peer in (alice, bob):
        (said,) = peer.inbox
        assert isinstance(said, Said)
        assert [stored.request for stored in said.stored] == asked[peer]
        assert said.request == asked[peer][-1]
    (publication,) = of_kind(bob.read())[Publication]
    assert len(publication.entries) == 10


def test_several_batches_on_their_way_are_answered_one_after_another() -> None:
    bench = Bench(batch_bytes=0)
    alice = bench.join("alice", LOBBY)
    requests = []
    for number in range(3):
        requests.append(alice.send_say(f"{number}"))
        bench.flush()
    for number, request in enumerate(requests):
        bench.store(1)
        assert alice.answer(Said, request)
        assert (alice.heard(), alice.inbox) == ([f"{number}"], [])


def test_what_is_said_while_the_log_is_at_work_shares_the_next_batch_unless_it_is_much() -> None:
    bench = Bench(batch_bytes=5_000)
    alice = bench.join("alice", LOBBY)
    first = alice.send_say("first")
    bench.flush()
    more = []
    for number in range(3):
        more.append(alice.send_say(f"{number}"))
        bench.flush()
    assert len(bench.log.waiting) == 1
    bench.store()
    assert alice.answer(Said, first)
    assert len(bench.log.waiting) == 1, "they went to the log when it was free"
    bench.store()
    (said,) = alice.inbox
    assert isinstance(said, Said)
    assert [one.request for one in said.stored] == more
    alice.send_say("small")
    bench.flush()
    alice.send_say("x" * 5_000)
    bench.flush()
    assert len(bench.log.waiting) == 2, "much does not wait"


def test_a_room_needs_not_be_open_to_say_something_in_it() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob", LOBBY)
    alice.say("from a script")
    assert bob.heard() == ["from a script"]


def test_a_room_is_the_same_in_upper_and_lower_case() -> None:
    bench = Bench()
    alice = bench.join("alice")
    alice.say("one", room="#LOBBY")
    assert alice.refused_say("two", room=LOBBY).code == Code.OUT_OF_ORDER, "its order is one, too"
    assert bench.texts() == ["one"]


# ---------------------------------------------------------------------- many at once


def chained(peer: Peer, lines: list[list[str]], **fields: Any) -> list[Say]:
    """Says of these lines, each naming the one before it as a client does."""
    first = peer.request + 1
    return [
        Say(request, peer.token, LOBBY, request - 1 if request > first else 0, some, **fields)
        for request, some in enumerate(lines, first)
    ]


def test_says_that_came_together_are_each_answered_and_stored_in_order() -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob", LOBBY)
    says = chained(alice, [["one"], ["two", "three"], ["four"]])
    alice.deliver_all(*says)
    assert (alice.inbox, bob.heard()) == ([], [])
    bench.round()
    (said,) = alice.inbox
    assert isinstance(said, Said)
    assert [(one.request, one.first, one.count) for one in said.stored] == [
        (says[0].request, 2, 1), (says[1].request, 3, 2), (says[2].request, 5, 1),
    ]  # fmt: skip
    assert bob.heard() == bench.texts() == ["one", "two", "three", "four"]
    alice.deliver_all(*says)
    bench.round()
    assert bench.texts() == ["one", "two", "three", "four"]


ODD_LINES = [["x"], ["y"], ["a"], ["b", "c"], [" "], ["\x1b[2J"], ["x" * 5_000], ["x" * 16_385], ["é\n✓"]]
LITTLE_ALLOWED: list[dict[str, Any]] = [
    {}, {"requests_in_flight": 3}, {"lines_burst": 4, "lines_per_s": 1}, {"says_in_flight": 2},
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_comes_together_is_taken_as_if_it_came_one_by_one(data: st.DataObject) -> None:
    """Whatever it is, also with repeats, gaps, bad text, `once` keys, other rooms, and little allowed."""
    allowed = data.draw(st.sampled_from(LITTLE_ALLOWED))
    say = st.tuples(
        st.sampled_from([1, 1, 1, 1, 2, 0]), st.sampled_from([0, 0, 0, 0, 0, 1]), st.sampled_from(ODD_LINES),
        st.sampled_from([None, None, None, ONCE]), st.sampled_from([LOBBY, LOBBY, LOBBY, "#Lobby", "#none"]),
    )  # fmt: skip
    drains = data.draw(st.lists(st.lists(say, min_size=1, max_size=8), min_size=1, max_size=3))
    together, apart = Bench(clear=True, **allowed), Bench(clear=True, **allowed)
    for bench in (together, apart):
        alice = bench.join("alice", LOBBY)
        last = 0
        for drain in drains:
            says = []
            for step, back, lines, once, room in drain:
                request = max(1, last + step)
                says.append(Say(request, alice.token, room, max(0, last - back), lines, once))
                last = request
            if bench is together:
                alice.deliver_all(*says)
            else:
                for one in says:
                    alice.deliver(one)
            bench.round()
    assert together.texts() == apart.texts()
    assert answers(together) == answers(apart)


def answers(bench: Bench) -> set[str]:
    """All that was answered: each Say's own answer, and refusals."""
    inbox = [reply for peer in bench.peers.values() for reply in peer.inbox]
    stored = [one for said in inbox if isinstance(said, Said) for one in said.stored]
    return {str(one) for one in [*stored, *inbox] if isinstance(one, Stored | Refusal)}


def test_who_is_banned_or_revoked_meanwhile_is_told_for_each_line() -> None:
    bench = Bench()
    alice, operator = bench.join("alice"), bench.operator()
    operator.send(Ban, "alice")
    says = chained(alice, [["one"], ["two"]])
    alice.deliver_all(*says)
    bench.round()
    refused = [reply for reply in alice.inbox if isinstance(reply, Refusal)]
    assert [(refusal.request, refusal.code) for refusal in refused] == [
        (one.request, Code.BANNED) for one in says
    ]
    assert bench.texts() == []


def test_says_that_came_together_are_each_refused_when_they_cannot_be_stored() -> None:
    bench = Bench()
    alice = bench.join("alice")
    bench.log.fail = Code.STORAGE_FULL
    says = chained(alice, [["one"], ["two"]])
    alice.deliver_all(*says)
    bench.round()
    refused = [reply for reply in alice.inbox if isinstance(reply, Refusal)]
    assert [(one.request, one.code) for one in refused] == [(one.request, Code.STORAGE_FULL) for one in says]
    bench.log.fail = None
    bench.jump(2)
    alice.deliver_all(*says)
    bench.round()
    assert bench.texts() == ["one", "two"]


# ---------------------------------------------------------------------- exactly once


def test_a_repeat_is_answered_as_it_was_and_stored_once() -> None:
    bench = Bench()
    alice = bench.join("alice")
    request = alice.send_say("once")
    bench.round()
    first = alice.answer(Said, request)
    for _ in range(3):
        bench.jump(60)
        alice.send_say("once", request=request, prev=0)
        bench.round()
        assert alice.answer(Said, request) == first
    assert bench.texts() == ["once"]


def test_a_repeat_before_the_first_is_stored_is_answered_with_it() -> None:
    bench = Bench()
    alice = bench.join("alice")
    request = alice.send_say("once")
    alice.send_say("once", request=request, prev=0)
    bench.flush()
    alice.send_say("once", request=request, prev=0)
    assert alice.inbox == []
    bench.round()
    assert [spot(said) for said in alice.answers(request) if isinstance(said, Said)] == [(2, 1)] * 3
    assert bench.texts() == ["once"]


def test_a_repeat_that_waits_is_answered_also_if_its_answer_is_forgotten_meanwhile() -> None:
    bench = Bench(says_in_flight=2)
    alice = bench.join("alice")
    request = alice.send_say("once")
    alice.deliver(Say(request, alice.token, LOBBY, 0, ["once"]))
    for _ in range(5):
        alice.send_say("more")
    bench.round()
    assert len([said for said in alice.inbox if isinstance(said, Said)]) == 2
    assert bench.texts() == ["once", *["more"] * 5]


def test_a_repeat_on_another_connection_of_the_same_instance_is_the_same() -> None:
    bench = Bench()
    alice = bench.join("alice")
    request = alice.send_say("once")
    bench.round()
    again = bench.come("alice", alice.key, instance=alice.instance)
    again.send_say("once", request=request, prev=0)
    bench.round()
    assert spot(again.answer(Said, request)) == (2, 1)
    assert bench.texts() == ["once"]


def test_another_instance_counts_for_itself() -> None:
    bench = Bench()
    alice = bench.join("alice")
    phone = bench.come("alice", alice.key)
    for peer in (alice, phone):
        peer.send_say("hi", request=100)
    bench.round()
    assert bench.texts() == ["hi", "hi"]


def test_the_same_id_with_other_lines_is_refused() -> None:
    bench = Bench()
    alice = bench.join("alice")
    request = alice.send_say("one")
    bench.round()
    alice.answers(request)
    for lines in (["two"], ["one", "two"]):
        assert alice.refused_say(*lines, request=request, prev=0).code == Code.ID_REUSED
    assert alice.refused_say("one", request=request, prev=0, once=ONCE).code == Code.ID_REUSED
    assert bench.texts() == ["one"]


def test_a_line_whose_predecessor_is_missing_waits_its_turn() -> None:
    """Sent 1, 2, 3; the link lost 2."""
    bench = Bench()
    alice = bench.join("alice")
    alice.send_say("1", request=10, prev=0)
    alice.send_say("3", request=12, prev=11)
    bench.round()
    refusal = alice.answer(Refusal, 12)
    assert (refusal.code, refusal.last) == (Code.OUT_OF_ORDER, 10)
    alice.send_say("2", request=11, prev=10)
    alice.send_say("3", request=12, prev=11)
    bench.round()
    assert bench.texts() == ["1", "2", "3"]


def test_a_line_that_was_overtaken_is_not_stored_behind() -> None:
    bench = Bench()
    alice = bench.join("alice")
    alice.send_say("later", request=20, prev=0)
    bench.round()
    refusal = alice.refused_say("earlier", request=10, prev=0)
    assert (refusal.code, refusal.last) == (Code.OUT_OF_ORDER, 20)
    assert bench.texts() == ["later"]


def test_the_order_is_each_rooms_own() -> None:
    bench = Bench()
    alice = bench.join("alice")
    alice.ask(Done, Create, "#other", RoomKind.PUBLIC)
    for request, room, prev in [(10, LOBBY, 0), (11, "#other", 0), (12, LOBBY, 10), (13, "#other", 11)]:
        alice.send_say(f"{request}", room=room, request=request, prev=prev)
    bench.round()
    assert (bench.texts(), bench.texts("#other")) == (["10", "12"], ["11", "13"])


def test_answers_are_kept_for_as_many_as_may_be_in_flight() -> None:
    bench = Bench(says_in_flight=4)
    alice = bench.join("alice")
    requests = [alice.send_say(f"{number}") for number in range(6)]
    bench.round()
    alice.inbox.clear()
    for number, request in list(enumerate(requests))[2:]:
        alice.send_say(f"{number}", request=request, prev=0)
        assert spot(alice.answer(Said, request)) == (2 + number, 1)
    refusal = alice.refused_say("1", request=requests[1], prev=requests[0])
    assert (refusal.code, refusal.last) == (Code.OUT_OF_ORDER, requests[-1])
    assert len(bench.texts()) == 6


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["\x1b[2J"], Code.BAD_TEXT),
        (["\u202egnp.exe"], Code.BAD_TEXT),
        (["\x00"], Code.BAD_TEXT),
        (["\r"], Code.BAD_TEXT),
        ([""], Code.BAD_TEXT),
        (["  \n"], Code.BAD_TEXT),
        (["good", "\x07"], Code.BAD_TEXT),
        (["x" * LINE_BYTES_MAX], None),
        (["x" * (LINE_BYTES_MAX + 1)], Code.LINE_TOO_LONG),
        (["€" * (LINE_BYTES_MAX // 3 + 1)], Code.LINE_TOO_LONG),
        (["x\n" * (LINE_ROWS_MAX - 1) + "x"], None),
        (["x\n" * LINE_ROWS_MAX + "x"], Code.LINE_TOO_LONG),
        (["x" * LINE_BYTES_MAX] * 3, None),
        (["x" * LINE_BYTES_MAX] * 3 + ["x"], Code.LINE_TOO_LONG),
        (["a\tb\nc"], None),
        (["naïve 日本語 🎉"], None),
    ],
)
def test_text_is_taken_as_it_is_or_refused_whole(lines: list[str], code: Code | None) -> None:
    assert SAY_BYTES_MAX == 3 * LINE_BYTES_MAX
    bench = Bench()
    alice = bench.join("alice")
    if code is None:
        assert spot(alice.say(*lines)) == (2, len(lines))
        assert bench.texts() == lines
    else:
        assert alice.refused_say(*lines).code == code
        assert bench.texts() == []


def test_refusals_never_move_the_order() -> None:
    bench = Bench(lines_burst=10, lines_per_s=1)
    alice = bench.join("alice")
    alice.send_say("1", request=10, prev=0)
    bench.round()
    alice.inbox.clear()
    for request, lines, prev, code in [
        (11, ["\x07"], 10, Code.BAD_TEXT),
        (12, ["x" * (LINE_BYTES_MAX + 1)], 10, Code.LINE_TOO_LONG),
        (13, ["x"] * 10, 10, Code.RATE_LIMITED),
        (14, ["x"], 9, Code.OUT_OF_ORDER),
        (10, ["x"], 0, Code.ID_REUSED),
    ]:
        assert alice.refused_say(*lines, request=request, prev=prev).code == code
    alice.send_say("2", request=15, prev=10)
    bench.round()
    assert bench.texts() == ["1", "2"]


def test_a_say_is_judged_by_all_that_is_ahead_of_it_in_the_same_drain() -> None:
    """Refused ones among them: an honest client skips those, having heard of them."""
    bench = Bench()
    alice = bench.join("alice")
    alice.send_say("1", request=10, prev=0)
    alice.send_say("\x07", request=11, prev=10)
    alice.send_say("3", request=12, prev=11)
    alice.send_say("3", request=12, prev=10)
    bench.round()
    codes = [reply.code for reply in alice.inbox if isinstance(reply, Refusal)]
    assert codes == [Code.BAD_TEXT, Code.OUT_OF_ORDER]
    assert bench.texts() == ["1", "3"]


# ---------------------------------------------------------------------- once


def test_what_is_said_once_is_said_once_whoever_of_the_account_says_it() -> None:
    bench = Bench()
    bot = bench.join("bot")
    first = bot.say("it rolled a 4", once=ONCE)
    assert spot(bot.say("it rolled a 5", once=ONCE)) == spot(first)
    again = bench.come("bot", bot.key)
    assert spot(again.say("it rolled a 6", once=ONCE)) == spot(first)
    assert spot(again.say("something else", once=OTHER_ONCE)) == (3, 1)
    assert bench.texts() == ["it rolled a 4", "something else"]


def test_twice_once_in_one_drain_is_once() -> None:
    bench = Bench()
    bot = bench.join("bot")
    beside = bench.come("bot", bot.key)
    requests = [peer.send_say("hi", once=ONCE) for peer in (bot, beside)]
    bench.round()
    assert [spot(peer.answer(Said, one)) for peer, one in zip((bot, beside), requests, strict=True)] == [
        (2, 1)
    ] * 2
    assert bench.texts() == ["hi"]


def test_once_holds_across_restarts_of_either_side() -> None:
    bench = Bench()
    bot = bench.join("bot")
    first = bot.say("hi", once=ONCE)
    bench.restart()
    bot = bench.come("bot", bot.key)
    assert spot(bot.say("hi", once=ONCE)) == spot(first)
    assert spot(bot.say("more")) == (3, 1), "and takes part in the order"
    assert bench.texts() == ["hi", "more"]


def test_a_once_key_is_one_accounts_in_one_room() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob")
    alice.say("hi", once=ONCE)
    bob.say("hi", once=ONCE)
    alice.say("hi", room="@bob", once=ONCE)
    assert bench.texts() == ["hi", "hi"]


def test_what_was_said_once_costs_nothing_to_repeat() -> None:
    bench = Bench(lines_burst=1, lines_per_s=1)
    bot = bench.join("bot")
    first = bot.say("hi", once=ONCE)
    assert bot.refused_say("more").code == Code.RATE_LIMITED
    assert spot(bot.say("hi", once=ONCE)) == spot(first)


# ---------------------------------------------------------------------- memory of seven days


def test_who_was_away_for_longer_than_a_week_is_told_so() -> None:
    bench = Bench()
    key = bench.enroll("alice")
    old = new_instance(WALL, bytes(8))
    bench.jump(7 * DAY_S + 1)
    alice = bench.come("alice", key, instance=old)
    assert alice.refused_say("was this stored?").code == Code.FORGOTTEN
    assert bench.texts() == []
    alice.hello("alice")
    alice.prev.clear()
    assert alice.say("then anew")


def test_who_is_known_is_not_forgotten_however_old() -> None:
    bench = Bench()
    alice = bench.join("alice")
    alice.say("one")
    for _ in range(3):
        bench.jump(5 * DAY_S)
        alice.hello("alice", alice.instance)
        alice.say("more")
    assert len(bench.texts()) == 4


def test_exactly_once_survives_a_restart() -> None:
    bench = Bench()
    alice = bench.join("alice")
    stored = alice.send_say("stored")
    bench.round()
    lost = alice.send_say("lost")
    bench.flush()
    bench.restart()
    again = bench.come("alice", alice.key, instance=alice.instance)
    again.send_say("stored", request=stored, prev=0)
    again.send_say("lost", request=lost, prev=stored)
    bench.round()
    assert [spot(again.answer(Said, request)) for request in (stored, lost)] == [(2, 1), (3, 1)]
    assert bench.texts() == ["stored", "lost"]


@pytest.mark.parametrize("committed", range(4))
def test_a_crash_between_batches_takes_back_only_what_was_not_stored(committed: int) -> None:
    """The log stores what a batch was when it was given, not what its sender did since."""
    bench = Bench(batch_bytes=0)
    alice = bench.join("alice")
    requests = []
    for number in range(3):
        requests.append(alice.send_say(f"{number}"))
        bench.flush()
    bench.store(committed)
    told = [request for request in requests if alice.answers(request)]
    assert told == requests[:committed]
    bench.restart()
    again = bench.come("alice", alice.key, instance=alice.instance)
    for number, (request, prev) in enumerate(zip(requests, [0, *requests], strict=False)):
        again.send_say(f"{number}", request=request, prev=prev)
    bench.round()
    assert bench.texts() == ["0", "1", "2"]
    said = [stored for reply in again.inbox if isinstance(reply, Said) for stored in reply.stored]
    assert [(stored.request, stored.first) for stored in said] == [
        (request, 2 + number) for number, request in enumerate(requests)
    ]


# ---------------------------------------------------------------------- who may say where


def test_a_line_behind_its_senders_removal_in_the_same_drain_is_refused() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob")
    alice.ask(Done, Create, "#den", RoomKind.PRIVATE)
    alice.ask(Done, Add, "#den", "bob")
    before = bob.send_say("before", room="#den")
    alice.send(Remove, "#den", "bob")
    after = bob.send_say("after", room="#den")
    bench.round()
    assert bob.answer(Said, before)
    assert bob.answer(Refusal, after).code == Code.NO_SUCH_ROOM
    assert bench.texts("#den") == ["before"]


def test_whoever_was_removed_still_learns_what_became_of_a_line() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob")
    alice.ask(Done, Create, "#den", RoomKind.PRIVATE)
    alice.ask(Done, Add, "#den", "bob")
    request = bob.send_say("mine", room="#den")
    bench.round()
    alice.ask(Done, Remove, "#den", "bob")
    bob.answers(request)
    bob.send_say("mine", room="#den", request=request, prev=0)
    bench.round()
    assert spot(bob.answer(Said, request)) == (3, 1)


def test_a_line_behind_its_senders_joining_in_the_same_drain_is_stored() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob")
    alice.send(Create, "#den", RoomKind.PRIVATE)
    alice.send(Add, "#den", "bob")
    bob.send_say("already", room="#den")
    bench.round()
    assert bench.texts("#den") == ["already"]


@pytest.mark.parametrize(
    ("room", "code"),
    [
        ("#nowhere", Code.NO_SUCH_ROOM),
        ("#den", Code.NO_SUCH_ROOM),
        ("nowhere", Code.NO_SUCH_ROOM),
        ("$server", Code.NO_SUCH_ROOM),
        ("@nobody", Code.NO_SUCH_ACCOUNT),
        ("@", Code.NO_SUCH_ACCOUNT),
        ("@2:3", Code.NO_SUCH_ROOM),
        ("@4:9999", Code.NO_SUCH_ACCOUNT),
        ("@1:9999", Code.NO_SUCH_ROOM),
    ],
)
def test_where_there_is_no_room_for_somebody_nothing_is_stored(room: str, code: Code) -> None:
    bench = Bench()
    alice, mallory = bench.join("alice"), bench.join("mallory")
    assert mallory.welcome
    assert mallory.welcome.account == 4
    alice.ask(Done, Create, "#den", RoomKind.PRIVATE)
    before = bench.log.rooms()
    assert mallory.refused_say("hi", room=room).code == code
    assert bench.log.rooms() == before


@pytest.mark.parametrize(("lines", "prev"), [(["\x07"], 0), (["x" * 20_000], 0), (["hi"], 7), (["x"] * 5, 0)])
def test_a_line_that_is_refused_makes_no_direct_room(lines: list[str], prev: int) -> None:
    bench = Bench(lines_burst=4, lines_per_s=1)
    alice, bob = bench.join("alice"), bench.join("bob")
    alice.say("x")
    before = bench.log.rooms()
    alice.refused_say(*lines, room="@bob", prev=prev)
    assert bench.log.rooms() == before
    assert bob.unasked(Added) == []


# ---------------------------------------------------------------------- how much


def test_more_than_the_rate_is_refused_with_the_time_to_wait() -> None:
    bench = Bench(lines_burst=100, lines_per_s=10)
    alice = bench.join("alice")
    alice.say(*["x"] * 100)
    refusal = alice.refused_say("one more")
    assert (refusal.code, refusal.retry_ms) == (Code.RATE_LIMITED, 100)
    assert alice.refused_say(*["x"] * 30).retry_ms == 3_000
    bench.wait(refusal.retry_ms / 1_000)
    assert alice.say("one more")
    assert alice.refused_say("and one").code == Code.RATE_LIMITED


def test_nobody_says_more_by_saying_hello_again() -> None:
    bench = Bench(lines_burst=100, lines_per_s=10)
    alice = bench.join("alice")
    alice.say(*["x"] * 100)
    for _ in range(3):
        alice.hello("alice")
        alice.prev.clear()
        assert alice.refused_say("more").code == Code.RATE_LIMITED
    assert bench.join("bob").say("somebody else's is their own")


def test_a_say_of_more_than_a_burst_is_paid_back() -> None:
    bench = Bench(lines_burst=10, lines_per_s=10)
    alice = bench.join("alice")
    assert alice.say(*["x"] * 100)
    assert alice.refused_say("x").retry_ms == 9_100


@pytest.mark.parametrize(
    ("rate", "burst"),
    [(1, 10), (10, 100), (1_000, 10_000), (0, 100)],  # 0: as everybody
)
def test_the_operator_sets_the_rate_of_an_account(rate: int, burst: int) -> None:
    """And with it the burst, so that a slow account's is small."""
    bench = Bench(lines_burst=100, lines_per_s=10)
    bot = bench.join("bot")
    bench.operator().ask(Done, Rate, "bot", rate)
    for some in range(0, burst, 400):
        assert bot.say(*["x"] * min(400, burst - some))
    refusal = bot.refused_say("x")
    assert refusal.retry_ms == max(1, 1_000 // (rate or 10))
    bench.restart()
    again = bench.come("bot", bot.key)
    assert bench.hub.state.accounts.by_key[again.key].lines_per_s == rate


def test_a_rate_of_nothing_is_still_a_rate() -> None:
    bench = Bench(lines_burst=0, lines_per_s=0)
    alice = bench.join("alice")
    assert alice.say("x")
    assert alice.refused_say("x").code == Code.RATE_LIMITED


def test_other_requests_that_are_stored_count_like_lines() -> None:
    """Else whoever adds and removes somebody in turn fills the disk."""
    bench = Bench(lines_burst=10, lines_per_s=1)
    alice = bench.join("alice")
    bench.join("bob")
    alice.ask(Done, Create, "#den", RoomKind.PRIVATE)
    for kind in (Add, Remove) * 4:
        alice.ask(Done, kind, "#den", "bob")
    assert alice.say("x")
    refusal = alice.refused(Add, "#den", "bob")
    assert (refusal.code, refusal.retry_ms) == (Code.RATE_LIMITED, 1_000)


def test_a_token_is_no_part_of_what_was_said() -> None:
    bench = Bench()
    alice = bench.join("alice")
    alice.deliver(Say(77, alice.token, LOBBY, 0, ["hi"]))
    bench.round()
    alice.hello("alice", alice.instance)
    alice.deliver(Say(77, alice.token, LOBBY, 0, ["hi"]))
    assert len([reply for reply in alice.inbox if isinstance(reply, Said)]) == 2
    assert bench.texts() == ["hi"]
