"""Core: the output of a command as lines in a code fence, as many as the limits ask for; nothing is cut."""

from __future__ import annotations

import re

from chat_protocol.names import clean_text

CONTINUED = "…"  # ends a row that goes on in the next line, and begins its rest there
FENCE_MIN = 3


def pasted(text: str, title: str, *, line_bytes: int, line_rows: int) -> list[str]:
    """The lines to say so that `text` arrives whole: each with a fence of its own and, if there are
    several, with the title and "(2/3)" above it. None if there is neither text nor title."""
    rows = clean_text(text).expandtabs().rstrip().split("\n")
    while rows and not rows[0].strip():
        del rows[0]
    title = " ".join(clean_text(title).split())
    if not rows:
        return [title] if title else []
    fence = "`" * max(FENCE_MIN, _longest_ticks(rows) + 1)
    # The head is reckoned as if there were a million lines, so that their number cannot change their size.
    head_bytes = len(f"{title} (999999/999999)\n".encode())
    room_bytes = line_bytes - head_bytes - len(f"{fence}\n\n{fence}".encode())
    parts = _parts(rows, max(16, room_bytes), max(1, line_rows - 3))
    return [_line(part, fence, _head(title, number, len(parts))) for number, part in enumerate(parts, 1)]


def _head(title: str, number: int, count: int) -> str:
    numbered = f"({number}/{count})" if count > 1 else ""
    return f"{title} {numbered}".strip()


def _line(rows: list[str], fence: str, head: str) -> str:
    return "\n".join([*([head] if head else []), fence, *rows, fence])


def _longest_ticks(rows: list[str]) -> int:
    return max((len(ticks) for row in rows for ticks in re.findall("`+", row)), default=0)


def _parts(rows: list[str], part_bytes: int, part_rows: int) -> list[list[str]]:
    """Rows in groups of at most so many bytes and rows; a row that is too long goes on in the next group."""
    parts: list[list[str]] = [[]]
    used = 0
    for row in rows:
        while True:
            size = len(row.encode()) + 1
            if len(parts[-1]) < part_rows and used + size <= part_bytes:
                parts[-1].append(row)
                used += size
                break
            if not parts[-1]:
                begin, row = _split(row, part_bytes - 1)
                parts[-1].append(begin)
            parts.append([])
            used = 0
    return parts


def _split(row: str, row_bytes: int) -> tuple[str, str]:
    """A row's begin of at most so many bytes, and the rest, both with a sign that they belong together."""
    begin = row.encode()[: row_bytes - len(CONTINUED.encode())].decode("utf-8", "ignore")
    return begin + CONTINUED, CONTINUED + row[len(begin) :]
