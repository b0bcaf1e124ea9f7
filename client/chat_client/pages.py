"""Core: the rows of a screen that keeps them, each room's on a page of its own.

A page puts between its rows what only a page can know: days, the mark above what is new, and folds that
hold the comings and goings of people who did not speak lately. Rows come from the transcript alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum

from chat_client import rows as words
from chat_client.rows import Row, RowKind

ROWS_KEPT_MAX = 20_000  # of a page that nobody scrolls back in
ROWS_READ_BACK_MAX = 100_000
TRIMMED_AT_ONCE = 2_000
OLDER_AT_ONCE = 200


class ItemKind(Enum):
    ROW = "row"
    DAY = "day"
    NEW = "new"  # what follows came since one looked
    FOLD = "fold"  # stands for the rows in it, which follow where it is open
    TOP = "top"  # what there is above the first row


class Older(Enum):
    """What is known of the rows above the first."""

    MAYBE = "there may be some"
    COMING = "they are being fetched"
    FAILED = "they could not be fetched"
    GONE = "they are no longer kept"
    FULL = "the page holds no more"
    NONE = "the room begins here"


@dataclass(slots=True, eq=False)
class Item:
    """Something that a page shows. `follows`: said by whoever said the one directly above, and
    `same_time`: in the same minute."""

    kind: ItemKind
    row: Row | None = None
    text: str = ""
    folded: list[Row] = field(default_factory=list)
    is_open: bool = False
    follows: bool = False
    same_time: bool = False
    columns: int = 0  # for the screen: the width that `height` is for, 0 while there is none
    height: int = 0


class Page:
    """One room's rows. `items` is what is shown, top to bottom; `version` changes whenever it changed other
    than by items at its end."""

    def __init__(self) -> None:
        self.items: list[Item] = [Item(ItemKind.TOP)]
        self.version = 0
        self.older = Older.MAYBE
        self.first_seq = 0  # of the entries that stand here, 0 while there is none
        self._rows: list[Item] = []
        self._epoch = b""
        self._day: date | None = None
        self._new_from = 0
        self._new_stands = False
        self._open: set[int] = set()  # folds, by the identity of their first row

    def __len__(self) -> int:
        return len(self._rows)

    # ----------------------------------------------------------------------- rows come and go

    def add(self, row: Row) -> None:
        """A row at the end. The first entry of another epoch begins the page afresh."""
        if row.seq:
            if self._epoch not in (b"", row.epoch):
                self._begin_afresh()
            self._epoch = row.epoch
            if not self.first_seq:
                self.first_seq = row.seq
                self._say_top()
        item = Item(ItemKind.ROW, row)
        self._rows.append(item)
        self._show(item)

    def put_above(self, rows: Sequence[Row], *, kept_from: int) -> None:
        """Older entries, next to the first that stands here; `kept_from` is the seq after which they were
        asked for. None at all means that what is above is no longer kept."""
        found = [row for row in rows if row.seq < self.first_seq]
        self._rows[:0] = [Item(ItemKind.ROW, row) for row in found]
        if found:
            self.first_seq = found[0].seq
        if self.first_seq <= 1:
            self.older = Older.NONE
        elif not found or self.first_seq > kept_from + 1:
            self.older = Older.GONE
        else:
            self.older = Older.FULL if len(self._rows) >= ROWS_READ_BACK_MAX else Older.MAYBE
        self._rebuild()

    def look_for_older(self, older: Older) -> None:
        """Say that older rows are being fetched, or could not be."""
        self.older = older
        self._say_top()

    def take_out(self, ref: int) -> None:
        """The row of a line that failed goes."""
        self._rows = [item for item in self._rows if item.row is None or item.row.ref != ref]
        self._rebuild()

    def trim(self) -> None:
        """Let the oldest rows go if there are too many; they can be fetched again."""
        if len(self._rows) < ROWS_KEPT_MAX + TRIMMED_AT_ONCE:
            return
        del self._rows[:-ROWS_KEPT_MAX]
        self.first_seq = next((item.row.seq for item in self._rows if item.row and item.row.seq), 0)
        self.older = Older.MAYBE
        self._rebuild()

    # ----------------------------------------------------------------------- what stands between them

    def mark_new(self, first: int) -> None:
        """What has this seq or a later one is new; 0 takes the mark away."""
        if first != self._new_from:
            self._new_from = first
            self._rebuild()

    def has_mark(self) -> bool:
        return self._new_stands

    def turn(self, *folds: Item) -> None:
        """Open folds that are closed, and close those that are open."""
        for fold in folds:
            (self._open.discard if fold.is_open else self._open.add)(id(fold.folded[0]))
        self._rebuild()

    def _rebuild(self) -> None:
        self.items = [Item(ItemKind.TOP)]
        self._day, self._new_stands = None, False
        for item in self._rows:
            self._show(item)
        self._say_top()

    def _begin_afresh(self) -> None:
        self._rows.clear()
        self._epoch, self.first_seq, self.older, self._new_from = b"", 0, Older.MAYBE, 0
        self._rebuild()

    def _show(self, item: Item) -> None:
        row = item.row
        assert row is not None, "only rows are shown one by one"
        if row.day is not None and row.day != self._day:
            self._day = row.day
            self.items.append(Item(ItemKind.DAY, text=words.day_title(row.day)))
        if self._new_from and not self._new_stands and row.seq >= self._new_from:
            self._new_stands = True
            self.items.append(Item(ItemKind.NEW, text="new since you looked"))
        if row.aside:
            self._fold(item, row)
            return
        self._follow(item, row)
        self.items.append(item)

    def _fold(self, item: Item, row: Row) -> None:
        above = next((one for one in reversed(self.items) if not _is_aside(one)), None)
        if above is not None and above.kind is ItemKind.FOLD:
            fold = above
            fold.folded.append(row)
            fold.columns = 0
            self.version += 1
        else:
            fold = Item(ItemKind.FOLD, folded=[row], is_open=id(row) in self._open)
            self.items.append(fold)
        fold.text = _fold_text(fold.folded)
        if fold.is_open:
            item.follows = False
            self.items.append(item)

    def _follow(self, item: Item, row: Row) -> None:
        above = self.items[-1].row
        follows = above is not None and row.said and above.said and row.sender == above.sender
        same_time = follows and above is not None and above.time == row.time
        if (follows, same_time) != (item.follows, item.same_time):
            item.follows, item.same_time, item.columns = follows, same_time, 0

    def _say_top(self) -> None:
        text = ""
        if self.older is Older.MAYBE and self.first_seq == 1:
            self.older = Older.NONE
        match self.older:
            case Older.COMING:
                text = "fetching older lines…"
            case Older.FAILED:
                text = "older lines could not be fetched; scroll up to try again"
            case Older.GONE:
                last = self.first_seq - 1
                text = "line 1 is no longer kept" if last == 1 else f"lines 1 to {last} are no longer kept"
            case Older.FULL:
                text = "further back than a screen goes; /history and chat-client tail go on"
            case Older.NONE:
                text = "this is where it begins"
        top = self.items[0]
        if text != top.text:
            top.text, top.columns = text, 0
        self.version += 1


class Pages:
    """The pages of all rooms."""

    def __init__(self) -> None:
        self._pages: dict[str, Page] = {}

    def __getitem__(self, room: str) -> Page:
        return self._pages.setdefault(room, Page())

    def file(self, rows: Iterable[Row], here: str, rooms: Collection[str]) -> None:
        """Put rows where they belong: on their room's page, or on that of the room `here` if they are of
        no room that is followed (`rooms`)."""
        for row in rows:
            if row.kind not in (RowKind.DAY, RowKind.PLACE):
                self[row.where if row.where in rooms else here].add(row)

    def keep(self, rooms: Collection[str]) -> None:
        """Forget the pages of all other rooms."""
        for room in [room for room in self._pages if room and room not in rooms]:
            del self._pages[room]


def _is_aside(item: Item) -> bool:
    return item.row is not None and item.row.aside


def _fold_text(rows: Sequence[Row]) -> str:
    people = list(dict.fromkeys(name for row in rows for name in (*row.came, *row.went)))
    came, went = any(row.came for row in rows), any(row.went for row in rows)
    if not people:
        return "many came and went"
    verb = "came and went" if came and went else "came" if came else "left"
    if len(people) <= 2:
        return f"{' and '.join(people)} {verb}"
    return f"{people[0]}, {people[1]} and {len(people) - 2} more {verb}"
