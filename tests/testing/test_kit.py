"""The testing kit: what a bot's author relies on."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import pytest

from chat_client import Bot
from chat_client.bot import HeardLine
from chat_testing import LocalChat, chat_test, running_chat

parrot = Bot("parrot")


@parrot.command("say", help="say it again")
async def say_again(line: HeardLine, *, text: str) -> None:
    await line.reply(text)


@chat_test(parrot)
async def test_five_lines_are_enough(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    await alice.say("!say hello")
    assert (await alice.hears("parrot")).text == "hello"


@chat_test(parrot)
async def test_fixtures_come_as_ever(chat: LocalChat, tmp_path: Path) -> None:
    assert tmp_path not in chat.folder.parents


def test_pytest_sees_a_plain_test_with_its_fixtures() -> None:
    assert list(inspect.signature(test_fixtures_come_as_ever).parameters) == ["tmp_path"]
    assert not inspect.iscoroutinefunction(test_five_lines_are_enough)


@chat_test()
async def test_people_hear_each_other_in_rooms_and_alone(chat: LocalChat) -> None:
    alice, bob = await chat.person("alice"), await chat.person("bob")
    await alice.chat.create("#plans", private=True)
    await alice.chat.open("#plans")
    await alice.chat.add("#plans", "bob")
    await alice.say("secret", "#plans")
    await alice.say("psst", to="bob")
    assert (await bob.hears("alice", "psst")).title == "@alice"
    assert (await bob.chat.history("#plans", 0))[-1].text == "secret"


@chat_test()
async def test_what_does_not_come_is_told_with_what_did(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    await alice.say("hello")
    await alice.hears("alice")
    with pytest.raises(AssertionError, match=r"(?s)did not hear 'x' from bob within 0.05 s.*alice: hello"):
        await alice.hears("bob", "x", within_s=0.05)
    await alice.say("again")
    with pytest.raises(AssertionError, match="heard alice say 'again', and should not have"):
        await alice.hears_nothing("alice", for_s=10)


@chat_test(parrot)
async def test_the_broker_can_be_away_for_a_while(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    await alice.say("!say one")
    await alice.hears("parrot", "one")
    chat.broker.stop()
    saying = asyncio.create_task(alice.say("!say two"))
    chat.broker.start()
    await saying
    await alice.hears("parrot", "two")


@chat_test(parrot)
async def test_a_bot_can_be_away_for_a_while(chat: LocalChat) -> None:
    alice = await chat.person("alice")
    await chat.stop(parrot)
    await alice.say("!say one")
    await alice.hears_nothing("parrot", for_s=0.1)
    await chat.start(parrot)
    await alice.hears("parrot", "one")


def test_it_is_a_context_manager_too() -> None:
    async def play() -> Path:
        async with running_chat(parrot) as chat:
            await (await chat.person("alice")).say("!say hi")
            return chat.folder

    assert not asyncio.run(play()).exists()


def test_a_test_that_waits_for_ever_ends() -> None:
    @chat_test(timeout_s=0.5)
    async def test(chat: LocalChat) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        test()


def test_what_a_test_raises_comes_out() -> None:
    @chat_test(parrot)
    async def test(chat: LocalChat) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        test()
