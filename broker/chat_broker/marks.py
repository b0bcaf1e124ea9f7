"""Core: read markers. How far each account has read each room; state that is kept, not entries.

A marker only moves on, and never past what is stored, so a late or repeated Mark changes nothing. One
row an account and room: the log keeps the newest, and what reads it often is kept here as well.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from chat_broker.log import Log, MarkKey

MARKS_CACHED_MAX = 50_000


@dataclass(slots=True)
class _Cached:
    stored: int
    moved: int  # with all that waits for the log


@dataclass(slots=True)
class Marks:
    """Markers in use. Those whose newest move is stored may be forgotten here: the log has them."""

    log: Log
    cached_max: int = MARKS_CACHED_MAX
    _cache: OrderedDict[MarkKey, _Cached] = field(default_factory=OrderedDict)

    def stored(self, key: MarkKey) -> int:
        """How far the account has read, as it is stored; 0 if it never said. Raises StorageError."""
        return self._at(key).stored

    def move(self, key: MarkKey, seq: int) -> bool:
        """Whether this moves the marker on; if so the caller has it stored. Raises StorageError."""
        cached = self._at(key)
        if seq <= cached.moved:
            return False
        cached.moved = seq
        return True

    def settle(self, moves: Mapping[MarkKey, int]) -> None:
        """These moves are stored now."""
        for key, seq in moves.items():
            self._at(key).stored = seq
        self._let_go()

    def forget(self) -> None:
        """Nothing on its way was stored: begin again from the log."""
        self._cache.clear()

    def _at(self, key: MarkKey) -> _Cached:
        cached = self._cache.get(key)
        if cached is None:
            seq = self.log.mark(key)
            cached = self._cache[key] = _Cached(seq, seq)
            self._let_go()
        self._cache.move_to_end(key)
        return cached

    def _let_go(self) -> None:
        """Of the markers not used for longest, as far as the log has them."""
        while len(self._cache) > self.cached_max:
            key, cached = next(iter(self._cache.items()))
            if cached.moved > cached.stored:
                return
            del self._cache[key]
