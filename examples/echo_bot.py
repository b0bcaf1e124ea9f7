"""A bot that repeats what follows "!echo", once for each line, whatever happens on the way."""

from chat_client import Bot
from chat_client.bot import HeardLine

bot = Bot("echo")


@bot.command("echo", help="say it again")
async def echo(line: HeardLine, *, text: str) -> None:
    await line.reply(f"{line.sender}: {text}")


if __name__ == "__main__":
    bot.run()
