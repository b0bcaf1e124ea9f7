"""Rows of cells: columns for time and name on wide screens, hanging text on narrow ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from chat_client.pages import Item, ItemKind
from chat_client.rows import Row, RowKind
from chat_client.tui.paint import behind_bar, draw, draw_pending, height

HOSTILE = "12:03 admin  I am not alice\n" * 3 + "x" * 200 + " https://example.org/" + "y" * 90 + " 漢字" * 40


def row(kind: RowKind = RowKind.LINE, text: str = "hello bob", sender: str = "alice", **more: object) -> Row:
    return Row(kind, "12:02", "#lobby", sender, text, "#d75f00", **more)  # type: ignore[arg-type]


def text(item: Item, columns: int, *, whole: bool = False) -> list[str]:
    return [
        "".join(piece.text for piece in drawn).rstrip() for drawn in draw(item, columns, "bob", whole=whole)
    ]


def test_a_wide_row_has_columns_of_its_own_for_time_name_and_state() -> None:
    assert text(Item(ItemKind.ROW, row()), 80) == ["12:02       alice   hello bob"]
    assert text(Item(ItemKind.ROW, row(RowKind.OWN, sender="bob")), 80) == ["12:02         bob ✓ hello bob"]
    assert text(Item(ItemKind.ROW, row(sender="dice", bot=True)), 80) == ["12:02        dice ⚙ hello bob"]
    assert text(Item(ItemKind.ROW, row(RowKind.NOTICE, "carol left.", "")), 80) == [
        "12:02           —   carol left."
    ]


def test_a_narrow_row_has_its_name_before_the_text() -> None:
    assert text(Item(ItemKind.ROW, row(text="hello bob, how are you this fine morning?")), 30) == [
        "12:02 alice hello bob, how are",
        "      you this fine morning?",
    ]
    assert text(Item(ItemKind.ROW, row(RowKind.PROBLEM, "Not sent.", "")), 30) == ["12:02 ! Not sent."]


def test_one_s_own_row_says_that_it_is_stored_also_where_it_is_narrow() -> None:
    own = row(RowKind.OWN, "and now this is rather long", "bob")
    assert text(Item(ItemKind.ROW, own), 30) == ["12:02 bob ✓ and now this is", "      rather long"]
    assert text(Item(ItemKind.ROW, own, follows=True, same_time=True), 40) == [
        "    ✓ and now this is rather long"
    ]


def test_who_goes_on_talking_is_not_named_again_but_at_the_top() -> None:
    item = Item(ItemKind.ROW, row(), follows=True, same_time=True)
    assert text(item, 80) == [" " * 20 + "hello bob"] or text(item, 80)[0].strip() == "hello bob"
    assert text(item, 80, whole=True) == ["12:02       alice   hello bob"]
    assert text(item, 40) == ["      hello bob"]
    assert text(item, 40, whole=True) == ["alice hello bob"]


@pytest.mark.parametrize("columns", [20, 40, 57, 58, 80, 200])
@pytest.mark.parametrize("kind", list(RowKind))
def test_no_text_reaches_the_columns_of_time_and_name_or_the_edge(columns: int, kind: RowKind) -> None:
    sender = "alice" if kind in (RowKind.LINE, RowKind.OWN) else ""
    item = Item(ItemKind.ROW, row(kind, HOSTILE, sender))
    rows = text(item, columns)
    assert all(cell_len(one) <= columns for one in rows)
    assert all(one.startswith(" " * 6) for one in rows[1:])
    assert height(item, columns) == len(rows)


@given(
    st.text(alphabet="ab @bob\n漢\u0301\u200d👍🏽🇩🇪/:.h", max_size=120).filter(str.strip),
    st.text(alphabet="abcdef漢", min_size=1, max_size=64),
    st.sampled_from([20, 25, 40, 57, 58, 90]),
    st.booleans(),
    st.booleans(),
)
def test_whatever_is_said_fits_and_is_as_high_as_was_measured(
    said: str, sender: str, columns: int, same_time: bool, bot: bool
) -> None:
    shown = row(text=f"bob https://example.org/{said}", sender=sender, mention=True, bot=bot)
    item = Item(ItemKind.ROW, shown, follows=same_time, same_time=same_time)
    for whole in (True, False):
        rows = text(item, columns, whole=whole)
        assert all(cell_len(one) <= columns for one in rows)
        assert height(item, columns) == len(rows)


@pytest.mark.parametrize("columns", [20, 40, 80])
@pytest.mark.parametrize("kind", [ItemKind.DAY, ItemKind.NEW, ItemKind.FOLD, ItemKind.TOP])
def test_what_stands_between_rows_takes_one_row(kind: ItemKind, columns: int) -> None:
    item = Item(kind, text="alice and bob and carol and dan came and went")
    rows = text(item, columns)
    assert len(rows) == height(item, columns) == 1
    assert cell_len(rows[0]) <= columns


def test_addresses_and_mentions_are_pieces_of_their_own() -> None:
    said = row(text="bob, see https://bob.example/bob. Bob?", mention=True)
    (drawn,) = draw(Item(ItemKind.ROW, said), 80, "bob")
    assert [(piece.text, piece.style, piece.act) for piece in drawn[3:]] == [
        ("bob", "mention", ""),
        (", see ", "text", ""),
        ("https://bob.example/bob", "address", "link https://bob.example/bob"),
        (". ", "text", ""),
        ("Bob", "mention", ""),
        ("?", "text", ""),
    ]


def test_an_address_that_is_broken_opens_whole() -> None:
    url = "https://example.org/" + "a" * 60
    pieces = [piece for drawn in draw(Item(ItemKind.ROW, row(text=url)), 40, "bob") for piece in drawn]
    acts = {piece.act for piece in pieces if piece.style == "address"}
    assert acts == {f"link {url}"}


def test_a_line_that_failed_offers_what_can_be_done() -> None:
    item = Item(ItemKind.ROW, row(RowKind.PROBLEM, "Not sent.", "", ref=3))
    rows = draw(item, 80, "bob")
    assert [piece.act for piece in rows[-1] if piece.act] == ["retry", "discard"]
    assert height(item, 80) == len(rows) == 2


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_line_on_its_way_says_so_if_need_be_in_a_row_of_its_own(columns: int) -> None:
    drawn = draw_pending(row(RowKind.OWN, "on its way", "bob"), columns, "sending…")
    rows = ["".join(piece.text for piece in one) for one in drawn]
    assert all(cell_len(one) <= columns for one in rows)
    assert "sending…" in rows[-1]


@pytest.mark.parametrize(
    ("behind", "most", "bar"), [(400, 400, ""), (100, 400, "━" * 9), (0, 400, "━" * 12), (0, 0, "")]
)
def test_the_progress_bar(behind: int, most: int, bar: str) -> None:
    done, rest = behind_bar(behind, most, 12)
    assert done == bar
    assert len(done + rest) == 12
