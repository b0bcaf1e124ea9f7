"""Core: what people write for a moment in the past, and where a log stood then."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d{1,6}[smhdw])+")
_CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d)?")


@dataclass(frozen=True)
class Ago:
    """So many seconds before now, whatever the clock of this machine says."""

    seconds: int


def parse_moment(text: str, now: datetime) -> Ago | datetime:
    """A duration (90s, 1h30m, 7d), a time of day (the latest 9:00), today, yesterday, a date, or a date
    and a time as in ISO 8601. `now` is the local time, without a zone; what names no zone is local, too.

    Raises ValueError with a sentence.
    """
    word = text.strip().lower()
    if _DURATION.fullmatch(word):
        return Ago(sum(int(part[:-1]) * UNITS_S[part[-1]] for part in re.findall(r"\d+[smhdw]", word)))
    if word in ("today", "yesterday"):
        return _midnight(now - timedelta(days=word == "yesterday"))
    try:
        if _CLOCK.fullmatch(word):
            clock = time.fromisoformat(word if word[1].isdigit() else f"0{word}")
            moment = datetime.combine(now.date(), clock)
            return moment if moment <= now else moment - timedelta(days=1)
        moment = datetime.fromisoformat(text.strip())
        moment.timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no moment: write 2h, 1h30m, 9:00, yesterday, 2026-03-31 or 2026-03-31T18:00"
        ) from None
    return moment


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


async def seq_before(
    first_after: Callable[[int], Awaitable[tuple[int, int] | None]], head: int, at: int
) -> int:
    """The seq of the last entry before the time `at` (ms); 0 if there is none.

    `first_after(seq)` is seq and time of the first entry that is kept after `seq`, None if there is none
    up to `head`. It is asked as often as it takes to halve the log down to one entry, not once an entry.
    """
    low, high = 0, head  # the entry looked for is in low..high
    while low < high:
        middle = (low + high) // 2
        entry = await first_after(middle)
        if entry is None or entry[1] >= at:
            high = middle
        else:
            low = entry[0]
    return low
