"""Pages of rows: days, marks, folds, and what stands above."""

from __future__ import annotations

from datetime import date

from chat_client.pages import ROWS_KEPT_MAX, TRIMMED_AT_ONCE, Item, ItemKind, Older, Page, Pages
from chat_client.rows import Row, RowKind

EPOCH = b"epoch--1"
MONDAY, TUESDAY = date(2024, 11, 18), date(2024, 11, 19)


def line(
    seq: int, sender: str = "alice", *, day: date = MONDAY, epoch: bytes = EPOCH, time: str = "12:00"
) -> Row:
    return Row(
        RowKind.LINE,
        time,
        "#lobby",
        sender,
        f"line {seq}",
        "#d75f00",
        where="#lobby",
        epoch=epoch,
        seq=seq,
        day=day,
    )


def came(*names: str, aside: bool = True) -> Row:
    return Row(
        RowKind.PRESENCE, "12:00", "#lobby", "", "", where="#lobby", day=MONDAY, came=names, aside=aside
    )


def shown(page: Page) -> list[str]:
    """What a page shows, a word for each item; the top only if there is something to say."""
    return [_described(item) for item in page.items if item.kind is not ItemKind.TOP or item.text]


def _described(item: Item) -> str:
    if item.row is not None:
        return item.row.text or f"{' '.join(item.row.came)} came"
    return f"{item.kind.value}: {item.text}"


def page_of(*rows: Row) -> Page:
    page = Page()
    for row in rows:
        page.add(row)
    return page


def test_days_stand_between_rows_of_different_days() -> None:
    page = page_of(line(5), line(6), line(7, day=TUESDAY))
    assert shown(page) == [
        "day: Monday, 18 November 2024", "line 5", "line 6", "day: Tuesday, 19 November 2024", "line 7",
    ]  # fmt: skip


def test_who_says_several_lines_is_named_once() -> None:
    page = page_of(
        line(2), line(3), line(4, time="12:01"), line(5, "bob"), came("eve", aside=False), line(6, "bob")
    )
    items = [item for item in page.items if item.row is not None]
    assert [item.follows for item in items] == [False, True, True, False, False, False]
    assert [item.same_time for item in items] == [False, True, False, False, False, False]


def test_the_mark_stands_above_what_is_new_and_goes_again() -> None:
    page = page_of(line(2), line(3))
    page.mark_new(3)
    assert shown(page)[1:] == ["line 2", "new: new since you looked", "line 3"]
    page.add(line(4))
    assert shown(page)[-1] == "line 4"
    page.mark_new(0)
    assert not page.has_mark()
    page.mark_new(5)
    assert not page.has_mark()
    page.add(line(5))
    assert shown(page)[-2:] == ["new: new since you looked", "line 5"]


def test_comings_and_goings_of_the_silent_are_one_fold() -> None:
    page = page_of(line(2), came("carol"), came("dan"), came("eve"), line(3), came("fay"))
    assert shown(page)[1:] == ["line 2", "fold: carol, dan and 1 more came", "line 3", "fold: fay came"]
    fold = page.items[3]
    page.turn(fold)
    assert shown(page)[2:6] == ["fold: carol, dan and 1 more came", "carol came", "dan came", "eve came"]
    page.turn(page.items[3])
    assert shown(page)[3] == "line 3"


def test_an_open_fold_takes_what_comes() -> None:
    page = page_of(came("carol"))
    page.turn(page.items[2])
    page.add(came("dan"))
    assert shown(page)[1:] == ["fold: carol and dan came", "carol came", "dan came"]


def test_older_rows_are_put_above() -> None:
    page = page_of(line(300), line(301))
    page.put_above([line(seq) for seq in (298, 299, 300)], kept_from=297)
    assert [item.row.seq for item in page.items if item.row] == [298, 299, 300, 301]
    assert (page.first_seq, page.older) == (298, Older.MAYBE)


def test_what_stands_above_the_first_row_is_said() -> None:
    page = page_of(line(31))
    page.put_above([line(30)], kept_from=0)
    assert page.older is Older.GONE
    assert shown(page)[0] == "top: lines 1 to 29 are no longer kept"
    page = page_of(line(3))
    page.put_above([line(1), line(2)], kept_from=0)
    assert page.older is Older.NONE
    assert shown(page)[0] == "top: this is where it begins"
    page = page_of(line(3))
    page.put_above([], kept_from=0)
    assert shown(page)[0] == "top: lines 1 to 2 are no longer kept"
    page.look_for_older(Older.COMING)
    assert shown(page)[0] == "top: fetching older lines…"


def test_the_first_entry_of_another_history_begins_afresh() -> None:
    page = page_of(line(7), line(8), line(1, epoch=b"epoch--2"))
    assert shown(page)[-1:] == ["line 1"]
    assert len(page) == 1


def test_a_page_is_bounded() -> None:
    page = page_of(*(line(seq) for seq in range(2, ROWS_KEPT_MAX + TRIMMED_AT_ONCE + 2)))
    page.trim()
    assert len(page) == ROWS_KEPT_MAX
    assert (page.first_seq, page.older) == (TRIMMED_AT_ONCE + 2, Older.MAYBE)


def test_the_version_tells_of_every_change_but_those_at_the_end() -> None:
    page = page_of(line(5))
    before = page.version
    page.add(line(6))
    assert page.version == before
    page.mark_new(6)
    assert page.version != before


def test_failed_lines_are_taken_out() -> None:
    failed = Row(RowKind.PROBLEM, "12:00", "#lobby", "", "Not sent", where="#lobby", day=MONDAY, ref=7)
    page = page_of(line(5), failed, line(6))
    page.take_out(7)
    assert shown(page)[1:] == ["line 5", "line 6"]


def test_rows_go_to_their_room_or_to_where_one_is() -> None:
    pages = Pages()
    answer = Row(RowKind.ANSWER, "12:00", "", "", "3 rooms", day=MONDAY)
    place = Row(RowKind.PLACE, "12:00", "#ops", "", "You are in #ops now.", where="#ops", day=MONDAY)
    pages.file([line(1), answer, place, Row(RowKind.DAY, "", "", "", "Monday")], "#ops", {"#lobby", "#ops"})
    assert shown(pages["#lobby"])[-1] == "line 1"
    assert shown(pages["#ops"])[1:] == ["3 rooms"]
    pages.keep({"#ops"})
    assert len(pages["#lobby"]) == 0
