"""How a bot is tested: `pytest examples`, and so would yours be."""

import re

from chat_testing import LocalChat, chat_test
from examples.dice_bot import bot as dice
from examples.echo_bot import bot as echo


@chat_test(dice)
async def test_it_rolls(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    await alice.say("!roll")
    assert re.fullmatch("alice rolled [1-6]", (await alice.hears("dice")).text)


@chat_test(dice)
async def test_it_knows_its_dice(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    await alice.say("!roll 1")
    await alice.hears("dice", "dice have 2 to 1000 sides: !roll 20")
    await alice.say("!roll please")
    await alice.hears("dice", "Usage: !roll [sides]")


@chat_test(echo)
async def test_it_repeats_what_it_missed(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    await chat.stop(echo)
    await alice.say("!echo don't  panic")
    await chat.start(echo)
    assert (await alice.hears("echo")).text == "alice: don't  panic"


@chat_test(dice, echo)
async def test_they_do_not_disturb_each_other(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    await alice.say("!echo !roll")
    await alice.hears("echo", "alice: !roll")
    await alice.say("!help echo")
    await alice.hears("echo", "text: the rest of the line")
    await alice.hears_nothing("dice", for_s=0.2)
