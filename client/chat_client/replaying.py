"""`chat-client replay`: a bot on a room's real history. Nothing is sent; what it would have said is told."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from chat_client.bot import Bot
from chat_client.bots.folder import BotFolder
from chat_client.bots.loading import load
from chat_client.client import ChatClient
from chat_client.events import Line, Position
from chat_protocol.errors import SetupError
from chat_protocol.messages import LINE_BYTES_MAX, LINE_ROWS_MAX, PAGE_ENTRIES_MAX
from chat_protocol.names import check_text, clean_text


def find_bot(reference: str) -> Bot:
    """The bot that `module:bot` or `path/to/bot.py` names. Raises SetupError."""
    module, name = load(reference)
    bots = {key: value for key, value in vars(module).items() if isinstance(value, Bot)}
    if name:
        if name not in bots:
            raise SetupError(f"{reference}: there is no bot called {name}")
        return bots[name]
    if len(set(bots.values())) != 1:
        there = f"bots called {', '.join(bots)}: say which, as {reference}:NAME" if bots else "no bot"
        raise SetupError(f"{reference} has {there}")
    return next(iter(bots.values()))


@dataclass(slots=True)
class _Notebook:
    """Stands in the place of the connection: what a bot says is written down."""

    said: list[tuple[str, str]] = field(default_factory=list)  # room, text

    async def say(self, text: str, room: str, *, once: bytes | None = None, hops: int = 0) -> Position:
        text = check_text(clean_text(text), line_bytes=LINE_BYTES_MAX, line_rows=LINE_ROWS_MAX)
        self.said.append((room, text))
        return Position(room, b"", 0)


@dataclass(slots=True)
class Replay:
    """A bot, a room and a seq after which to begin. `heard` counts lines, `answered` those with an answer."""

    chat: ChatClient
    bot: Bot
    room: str
    after: int
    heard: int = 0
    answered: int = 0
    failed: int = 0

    async def run(self, tell: Callable[[Line, list[tuple[str, str]]], None]) -> None:
        """Hand every line to the bot; `tell` gets each that it would have answered, with what it said: room
        and text. Its files are in a folder that goes away; its timers and joins stand still."""
        notebook = _Notebook()
        with (
            tempfile.TemporaryDirectory(prefix="chat-replay-") as folder,
            self.bot.replaying(notebook, BotFolder(Path(folder))) as dispatcher,
        ):
            async for line in self._lines():
                own = line.sender.lower() == dispatcher.name.lower()
                self.heard += not own
                await dispatcher.line(line, own=own, missed=True)
                if notebook.said:
                    self.answered += 1
                    tell(line, notebook.said)
                    notebook.said = []
            self.failed = dispatcher.failed

    async def _lines(self) -> AsyncIterator[Line]:
        after = min(self.after, await self.chat.head(self.room))
        while entries := await self.chat.history(self.room, after, PAGE_ENTRIES_MAX):
            for entry in entries:
                if isinstance(entry, Line):
                    yield entry
            after = entries[-1].seq


def as_text(bot: str, line: Line, said: list[tuple[str, str]]) -> str:
    """A line and what the bot would have said, for people."""
    at = datetime.fromtimestamp(line.at / 1_000).strftime("%Y-%m-%d %H:%M")
    rows = [f"{at} {line.title} {line.seq} {line.sender}: {_indented(line.text)}"]
    for room, text in said:
        where = "" if room == line.room else f" in {room}"
        rows.append(f"      {bot}{where}: {_indented(text)}")
    return "\n".join(rows)


def as_json(line: Line, said: list[tuple[str, str]]) -> str:
    """The same for programs, on one line."""
    answers = [{"room": line.title if room == line.room else room, "text": text} for room, text in said]
    fields = {"room": line.title, "seq": line.seq, "from": line.sender, "text": line.text, "answers": answers}
    return json.dumps(fields, ensure_ascii=False)


def _indented(text: str) -> str:
    return text.replace("\n", "\n        ")
