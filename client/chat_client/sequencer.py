"""Core: one room's cursor. Every entry is shown once and in order, or reported as no longer kept.

The feed is a hint and the log is the truth: an entry that is next is shown, an older one dropped, a
later one held while the gap before it is fetched.
"""

from __future__ import annotations

from chat_protocol.messages import Entry

HOLD_ENTRIES_MAX = 2_000


class Sequencer:
    """`cursor` is the newest seq shown, `head` the newest known to exist."""

    def __init__(self, cursor: int, head: int) -> None:
        self.cursor = cursor
        self.head = max(cursor, head)
        self._held: dict[int, Entry] = {}

    @property
    def behind(self) -> int:
        """How many entries exist that were not shown."""
        return self.head - self.cursor

    def saw_head(self, head: int) -> None:
        self.head = max(self.head, head)

    def offer(self, entries: list[Entry]) -> list[Entry]:
        """Entries came by the feed; those to show now."""
        shown: list[Entry] = []
        for entry in entries:
            self.saw_head(entry.seq)
            if entry.seq == self.cursor + 1:
                self._show(entry, shown)
            elif entry.seq > self.cursor and len(self._held) < HOLD_ENTRIES_MAX:
                self._held[entry.seq] = entry
        return shown

    def page(self, first: int, head: int, entries: list[Entry]) -> tuple[tuple[int, int] | None, list[Entry]]:
        """A page of the log came: the range that is no longer kept, if any, and the entries to show.

        `first` is the oldest seq the log still has, so what lies before it is gone for good.
        """
        self.saw_head(head)
        lost = None
        shown: list[Entry] = []
        if first > self.cursor + 1:
            lost = (self.cursor + 1, first - 1)
            self.cursor = first - 1
            self.saw_head(self.cursor)
            self._held = {seq: entry for seq, entry in self._held.items() if seq > self.cursor}
            self._release(shown)
        return lost, shown + self.offer(entries)

    def _show(self, entry: Entry, shown: list[Entry]) -> None:
        """An entry that is next, and whatever was held behind it."""
        shown.append(entry)
        self.cursor = entry.seq
        self._release(shown)

    def _release(self, shown: list[Entry]) -> None:
        while (entry := self._held.pop(self.cursor + 1, None)) is not None:
            shown.append(entry)
            self.cursor = entry.seq
