"""How far somebody has read, on two devices and across restarts of a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from chat_client import ChatClient
from chat_client.events import Event, ReadMarker
from chat_testing import LocalBroker

PATIENCE_S = 10.0


async def hears(chat: ChatClient, fits: Callable[[Event], bool]) -> Event:
    async with asyncio.timeout(PATIENCE_S):
        async for event in chat.events():
            if fits(event):
                return event
    raise AssertionError("the session ended")


def is_at(seq: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, ReadMarker) and (event.title, event.seq) == ("#lobby", seq)


def test_a_second_device_knows(tmp_path: Path) -> None:
    async def play() -> None:
        with LocalBroker(tmp_path / "broker") as broker:
            home = tmp_path / "alice"
            async with (
                ChatClient("alice", broker.url, home=home) as laptop,
                ChatClient("alice", broker.url, home=home) as phone,
            ):
                for number in range(5):
                    position = await laptop.say(f"line {number}")
                for seq in range(1, position.seq):
                    laptop.mark_read("#lobby", seq)
                await hears(phone, is_at(position.seq - 1))
                laptop.mark_read("#lobby", position.seq)  # and leaves at once
            broker.stop()
            broker.start()
            async with ChatClient("alice", broker.url, home=home) as phone:
                await hears(phone, is_at(position.seq))

    asyncio.run(play())


def test_what_is_read_while_the_broker_is_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    async def play() -> None:
        with LocalBroker(tmp_path / "broker") as broker:
            home = tmp_path / "alice"
            async with (
                ChatClient("alice", broker.url, home=home) as laptop,
                ChatClient("alice", broker.url, home=home) as phone,
            ):
                position = await laptop.say("hello")
                broker.stop()
                laptop.mark_read("#lobby", position.seq)
                broker.start()
                await hears(phone, is_at(position.seq))

    asyncio.run(play())
