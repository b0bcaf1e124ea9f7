"""Rows as a terminal has them: colours, and breaks where the terminal's width wants them."""

from __future__ import annotations

import re

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth

from chat_client.rows import INDENT, Row, RowKind

WRAP_COLUMNS_MIN = 24

_ADDRESS = re.compile(r"[a-z]+://[!-~]+")
_JOINER = "\u200d"  # makes one emoji of several

# Greys and colours that read on black as well as on white; PALETTE is chosen alike.
STYLE = Style.from_dict(
    {
        "time": "#767676",
        "room": "bold",
        "own": "bold underline",
        "notice": "#767676",
        "presence": "#767676",
        "day": "#767676",
        "place": "#767676",
        "link": "#d75f00",
        "problem": "#d70000",
        "pending": "italic #767676",
        "status": "#d75f00",
        "here": "bold",
    }
)


def styled(row: Row, columns: int) -> StyleAndTextTuples:
    """A row, its newline included, laid out for a terminal of that width."""
    if row.kind is RowKind.DAY:
        return [("class:day", f"----- {row.text}\n")]
    head = [
        ("class:time", row.time),
        ("class:room", row.room if row.elsewhere else ""),
        (_mark(row), row.mark),
    ]
    shown: StyleAndTextTuples = []
    for style, text in head:
        if text:
            shown += [(style, text), ("", " ")]
    start = sum(get_cwidth(text) for _, text, *_ in shown)
    said = row.said or row.kind is RowKind.ANSWER
    return [*shown, ("" if said else _mark(row), wrap(row.text, columns, start) + "\n")]


def _mark(row: Row) -> str:
    if row.kind is RowKind.LINE:
        return f"bold {row.style}"
    return f"class:{row.kind}"


def wrap(text: str, columns: int, start: int) -> str:
    """Text whose first row begins at column `start`, broken so that whatever follows stands indented.

    The terminal's own wrapping would begin at the left edge, where a padded text could pass for another
    row. A web address stays whole, for the terminal to wrap and a person to click.
    """
    if columns < WRAP_COLUMNS_MIN:
        return text.replace("\n", f"\n{INDENT}")
    rows = text.split("\n")
    first = _wrap_row(rows[0], columns, start)
    return f"\n{INDENT}".join([first, *(_wrap_row(row, columns, len(INDENT)) for row in rows[1:])])


def _wrap_row(text: str, columns: int, start: int) -> str:
    out, column = "", start
    for word in re.findall(r"\s+|\S+", text):
        width = get_cwidth(word)
        if column + width < columns:
            out += word
            column += width
        elif word.isspace():
            column = columns  # the next word begins a row
        elif width < columns - len(INDENT):
            out = f"{out.rstrip()}\n{INDENT}{word}"
            column = len(INDENT) + width
        elif _ADDRESS.fullmatch(word):
            out = f"{out.rstrip()}\n{INDENT}{word}"
            column = columns
        else:
            broken, column = _break_word(word, columns, column)
            out += broken
    return out


def _break_word(word: str, columns: int, column: int) -> tuple[str, int]:
    """A word wider than a row, such as text in a script without blanks, broken between characters."""
    out, before = "", ""
    for character in word:
        width = get_cwidth(character)
        if width and column + width >= columns and before != _JOINER:
            out += f"\n{INDENT}"
            column = len(INDENT)
        out += character
        column += width
        before = character
    return out, column


def cut(text: str, columns: int) -> str:
    """The first row of a text, shortened to fit."""
    first, _, more = text.partition("\n")
    first += " …" if more else ""
    if get_cwidth(first) < columns:
        return first
    kept, column = "", 0
    for character in first:
        column += get_cwidth(character)
        if column >= columns - 1:
            break
        kept += character
    return f"{kept}…"
