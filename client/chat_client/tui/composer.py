"""Where a line is composed: several rows if need be, a history of what was typed, completion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from textual import events
from textual.message import Message
from textual.widgets import TextArea

from chat_client import slash
from chat_protocol.names import clean_text

HISTORY_MAX = 500

_NEWLINE = frozenset({"shift+enter", "alt+enter", "ctrl+j", "ctrl+enter"})


@dataclass(slots=True)
class History:
    """Core: what was typed, and how far back one has gone in it. `draft` is what stood there before."""

    typed: list[str] = field(default_factory=list)
    at: int | None = None
    draft: str = ""

    def add(self, text: str) -> None:
        self.at = None
        if self.typed[-1:] != [text]:
            self.typed.append(text)
            del self.typed[:-HISTORY_MAX]

    def back(self, now: str) -> str | None:
        """What was typed before, None if there is nothing; `now` is what stands there."""
        if self.at is None:
            self.draft = now
        at = len(self.typed) if self.at is None else self.at
        if at == 0:
            return None
        self.at = at - 1
        return self.typed[self.at]

    def forth(self) -> str | None:
        """What was typed after that, in the end the draft; None if one has not gone back."""
        if self.at is None:
            return None
        self.at += 1
        if self.at < len(self.typed):
            return self.typed[self.at]
        self.at = None
        return self.draft


@dataclass(slots=True)
class Completing:
    """Core: the ways to complete a word, tried one after the other. `text` is what stands before it."""

    text: str
    found: list[str]
    at: int = -1

    def turn(self, step: int) -> str:
        """What stands there with the next one."""
        self.at = (self.at + step) % len(self.found) if self.at >= 0 or step > 0 else len(self.found) - 1
        return self.text + self.found[self.at]


class Composer(TextArea):
    """Enter says what stands here: `say` takes it, or returns False and it stays. `known` gives the people
    and rooms that a word may be completed to."""

    class Choosing(Message):
        """There are several ways to complete, of which `at` stands there; `found` is empty when that is
        over."""

        def __init__(self, found: list[str], at: int) -> None:
            super().__init__()
            self.found = found
            self.at = at

    class LeaveAsked(Message):
        pass

    def __init__(self, known: Callable[[], tuple[set[str], set[str]]], say: Callable[[str], bool]) -> None:
        super().__init__(id="composer", soft_wrap=True, highlight_cursor_line=False, compact=True)
        self.past = History()
        self._known = known
        self._say = say
        self._completing: Completing | None = None

    # ------------------------------------------------------------------ keys

    async def _on_key(self, event: events.Key) -> None:
        key = event.key
        if key not in ("tab", "shift+tab"):
            self.stop_completing()
        if key == "enter":
            self._enter()
        elif key in _NEWLINE:
            self.replace("\n", *self.selection)
        elif key in ("tab", "shift+tab"):
            self._complete(1 if key == "tab" else -1)
        elif key == "ctrl+d" and not self.text:
            self.post_message(self.LeaveAsked())
        elif event.is_printable or not await self._obey(key):
            return  # TextArea's own
        event.stop()
        event.prevent_default()

    def _enter(self) -> None:
        """At once, so that what is typed next finds an empty row."""
        text = self.text
        if text.strip() and self._say(text):
            self.past.add(text)
            self.put("")

    async def _obey(self, key: str) -> bool:
        """Do what a key is bound to, between the letters before and behind it: bindings by themselves take
        their turn with the application, which may come later."""
        active = self.screen.active_bindings.get(key)
        return active is not None and await self.app.run_action(active.binding.action, active.node)

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.stop_completing()
        self.replace(clean_text(event.text).expandtabs(4).rstrip("\n"), *self.selection)

    def action_cursor_up(self, select: bool = False) -> None:
        at_top = self.wrapped_document.location_to_offset(self.cursor_location).y == 0
        if select or not at_top or (earlier := self.past.back(self.text)) is None:
            super().action_cursor_up(select)
        else:
            self.put(earlier)

    def action_cursor_down(self, select: bool = False) -> None:
        last = self.wrapped_document.height - 1
        at_bottom = self.wrapped_document.location_to_offset(self.cursor_location).y >= last
        if select or not at_bottom or (later := self.past.forth()) is None:
            super().action_cursor_down(select)
        else:
            self.put(later)

    # ------------------------------------------------------------------ what stands there

    def put(self, text: str) -> None:
        """Let this stand there, the cursor behind it."""
        self.text = text
        self.move_cursor(self.document.end)

    def add_word(self, word: str) -> None:
        """Put a word where the cursor is, blanks around it."""
        before = self.get_text_range((0, 0), self.cursor_location)
        self.insert(f"{'' if not before or before[-1].isspace() else ' '}{word} ")
        self.focus()

    # ------------------------------------------------------------------ completion

    def _complete(self, step: int) -> None:
        if self._completing is None:
            before = self.get_text_range((0, 0), self.cursor_location)
            word = slash.last_word(before)
            people, rooms = self._known()
            found = slash.complete(before, people, rooms, slash.SCREEN_VERBS)
            if not found:
                return
            self._completing = Completing(before.removesuffix(word), found)
        self._stand(self._completing.turn(step))
        if len(self._completing.found) == 1:
            self.stop_completing()
        else:
            self.post_message(self.Choosing(self._completing.found, self._completing.at))

    def choose(self, at: int) -> None:
        """Take one of the ways to complete."""
        if self._completing is not None and at < len(self._completing.found):
            self._stand(self._completing.text + self._completing.found[at])
        self.stop_completing()
        self.focus()

    def stop_completing(self) -> None:
        if self._completing is not None:
            self._completing = None
            self.post_message(self.Choosing([], -1))

    def _stand(self, before: str) -> None:
        """Let this stand before the cursor."""
        self.replace(before, (0, 0), self.cursor_location)
        row = before.count("\n")
        self.move_cursor((row, len(before.rpartition("\n")[2])))
