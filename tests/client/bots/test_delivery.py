"""What a program is told: once, or again until it says that it is done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from chat_client.bots.delivery import TELLINGS_MAX, Delivery, Telling
from chat_client.bots.folder import BotFolder
from chat_protocol.errors import CallerError

EPOCH = b"epoch--1"


def line(seq: int, room: str = "#lobby") -> Telling:
    return Telling({"room": room, "epoch": EPOCH.hex(), "seq": seq, "replayed": False}, room, seq)


class Play:
    """A delivery and the processes it serves: each reads `reads` lines and dies."""

    def __init__(self, path: Path) -> None:
        self.complaints: list[str] = []
        self.folder = BotFolder(path)
        self.delivery = Delivery(self.folder, self.complaints.append)

    async def process(self, reads: int) -> list[tuple[int, bool]]:
        """The seqs that a process reads, and whether they are told again."""
        read: list[tuple[int, bool]] = []
        enough = asyncio.Event()

        async def write(text: str) -> None:
            if len(read) == reads:
                raise BrokenPipeError
            fields = json.loads(text)
            read.append((fields.get("seq", 0), fields.get("replayed", False)))
            if len(read) == reads:
                enough.set()

        feeding = asyncio.create_task(self.delivery.feed(write))
        async with asyncio.timeout(5):
            await enough.wait()
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        return read


def played(test: Callable[[Play], Awaitable[None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        async def play() -> None:
            await test(Play(tmp_path))

        asyncio.run(play())

    return run


@played
async def test_who_never_says_done_is_told_everything_once(play: Play) -> None:
    for seq in (2, 3, 4):
        await play.delivery.tell(line(seq))
    assert await play.process(2) == [(2, False), (3, False)]
    assert await play.process(1) == [(4, False)]
    assert play.folder.handled("#lobby") is None


@played
async def test_who_says_done_is_told_the_rest_again(play: Play) -> None:
    for seq in (2, 3, 4):
        await play.delivery.tell(line(seq))
    assert await play.process(3) == [(2, False), (3, False), (4, False)]
    play.delivery.done("#lobby", "#lobby", 2, EPOCH)
    await play.delivery.tell(line(5))
    assert await play.process(3) == [(3, True), (4, True), (5, False)]


@played
async def test_what_it_is_done_with_lasts(play: Play) -> None:
    await play.delivery.tell(line(2))
    await play.delivery.tell(Telling({"room": "#lobby", "kind": "joined"}))
    await play.process(2)
    play.delivery.done("#lobby", "#lobby", 2, EPOCH)
    again = BotFolder(play.folder.path)
    handled = again.handled("#lobby")
    assert handled is not None
    assert handled.seq == 2
    assert Delivery(again, print).uses_done


@played
async def test_done_never_goes_back(play: Play) -> None:
    await play.delivery.tell(line(2))
    await play.delivery.tell(line(3))
    play.delivery.done("#lobby", "#lobby", 3, EPOCH)
    play.delivery.done("#lobby", "#lobby", 2, EPOCH)
    handled = play.folder.handled("#lobby")
    assert handled is not None
    assert handled.seq == 3


@played
async def test_nobody_is_done_with_what_was_not_told(play: Play) -> None:
    await play.delivery.tell(line(2))
    for room, seq in (("#lobby", 3), ("#lobby", 0), ("#lobby", -1), ("#ops", 2)):
        with pytest.raises(CallerError, match="was not told"):
            play.delivery.done(room, room, seq, EPOCH)


@played
async def test_what_kills_every_process_is_given_up(play: Play) -> None:
    for seq in (2, 3, 4):
        await play.delivery.tell(line(seq))
    await play.process(1)
    play.delivery.done("#lobby", "#lobby", 2, EPOCH)
    assert await play.process(1) == [(3, False)]
    for _ in range(TELLINGS_MAX - 1):
        assert await play.process(1) == [(3, True)]
    assert await play.process(1) == [(4, False)]
    assert play.complaints == [f"line 3 of #lobby is given up: the program died at it {TELLINGS_MAX} times"]
