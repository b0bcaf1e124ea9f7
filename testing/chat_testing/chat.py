"""A chat for one test: a broker, the people in it, and the bots under test."""

from __future__ import annotations

import asyncio
import functools
import inspect
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from chat_broker.settings import Settings
from chat_client import Bot, ChatClient
from chat_protocol.messages import LOBBY
from chat_testing.broker import LocalBroker
from chat_testing.person import Person

TEST_S = 60.0  # for a test that waits for what never comes


class LocalChat:
    """What a test gets. `broker` can be stopped and started; `folder` holds everything."""

    def __init__(self, broker: LocalBroker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self._people = AsyncExitStack()
        self._bots: dict[Bot, AsyncExitStack] = {}

    async def person(self, name: str, *rooms: str) -> Person:
        """Somebody comes in, into these rooms (else the lobby), and hears what is said from now on."""
        chat = ChatClient(
            name, self.broker.url, rooms=rooms or (LOBBY,), start="now", home=self.folder / "people" / name
        )
        person = Person(await chat.__aenter__())
        self._people.push_async_callback(person.leave)
        return person

    async def start(self, bot: Bot) -> None:
        """Run a bot; it is in its rooms when this returns. Its state is kept from one start to the next."""
        running = self._bots[bot] = AsyncExitStack()
        await running.enter_async_context(
            bot.running(broker=self.broker.url, home=self.folder / "bots" / bot.name)
        )

    async def stop(self, bot: Bot) -> None:
        """End a bot as SIGTERM does."""
        await self._bots.pop(bot).aclose()

    async def close(self) -> None:
        for bot in list(self._bots):
            await self.stop(bot)
        await self._people.aclose()


@asynccontextmanager
async def running_chat(*bots: Bot, settings: Settings | None = None) -> AsyncIterator[LocalChat]:
    """A chat with these bots in it, for as long as the block runs; for tests that have an event loop."""
    with (
        tempfile.TemporaryDirectory(prefix="chat-testing-") as name,
        LocalBroker(Path(name) / "broker", settings) as broker,
    ):
        chat = LocalChat(broker, Path(name))
        try:
            for bot in bots:
                await chat.start(bot)
            yield chat
        finally:
            await chat.close()


def chat_test(
    *bots: Bot, settings: Settings | None = None, timeout_s: float = TEST_S
) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Make an `async def test_…(chat)` a test that pytest can run: `chat` is a LocalChat with these bots in
    it. Further arguments are pytest's fixtures, as ever."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            async def play() -> None:
                async with asyncio.timeout(timeout_s), running_chat(*bots, settings=settings) as chat:
                    await test(chat, **fixtures)

            asyncio.run(play())

        signature = inspect.signature(test)
        del run.__dict__["__wrapped__"]  # or pytest would look for a fixture called chat
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what inspect and pytest read
            parameters=list(signature.parameters.values())[1:], return_annotation=None
        )
        return run

    return decorate
