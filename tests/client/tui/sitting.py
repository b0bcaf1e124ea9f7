"""Somebody sitting before the full screen: keys in, and what stands there."""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import Callable, Coroutine
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from chat_client.events import CatchingUp, Line, RoomOpened
from chat_client.outcome import Outcome
from chat_client.preferences import Keeper
from chat_client.tui.app import ChatScreen
from chat_protocol.messages import LOBBY, RoomKind
from tests.client.fake_chat import EPOCH, FakeChat, public

PATIENCE_S = 20.0
SCREENS = Path(__file__).parent / "screens"
NAMED = {
    " ": "space",
    ",": "comma",
    ".": "full_stop",
    "/": "slash",
    "#": "number_sign",
    "@": "at",
    "!": "exclamation_mark",
}
NAMED |= {"-": "minus", ":": "colon", "?": "question_mark", "'": "apostrophe"}

KEYS = frozenset({"enter", "backspace", "tab", "ctrl+k", "ctrl+n", "ctrl+q", "up"})

OPS = public("#ops", names=("alice",))


def direct(name: str, account: int = 3) -> RoomOpened:
    return RoomOpened(f"@1:{account}", f"@{name}", RoomKind.DIRECT, 0, 1, ("bob",), f"@{name}", resumed=False)


def past(count: int, first: int = 1) -> list[Line]:
    """Lines that were said before."""
    return [
        Line(LOBBY, LOBBY, EPOCH, seq, 1_732_190_520_000, "alice", 2, f"line {seq}", replayed=True)
        for seq in range(first, first + count)
    ]


class Sitting:
    """One person before a screen; `keeper` remembers between two of them."""

    def __init__(self, chat: FakeChat, app: ChatScreen, pilot: Pilot[Outcome]) -> None:
        self.chat, self.app, self._pilot = chat, app, pilot
        self.rang = 0

        def ring() -> None:
            self.rang += 1

        app.bell = ring  # type: ignore[method-assign]  # a bell that can be counted

    @property
    def rows(self) -> list[str]:
        """What stands on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    @property
    def composed(self) -> str:
        return self.app._composer.text

    async def types(self, text: str) -> None:
        """Type a text, and Enter."""
        await self.writes(text)
        await self.presses("enter")

    async def writes(self, text: str) -> None:
        await self._pilot.press(*(NAMED.get(letter, letter) for letter in text))

    async def presses(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def hurries(self, *keys: str) -> None:
        """Press all of these at once, a text letter by letter: as a slow link hands over what was typed."""
        for key in keys:
            for one in (key,) if key in KEYS else tuple(key):
                name = NAMED.get(one, one)
                self.app.post_message(events.Key(name, one if len(one) == 1 else None))
        await self._pilot.pause()

    async def pastes(self, text: str) -> None:
        self.app._composer.post_message(events.Paste(text))
        await self._pilot.pause()

    async def clicks(self, text: str, *, button: int = 1) -> None:
        """Click on the first place where this text stands."""
        for y, row in enumerate(self.rows):
            if text in row:
                await self._pilot.click(offset=(row.index(text), y), button=button)
                return
        pytest.fail(f"{text!r} does not stand on the screen:\n{self.text}")

    async def selects(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Drag the mouse from one place to another; each is a column and a row."""
        await self._pilot.mouse_down(offset=start)
        await self._pilot.hover(offset=end)
        await self._pilot.mouse_up(offset=end)

    async def is_resized(self, columns: int, rows: int) -> None:
        await self._pilot.resize_terminal(columns, rows)

    async def sees(self, *texts: str) -> None:
        """Wait until all of these stand on the screen, each within a row."""
        await self.until(lambda: all(any(text in row for row in self.rows) for text in texts), *texts)

    async def sees_no(self, *texts: str) -> None:
        """Wait until none of these does."""
        await self.until(lambda: not any(text in self.text for text in texts), "none of", *texts)

    async def until(self, true: Callable[[], bool], *what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not true():
                    await self._pilot.pause(0.01)
        except TimeoutError:
            pass
        if not true():
            pytest.fail("\n".join(["never came:", *what, "there is:", self.text]), pytrace=False)

    async def looks_as(self, name: str) -> None:
        """The whole screen is as the file of that name has it; UPDATE_SCREENS=1 writes the file."""
        path = SCREENS / f"{name}.txt"
        if os.environ.get("UPDATE_SCREENS"):
            await self._pilot.pause(0.2)
            path.write_text(self.text + "\n")
            return
        wanted = path.read_text().rstrip("\n")
        try:
            async with asyncio.timeout(PATIENCE_S):
                while self.text != wanted:
                    await self._pilot.pause(0.02)
        except TimeoutError:
            lines = difflib.unified_diff(wanted.split("\n"), self.rows, "wanted", "there is", lineterm="")
            pytest.fail("\n".join(lines))


Sit = Callable[[Sitting], Coroutine[Any, Any, None]]


def sit(
    chat: FakeChat,
    what: Sit,
    *,
    size: tuple[int, int] = (130, 32),
    keeper: Keeper | None = None,
    room: str = LOBBY,
    level: bool = True,
) -> ChatScreen:
    """Open the screen, do `what`, and leave; the screen as it was left. The lobby's lines are all shown at
    once, unless `level` is False."""

    async def run() -> ChatScreen:
        app = ChatScreen(chat, room, keeper or Keeper(), clock=lambda: chat.wall, tz=UTC)
        async with asyncio.timeout(50), app.run_test(size=size) as pilot:
            sitting = Sitting(chat, app, pilot)
            await sitting.until(lambda: app._transcript.title != "", "a room")
            if level:
                chat.tell(CatchingUp(LOBBY, LOBBY, 0))
            await what(sitting)
        return app

    return asyncio.run(run())
