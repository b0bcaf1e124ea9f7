"""A fake person: somebody in the chat who says what a test wants, and remembers what was heard."""

from __future__ import annotations

import asyncio

from chat_client import ChatClient
from chat_client.events import Line, Position, RoomAdded
from chat_protocol.messages import LOBBY

PATIENCE_S = 10.0


class Person:
    """Made by `LocalChat.person`. `lines` is everything that was said where this person is, in order;
    `chat` the connection, for whatever else a client can do."""

    def __init__(self, chat: ChatClient) -> None:
        self.chat = chat
        self.lines: list[Line] = []
        self._heard = 0  # of `lines`, by `hears`
        self._more = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    @property
    def name(self) -> str:
        return self.chat.name

    async def say(self, text: str, room: str = LOBBY, *, to: str = "") -> Position:
        """Say a line in a room, or to somebody alone; returns where it is stored."""
        if to:
            room = (await self.chat.open(f"@{to}", 0)).title
        return await self.chat.say(text, room)

    async def hears(
        self, sender: str = "", text: str = "", *, room: str = "", within_s: float = PATIENCE_S
    ) -> Line:
        """The next line that was not heard before, by `sender`, with `text` in it, in `room`, where these
        are given; other lines up to it count as heard. Fails if it does not come in time."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    while self._heard < len(self.lines):
                        line = self.lines[self._heard]
                        self._heard += 1
                        if _fits(line, sender, text, room):
                            return line
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            wanted = f"{text!r} from {sender or 'anybody'}{f' in {room}' if room else ''}"
            said = "\n".join(f"  {one.title} {one.sender}: {one.text}" for one in self.lines) or "  nothing"
            raise AssertionError(
                f"{self.name} did not hear {wanted} within {within_s:g} s; there was:\n{said}"
            ) from None

    async def hears_nothing(self, sender: str = "", text: str = "", *, for_s: float = 0.5) -> None:
        """Fails if such a line comes within that time."""
        try:
            line = await self.hears(sender, text, within_s=for_s)
        except AssertionError:
            return
        raise AssertionError(f"{self.name} heard {line.sender} say {line.text!r}, and should not have")

    async def leave(self) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self.chat.__aexit__()

    async def _listen(self) -> None:
        opening: set[asyncio.Task[object]] = set()
        async for event in self.chat.events():
            if isinstance(event, Line):
                self.lines.append(event)
                self._more.set()
            elif isinstance(event, RoomAdded):  # somebody writes to this person alone, or let it in
                task: asyncio.Task[object] = asyncio.create_task(self.chat.open(event.title, 0))
                opening.add(task)
                task.add_done_callback(opening.discard)


def _fits(line: Line, sender: str, text: str, room: str) -> bool:
    return (
        (not sender or line.sender.lower() == sender.lower())
        and text in line.text
        and (not room or line.title.lower() == room.lower())
    )
