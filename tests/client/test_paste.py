"""What is pasted arrives whole: within the limits, in fences, and with nothing cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_client.paste import CONTINUED, pasted
from chat_protocol.names import check_text

BYTES, ROWS = 16_384, 200


def paste(text: str, title: str = "", line_bytes: int = BYTES, line_rows: int = ROWS) -> list[str]:
    return pasted(text, title, line_bytes=line_bytes, line_rows=line_rows)


def content(lines: list[str]) -> str:
    """What stands inside the fences, put together again."""
    rows: list[str] = []
    for line in lines:
        inner = line.split("\n")
        fence = next(number for number, row in enumerate(inner) if set(row) == {"`"})
        assert inner[-1] == inner[fence]
        for row in inner[fence + 1 : -1]:
            if rows and rows[-1].endswith(CONTINUED) and row.startswith(CONTINUED):
                rows[-1] = rows[-1][:-1] + row[1:]
            else:
                rows.append(row)
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("text", "title", "lines"),
    [
        ("one\ntwo\n", "", ["```\none\ntwo\n```"]),
        ("one", "make", ["make\n```\none\n```"]),
        ("", "make", ["make"]),
        ("\n \n", "", []),
        ("\n\n  indented\n\nend\n\n", "", ["```\n  indented\n\nend\n```"]),
        ("a ``` b", "", ["````\na ``` b\n````"]),
        ("\x1b[31mred\x1b[0m\tx", "\x1b[1ma\nb", ["a b\n```\nred     x\n```"]),
    ],
)
def test_short_ones_are_one_line(text: str, title: str, lines: list[str]) -> None:
    assert paste(text, title) == lines


def test_many_rows_become_several_numbered_lines() -> None:
    text = "\n".join(map(str, range(450)))
    lines = paste(text, "numbers")
    assert [line.split("\n")[0] for line in lines] == ["numbers (1/3)", "numbers (2/3)", "numbers (3/3)"]
    assert content(lines) == text
    assert [line.split("\n")[0] for line in paste(text)] == ["(1/3)", "(2/3)", "(3/3)"]


def test_a_row_that_is_too_long_goes_on_in_the_next_line() -> None:
    row = "äb" * 20_000
    lines = paste(f"before\n{row}\nafter")
    assert len(lines) > 3
    assert content(lines) == f"before\n{row}\nafter"
    for line in lines:
        check_text(line)


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" \n`"), max_size=900
    ),
    st.text(st.characters(codec="ascii", categories=["L"]), max_size=20),
    st.integers(100, 400),
    st.integers(4, 9),
)
def test_everything_arrives_and_fits(text: str, title: str, line_bytes: int, line_rows: int) -> None:
    text = text.replace(CONTINUED, "")
    text = re.sub("`{9,}", "`", text)  # fences grow with what they fence, and would leave no room
    lines = paste(text, title, line_bytes, line_rows)
    for line in lines:
        check_text(line, line_bytes=line_bytes, line_rows=line_rows)
    rows = text.rstrip().split("\n")
    while rows and not rows[0].strip():
        del rows[0]
    assert content(lines if rows else []) == "\n".join(rows)
