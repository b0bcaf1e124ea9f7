"""A bot that rolls dice: "!roll" or "!roll 20"."""

import random

from chat_client import Bot
from chat_client.bot import HeardLine

SIDES_MAX = 1_000

bot = Bot("dice")


@bot.command("roll", help="roll one die")
async def roll(line: HeardLine, sides: int = 6) -> None:
    if 2 <= sides <= SIDES_MAX:
        await line.reply(f"{line.sender} rolled {random.randint(1, sides)}")
    else:
        await line.reply(f"dice have 2 to {SIDES_MAX} sides: !roll 20")


if __name__ == "__main__":
    bot.run()
