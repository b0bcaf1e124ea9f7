"""Core: what a page shows, as rows of cells.

On a wide screen time, name and a sign for the line's state stand in columns of their own, and nothing that
others send can reach those; on a narrow one the name stands before the text. A piece of a row names its
style; the widget knows what that looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from chat_client.events import Link
from chat_client.mentions import mention_spans
from chat_client.pages import Item, ItemKind
from chat_client.rows import Row, RowKind, body, color, plural
from chat_client.transcript import Pending, PendingState
from chat_client.tui.cells import calm, cut, links, pad, pad_left, wrap

WIDE_COLUMNS_MIN = 58
NAME_COLUMNS_MAX = 12
NAME_COLUMNS_MIN = 8
TIME_COLUMNS = 5
INDENT_COLUMNS = 6
OWN_COLUMNS = 2  # a blank and whether it is stored
STATE_COLUMNS = 3  # the sign of a line's state, and a blank on either side
BOT = " ⚙"
STORED = "stored"
PENDING_SHOWN_MAX = 8

_SIGNS = {
    RowKind.NOTICE: "—",
    RowKind.PRESENCE: "—",
    RowKind.LINK: "⇄",
    RowKind.ANSWER: "›",
    RowKind.PROBLEM: "!",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Some cells of a row. `style` is the name of a style or of a colour ("#rrggbb", a person's name);
    `act` says what clicking on it does: `link URL`, `fold`, `retry`, `discard`, `name NAME`."""

    text: str
    style: str = ""
    act: str = ""


Drawn = list[Piece]


