"""Bots as processes: killed at the worst moment, started too early, told to stop."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.bench import Bench, Broker, Child

#: Answers "!go" twice, and is killed by itself at a moment that the name of a file tells, once.
FRAGILE = """
import os, signal, sys
from pathlib import Path
from chat_client import Bot
from chat_client.bots.folder import BotFolder

bot = Bot("fragile")

def die_at(moment):
    try:
        Path(os.environ["DIE_AT"], moment).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

@bot.command()
async def go(line):
    await line.reply("one")
    die_at("between")
    await line.reply("two")
    die_at("after")

save = BotFolder.save
def save_late(self):
    if any(one.seq > 2 for one in self._handled.values()):
        die_at("moving")
    save(self)
BotFolder.save = save_late

bot.run()
"""


def says(house: Bench, broker: Broker) -> list[str]:
    code, out, err = house.read("auditor", broker, "tail", "--json", "--since", "all", "--no-follow")
    assert code == 0, err
    return [row["text"] for row in map(json.loads, out.splitlines()) if row["from"] == "fragile"]


@pytest.mark.parametrize("moment", ["between", "after", "moving"])
def test_killed_between_answering_and_knowing_it_answers_once(
    bench: Bench, tmp_path: Path, moment: str
) -> None:
    broker = bench.broker()
    script = tmp_path / "fragile.py"
    script.write_text(FRAGILE)
    env = bench.env("fragile", CHAT_BROKER=broker.url, DIE_AT=str(tmp_path))

    def start() -> Child:
        return bench._keep(Child([sys.executable, script], env, bench._files()))

    start_it = start()
    start_it.complains("fragile is in #lobby")
    (tmp_path / moment).touch()
    bench.say("ann", broker, "!go")
    assert start_it.ends() == -signal.SIGKILL
    again = start()
    again.complains("fragile is in #lobby")
    bench.say("ann", broker, "!go")
    ears = bench.start("ears", broker, "tail", "--json", "--since", "all")
    while sum(row["text"] == "two" for row in ears.rows) < 2:
        ears.says('"two"')
    again.signal(signal.SIGTERM)
    assert again.ends() == 0
    assert says(bench, broker) == ["one", "two", "one", "two"]


BOT = """
from chat_client import Bot

bot = Bot()

@bot.on_line
def answer(line):
    return "yes"

bot.run()
"""


def test_started_before_its_broker_it_waits(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "bot.py"
    script.write_text(BOT)
    first = bench.broker()
    bench.say("early", first)  # it has its key: an invite of that run is good no more
    assert first.stop() == 0
    env = bench.env("early", CHAT_BROKER=first.url, CHAT_NAME="early", CHAT_TIMEOUT="0.5", CHAT_ROOM="lobby")
    bot = bench._keep(Child([sys.executable, script], env, bench._files()))
    bot.complains("trying again")
    again = bench.broker(like=first)
    bot.complains("early is in #lobby")
    bench.say("ann", again, "hello")
    bot.signal(signal.SIGTERM)
    assert bot.ends() == 0
    assert "Traceback" not in bot.err


def test_told_to_stop_while_it_waits_it_stops(bench: Bench, tmp_path: Path) -> None:
    script = tmp_path / "bot.py"
    script.write_text(BOT)
    bot = bench._keep(Child([sys.executable, script], bench.env("early", CHAT_NAME="early"), bench._files()))
    bot.complains("no broker is known")
    bot.signal(signal.SIGTERM)
    assert bot.ends() == 0
    assert len(bot.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("variables", "code", "says"),
    [
        ({"CHAT_NAME": "ann"}, 3, "bot: the name ann is taken; choose another"),
        ({"CHAT_NAME": "not a name"}, 2, "bot: a name"),
        ({"CHAT_NAME": "x", "CHAT_TIMEOUT": "soon"}, 2, "bot: CHAT_TIMEOUT is 'soon'"),
        ({"CHAT_NAME": "x", "CHAT_BROKER": "http://x"}, 2, "bot: "),
        ({}, 2, "bot: the bot has no name"),
    ],
)
def test_what_waiting_does_not_help_ends_it_with_a_sentence(
    bench: Bench, tmp_path: Path, variables: dict[str, str], code: int, says: str
) -> None:
    broker = bench.broker()
    bench.say("ann", broker)
    script = tmp_path / "bot.py"
    script.write_text(BOT)
    env = bench.env("bot", CHAT_BROKER=broker.url) | variables
    bot = bench._keep(Child([sys.executable, script], env, bench._files()))
    assert bot.ends() == code
    assert bot.err.startswith(says), bot.err
    assert len(bot.err.splitlines()) == 1


def test_banned_it_ends(bench: Bench, tmp_path: Path) -> None:
    broker = bench.broker()
    script = tmp_path / "bot.py"
    script.write_text(BOT)
    env = bench.env("bad", CHAT_BROKER=broker.url, CHAT_NAME="bad")
    bot = bench._keep(Child([sys.executable, script], env, bench._files()))
    bot.complains("bad is in #lobby")
    assert bench.ask("ban", "bad")[0] == 0
    assert bot.ends() == 3
    assert "banned" in bot.err.splitlines()[-1]
