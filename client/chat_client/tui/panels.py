"""What stands around the transcript: rooms, members, the title, what is wrong with the link, hints.

Everything is made of `Content`, which holds text as text: nothing that others send is read as markup.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from chat_client.events import Link
from chat_client.transcript import Place
from chat_client.tui.cells import calm, cut, pad, wrap
from chat_client.tui.paint import behind_bar
from chat_client.unread import UNREAD_COUNTED_MAX
from chat_protocol.messages import RoomKind

PANEL_COLUMNS = 22
MEMBERS_SHOWN_MAX = 500
AWAY_SHOWN_MAX = 30
BAR_COLUMNS = 24
HINT_ROWS_MAX = 4


class Panel(OptionList):
    """A list at the side; its options are not made anew while they are what they were."""

    ALLOW_SELECT = False

    def __init__(self, identity: str) -> None:
        super().__init__(id=identity, classes="panel", markup=False)
        self._shown: object = None

    def put(self, what: object, options: Sequence[Option], highlighted: int | None) -> None:
        """Show these options unless they say what is shown already (`what` is that)."""
        if what == self._shown:
            return
        self._shown = what
        at = self.highlighted if self.has_focus else highlighted
        top = self.scroll_offset.y
        self.set_options(options)
        self.highlighted = at if at is None or at < len(options) else highlighted
        if self.has_focus:
            self.scroll_to(y=top, animate=False)


class RoomsPanel(Panel):
    """The rooms and direct conversations that are followed; each option's id is a room's."""

    def __init__(self) -> None:
        super().__init__("rooms")

    def show(self, places: Sequence[Place], here: str, muted: set[str]) -> None:
        options: list[Option] = []
        highlighted = None
        rooms = [place for place in places if place.kind is not RoomKind.DIRECT]
        people = [place for place in places if place.kind is RoomKind.DIRECT]
        columns = (self.size.width or PANEL_COLUMNS) - 2
        for heading, group in (("Rooms", rooms), ("Direct", people)):
            if group:
                if options:
                    options.append(Option(Content(""), disabled=True))
                options.append(Option(Content(heading), disabled=True))
            for place in group:
                if place.room == here:
                    highlighted = len(options)
                options.append(Option(_entry(place, columns, place.room in muted), id=place.room))
        what = [(p.room, p.unread, p.mentions, p.other_here, p.room in muted) for p in places], here, columns
        self.put(what, options, highlighted)


def _entry(place: Place, columns: int, muted: bool) -> Content:
    count = unread(place)
    sign = {RoomKind.PUBLIC: "", RoomKind.PRIVATE: "", RoomKind.DIRECT: "● " if place.other_here else "○ "}[
        place.kind
    ]
    name = place.title.removeprefix("@") if place.kind is RoomKind.DIRECT else place.title
    room = columns - cell_len(count) - cell_len(sign) - (2 if muted else 0) - 1
    mark = Content.styled(sign, "$success" if place.other_here else "$muted")
    label = Content.styled(pad(name, room), "bold $foreground" if place.unread and not muted else "")
    badge = Content.styled(count, "bold $accent" if place.mentions else "bold $primary")
    return Content.assemble(mark, label, Content.styled(" z" if muted else "", "$muted"), " ", badge)


def unread(place: Place) -> str:
    """The unread lines of a room as one sees them at the side: `12`, `@12` where all of them name one,
    `@2/12` where two do."""
    if not place.unread:
        return ""
    count = f"{UNREAD_COUNTED_MAX - 1}+" if place.unread >= UNREAD_COUNTED_MAX else str(place.unread)
    if not place.mentions or place.kind is RoomKind.DIRECT:
        return count
    return f"@{count}" if place.mentions == place.unread else f"@{place.mentions}/{count}"


class MembersPanel(Panel):
    """Who is in the room, and who spoke there and is away; each option's id is a name."""

    def __init__(self) -> None:
        super().__init__("members")

    def show(self, place: Place | None, name: str) -> None:
        if place is None:
            self.put(None, [], None)
            return
        columns = (self.size.width or PANEL_COLUMNS) - 2
        here = sorted(place.names, key=str.lower)[:MEMBERS_SHOWN_MAX]
        away = [one for one in place.away if one != name][:AWAY_SHOWN_MAX]
        options = [Option(Content(f"Here, {place.count}"), disabled=True)]
        options += [Option(_member(one, columns, one in place.bots, one == name), id=one) for one in here]
        more = place.count - len(here)
        if more > 0:
            options.append(Option(Content(f"  and {more} more"), disabled=True))
        if away:
            options += [Option(Content(""), disabled=True), Option(Content("Away"), disabled=True)]
            label = Content.styled
            options += [Option(label(f"○ {cut(one, columns - 2)}", "$muted"), id=f"{one}") for one in away]
        self.put((here, away, place.count, place.bots, columns), options, None)


