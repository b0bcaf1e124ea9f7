"""Bots in a real chat: what they hear and answer, and that nothing is answered twice."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chat_client import Bot
from chat_client.bot import HeardLine, Joined
from chat_client.bots.folder import CURSORS
from chat_protocol.errors import CallerError
from chat_protocol.messages import HOPS_MAX
from chat_testing import LocalChat, chat_test


def dice(**options: object) -> Bot:
    """Answers !roll with the number of sides: dice that a test can rely on."""
    bot = Bot("dice", **options)  # type: ignore[arg-type]  # as the options of Bot are

    @bot.command("roll", help="roll one die")
    async def roll(line: HeardLine, sides: int = 6) -> None:
        await line.reply(f"{line.sender} rolled {sides}")

    return bot


def parrot(name: str) -> Bot:
    """Says everything again: what no bot should do."""
    bot = Bot(name)

    @bot.on_line
    async def again(line: HeardLine) -> None:
        await line.reply(line.text)

    return bot


async def eventually(what: str, condition: Callable[[], bool]) -> None:
    try:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited 10 s in vain for {what}") from None


def cursors(chat: LocalChat, bot: str = "dice") -> Path:
    [path] = (chat.folder / "bots" / bot).glob(f"bots/*/{bot}/{CURSORS}")
    return path


def set_cursor(chat: LocalChat, seq: int, epoch: str = "") -> None:
    """As if the bot had been killed when it had handled the lobby up to `seq`."""
    path = cursors(chat)
    cursor = json.loads(path.read_text())
    cursor["#lobby"]["seq"] = seq
    cursor["#lobby"]["epoch"] = epoch or cursor["#lobby"]["epoch"]
    path.write_text(json.dumps(cursor))


# --------------------------------------------------------------------------- commands


@chat_test(dice())
async def test_commands_are_answered(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    for typed, answer in [
        ("!roll", "alice rolled 6"),
        ("!ROLL 20", "alice rolled 20"),
        ("!roll many", "sides is a whole number, and many is not. Usage: !roll [sides]"),
        ("!help", "!roll [sides]: roll one die"),
        ("!help roll", "!roll [sides]: roll one die\nsides: a whole number, 6 if left out"),
    ]:
        await alice.say(typed)
        assert (await alice.hears("dice")).text == answer
    for typed in ("roll", "say !roll", "!deploy", "!help deploy"):
        await alice.say(typed)
    await alice.hears_nothing("dice", for_s=0.2)


@chat_test(dice())
async def test_a_bot_is_marked_as_one(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    await alice.say("!roll")
    assert not (await alice.hears("alice")).by_bot
    answer = await alice.hears("dice")
    assert (answer.by_bot, answer.hops) == (True, 1)


@chat_test(dice())
async def test_what_is_said_to_it_alone_is_answered_there(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    await alice.say("!roll 3", to="dice")
    assert (await alice.hears("dice")).title == "@dice"
    await alice.say("!foo", to="dice")
    assert (await alice.hears("dice")).text == "there is no !foo here; !help tells what there is"


# --------------------------------------------------------------------------- handlers

ears = Bot("ears")
heard: list[str] = []


@ears.on_line
async def any_line(line: HeardLine) -> None:
    heard.append(f"line {line.text}")


@ears.on_mention
def mentioned(line: HeardLine) -> str:
    return f"yes, {line.sender}?"


@ears.on_direct
def told(line: HeardLine) -> None:
    heard.append(f"direct {line.text} {line.room} {line.is_direct}")


@ears.on_join
async def came(joined: Joined) -> None:
    await joined.reply(f"hello {joined.name}")


@chat_test(ears)
async def test_lines_mentions_and_joins(chat: LocalChat) -> None:
    heard.clear()
    alice = await chat.person("alice")
    await alice.hears("ears", "hello alice")
    await alice.say("is ears there?")
    await alice.hears("ears", "yes, alice?")
    await alice.say("psst", to="ears")
    await eventually("what was said alone", lambda: len(heard) == 3)
    assert heard == ["line is ears there?", "line psst", "direct psst @alice True"]


@chat_test()
async def test_timers_go_on_whatever_they_raise(chat: LocalChat) -> None:
    bot = Bot("clock")
    times: list[float] = []

    @bot.every(0.05)
    async def tick() -> None:
        times.append(time.monotonic())
        await bot.say(f"tick {len(times)}")
        raise ZeroDivisionError

    alice = await chat.person("alice")
    begun = time.monotonic()
    await chat.start(bot)
    for number in (1, 2, 3):
        assert (await alice.hears("clock", f"tick {number}")).hops == 1
    assert times[0] - begun >= 0.05


@chat_test()
async def test_a_handler_that_raises_or_hangs_stops_nobody(
    chat: LocalChat, caplog: pytest.LogCaptureFixture
) -> None:
    bot = Bot("fragile", handler_timeout_s=0.2)

    @bot.on_line
    async def handle(line: HeardLine) -> None:
        if line.text == "raise":
            raise ZeroDivisionError
        if line.text == "hang":
            await asyncio.Event().wait()
        await line.reply(f"{line.text}: fine")

    alice = await chat.person("alice")
    await chat.start(bot)
    for text in ("raise", "hang", "third"):
        await alice.say(text)
    await alice.hears("fragile", "third: fine")
    logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert logged == [
        "handle failed on line 2 of #lobby",
        "handle was given up on line 3 of #lobby: it took longer than 0.2 s",
    ]
    await chat.stop(bot)
    assert json.loads(cursors(chat, "fragile").read_text())["#lobby"]["seq"] >= 4


@chat_test(dice())
async def test_what_cannot_be_said_is_logged(chat: LocalChat, caplog: pytest.LogCaptureFixture) -> None:
    bot = Bot("long")

    @bot.on_line
    async def handle(line: HeardLine) -> None:
        await line.reply("x" * 20_000)

    await chat.start(bot)
    await (await chat.person("alice")).say("hi")
    await eventually("the complaint", lambda: "handle failed on line 2 of #lobby: a line has" in caplog.text)


# --------------------------------------------------------------------------- where it goes on


@chat_test()
async def test_what_it_missed_is_answered(chat: LocalChat) -> None:
    """But not what was said before it came for the first time."""
    bot, lines = dice(), []

    @bot.on_line
    async def hear(line: HeardLine) -> None:
        lines.append((line.text, line.replayed))

    alice = await chat.person("alice")
    await alice.say("!roll 1")
    await chat.start(bot)
    await alice.say("live")
    await alice.say("!roll 2")
    await alice.hears("dice", "rolled 2")
    await chat.stop(bot)
    await alice.say("missed")
    await alice.say("!roll 3")
    await chat.start(bot)
    await alice.hears("dice", "rolled 3")
    await alice.hears_nothing("dice", for_s=0.2)
    assert lines == [("live", False), ("missed", True)]


@pytest.mark.parametrize(("on_restart", "answers"), [("skip", ["4"]), ("mentions", ["2", "4"])])
def test_or_is_not(on_restart: str, answers: list[str]) -> None:
    bot = dice(on_restart=on_restart)

    @bot.on_mention
    async def mentioned(line: HeardLine) -> None:
        await line.reply(f"rolled {line.text[-1]}")

    @chat_test(bot)
    async def play(chat: LocalChat) -> None:
        alice = await chat.person("alice")
        await chat.stop(bot)
        for text in ("!roll 1", "@dice 2", "nothing 3"):
            await alice.say(text)
        await chat.start(bot)
        await alice.say("!roll 4")
        await alice.hears("dice", "rolled 4")
        assert [line.text[-1] for line in alice.lines if line.sender == "dice"] == answers

    play()


@chat_test(dice(on_restart="skip"))
async def test_a_conversation_that_begins_is_not_missed(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    await alice.say("!roll", to="dice")
    await alice.hears("dice", "rolled 6")


@chat_test()
async def test_a_conversation_that_began_while_it_was_away_is_answered(chat: LocalChat) -> None:
    bot = dice()
    await chat.start(bot)
    await chat.stop(bot)
    alice = await chat.person("alice")
    await alice.say("!roll", to="dice")
    await chat.start(bot)
    await alice.hears("dice", "rolled 6")


@chat_test()
async def test_what_is_handled_again_is_not_answered_again(chat: LocalChat) -> None:
    bot, handled = Bot("dice"), []

    @bot.command()
    async def count(line: HeardLine) -> str:
        handled.append(line.seq)
        await line.reply("one")
        await bot.say("two")
        await bot.say("in the other room", "#other")
        return "three"

    alice = await chat.person("alice")
    await alice.chat.create("#other")
    await alice.chat.open("#other")
    await chat.start(bot)
    await alice.say("!count")
    await alice.hears("dice", "three")
    await chat.stop(bot)
    set_cursor(chat, 1)
    await chat.start(bot)
    await eventually("the line to be handled again", lambda: len(handled) == 2)
    await chat.stop(bot)
    said = [line.text for line in alice.lines if line.sender == "dice" and line.title == "#lobby"]
    assert said == ["one", "two", "three"]
    assert [line.text for line in await alice.chat.history("#other", 1)] == ["in the other room"]


@chat_test()
async def test_another_history_is_not_answered(chat: LocalChat) -> None:
    """A broker that was restored from a backup shows recent lines afresh."""
    bot = dice()
    alice = await chat.person("alice")
    await chat.start(bot)
    await chat.stop(bot)
    await alice.say("!roll 1")
    set_cursor(chat, 1, epoch="00" * 8)
    await chat.start(bot)
    await alice.say("!roll 2")
    await alice.hears("dice", "rolled 2")
    assert [line.text for line in alice.lines if line.sender == "dice"] == ["alice rolled 2"]
    await chat.stop(bot)
    assert json.loads(cursors(chat).read_text())["#lobby"]["epoch"] == alice.chat.epoch.hex()


@chat_test(dice())
async def test_it_goes_on_when_the_broker_was_away(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    chat.broker.stop()
    asking = asyncio.create_task(alice.say("!roll 7"))
    chat.broker.start()
    await asking
    await alice.hears("dice", "rolled 7")


@chat_test()
async def test_a_handler_at_work_may_finish_when_the_bot_is_stopped(chat: LocalChat) -> None:
    bot, began = Bot("slow"), asyncio.Event()

    @bot.on_line
    async def handle(line: HeardLine) -> None:
        began.set()
        await asyncio.sleep(0.3)
        await line.reply("done")

    alice = await chat.person("alice")
    await chat.start(bot)
    await alice.say("go")
    await began.wait()
    await chat.stop(bot)
    await alice.hears("slow", "done")


# --------------------------------------------------------------------------- loops


@chat_test(parrot("parrot"), parrot("jackdaw"))
async def test_two_bots_that_answer_each_other_come_to_an_end(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    await alice.say("hello")
    expected = 2 * HOPS_MAX
    await eventually("the last answer", lambda: len(alice.lines) == 1 + expected)
    await alice.hears_nothing("", "never", for_s=0.3)
    hops = sorted(line.hops for line in alice.lines)
    assert hops == sorted([0, *range(1, HOPS_MAX + 1), *range(1, HOPS_MAX + 1)])


@chat_test()
async def test_a_bot_need_not_hear_others(chat: LocalChat) -> None:
    deaf = dice(hears_bots=False)
    await chat.start(deaf)
    await chat.start(parrot("parrot"))
    alice = await chat.person("alice")
    await alice.say("!roll 1")
    await alice.hears("parrot", "!roll 1")
    await alice.hears("parrot", "alice rolled 1")
    await alice.hears_nothing("dice", "parrot rolled", for_s=0.2)


# --------------------------------------------------------------------------- the bot itself


@chat_test()
async def test_what_a_bot_has_while_it_runs(chat: LocalChat) -> None:
    bot = Bot("keeper")
    for ask in (lambda: bot.folder, lambda: bot.chat):
        with pytest.raises(CallerError, match="keeper does not run"):
            ask()
    await chat.start(bot)
    assert bot.folder.is_dir()
    assert await bot.chat.users() == ["keeper"]
    with pytest.raises(CallerError, match="keeper runs already"):
        await chat.start(bot)


def test_mistakes_of_the_author_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAT_NAME", raising=False)
    with pytest.raises(CallerError, match="no name"):
        Bot().name  # noqa: B018
    with pytest.raises(CallerError, match="some time between"):
        Bot("x").every(0)
    with pytest.raises(CallerError, match="one of answer, skip, mentions"):
        asyncio.run(_entered(dice(on_restart="never")))


async def _entered(bot: Bot) -> None:
    async with bot.running():
        pass
