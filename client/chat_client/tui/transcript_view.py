"""The transcript as a widget: of a page of any length it lays out what is new and draws what is in sight."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Offset, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from chat_client.pages import Item, ItemKind, Page
from chat_client.tui.paint import Drawn, draw, height
from chat_client.tui.themes import name_style

DRAWN_KEPT_MAX = 500
NEAR_THE_TOP_ROWS = 3
ABOVE_THE_MARK_ROWS = 2

_STYLES = (
    "time", "text", "notice", "presence", "fold", "link", "answer", "problem", "address",
    "mention", "pending", "state", "bot", "day", "day-rule", "new", "new-rule", "top", "button",
)  # fmt: skip


class TranscriptView(ScrollView, can_focus=False):
    """Shows one page and below it the lines that are on their way. Stays at the end where it is there, and
    otherwise where it is, whatever comes."""

    COMPONENT_CLASSES = frozenset(f"transcript--{name}" for name in _STYLES)  # type: ignore[assignment]

    class Moved(Message):
        """It was scrolled, or what it shows changed."""

    class Acted(Message):
        """Something in it was clicked: see `paint.Piece.act`."""

        def __init__(self, act: str, item: Item) -> None:
            super().__init__()
            self.act = act
            self.item = item

    def __init__(self, name: str) -> None:
        super().__init__(id="transcript")
        self._me = name
        self._page = Page()
        self._version = -1
        self._columns = 0
        self._items: Sequence[Item] = ()
        self._starts: list[int] = []  # the row at which each item that is laid out begins
        self._rows = 0  # of all these
        self._stays_at_end = True
        self._tail: Sequence[Drawn] = ()
        self._drawn: OrderedDict[tuple[Item, bool], list[Drawn]] = OrderedDict()

    # ------------------------------------------------------------------ what is shown

    def show(self, page: Page, tail: Sequence[Drawn]) -> None:
        """Show this page as it is now, and `tail` below it; another page than before from its mark or end."""
        other = page is not self._page
        at_end = other or self.at_end
        anchor = None if at_end else self._anchor()
        self._page, self._tail = page, tail
        if other:
            self._version = -1
        self._lay_out()
        if other and page.has_mark():
            self._to_mark()
        elif at_end:
            self.to_end()
        elif anchor is not None:
            self._to_anchor(*anchor)
        self.refresh()
        self.post_message(self.Moved())

    def shows(self, page: Page) -> bool:
        return page is self._page

    @property
    def at_end(self) -> bool:
        """Whether it stays at the end, whatever comes and however the terminal is resized."""
        return self._stays_at_end

    @property
    def near_top(self) -> bool:
        return self.scroll_offset.y <= NEAR_THE_TOP_ROWS

    @property
    def columns(self) -> int:
        """The width that rows have."""
        return max(10, self.scrollable_content_region.width - 1)

    def to_end(self) -> None:
        self.scroll_to(y=self._end, animate=False)
        self._stays_at_end = True

    def to_last(self, count: int) -> None:
        """So many lines from the end; if there are not so many yet, to the top, where older ones come."""
        items = zip(self._items, self._starts, strict=False)
        starts = [start for item, start in items if item.kind is ItemKind.ROW]
        self.scroll_to(y=min(self._end, starts[-count]) if count <= len(starts) else 0, animate=False)

    @property
    def _end(self) -> int:
        return max(0, self._rows + len(self._tail) - self.scrollable_content_region.height)

    def _to_mark(self) -> None:
        for item, start in zip(self._items, self._starts, strict=False):
            if item.kind is ItemKind.NEW:
                y = min(self._end, max(0, start - ABOVE_THE_MARK_ROWS))
                self.scroll_to(y=y, animate=False)
                self._stays_at_end = y >= self._end - 1
                return

    # ------------------------------------------------------------------ laying out

    def _lay_out(self) -> None:
        """Find where each item begins; only items that are new are measured."""
        columns, items = self.columns, self._page.items
        self._items = items  # a page that is made anew meanwhile has another list
        if self._page.version != self._version or columns != self._columns:
            self._starts.clear()
            self._rows = 0
            self._drawn.clear()
            self._version, self._columns = self._page.version, columns
        for item in items[len(self._starts) :]:
            if item.columns != columns:
                item.height, item.columns = height(item, columns), columns
            self._starts.append(self._rows)
            self._rows += item.height
        self.virtual_size = Size(columns, self._rows + len(self._tail))

    def _anchor(self) -> tuple[Item, int] | None:
        """The first row item in sight, and how far from the top it stands."""
        top = self.scroll_offset.y
        for index in range(max(0, bisect_right(self._starts, top) - 1), len(self._starts)):
            item = self._items[index]
            if item.kind is ItemKind.ROW:
                return item, self._starts[index] - top
        return None

    def _to_anchor(self, item: Item, distance: int) -> None:
        if item in self._items:
            start = self._starts[self._items.index(item)]
            self.scroll_to(y=max(0, start - distance), animate=False)

    def on_resize(self, _: events.Resize) -> None:
        if self.columns != self._columns:
            self.show(self._page, self._tail)
        elif self.at_end:
            self.to_end()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._stays_at_end = self.scroll_offset.y >= self._end - 1
        self.post_message(self.Moved())

    # ------------------------------------------------------------------ drawing

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        line = self.scroll_offset.y + y - max(0, self.size.height - self._rows - len(self._tail))
        drawn = self._line(line, topmost=y == 0) if line >= 0 else []
        segments = [Segment(piece.text, base + self._style(piece.style, piece.act)) for piece in drawn]
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(line)) is not None:
            segments = _selected(segments, *span, self.screen.get_component_rich_style("screen--selection"))
        return Strip(segments).adjust_cell_length(self.size.width, base).apply_offsets(0, line)

    def _line(self, line: int, *, topmost: bool = False) -> Drawn:
        if line >= self._rows:
            below = line - self._rows
            return self._tail[below] if below < len(self._tail) else []
        index = bisect_right(self._starts, line) - 1
        item = self._items[index]
        rows = self._draw(item, whole=topmost and line == self._starts[index])
        row = line - self._starts[index]
        return rows[row] if row < len(rows) else []

    def _draw(self, item: Item, whole: bool) -> list[Drawn]:
        key = (item, whole)
        drawn = self._drawn.pop(key, None)
        if drawn is None:
            drawn = draw(item, self._columns, self._me, whole=whole)
        self._drawn[key] = drawn
        while len(self._drawn) > DRAWN_KEPT_MAX:
            self._drawn.popitem(last=False)
        return drawn

    def _style(self, name: str, act: str) -> Style:
        if name.startswith("#"):
            style = name_style(name, self.app.current_theme.dark)
        elif name:
            style = self.get_component_rich_style(f"transcript--{name}", partial=True)
        else:
            style = Style.null()
        if act:
            style += Style.from_meta({"act": act})
            if act.startswith("link "):
                style += Style(link=act.removeprefix("link "))
        return style

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.refresh()

    # ------------------------------------------------------------------ the mouse

    def on_click(self, event: events.Click) -> None:
        act = event.style.meta.get("act")
        if act and not self.text_selection:
            line = event.style.meta.get("offset", (0, 0))[1]
            index = bisect_right(self._starts, line) - 1
            if 0 <= index < len(self._starts):
                self.post_message(self.Acted(act, self._items[index]))

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """What is selected, as it stands there."""
        last = self._rows + len(self._tail) - 1
        first = max(0, selection.start.y) if selection.start else 0
        end = min(last, selection.end.y) if selection.end else last
        lines = ["".join(piece.text for piece in self._line(line)).rstrip() for line in range(first, end + 1)]
        start = Offset(selection.start.x, 0) if selection.start else None
        stop = Offset(selection.end.x, selection.end.y - first) if selection.end else None
        return Selection(start, stop).extract("\n".join(lines)), "\n"


def _selected(segments: list[Segment], start: int, end: int, style: Style) -> list[Segment]:
    """The segments with the characters from `start` to `end` (-1: all that follow) marked as selected."""
    shown: list[Segment] = []
    at = 0
    for text, own, _ in segments:
        last = at + len(text)
        one = min(max(start, at), last) - at
        two = (len(text) if end == -1 else min(max(end, at), last) - at) if last > start else one
        for part, marked in ((text[:one], False), (text[one:two], True), (text[two:], False)):
            if part:
                shown.append(Segment(part, (own or Style.null()) + style if marked else own))
        at = last
    return shown
