"""How far `send` is, on a person's terminal, once thousands of lines go out."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable
from typing import TextIO

SHOWN_FROM = 1_000  # lines said; fewer are gone before anybody has read a number
REDRAW_S = 0.1
BAR_CHARS = 24


class Progress:
    """One row that is drawn over and over. `share` says how much of the input was read, if anybody knows.

    `clear` it before anything else is written there; it comes back by itself.
    """

    def __init__(
        self,
        out: TextIO,
        share: Callable[[], float | None],
        clock: Callable[[], float] = time.monotonic,
        columns: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
    ) -> None:
        self._out = out
        self._share = share
        self._columns = columns
        self._clock = clock
        self._begun = clock()
        self._drawn_at = self._begun
        self._is_drawn = False
        self._was_drawn = False

    def moved(self, said: int, stored: int) -> None:
        """So many lines were said, and so many of them are stored."""
        now = self._clock()
        if said < SHOWN_FROM or now < self._drawn_at + REDRAW_S:
            return
        self._drawn_at = now
        self._is_drawn = self._was_drawn = True
        self._out.write(f"\r\x1b[K{in_words(said, stored, self._share(), self._columns() - 1)}")
        self._out.flush()

    def clear(self) -> None:
        if self._is_drawn:
            self._is_drawn = False
            self._out.write("\r\x1b[K")
            self._out.flush()

    def end(self, stored: int) -> None:
        """Take the row away; leave a last word if there ever was one, or would have been on a slower link."""
        self.clear()
        if self._was_drawn or stored >= SHOWN_FROM:
            self._out.write(f"{stored:,} lines stored in {self._clock() - self._begun:.1f} s\n")
            self._out.flush()


def in_words(said: int, stored: int, share_read: float | None, columns: int) -> str:
    """The row, of so many columns at most: a bar where the size of the input is known, and numbers."""
    numbers = f"{stored:,} lines stored, {said - stored:,} on their way"
    if share_read is None:
        return numbers[:columns]
    share = min(1.0, share_read * stored / max(1, said))
    filled = int(share * BAR_CHARS)
    bar = f"[{'#' * filled}{'-' * (BAR_CHARS - filled)}] {share:4.0%}"
    row = f"{bar}  {numbers}"
    return row if len(row) <= columns else bar[:columns]


def share_of_file(fd: int) -> Callable[[], float | None]:
    """How much of a file was read from `fd`, from 0 to 1; None for a pipe or a terminal."""
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        return lambda: None
    begin = os.lseek(fd, 0, os.SEEK_CUR)
    size = max(1, info.st_size - begin)
    return lambda: (os.lseek(fd, 0, os.SEEK_CUR) - begin) / size
