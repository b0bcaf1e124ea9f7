"""Every entry is shown once and in order, or reported as no longer kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chat_client.sequencer import HOLD_ENTRIES_MAX, Sequencer
from chat_protocol.messages import Entry
from tests.client.other_side import entries, entry


def seqs(shown: list[Entry]) -> list[int]:
    return [one.seq for one in shown]


def test_the_next_is_shown_and_the_older_dropped() -> None:
    sequencer = Sequencer(cursor=4, head=4)
    assert seqs(sequencer.offer(entries(3, 6))) == [5, 6]
    assert seqs(sequencer.offer(entries(5, 6))) == []
    assert (sequencer.cursor, sequencer.behind) == (6, 0)


def test_what_lies_behind_a_gap_is_held_until_it_is_closed() -> None:
    sequencer = Sequencer(cursor=0, head=0)
    assert sequencer.offer(entries(3, 4)) == []
    assert sequencer.behind == 4
    assert sequencer.offer([entry(2)]) == []
    assert seqs(sequencer.offer([entry(1)])) == [1, 2, 3, 4]


def test_a_head_that_is_heard_of_counts_as_behind() -> None:
    sequencer = Sequencer(cursor=2, head=2)
    sequencer.saw_head(9)
    sequencer.saw_head(5)
    assert sequencer.behind == 7


def test_a_page_shows_what_is_held_behind_it() -> None:
    sequencer = Sequencer(cursor=0, head=0)
    sequencer.offer(entries(3, 4))
    lost, shown = sequencer.page(1, 4, entries(1, 2))
    assert (lost, seqs(shown)) == (None, [1, 2, 3, 4])


def test_what_is_no_longer_kept_is_reported_once() -> None:
    sequencer = Sequencer(cursor=2, head=9)
    lost, shown = sequencer.page(6, 9, entries(6, 7))
    assert (lost, seqs(shown)) == ((3, 5), [6, 7])
    lost, shown = sequencer.page(6, 9, entries(8, 9))
    assert (lost, seqs(shown), sequencer.behind) == (None, [8, 9], 0)


def test_nothing_is_kept_at_all() -> None:
    sequencer = Sequencer(cursor=2, head=9)
    lost, shown = sequencer.page(10, 9, [])
    assert (lost, shown, sequencer.behind) == ((3, 9), [], 0)


def test_what_was_held_goes_on_where_the_kept_ones_begin() -> None:
    sequencer = Sequencer(cursor=2, head=2)
    sequencer.offer(entries(5, 7))
    lost, shown = sequencer.page(6, 8, [entry(6)])
    assert (lost, seqs(shown)) == ((3, 5), [6, 7])
    assert seqs(sequencer.offer([entry(8)])) == [8]


def test_no_more_is_held_than_the_bound() -> None:
    sequencer = Sequencer(cursor=0, head=0)
    sequencer.offer(entries(2, HOLD_ENTRIES_MAX + 100))
    assert len(seqs(sequencer.offer([entry(1)]))) == HOLD_ENTRIES_MAX + 1
    assert sequencer.behind == 99  # to be fetched


def test_what_was_shown_takes_no_room_among_the_held() -> None:
    """Pages may bring what is held as well: over and over, a gap and a page that closes it."""
    sequencer = Sequencer(cursor=0, head=0)
    for base in range(0, 4 * HOLD_ENTRIES_MAX, 10):
        sequencer.offer(entries(base + 6, base + 10))
        sequencer.page(1, base + 10, entries(base + 1, base + 10))
    sequencer.offer(entries(sequencer.cursor + 2, sequencer.cursor + 1 + HOLD_ENTRIES_MAX))
    assert len(sequencer.offer([entry(sequencer.cursor + 1)])) == HOLD_ENTRIES_MAX + 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publication"), st.integers(1, 40), st.integers(1, 12)),
        st.tuples(st.just("page"), st.integers(1, 12), st.integers(0, 3)),
        st.tuples(st.just("grow"), st.integers(1, 10), st.just(0)),
        st.tuples(st.just("trim"), st.integers(1, 40), st.just(0)),
        st.tuples(st.just("head"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@given(start=st.integers(0, 5), steps=STEPS)
def test_whatever_comes_every_entry_is_shown_once_or_reported(
    start: int, steps: list[tuple[str, int, int]]
) -> None:
    """A room grows and is trimmed; publications come late, twice or not at all; pages now and then."""
    head, first = 5, 1
    sequencer = Sequencer(cursor=start, head=start)
    told: list[int] = []

    def fetch(limit: int) -> None:
        after = max(sequencer.cursor, first - 1)
        page = entries(after + 1, min(head, after + limit))
        lost, shown = sequencer.page(first, head, page)
        told.extend(range(lost[0], lost[1] + 1) if lost else ())
        assert not lost or lost[1] < first
        told.extend(seqs(shown))

    for what, size, count in steps:
        match what:
            case "grow":
                head += size
            case "trim":
                first = max(first, min(size, head + 1))
            case "head":
                sequencer.saw_head(head)
            case "publication":
                told += seqs(sequencer.offer(entries(min(size, head), min(head, size + count))))
            case "page":
                fetch(size)
        assert told == list(range(start + 1, sequencer.cursor + 1))
    sequencer.saw_head(head)
    while sequencer.behind:
        fetch(500)
    assert told == list(range(start + 1, head + 1))
