"""Core: places found by a part of their name."""

from __future__ import annotations

from collections.abc import Iterable

FOUND_MAX = 50


def find(titles: Iterable[str], part: str) -> list[str]:
    """The titles (#ops, @bob) that `part` may mean, the best first: those that begin with it, then those
    that hold it, then those that hold its letters in that order; among equals the order given."""
    wanted = part.strip().lower()
    sign = wanted[:1] if wanted[:1] in ("#", "@") else ""
    letters = wanted.removeprefix(sign)
    ranked = [
        (rank, number, title)
        for number, title in enumerate(titles)
        if title.startswith(sign) and (rank := _rank(title.lstrip("#@").lower(), letters)) is not None
    ]
    return [title for _, _, title in sorted(ranked)][:FOUND_MAX]


def _rank(name: str, letters: str) -> int | None:
    if name == letters:
        return 0
    if name.startswith(letters):
        return 1
    if letters in name:
        return 2
    rest = iter(name)
    return 3 if all(letter in rest for letter in letters) else None
