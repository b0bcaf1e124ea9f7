"""Read markers: coalesced on the way out, told once on the way in."""

from __future__ import annotations

import pytest

from chat_client.events import ReadMarker
from chat_client.markers import MARK_AGAIN_S, MARK_EVERY_S
from chat_protocol.errors import Code
from chat_protocol.messages import LOBBY, Bye, Close, Done, Mark, Marked, Message, Open, Opened, Refusal
from tests.client.other_side import OtherSide


def live(**opened: object) -> tuple[OtherSide, Opened]:
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.join()
    reply = other.opened(other.sent_one(Open), **opened)
    other.say(reply)
    return other, reply


def told(other: OtherSide) -> list[int]:
    return [marker.seq for marker in other.saw(ReadMarker)]


def marked(other: OtherSide) -> list[int]:
    return [mark.seq for mark in other.sent(Mark)]


# --------------------------------------------------------------------------- told


@pytest.mark.parametrize(("read", "expected"), [(0, []), (3, [3])])
def test_the_marker_comes_after_the_room(read: int, expected: list[int]) -> None:
    other, _ = live(head=5, read=read)
    assert told(other) == expected


def test_nothing_is_told_of_a_room_that_is_not_open_yet() -> None:
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.join()
    other.say(Marked(0, LOBBY, 4))
    assert told(other) == []
    other.say(other.opened(other.sent_one(Open), head=5, read=4))
    assert told(other) == [4]


def test_another_device_moves_it_and_never_back() -> None:
    other, _ = live(head=5, read=3)
    other.say(Marked(0, LOBBY, 4), Marked(0, LOBBY, 2), Marked(0, LOBBY, 4), Marked(0, "#other", 9))
    assert told(other) == [3, 4]


def test_what_was_read_elsewhere_during_an_outage_is_told() -> None:
    other, _ = live(head=5, read=3)
    other.rejoin()
    other.say(other.opened(other.sent_one(Open), head=5, read=3))
    assert told(other) == [3]
    other.rejoin()
    other.say(other.opened(other.sent_one(Open), head=5, read=5))
    assert told(other) == [5]


def test_what_answers_an_open_of_before_the_last_hello_tells_nothing() -> None:
    other, before = live(head=5)
    other.rejoin()
    asked = other.sent_one(Open)
    other.say(other.opened(before.request, head=5, read=4, topic=b"o" * 16))
    assert told(other) == []
    other.say(other.opened(asked, head=5, read=4))
    assert told(other) == [4]


def test_what_was_read_here_is_not_told_again() -> None:
    other, _ = live(head=5)
    other.session.mark_read(LOBBY, 5)
    other.say(Done(other.sent_one(Mark).request))
    other.rejoin()
    other.say(other.opened(other.sent_one(Open), head=5, read=5))
    assert told(other) == []


def test_another_history_has_other_markers() -> None:
    other, _ = live(head=5, read=5)
    other.session.mark_read(LOBBY, 5)
    other.epoch = b"epoch--2"
    other.rejoin()
    other.join_again()
    refused = other.sent(Open)[-1]
    other.say(Refusal(refused.request, Code.EPOCH_CHANGED, "restored"))
    other.say(other.opened(other.sent_one(Open), head=2, read=1))
    assert told(other) == [5, 1]
    other.wait(10)
    assert marked(other) == []


# --------------------------------------------------------------------------- told of


def test_what_was_read_goes_out_once_and_about_once_a_second() -> None:
    other, _ = live(head=50)
    for seq in range(1, 51):
        other.session.mark_read(LOBBY, seq)
        if seq in (1, 50):
            continue
        other.pump()
    first = other.sent(Mark)
    assert [mark.seq for mark in first] == [2]
    other.say(Done(first[0].request))
    other.wait(MARK_EVERY_S / 2)
    assert marked(other) == []
    other.wait(MARK_EVERY_S / 2)
    assert marked(other) == [50]


def test_nothing_goes_out_that_the_broker_knows() -> None:
    other, _ = live(head=5, read=4)
    other.session.mark_read(LOBBY, 4)
    other.session.mark_read("#elsewhere", 4)
    other.wait(2)
    assert marked(other) == []


def test_an_answer_that_does_not_come_is_asked_for_again() -> None:
    other, _ = live(head=5)
    other.session.mark_read(LOBBY, 5)
    assert marked(other) == [5]
    other.session._ping_at = None  # a broker that answers nothing is given up before
    other.wait(MARK_AGAIN_S - 0.1)
    assert marked(other) == []
    other.wait(0.2)
    assert marked(other) == [5]


def test_a_late_answer_counts_for_what_it_was_asked() -> None:
    other, _ = live(head=9)
    other.session.mark_read(LOBBY, 5)
    first = other.sent_one(Mark)
    other.session._ping_at = None
    other.session.mark_read(LOBBY, 9)
    other.wait(MARK_AGAIN_S)
    second = other.sent_one(Mark)
    other.say(Done(first.request))
    other.wait(MARK_AGAIN_S)
    assert (second.seq, marked(other)) == (9, [9])


def test_after_a_reconnection_it_goes_out_again() -> None:
    other, _ = live(head=5)
    other.session.mark_read(LOBBY, 5)
    assert marked(other) == [5]
    other.rejoin()
    other.say(other.opened(other.sent_one(Open), head=5))
    other.wait(MARK_EVERY_S)
    assert marked(other) == [5]


@pytest.mark.parametrize(
    ("code", "again"),
    [
        (Code.STORAGE_FULL, [5]),
        (Code.BUSY, [5]),
        (Code.RATE_LIMITED, [5]),
        (Code.NO_SUCH_ROOM, []),
    ],
)
def test_a_refusal_is_final_or_not(code: Code, again: list[int]) -> None:
    other, _ = live(head=5)
    other.session.mark_read(LOBBY, 5)
    other.say(Refusal(other.sent_one(Mark).request, code, "no", 2_000))
    other.wait(1.9)
    assert marked(other) == []
    other.wait(0.2)
    assert marked(other) == again


@pytest.mark.parametrize("then", [Close, Bye])
def test_before_a_room_or_the_session_is_closed_it_goes_out_at_once(then: type[Message]) -> None:
    other, _ = live(head=5)
    other.session.mark_read(LOBBY, 4)
    other.say(Done(other.sent_one(Mark).request))
    other.session.mark_read(LOBBY, 5)
    if then is Close:
        other.session.close_room(LOBBY)
    else:
        other.session.close()
    sent = other.sent(Message)
    assert [type(one) for one in sent if isinstance(one, Mark | then)] == [Mark, then]
