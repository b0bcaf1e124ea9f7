"""What is said into one room: once, in order, whatever is refused or lost on the way."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_client.outbox import ANSWER_S, PIPELINE_MAX, RESEND_MAX_S, RESEND_S, Outbox, Saying, Unsaid
from chat_protocol.errors import Code
from chat_protocol.messages import SAY_BYTES_MAX, SAY_LINES_MAX, Refusal, Say

TOKEN = b"t" * 16


class Desk:
    """An outbox with its request ids and clock. `send` gives the Says that go out now."""

    def __init__(self, in_flight_max: int = 64) -> None:
        self.outbox = Outbox("#lobby")
        self.now = 0.0
        self.in_flight_max = in_flight_max
        self.requests = itertools.count(1)
        self.refs = itertools.count(1)

    def add(self, *texts: str, once: bytes | None = None) -> None:
        for text in texts:
            self.outbox.add(Unsaid(next(self.refs), text, once))

    def say(self, text: str) -> Say:
        """Say a line that goes out at once and alone."""
        self.add(text)
        (say,) = self.send()
        return say

    def send(self, *, only_again: bool = False) -> list[Say]:
        sayings = self.outbox.outgoing(
            lambda: next(self.requests), self.in_flight_max, self.now, only_again=only_again
        )
        return [self.outbox.message(saying, TOKEN) for saying in sayings]

    def wait(self, seconds: float) -> list[Say]:
        self.now += seconds
        return self.send()

    def refuse(
        self, request: int, code: Code, *, retry_ms: int = 0, last: int = 0
    ) -> tuple[Saying | None, bool]:
        return self.outbox.refused(Refusal(request, code, "", retry_ms, last), self.now)


def chain(says: list[Say]) -> list[tuple[int, int]]:
    return [(say.request, say.prev) for say in says]


# --------------------------------------------------------------------------- packing


def test_lines_that_wait_share_a_say() -> None:
    desk = Desk()
    desk.add("one", "two", "three")
    (say,) = desk.send()
    assert say.lines == ["one", "two", "three"]
    assert len(desk.outbox) == 3
    assert desk.send() == []


def test_a_say_has_at_most_so_many_lines() -> None:
    desk = Desk()
    desk.add(*(["x"] * (SAY_LINES_MAX + 1)))
    assert [len(say.lines) for say in desk.send()] == [SAY_LINES_MAX, 1]


def test_a_say_has_at_most_so_many_bytes() -> None:
    desk = Desk()
    line = "é" * 8_000  # 16,000 bytes
    desk.add(*([line] * 5))
    says = desk.send()
    assert [len(say.lines) for say in says] == [3, 2]
    assert all(sum(len(line.encode()) for line in say.lines) <= SAY_BYTES_MAX for say in says)


def test_lines_of_people_and_of_bots_share_no_say() -> None:
    desk = Desk()
    for hops in (0, 0, 1, 2, 2):
        desk.outbox.add(Unsaid(next(desk.refs), f"{hops}", hops=hops))
    assert [(say.lines, say.hops) for say in desk.send()] == [(["0", "0"], 0), (["1"], 1), (["2", "2"], 2)]


def test_a_line_with_a_once_key_goes_alone() -> None:
    desk = Desk()
    desk.add("one")
    desk.add("two", "three", once=b"o" * 16)
    desk.add("four")
    says = desk.send()
    assert [(say.lines, say.once) for say in says] == [
        (["one"], None),
        (["two"], b"o" * 16),
        (["three"], b"o" * 16),
        (["four"], None),
    ]


@pytest.mark.parametrize(("in_flight_max", "expected"), [(3, 3), (64, PIPELINE_MAX)])
def test_so_many_says_are_in_flight(in_flight_max: int, expected: int) -> None:
    desk = Desk(in_flight_max)
    for _ in range(2 * PIPELINE_MAX):
        desk.add("x", once=b"o" * 16)
    says = desk.send()
    assert chain(says) == [(n, n - 1) for n in range(1, expected + 1)]
    desk.outbox.said(1)
    assert chain(desk.send()) == [(expected + 1, expected)]


# --------------------------------------------------------------------------- answers


def test_each_say_names_the_one_before() -> None:
    desk = Desk()
    assert desk.say("one").prev == 0
    assert desk.say("two").prev == 1
    desk.outbox.said(1)
    desk.outbox.said(2)
    assert desk.say("three").prev == 2
    assert desk.outbox.said(2) is None  # answered before


def test_a_final_refusal_in_the_middle_leaves_the_chain_whole() -> None:
    desk = Desk()
    for text in ("one", "bad", "three"):
        desk.say(text)
    desk.outbox.said(1)
    saying, unknown = desk.refuse(2, Code.BAD_TEXT)
    assert saying is not None
    assert [line.text for line in saying.lines] == ["bad"]
    assert not unknown
    assert desk.refuse(3, Code.OUT_OF_ORDER, last=1) == (None, False)
    assert chain(desk.wait(RESEND_S)) == [(3, 1)]


@pytest.mark.parametrize("code", [Code.RATE_LIMITED, Code.BUSY, Code.TOO_MANY_IN_FLIGHT])
def test_what_is_refused_for_now_goes_out_again_in_order(code: Code) -> None:
    desk = Desk()
    for text in ("one", "two", "three"):
        desk.say(text)
    desk.refuse(1, code, retry_ms=300)
    desk.refuse(2, Code.OUT_OF_ORDER)
    desk.refuse(3, Code.OUT_OF_ORDER)
    desk.add("four")
    assert desk.outbox.next_deadline() == pytest.approx(0.3)
    assert desk.wait(0.29) == []
    assert chain(desk.wait(0.02)) == [(1, 0), (2, 1), (3, 2)]
    assert chain(desk.send()) == [(4, 3)]


def test_a_long_pause_is_kept_to() -> None:
    desk = Desk()
    desk.say("one")
    desk.refuse(1, Code.RATE_LIMITED, retry_ms=60_000)
    assert desk.wait(59.9) == []
    assert chain(desk.wait(0.2)) == [(1, 0)]


def test_one_refusal_ahead_delays_the_rest_once_however_many_are_behind_it() -> None:
    desk = Desk()
    for _ in range(PIPELINE_MAX):
        desk.say("x")
    desk.refuse(1, Code.RATE_LIMITED, retry_ms=10)
    for request in range(2, PIPELINE_MAX + 1):
        desk.refuse(request, Code.OUT_OF_ORDER)
    assert desk.outbox.next_deadline() == pytest.approx(RESEND_S)


def test_pauses_grow_to_a_bound_and_end_with_an_answer() -> None:
    desk = Desk()
    desk.say("x")
    pauses = []
    for _ in range(10):
        desk.refuse(1, Code.OUT_OF_ORDER)
        deadline = desk.outbox.next_deadline()
        assert deadline is not None
        pauses.append(round(deadline - desk.now, 3))
        desk.wait(pauses[-1])
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (RESEND_S, RESEND_MAX_S)
    desk.outbox.said(1)
    desk.say("y")
    desk.refuse(2, Code.OUT_OF_ORDER)
    assert desk.outbox.next_deadline() == pytest.approx(desk.now + RESEND_S)


def test_the_broker_may_have_taken_one_that_was_given_up() -> None:
    desk = Desk()
    desk.say("one")
    desk.wait(ANSWER_S)  # the copy is out twice
    saying, unknown = desk.refuse(1, Code.STORAGE_FAILED)
    assert saying is not None
    assert unknown, "the second copy may be stored yet"
    desk.say("two")
    desk.refuse(2, Code.OUT_OF_ORDER, last=1)
    assert chain(desk.wait(RESEND_S)) == [(2, 1)]


def test_a_refusal_of_the_only_copy_is_certain() -> None:
    desk = Desk()
    desk.say("one")
    desk.wait(ANSWER_S)
    desk.refuse(1, Code.RATE_LIMITED)
    _, unknown = desk.refuse(1, Code.STORAGE_FULL)
    assert not unknown


@pytest.mark.parametrize(
    ("code", "unknown"),
    [
        (Code.NO_SUCH_ROOM, False),  # the broker has looked among its answers first
        (Code.STORAGE_FULL, False),
        (Code.STORAGE_FAILED, True),
        (Code.BANNED, True),
        (Code.REVOKED, True),
    ],
)
def test_what_a_refusal_says_of_a_copy_whose_answer_was_lost(code: Code, unknown: bool) -> None:
    desk = Desk()
    desk.say("one")
    desk.outbox.resend_all()
    desk.send()
    assert desk.refuse(1, code)[1] is unknown


def test_what_was_overtaken_and_surely_not_taken_gets_another_id() -> None:
    desk = Desk()
    desk.say("one")
    desk.requests = itertools.count(6)
    desk.outbox.said(5)  # under another name of the room
    assert desk.refuse(1, Code.OUT_OF_ORDER, last=5) == (None, False)
    assert chain(desk.send()) == [(6, 5)]


def test_a_request_behind_the_broker_s_memory_has_an_unknown_outcome() -> None:
    desk = Desk()
    desk.say("one")
    desk.outbox.resend_all()
    desk.send()
    saying, unknown = desk.refuse(1, Code.OUT_OF_ORDER, last=5)
    assert saying is not None
    assert unknown


def test_a_refusal_of_something_else_changes_nothing() -> None:
    desk = Desk()
    desk.say("one")
    assert desk.refuse(9, Code.BAD_TEXT) == (None, False)
    assert len(desk.outbox) == 1


# --------------------------------------------------------------------------- lost answers


def test_without_an_answer_a_say_goes_out_again() -> None:
    desk = Desk()
    desk.say("one")
    assert desk.outbox.next_deadline() == ANSWER_S
    assert desk.wait(ANSWER_S / 2) == []
    assert chain(desk.wait(ANSWER_S / 2)) == [(1, 0)]


def test_an_answer_that_is_overtaken_is_asked_for_at_once_and_nothing_is_added_before() -> None:
    """The broker remembers only so many answers."""
    desk = Desk(in_flight_max=2)
    desk.say("one")
    desk.say("two")
    desk.outbox.said(2)
    desk.add("three")
    assert chain(desk.send()) == [(1, 0)]
    assert desk.send() == []
    desk.outbox.said(1)
    assert chain(desk.send()) == [(3, 2)]


def test_a_new_session_says_everything_again_and_at_once() -> None:
    desk = Desk()
    for text in ("one", "two"):
        desk.say(text)
    desk.refuse(1, Code.RATE_LIMITED, retry_ms=60_000)
    desk.outbox.resend_all()
    assert chain(desk.send()) == [(1, 0), (2, 1)]


def test_a_pause_ends_with_what_it_was_for() -> None:
    desk = Desk()
    desk.say("one")
    desk.refuse(1, Code.RATE_LIMITED, retry_ms=60_000)
    desk.outbox.said(1)  # a second copy was stored
    assert desk.outbox.next_deadline() is None
    assert desk.say("two").prev == 1


# --------------------------------------------------------------------------- another instance


def test_a_forgotten_instance_says_again_what_was_refused_and_gives_up_what_is_in_doubt() -> None:
    desk = Desk()
    desk.say("one")
    desk.outbox.resend_all()  # "one" was on its way when the link was lost
    desk.send()
    desk.say("two")
    desk.add("three")
    for request in (1, 2):
        assert desk.refuse(request, Code.FORGOTTEN) == (None, False)
    assert not desk.outbox.is_waiting
    assert desk.send(only_again=True) == []
    doubtful = desk.outbox.new_instance()
    assert [line.text for saying in doubtful for line in saying.lines] == ["one"]
    desk.outbox.resend_all()
    assert chain(desk.send()) == [(2, 0)]
    assert chain(desk.send()) == [(3, 2)]


def test_a_refused_copy_is_no_doubt() -> None:
    desk = Desk()
    desk.say("one")
    desk.refuse(1, Code.RATE_LIMITED)
    desk.wait(RESEND_S)
    desk.refuse(1, Code.FORGOTTEN)
    assert desk.outbox.new_instance() == []


def test_what_is_on_its_way_is_in_doubt() -> None:
    desk = Desk()
    desk.say("one")
    assert desk.outbox.is_waiting
    assert len(desk.outbox.new_instance()) == 1


def test_giving_up_takes_first_what_was_sent() -> None:
    desk = Desk(in_flight_max=1)
    desk.add("one", "two")
    desk.send()
    desk.add("three")
    assert [[line.text for line in saying.lines] for saying in desk.outbox.abandon_sent()] == [["one", "two"]]
    assert len(desk.outbox) == 1
    assert [line.text for line in desk.outbox.abandon_queue()] == ["three"]
    assert len(desk.outbox) == 0
    assert desk.outbox.next_deadline() is None


# --------------------------------------------------------------------------- two names of one room


def test_two_outboxes_of_one_room_become_one_chain() -> None:
    desk, other = Desk(), Desk()
    other.requests, other.refs = desk.requests, desk.refs
    desk.say("one")  # 1
    other.say("two")  # 2
    desk.add("three", once=b"o" * 16)
    other.add("four", once=b"o" * 16)
    desk.outbox.take_over(other.outbox)
    desk.outbox.said(1)
    desk.outbox.said(2)
    assert [(say.request, say.prev, say.lines) for say in desk.send()] == [
        (3, 2, ["three"]),
        (4, 3, ["four"]),
    ]


def test_what_was_surely_refused_under_the_other_name_is_packed_anew() -> None:
    """Its request id is behind what the broker has taken: it would never be."""
    desk, other = Desk(), Desk()
    other.requests, other.refs = desk.requests, desk.refs
    other.say("one")  # 1
    other.refuse(1, Code.RATE_LIMITED)
    desk.say("two")  # 2
    desk.outbox.said(2)
    desk.add("three")
    desk.outbox.take_over(other.outbox)
    assert [(say.request, say.prev, say.lines) for say in desk.send()] == [(3, 2, ["one", "three"])]


# --------------------------------------------------------------------------- against a broker


class Broker:
    """What SPEC.md says of "Exactly once", and no more. Lines with "bad" are refused for good."""

    def __init__(self, window: int) -> None:
        self.stored: list[str] = []
        self.last = 0
        self.answers: OrderedDict[int, None] = OrderedDict()
        self.window = window
        self.allowance = 10**9

    def judge(self, say: Say) -> Refusal | int:
        if say.request in self.answers:
            return say.request
        if say.request <= self.last or say.prev != self.last:
            return Refusal(say.request, Code.OUT_OF_ORDER, "", 0, self.last)
        if any("bad" in line for line in say.lines):
            return Refusal(say.request, Code.BAD_TEXT, "")
        if len(say.lines) > self.allowance:
            return Refusal(say.request, Code.RATE_LIMITED, "", 50)
        self.allowance -= len(say.lines)
        self.stored += say.lines
        self.last = say.request
        self.answers[say.request] = None
        while len(self.answers) > self.window:
            self.answers.popitem(last=False)
        return say.request


WORDS = ("say", "say", "say", "bad", "once", "send", "judge", "judge", "lose_request", "answer", "answer",
         "lose_answer", "cut", "wait", "poor", "rich")  # fmt: skip


@settings(max_examples=300)
@given(window=st.sampled_from([1, 2, 8]), words=st.lists(st.sampled_from(WORDS), max_size=120))
def test_every_line_is_stored_once_in_order_or_known_to_have_failed(window: int, words: list[str]) -> None:
    desk, broker = Desk(in_flight_max=window), Broker(window)
    up: deque[Say] = deque()
    down: deque[Refusal | int] = deque()
    said: list[str] = []
    outcome: dict[str, str] = {}

    def answer(reply: Refusal | int) -> None:
        if isinstance(reply, int):
            saying, how = desk.outbox.said(reply), "stored"
        else:
            saying, unknown = desk.outbox.refused(reply, desk.now)
            how = "unknown" if unknown else "failed"
        for line in saying.lines if saying else ():
            assert line.text not in outcome
            outcome[line.text] = how

    def step(word: str) -> None:
        match word:
            case "say" | "bad" | "once":
                said.append(f"{word} {len(said)}")
                desk.add(said[-1], once=b"o" * 16 if word == "once" else None)
            case "judge" if up:
                down.append(broker.judge(up.popleft()))
            case "lose_request" if up:
                up.popleft()
            case "answer" if down:
                answer(down.popleft())
            case "lose_answer" if down:
                down.popleft()
            case "cut":
                up.clear()
                down.clear()
                desk.outbox.resend_all()
            case "poor":
                broker.allowance = 1
            case "rich":
                broker.allowance = 10**9
            case "wait":
                desk.now += 0.5
        up.extend(desk.send())

    for word in words:
        step(word)
    for word in ["rich"] + ["judge", "answer", "wait"] * 300:
        if not len(desk.outbox):
            break
        step(word)
    assert set(outcome) == set(said)
    assert "unknown" not in outcome.values()
    assert broker.stored == [text for text in said if outcome[text] == "stored"]
    assert len(set(broker.stored)) == len(broker.stored)
