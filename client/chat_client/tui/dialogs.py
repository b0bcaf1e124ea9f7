"""What opens above the screen: jumping to a room, the addresses in it, help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from chat_client import slash
from chat_client.tui import jumping
from chat_client.tui.cells import cut, pad

KEYS = (
    ("Enter", "say the line"),
    ("Alt-Enter, Ctrl-J", "a new row in it"),
    ("Up, Down", "what was typed before"),
    ("Tab", "complete names, rooms and commands"),
    ("Ctrl-K", "jump to a room or a person"),
    ("Ctrl-N, Ctrl-P", "the next and the previous room"),
    ("Ctrl-G", "the next room with unread lines"),
    ("PageUp, PageDown", "scroll; Esc goes to the end"),
    ("Ctrl-L", "the addresses here, to open or copy"),
    ("Ctrl-R", "say again what failed"),
    ("Ctrl-O", "unfold who came and went"),
    ("F2, F3", "rooms; members"),
    ("Ctrl-T", "dark or light"),
    ("Ctrl-C", "copy what the mouse selected; else clear; twice leaves"),
    ("Ctrl-Q", "leave"),
)


HELP_COLUMNS = 84
TWO_COLUMNS_MIN = 50


class Dialog(ModalScreen[str]):
    """A dialog; its result is "" where it was left with Esc or a click beside it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "close", show=False)]

    def action_close(self) -> None:
        self.dismiss("")

    def on_click(self, event: object) -> None:
        if getattr(event, "widget", None) is self:
            self.dismiss("")


@dataclass(frozen=True, slots=True)
class Destination:
    """A place to jump to. `note` says what there is about it."""

    title: str
    note: str = ""


class Jump(Dialog):
    """Type a part of a name; Enter goes there. The result is a title."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,ctrl+n", "move(1)", show=False, priority=True),
        Binding("up,ctrl+p", "move(-1)", show=False, priority=True),
    ]

    def __init__(self, destinations: Sequence[Destination]) -> None:
        super().__init__()
        self._destinations = {each.title: each for each in destinations}

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "Jump to"
            box.border_subtitle = "Enter goes there, Esc stays"
            yield Input(placeholder="part of a room's or a person's name")
            yield OptionList(markup=False)
            yield Static("", id="nothing", markup=False)

    def on_mount(self) -> None:
        self._search("")

    def offer(self, destinations: Sequence[Destination]) -> None:
        """More places became known."""
        for each in destinations:
            if each.title not in self._destinations or not self._destinations[each.title].note:
                self._destinations[each.title] = each
        if self.is_mounted:
            self._search(self.query_one(Input).value)

    @on(Input.Changed)
    def search(self, event: Input.Changed) -> None:
        self._search(event.value)

    def _search(self, part: str) -> None:
        found = jumping.find(self._destinations, part)
        options = self.query_one(OptionList)
        columns = max(20, min(60, self.app.size.width * 94 // 100 - 4))
        options.set_options([_destination(self._destinations[title], columns) for title in found])
        options.highlighted = 0 if found else None
        nothing = self.query_one("#nothing", Static)
        nothing.display = not found
        nothing.update(Content(f"Nothing here is called {cut(part.strip(), 30)}; /create makes a room."))

    def action_move(self, step: int) -> None:
        options = self.query_one(OptionList)
        (options.action_cursor_down if step > 0 else options.action_cursor_up)()

    @on(Input.Submitted)
    def take(self) -> None:
        option = self.query_one(OptionList).highlighted_option
        if option is not None:
            self.dismiss(option.id or "")

    @on(OptionList.OptionSelected)
    def click(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id or "")


def _destination(each: Destination, columns: int) -> Option:
    note = cut(each.note, 20)
    return Option(
        Content.assemble(pad(each.title, columns - len(note) - 1), " ", Content.styled(note, "$muted")),
        id=each.title,
    )


class LinkList(Dialog):
    """The addresses in a room, the newest first. The result is `open URL` or `copy URL`."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("c", "copy", "copy", show=False)]

    def __init__(self, links: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._links = links  # who said it, and the address

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "Addresses"
            box.border_subtitle = "Enter opens, c copies, Esc leaves"
            columns = max(20, min(60, self.app.size.width * 94 // 100 - 4))
            yield OptionList(
                *(
                    Option(
                        Content.assemble(Content.styled(pad(who, 12), "$muted"), " ", cut(url, columns - 14))
                    )
                    for who, url in self._links
                ),
                markup=False,
            )

    def action_copy(self) -> None:
        at = self.query_one(OptionList).highlighted
        if at is not None:
            self.dismiss(f"copy {self._links[at][1]}")

    @on(OptionList.OptionSelected)
    def take(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(f"open {self._links[event.option_index][1]}")


class Help(Dialog):
    """Keys and commands."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("f1,q,enter", "close", show=False)]

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "Help"
            box.border_subtitle = "Esc closes"
            with VerticalScroll():
                yield Static(_help(min(HELP_COLUMNS, self.app.size.width * 94 // 100) - 6), markup=False)


def _help(columns: int) -> Content:
    commands = [(verb.usage, verb.meaning) for verb in slash.SCREEN_VERBS.values()]
    parts: list[Content] = []
    for heading, rows in (("Keys", KEYS), ("Commands", tuple(commands))):
        parts.append(Content.styled(f"{heading}\n", "bold $primary"))
        width = min(max(len(left) for left, _ in rows) + 2, columns * 2 // 5)
        for left, right in rows:
            if columns < TWO_COLUMNS_MIN:
                parts.append(Content.assemble(f"{left}\n", Content.styled(f"  {right}\n", "$muted")))
                continue
            parts.append(Content.styled(pad(left, width - 1) + " ", "$foreground"))
            parts.append(Content.styled(f"{cut(right, columns - width)}\n", "$muted"))
        parts.append(Content("\n"))
    return Content.assemble(*parts).rstrip()


Close = Callable[[str | None], None]
