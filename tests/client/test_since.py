"""Moments as people write them, and finding them in a log."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_client.since import Ago, parse_moment, seq_before

NOW = datetime(2026, 3, 31, 14, 30, 15)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", Ago(90)),
        ("2h", Ago(7_200)),
        ("1h30m", Ago(5_400)),
        ("7D", Ago(604_800)),
        ("1w", Ago(604_800)),
        ("9:00", datetime(2026, 3, 31, 9)),
        ("09:05:07", datetime(2026, 3, 31, 9, 5, 7)),
        ("14:30", datetime(2026, 3, 31, 14, 30)),
        ("14:31", datetime(2026, 3, 30, 14, 31)),
        ("today", datetime(2026, 3, 31)),
        ("Yesterday", datetime(2026, 3, 30)),
        ("2026-03-01", datetime(2026, 3, 1)),
        ("2026-03-01 18:00", datetime(2026, 3, 1, 18)),
        ("2026-03-01T18:00", datetime(2026, 3, 1, 18)),
        ("2026-03-01T18:00Z", datetime(2026, 3, 1, 18, tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: Ago | datetime) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "tuesday", "2x", "h", "25:00", "9:60", "2026-13-01", "-2h", "2 h", "1:2:3:4"]
)
def test_what_is_no_moment_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no moment: write 2h"):
        parse_moment(text, NOW)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9)), max_size=60), st.integers(-1, 400))
def test_the_last_entry_before_is_found_without_reading_all(steps: list[tuple[int, int]], at: int) -> None:
    """Entries with gaps (not kept any more) and times that stand still or go on."""
    log: list[tuple[int, int]] = []
    seq = time = 0
    for more_seq, more_time in steps:
        seq, time = seq + more_seq, time + more_time
        log.append((seq, time))
    asked: list[int] = []

    async def first_after(after: int) -> tuple[int, int] | None:
        asked.append(after)
        return next((entry for entry in log if entry[0] > after), None)

    found = asyncio.run(seq_before(first_after, seq, at))
    assert [entry for entry in log if entry[0] > found] == [entry for entry in log if entry[1] >= at]
    assert len(asked) <= seq.bit_length() + 1
