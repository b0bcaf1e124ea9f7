"""Core: what of one room was not looked at yet."""

from __future__ import annotations

from collections import deque

UNREAD_COUNTED_MAX = 1_000


class Unread:
    """Lines of one room that others said and this account has not looked at. `read` is the newest seq
    that it has, on this device or another, 0 if that is not known; `mentions` of the lines name it."""

    def __init__(self) -> None:
        self.read = 0
        self.mentions = 0
        self._lines: deque[tuple[int, bool]] = deque()  # seq, whether it mentions

    def __len__(self) -> int:
        """At most UNREAD_COUNTED_MAX; that many means as many or more."""
        return len(self._lines)

    @property
    def first(self) -> int:
        """The seq from which on lines are new, 0 if none is."""
        if not self._lines:
            return 0
        return self.read + 1 if self.read else self._lines[0][0]

    def add(self, seq: int, *, mention: bool) -> None:
        if seq <= self.read:
            return
        if len(self._lines) == UNREAD_COUNTED_MAX:
            self._drop_first()
        self._lines.append((seq, mention))
        self.mentions += mention

    def read_to(self, seq: int) -> bool:
        """Everything up to `seq` was looked at; whether that is news."""
        if seq <= self.read:
            return False
        self.read = seq
        while self._lines and self._lines[0][0] <= seq:
            self._drop_first()
        return True

    def begin_afresh(self) -> None:
        """The room's history is another one."""
        self.read = self.mentions = 0
        self._lines.clear()

    def _drop_first(self) -> None:
        self.mentions -= self._lines.popleft()[1]
