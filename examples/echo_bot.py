"""A bot that repeats what follows "!echo", once for each line, whatever happens on the way."""

import asyncio
import sys

from chat_client import ChatClient
from chat_client.events import Line


async def main(name: str = "echo") -> None:
    async with ChatClient(name, start="now") as chat:
        async for event in chat.events():
            if isinstance(event, Line) and not event.own and event.text.startswith("!echo "):
                answer = f"{event.sender}: {event.text.removeprefix('!echo ')}"
                await chat.say(answer, event.room, once=event.answer_key())


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass  # Ctrl-C is how a bot is stopped