def name_columns(columns: int) -> int:
    """The width of the names' column, 0 on a narrow screen."""
    if columns < WIDE_COLUMNS_MIN:
        return 0
    return min(NAME_COLUMNS_MAX, max(NAME_COLUMNS_MIN, columns // 7))


def height(item: Item, columns: int) -> int:
    """How many rows an item takes."""
    if item.row is None:
        return 1 if item.text else 0
    start, hanging = _text_columns(item, columns)
    text = item.row.text
    if "\n" not in text and text.isascii() and len(text) <= columns - start:
        rows = 1
    else:
        rows = len(_wrap(calm(text), columns, start, hanging))
    return rows + (1 if item.row.ref else 0)


def draw(item: Item, columns: int, name: str, *, whole: bool = False) -> list[Drawn]:
    """The rows of an item for the account `name`; `whole`: with time and name also where they are those of
    the item above."""
    match item.kind:
        case ItemKind.DAY:
            return [_rule(item.text, columns, "day")]
        case ItemKind.NEW:
            return [_rule(item.text, columns, "new")]
        case ItemKind.FOLD:
            sign = "▾" if item.is_open else "▸"
            start = name_columns(columns) + TIME_COLUMNS + 2 if name_columns(columns) else 4
            text = cut(f" {item.text}", columns - start - 1)
            return [[Piece(" " * start), Piece(sign, "fold", "fold"), Piece(text, "presence", "fold")]]
        case ItemKind.TOP:
            return [[Piece(f"{cut(item.text, columns):^{columns}}".rstrip(), "top")]] if item.text else []
    assert item.row is not None, "an item is a row or one of those above"
    return _draw_row(item, item.row, columns, name, whole)


def draw_pending(row: Row, columns: int, state: str) -> list[Drawn]:
    """A line that is not shown yet; `state` is a word for that."""
    item = Item(ItemKind.ROW, row)
    text = calm(row.text)
    start, hanging = _text_columns(item, columns)
    shown: list[Drawn] = []
    sign = "✓" if state == STORED else "◌"
    for number, (one, end) in enumerate(_wrap(text, columns, start, hanging)):
        head = [Piece(" " * hanging)] if number else _head(item, row, columns, True, sign)
        shown.append([*head, Piece(text[one:end], "pending")])
    room = columns - _columns(shown[-1])
    if room > len(state) + 2:
        shown[-1].append(Piece(f"  {state}", "state"))
    else:
        shown.append([Piece(" " * hanging), Piece(cut(state, columns - hanging), "state")])
    return shown


def draw_under_way(
    pending: Sequence[Pending], waiting: Sequence[str], name: str, link: Link, columns: int
) -> list[Drawn]:
    """Lines that are said and not shown yet, and what was typed and is not done; the newest few."""
    under_way: list[tuple[str, str]] = [(line.text, _state(line, link)) for line in pending]
    under_way += [(body(typed), "waiting…") for typed in waiting]
    hidden = max(0, len(under_way) - PENDING_SHOWN_MAX)
    drawn: list[Drawn] = [[Piece(f"… and {hidden} before these", "pending")]] if hidden else []
    for text, state in under_way[hidden:]:
        row = Row(RowKind.OWN, "", "", name, text, color(name))
        drawn += draw_pending(row, columns, state)
    return drawn


def _state(line: Pending, link: Link) -> str:
    if line.state is PendingState.STORED:
        return STORED
    return "sending…" if link is Link.LIVE else "not sent yet"


def _columns(drawn: Drawn) -> int:
    return sum(cell_len(piece.text) for piece in drawn)


def _rule(text: str, columns: int, style: str) -> Drawn:
    words = f" {cut(text, columns - 4)} "
    left = (columns - cell_len(words)) // 2
    right = columns - cell_len(words) - left
    return [Piece("─" * left, f"{style}-rule"), Piece(words, style), Piece("─" * right, f"{style}-rule")]


def _text_columns(item: Item, columns: int) -> tuple[int, int]:
    """Where the first row of an item's text begins, and the others."""
    names = name_columns(columns)
    if names:
        start = TIME_COLUMNS + 1 + names + STATE_COLUMNS
        return start, start
    row = item.row
    assert row is not None, "asked only of rows"
    if row.said and item.same_time:
        return INDENT_COLUMNS, INDENT_COLUMNS
    if row.said:
        label = min(cell_len(row.sender), columns // 3)
        sign = (len(BOT) if row.bot else 0) + (OWN_COLUMNS if row.kind is RowKind.OWN else 0)
        return INDENT_COLUMNS + label + sign + 1, INDENT_COLUMNS
    return INDENT_COLUMNS + 2, INDENT_COLUMNS + 2


def _wrap(text: str, columns: int, start: int, hanging: int) -> list[tuple[int, int]]:
    """As `wrap`, where the first row is narrower than the others by what stands before it."""
    if start == hanging:
        return wrap(text, columns - start)
    first = wrap(text, columns - start)[0]
    rest = first[1]
    while rest < len(text) and text[rest] == " ":
        rest += 1
    if rest >= len(text):
        return [first]
    rest += text[rest] == "\n"
    return [first, *((rest + one, rest + end) for one, end in wrap(text[rest:], columns - hanging))]


def _draw_row(item: Item, row: Row, columns: int, name: str, whole: bool) -> list[Drawn]:
    text = calm(row.text)
    start, hanging = _text_columns(item, columns)
    marked = _marked(text, row, name)
    drawn = []
    for number, (one, end) in enumerate(_wrap(text, columns, start, hanging)):
        head = _head(item, row, columns, whole, "✓") if not number else [Piece(" " * hanging)]
        drawn.append([*head, *_pieces(text, one, end, marked, _text_style(row))])
    if row.ref:
        again, give_up = (
            Piece(" say it again ", "button", "retry"),
            Piece(" give it up ", "button", "discard"),
        )
        drawn.append([Piece(" " * hanging), again, Piece("  "), give_up])
    return drawn


def _head(item: Item, row: Row, columns: int, whole: bool, state: str) -> Drawn:
    """What stands before the first row of the text."""
    names = name_columns(columns)
    hidden = item.follows and not whole
    time = Piece(f"{row.time:{TIME_COLUMNS}} ", "mention" if row.mention else "time")
    if item.same_time and not whole:
        time = Piece(" " * INDENT_COLUMNS)
    if not names:
        if not row.said:
            return [time, Piece(f"{_SIGNS.get(row.kind, ' ')} ", _text_style(row))]
        if item.same_time and not whole:
            own = row.kind is RowKind.OWN
            return [Piece(f"{state:>{INDENT_COLUMNS - 1}} ", "state")] if own else [time]
        if item.same_time:  # the text begins where it did, so there is room for one of the two
            name = pad(row.sender, INDENT_COLUMNS - 1)
            return [Piece(name, row.style, f"name {row.sender}"), Piece(" ")]
        label = cut(row.sender, columns // 3)
        signs = [Piece(BOT, "bot")] if row.bot else []
        signs += [Piece(f" {state}", "state")] if row.kind is RowKind.OWN else []
        return [time, Piece(label, row.style, f"name {row.sender}"), *signs, Piece(" ")]
    sign = Piece(f" {state if row.kind is RowKind.OWN else '⚙' if row.bot else ' '} ", "state")
    if not row.said:
        return [time, Piece(pad_left(_SIGNS.get(row.kind, ""), names), _text_style(row)), Piece("   ")]
    if hidden:
        return [time, Piece(" " * names), sign]
    return [time, Piece(pad_left(row.sender, names), row.style, f"name {row.sender}"), sign]


def _text_style(row: Row) -> str:
    if row.kind in (RowKind.LINE, RowKind.OWN):
        return "text"
    return str(row.kind)


def _marked(text: str, row: Row, name: str) -> Sequence[tuple[int, int, str]]:
    """The parts of a text with a style of their own: start, end and style, in order and apart."""
    if not row.said and row.kind is not RowKind.ANSWER:
        return ()
    found = [(start, end, "address") for start, end in links(text)] if "://" in text else []
    if row.mention:
        for start, end in mention_spans(text, name):
            if not any(one < end and start < last for one, last, _ in found):
                found.append((start, end, "mention"))
    return sorted(found)


def _pieces(text: str, start: int, end: int, marked: Sequence[tuple[int, int, str]], style: str) -> Drawn:
    pieces: Drawn = []
    at = start
    for one, last, kind in marked:
        if last <= at or one >= end:
            continue
        if one > at:
            pieces.append(Piece(text[at:one], style))
        act = f"link {text[one:last]}" if kind == "address" else ""
        pieces.append(Piece(text[max(one, at) : min(last, end)], kind, act))
        at = min(last, end)
    if at < end:
        pieces.append(Piece(text[at:end], style))
    return pieces


def behind_bar(behind: int, most: int, columns: int) -> tuple[str, str]:
    """A progress bar in two parts: what is caught up, and what is not."""
    done = columns * (most - behind) // most if most else 0
    return "━" * done, "━" * (columns - done)


def new_below(count: int) -> str:
    return f"↓ {plural(count, 'new line', 'new lines')} below"
