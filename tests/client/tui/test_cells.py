"""Text as cells: widths, wrapping, addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from chat_client.tui.cells import calm, cut, links, pad, pad_left, wrap


def rows(text: str, columns: int) -> list[str]:
    return [text[start:end] for start, end in wrap(text, columns)]


@pytest.mark.parametrize(
    ("text", "wrapped"),
    [
        ("short", ["short"]),
        ("", [""]),
        ("one two three", ["one two", "three"]),
        ("one\n\ntwo", ["one", "", "two"]),
        ("    kept indent", ["    kept", "indent"]),
        ("abcdefghijklmno", ["abcdefghij", "klmno"]),
        ("xy abcdefghijklmno z", ["xy", "abcdefghij", "klmno z"]),
        ("漢字かな交じり文", ["漢字かな交", "じり文"]),
        ("trailing           ", ["trailing"]),
    ],
)
def test_wrapping(text: str, wrapped: list[str]) -> None:
    assert rows(text, 10) == wrapped


@given(st.text(alphabet="ab é漢\n👍🏽🇩🇪\u0301-", max_size=80), st.integers(2, 30))
def test_no_row_is_too_wide_and_nothing_but_blanks_is_lost(text: str, columns: int) -> None:
    parts = rows(text, columns)
    assert all(cell_len(part) <= columns for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "calmed"),
    [
        ("plain", "plain"),
        ("👨\u200d👩\u200d👧", "👨👩👧"),
        ("❤\ufe0f", "❤"),
        ("z" + "\u0301" * 9, "z" + "\u0301" * 4),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क\u094d\u200dष", "क\u094d\u200dष"),
    ],
)
def test_what_terminals_disagree_about_is_calmed(text: str, calmed: str) -> None:
    assert calm(text) == calmed


@pytest.mark.parametrize("text", ["", "a", "abcdefgh", "漢字かな交じり文", "ab漢字"])
@pytest.mark.parametrize("columns", [0, 1, 2, 5, 20])
def test_padding_gives_just_that_width(text: str, columns: int) -> None:
    assert cell_len(pad(text, columns)) == cell_len(pad_left(text, columns)) == columns
    assert cell_len(cut(text, columns)) <= columns


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see https://a.example/x?y=1#z.", ["https://a.example/x?y=1#z"]),
        ("(http://a.example/b_(c)), and", ["http://a.example/b_(c)"]),
        ("<https://a.example>!", ["https://a.example"]),
        ("javascript://x file:///etc ftp://x", []),
        ("https:// alone", []),
        ("two: https://a.b https://c.d", ["https://a.b", "https://c.d"]),
        ("homograph https://аpple.example", []),
    ],
)
def test_addresses_are_found_without_what_follows_them(text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in links(text)] == found
