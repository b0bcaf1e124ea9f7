"""Core: when a line rings the bell, and when it is worth a notification of the desktop."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time

from chat_client.rows import Row, RowKind
from chat_protocol.errors import CallerError

RING_AGAIN_S = 3.0
TEXT_CHARS_MAX = 200

_QUIET = re.compile(r"(\d\d?)(?::?(\d\d))?\s*(?:-|–|to)\s*(\d\d?)(?::?(\d\d))?")


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours of the day without alerts; they may go past midnight."""

    start: time
    end: time

    def holds(self, at: time) -> bool:
        if self.start <= self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def quiet_hours(text: str) -> Quiet:
    """`22:00-7:30` or `22-7` as quiet hours. Raises CallerError."""
    match = _QUIET.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError
        quiet = Quiet(time(int(match[1]), int(match[2] or 0)), time(int(match[3]), int(match[4] or 0)))
    except ValueError:
        raise CallerError("Quiet hours are two times of the day, such as 22:00-7:30") from None
    if quiet.start == quiet.end:
        raise CallerError("Quiet hours begin and end at different times of the day")
    return quiet


@dataclass(frozen=True, slots=True)
class Alert:
    """What a notification says: plain text, of one row each."""

    title: str
    text: str


class Attention:
    """Decides for each new row whether it alerts. `quiet` and `muted` (room ids) are the person's wishes."""

    def __init__(self, quiet: Quiet | None, muted: set[str]) -> None:
        self.quiet = quiet
        self.muted = muted
        self._rang_at = float("-inf")

    def alert(self, row: Row, *, direct: bool, looking: bool, now: float, at: time) -> Alert | None:
        """The alert for a row, None if it is not worth one. `direct`: in a direct conversation; `looking`:
        the person has it before their eyes; `now` in seconds on any clock, `at` local time of day."""
        if row.kind is not RowKind.LINE or row.replayed or looking or not (row.mention or direct):
            return None
        if row.where in self.muted or (self.quiet is not None and self.quiet.holds(at)):
            return None
        if now < self._rang_at + RING_AGAIN_S:
            return None
        self._rang_at = now
        title = row.sender if direct else f"{row.sender} in {row.room}"
        words = " ".join(row.text.split())
        return Alert(title, words if len(words) <= TEXT_CHARS_MAX else f"{words[:TEXT_CHARS_MAX]}…")
