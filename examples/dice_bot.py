"""A bot that rolls dice: "!roll" or "!roll 20"."""

import asyncio
import random
import sys

from chat_client import ChatClient
from chat_client.events import Line


def roll(text: str) -> str:
    """The answer to a "!roll" line."""
    sides = text.removeprefix("!roll").strip() or "6"
    if not sides.isdecimal() or not 2 <= int(sides) <= 1_000:
        return "dice have 2 to 1000 sides: !roll 20"
    return f"rolled {random.randint(1, int(sides))}"


async def main(name: str = "dice") -> None:
    async with ChatClient(name, start="now") as chat:
        async for event in chat.events():
            if isinstance(event, Line) and not event.own and event.text.split()[0] == "!roll":
                answer = f"{event.sender} {roll(event.text)}"
                await chat.say(answer, event.room, once=event.answer_key())


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass  # Ctrl-C is how a bot is stopped
