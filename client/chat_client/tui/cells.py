"""Core: text as cells of a terminal: how it wraps, and what in it is an address."""

from __future__ import annotations

import re

from rich.cells import cell_len, split_graphemes

MARKS_ON_A_LETTER_MAX = 4

# Terminals disagree about the width of joined emoji and of those that a selector widens, and everything to
# their right would shift: they are shown one by one, and narrow.
_JOINERS = re.compile("(?<=[\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d|\ufe0f")
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_TOO_MANY_MARKS = re.compile(f"({_MARK}{{{MARKS_ON_A_LETTER_MAX}}}){_MARK}+")
_WORDS = re.compile(r"\s+|\S+")
_LINK = re.compile(r"https?://[!-~]+")
_PAIRS = {")": "(", "]": "[", "}": "{", ">": "<"}


def calm(text: str) -> str:
    """Text whose width every terminal agrees on, or nearly."""
    if text.isascii():
        return text
    return _TOO_MANY_MARKS.sub(r"\1", _JOINERS.sub("", text))


def wrap(text: str, columns: int) -> list[tuple[int, int]]:
    """The rows that a text takes, each as the start and end of a part of it. Breaks are at blanks, which
    then belong to no row, and within words that are wider than a row."""
    rows: list[tuple[int, int]] = []
    start = 0
    for line in text.split("\n"):
        if cell_len(line) <= columns:
            rows.append((start, start + len(line)))
        else:
            rows += [(start + one, start + end) for one, end in _wrap_line(line, max(columns, 2))]
        start += len(line) + 1
    return rows


def _wrap_line(line: str, columns: int) -> list[tuple[int, int]]:
    rows: list[tuple[int, int]] = []
    begin = end = column = 0
    for match in _WORDS.finditer(line):
        word, width = match[0], cell_len(match[0])
        if column + width <= columns:
            column += width
        elif word.isspace():
            column = columns + 1  # the next word begins a row, also one of no width
            continue
        else:
            if end > begin:
                rows.append((begin, end))
            begin, column = match.start(), width
            if width > columns:
                parts = _break_word(word, columns)
                rows += [(match.start() + one, match.start() + last) for one, last in parts[:-1]]
                begin = match.start() + parts[-1][0]
                column = cell_len(word[parts[-1][0] :])
        if not word.isspace():
            end = match.end()
    rows.append((begin, max(begin, end)))
    return rows


def _break_word(word: str, columns: int) -> list[tuple[int, int]]:
    """A word wider than a row, such as an address or a text without blanks."""
    parts: list[tuple[int, int]] = []
    begin = column = 0
    for start, _, width in split_graphemes(word)[0]:
        if column + width > columns:
            parts.append((begin, start))
            begin, column = start, 0
        column += width
    return [*parts, (begin, len(word))]


def cut(text: str, columns: int) -> str:
    """A text of one row, shortened to fit."""
    if cell_len(text) <= columns:
        return text
    kept, column = "", 1
    for start, end, width in split_graphemes(text)[0]:
        column += width
        if column > columns:
            break
        kept += text[start:end]
    return f"{kept}…" if columns > 0 else ""


def pad(text: str, columns: int) -> str:
    """A text of one row, shortened or filled up with blanks to just that width."""
    shown = cut(text, columns)
    return shown + " " * (columns - cell_len(shown))


def pad_left(text: str, columns: int) -> str:
    shown = cut(text, columns)
    return " " * (columns - cell_len(shown)) + shown


def links(text: str) -> list[tuple[int, int]]:
    """Where web addresses stand, without the full stop or the bracket that follows them in a sentence."""
    found = []
    for match in _LINK.finditer(text):
        link = match[0]
        while link[-1] in ".,;:!?'\"" or (
            link[-1] in _PAIRS and link.count(link[-1]) > link.count(_PAIRS[link[-1]])
        ):
            link = link[:-1]
        if len(link) > len("https://"):
            found.append((match.start(), match.start() + len(link)))
    return found
