"""Time as the cores see it: passed in, never read."""

from __future__ import annotations

from typing import NamedTuple


class Now(NamedTuple):
    """`clock`: monotonic seconds, for deadlines. `wall`: ms since 1970 UTC, for what people read."""

    clock: float
    wall: int
