"""The cores of composing: what was typed before, and ways to complete a word."""

from __future__ import annotations

from chat_client.tui.composer import HISTORY_MAX, Completing, History


def test_going_back_and_forth() -> None:
    past = History()
    assert past.back("draft") is None
    assert past.forth() is None
    past.add("one")
    past.add("two")
    past.add("two")
    assert [past.back("draft"), past.back("two"), past.back("one")] == ["two", "one", None]
    assert [past.forth(), past.forth(), past.forth()] == ["two", "draft", None]


def test_the_past_is_bounded() -> None:
    past = History()
    for number in range(HISTORY_MAX + 10):
        past.add(str(number))
    assert len(past.typed) == HISTORY_MAX
    assert past.back("") == str(HISTORY_MAX + 9)


def test_ways_to_complete_come_one_after_the_other() -> None:
    completing = Completing("hi ", ["alan ", "alice "])
    assert [completing.turn(1) for _ in range(3)] == ["hi alan ", "hi alice ", "hi alan "]
    assert completing.turn(-1) == "hi alice "
    assert Completing("", ["a", "b"]).turn(-1) == "b"
