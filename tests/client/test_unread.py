"""What was not looked at yet."""

from __future__ import annotations

from chat_client.unread import UNREAD_COUNTED_MAX, Unread


def test_lines_are_unread_until_they_are_looked_at() -> None:
    unread = Unread()
    unread.add(7, mention=False)
    unread.add(9, mention=True)
    assert (len(unread), unread.mentions, unread.first) == (2, 1, 7)
    assert unread.read_to(8)
    assert (len(unread), unread.mentions, unread.first) == (1, 1, 9)
    assert unread.read_to(9)
    assert (len(unread), unread.mentions, unread.first) == (0, 0, 0)


def test_what_was_read_elsewhere_never_counts() -> None:
    unread = Unread()
    assert unread.read_to(20)
    unread.add(20, mention=True)
    assert len(unread) == 0
    unread.add(25, mention=False)
    assert unread.first == 21


def test_reading_never_goes_back() -> None:
    unread = Unread()
    assert unread.read_to(5)
    assert not unread.read_to(5)
    assert not unread.read_to(3)
    assert unread.read == 5


def test_counting_is_bounded() -> None:
    unread = Unread()
    for seq in range(1, 3 * UNREAD_COUNTED_MAX):
        unread.add(seq, mention=seq == 1)
    assert (len(unread), unread.mentions) == (UNREAD_COUNTED_MAX, 0)


def test_another_history_begins_afresh() -> None:
    unread = Unread()
    unread.read_to(100)
    unread.add(101, mention=True)
    unread.begin_afresh()
    assert (len(unread), unread.mentions, unread.read) == (0, 0, 0)