def _member(name: str, columns: int, bot: bool, me: bool) -> Content:
    label = cut(name, columns - (6 if bot or me else 2))
    what = " bot" if bot else " you" if me else ""
    return Content.assemble(Content.styled("● ", "$success"), label, Content.styled(what, "$muted"))


class TitleBar(Widget):
    """Where one is, and how the link is."""

    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__(id="title")
        self._left: list[tuple[str, str]] = []
        self._right: tuple[str, str] = ("", "")

    def show(self, place: Place | None, link: Link, others_unread: str, *, muted: bool, quiet: bool) -> None:
        left: list[tuple[str, str]] = [(" Simple Chat", "bold")]
        if place is not None:
            kind = {RoomKind.PRIVATE: "private", RoomKind.DIRECT: "just the two of you"}.get(place.kind, "")
            left = [(f" {place.title}", "bold")]
            left += [(f"  {kind}", "$muted")] if kind else []
            if place.kind is RoomKind.DIRECT:
                left.append(
                    ("  here" if place.other_here else "  away", "$success" if place.other_here else "$muted")
                )
            else:
                left.append((f"  {place.count} here", "$muted"))
            left += [("  muted", "$muted")] if muted else []
            left += [("  quiet hours", "$muted")] if quiet else []
        right = ("● live ", "$success") if link is Link.LIVE else ("○ no link ", "bold $warning")
        if others_unread:
            left.append(
                (f"  {others_unread}", "bold $accent" if others_unread.startswith("@") else "$primary")
            )
        if (left, right) != (self._left, self._right):
            self._left, self._right = left, right
            self.refresh()

    def render(self) -> Content:
        columns = self.size.width - cell_len(self._right[0])
        shown: list[Content] = []
        used = 0
        for text, style in self._left:
            part = cut(text, columns - used - 1)
            if used and part != text:
                break
            shown.append(Content.styled(part, style))
            used += cell_len(part)
        shown.append(Content(" " * max(0, columns - used)))
        return Content.assemble(*shown, Content.styled(*self._right))


class Banner(Static):
    """What is wrong with the link, or how far behind one is; not there when all is well."""

    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__(id="banner", markup=False)
        self.display = False

    def say(self, text: str, place: Place | None, columns: int) -> None:
        self.display = bool(text)
        if not text:
            return
        if place is not None and place.behind and text.startswith("catching up"):
            done, rest = behind_bar(place.behind, place.behind_most, min(BAR_COLUMNS, columns // 3))
            content = Content.assemble(
                f"{cut(text, columns)}  ", Content.styled(done, "bold"), Content.styled(rest, "$faint")
            )
        else:
            content = Content(cut(text, columns))
        self.update(content, layout=False)


class Hints(Static):
    """The last row: what can be done, or what just happened, which may take some more."""

    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__(id="hints", markup=False)
        self._rows = 1

    def say(self, text: str, *, below: str, urgent: bool = False) -> None:
        columns = max(10, self.size.width - 2)
        right = cell_len(below) + 2 if below else 0
        text = calm(text)
        rows = [text[start:end] for start, end in wrap(text, max(1, columns - right))] if urgent else [text]
        left = [pad(row, max(0, columns - right)) for row in rows[:HINT_ROWS_MAX]]
        style = "bold $warning" if urgent else ""
        content = Content.assemble(
            Content.styled(left[0], style), "  " if below else "", Content.styled(below, "bold $primary"),
            *(Content.styled(f"\n{row}", style) for row in left[1:]),
        )  # fmt: skip
        self.update(content, layout=len(left) != self._rows)
        self._rows = len(left)
