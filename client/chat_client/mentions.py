"""Core: whether a text names somebody."""

from __future__ import annotations

import re
from functools import lru_cache


def mentions(text: str, name: str) -> bool:
    """Whether `name` stands in the text as a word of its own, with or without an @."""
    return _word(name.lower()).search(text) is not None


def mention_spans(text: str, name: str) -> list[tuple[int, int]]:
    """Where it stands there: start and end."""
    return [match.span() for match in _word(name.lower()).finditer(text)]


@lru_cache(maxsize=16)
def _word(name: str) -> re.Pattern[str]:
    """Names hold . _ and -, so `bob` is not named by bob-2 or bob.jones, but it is by `bob.` and `bob's`."""
    escaped = re.escape(name)
    return re.compile(rf"(?<![\w.@-])@?{escaped}(?![\w@]|[.-]\w)", re.IGNORECASE)
