"""The terminal screen: rooms, members and the transcript on a full screen, with Textual.

`pages`, `paint`, `cells`, `attention` and `jumping` are cores; the rest are widgets and what puts them
together. `run_screen` is the way in.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from datetime import tzinfo
from typing import TextIO

from chat_client.front import Chat
from chat_client.outcome import Outcome
from chat_client.preferences import Keeper
from chat_client.tui.app import ChatScreen

_LIGHT_BACKGROUNDS = {"7", "15"}


async def run_screen(
    chat: Chat,
    *,
    room: str,
    keeper: Keeper,
    stderr: TextIO | None = None,
    clock: Callable[[], float] = time.time,
    tz: tzinfo | None = None,
) -> Outcome:
    """Talk on this terminal until the person leaves or the session is closed; what comes back is the exit
    code.

    `chat` is connected, and nobody else reads its events; the caller closes it afterwards. `keeper`
    remembers what the person wants of the screen. What is still to be said at the end goes to stderr.
    """
    app = ChatScreen(chat, room, keeper, clock=clock, tz=tz, theme=_theme_of_terminal())
    outcome = await app.run_async()
    for sentence in app.sentences:
        print(sentence, file=stderr or sys.stderr, flush=True)
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError  # Textual ends its screen and keeps that to itself
    if outcome is None:
        raise SystemExit(app.return_code or 1)  # Textual has printed why
    return outcome


def _theme_of_terminal() -> str:
    """Dark, unless the terminal says that its background is light."""
    return "light" if os.environ.get("COLORFGBG", "").rpartition(";")[2] in _LIGHT_BACKGROUNDS else "dark"
