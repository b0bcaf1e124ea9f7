"""Rows as a terminal has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.formatted_text import fragment_list_to_text
from prompt_toolkit.utils import get_cwidth

from chat_client.layout import WRAP_COLUMNS_MIN, cut, styled, wrap
from chat_client.rows import INDENT, Row, RowKind


@pytest.mark.parametrize(
    ("text", "columns", "wrapped"),
    [
        ("short", 30, "short"),
        ("one two three four five", 30, "one two three\n      four five"),
        ("one\ntwo", 30, "one\n      two"),
        ("a" * 30, 30, "a" * 17 + "\n      " + "a" * 13),
        ("你好世界你好世界你好世界", 30, "你好世界你好世界\n      你好世界"),
        ("hi" + " " * 60 + "12:03 carol: I quit", 30, "hi\n      12:03 carol: I quit"),
        ("see https://example.org/" + "a" * 40, 30, "see\n      https://example.org/" + "a" * 40),
        ("one two three", WRAP_COLUMNS_MIN - 1, "one two three"),
        ("one\ntwo", 5, "one\n      two"),
    ],
)
def test_what_does_not_fit_goes_on_indented(text: str, columns: int, wrapped: str) -> None:
    assert wrap(text, columns, start=12) == wrapped


letters = st.text(st.sampled_from("ab  \u00e9你👍\u200d\n"), max_size=200)


@given(letters, st.integers(WRAP_COLUMNS_MIN, 90), st.integers(8, 40))
def test_no_row_reaches_the_edge_or_the_left_margin(text: str, columns: int, start: int) -> None:
    first, *rest = wrap(text, columns, min(start, columns - 6)).split("\n")
    assert get_cwidth(first.split("\u200d")[0]) + min(start, columns - 6) <= columns
    assert all(row.startswith(INDENT) for row in rest)
    assert "".join(text.split()) == "".join("".join([first, *rest]).split()), "letters were lost"


def test_a_joined_emoji_is_not_torn() -> None:
    family = "👩\u200d👩\u200d👧"
    assert wrap("x" * 15 + family * 3, 30, start=12).count(family) == 3


@pytest.mark.parametrize(
    ("text", "short"),
    [("short", "short"), ("one\ntwo", "one …"), ("a" * 30, "a" * 8 + "…"), ("你好世界你好", "你好世界…")],
)
def test_a_text_is_cut_to_one_row(text: str, short: str) -> None:
    assert cut(text, 10) == short
    assert get_cwidth(cut(text, 10)) < 10


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (Row(RowKind.LINE, "12:02", "#lobby", "alice", "hi", "#d75f00"), "12:02 alice: hi\n"),
        (Row(RowKind.LINE, "12:02", "#ops", "alice", "hi", "#d75f00", True), "12:02 #ops alice: hi\n"),
        (Row(RowKind.DAY, "", "", "", "Thursday"), "----- Thursday\n"),
        (Row(RowKind.PROBLEM, "12:02", "", "", "No."), "12:02 !! No.\n"),
    ],
)
def test_the_room_is_named_only_when_it_is_another(row: Row, text: str) -> None:
    assert fragment_list_to_text(styled(row, 80)) == text


@pytest.mark.parametrize("kind", [kind for kind in RowKind if kind is not RowKind.LINE])
def test_every_kind_of_row_has_a_style(kind: RowKind) -> None:
    from chat_client.layout import STYLE

    names = {name for name, _ in STYLE.style_rules}
    assert kind is RowKind.ANSWER or kind.value in names
