"""A person in a process of their own: says numbered lines, and logs what the client tells, as JSON.

python network_person.py NAME URL HOME

Orders come on stdin, one a line: `talk SECONDS` (a line every so often), `hush`, `burst COUNT`, `users`. The
end of stdin ends the person. Every row on stdout has `t` (the machine's monotonic seconds) and `what`:
said, stored, failed, shown, link, users, trouble.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path

from chat_client import ChatClient
from chat_client import events as ev
from chat_client.events import Event
from chat_protocol.errors import ChatError


def tell(what: str, **more: object) -> None:
    print(json.dumps({"t": time.monotonic(), "what": what, **more}), flush=True)


class Person:
    def __init__(self, chat: ChatClient) -> None:
        self._chat = chat
        self._said: dict[int, str] = {}
        self._numbers = itertools.count(1)
        self._talking: asyncio.Task[None] | None = None

    async def obey(self) -> None:
        orders = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(orders), sys.stdin.buffer
        )
        while order := (await orders.readline()).decode().split():
            match order:
                case ["talk", seconds]:
                    self._hush()
                    self._talking = asyncio.create_task(self._talk(float(seconds)))
                case ["hush"]:
                    self._hush()
                    tell("hushed")
                case ["burst", count]:
                    for _ in range(int(count)):
                        self._say()
                case ["users"]:
                    await self._users()
        self._hush()

    async def listen(self) -> None:
        async for event in self._chat.events():
            self._log(event)

    def _hush(self) -> None:
        if self._talking is not None:
            self._talking.cancel()
            self._talking = None

    async def _talk(self, seconds: float) -> None:
        while True:
            self._say()
            await asyncio.sleep(seconds)

    def _say(self) -> None:
        text = f"{self._chat.name} {next(self._numbers)}"
        tell("said", text=text)
        self._said[self._chat.post(text)] = text

    async def _users(self) -> None:
        try:
            tell("users", names=await self._chat.users())
        except ChatError as error:
            tell("trouble", text=f"users: {error}")

    def _log(self, event: Event) -> None:
        match event:
            case ev.Line():
                tell("shown", seq=event.seq, sender=event.sender, text=event.text)
            case ev.Stored():
                tell("stored", seq=event.position.seq, text=self._said.pop(event.ref))
            case ev.Failed():
                tell("failed", text=event.text, code=event.code, reason=event.reason)
            case ev.LinkChanged():
                tell("link", link=str(event.link), reason=event.reason)
            case ev.Lost() | ev.EpochChanged() | ev.RoomClosed():
                tell("trouble", text=str(event))


async def main(name: str, url: str, home: str) -> None:
    async with ChatClient(name, url, home=Path(home), start=0, timeout_s=30) as chat:
        person = Person(chat)
        listening = asyncio.create_task(person.listen())
        tell("here")
        await person.obey()
        listening.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
