"""People who talk to a real broker while something happens to its storage, and what must be there then."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from chat_broker.log import SERVER_ROOM, entries_after
from chat_broker.sqlite_log import SqliteLog
from chat_client import ChatClient
from chat_client.events import Failed, Stored
from chat_protocol.codec import line_text
from chat_protocol.errors import ChatError
from tests.integration.bench import Bench, Broker
from tests.proof.results import Proof

LOBBY, OPS = "#lobby", "#ops"
FAILURES = (AssertionError, ChatError, subprocess.SubprocessError)  # of whatever was expected
FAST = ("--lines-per-s", "1000000")  # a broker that holds nobody back
WAIT_S = 60.0  # for anything, on a busy machine
PACE_S = 0.01


class Said(NamedTuple):
    """A line as a room's log holds it."""

    seq: int
    sender: str
    text: str


class Talker:
    """Somebody who says numbered lines in rooms in turn, and remembers what became of each.

    With `once` each line carries a key, so that a later process may say it again.
    """

    def __init__(self, name: str, rooms: tuple[str, ...] = (LOBBY,), *, once: bool = False) -> None:
        self.name = name
        self.rooms = rooms
        self.said: dict[str, list[str]] = {room: [] for room in rooms}
        self.places: dict[str, dict[str, int]] = {room: {} for room in rooms}  # of what was acknowledged
        self.failures: list[Failed] = []
        self.acknowledged = 0
        self._once = once
        self._waiting: dict[int, tuple[str, str]] = {}  # ref -> room, text
        self._chat: ChatClient
        self._listening: asyncio.Task[None]

    async def enter(self, chat: ChatClient) -> None:
        """Go on with a client that is connected, and say again what is unanswered."""
        again, self._waiting = list(self._waiting.values()), {}
        self._chat = chat
        self._listening = asyncio.create_task(self._listen())
        for room, text in again:
            self._post(room, text)

    async def create(self, room: str) -> None:
        await self._chat.create(room)

    async def leave(self) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self._chat.__aexit__()

    def say(self, count: int = 1) -> None:
        for _ in range(count):
            number = sum(map(len, self.said.values()))
            room = self.rooms[number % len(self.rooms)]
            text = f"{self.name} {number} " + "x" * (number % 7 * 15)
            self.said[room].append(text.strip())
            self._post(room, text.strip())

    def _post(self, room: str, text: str) -> None:
        key = hashlib.sha256(text.encode()).digest()[:16] if self._once else None
        self._waiting[self._chat.post(text, room, once=key)] = room, text

    async def talk(self, *, window: int = 100, lines: int = 5) -> None:
        """Say `lines` every hundredth of a second, while fewer than `window` are unanswered."""
        while True:
            if self.unanswered < window:
                self.say(lines)
            await asyncio.sleep(PACE_S)

    @property
    def unanswered(self) -> int:
        return len(self._waiting)

    async def _listen(self) -> None:
        async for event in self._chat.events():
            match event:
                case Stored(ref, position):
                    room, text = self._waiting.pop(ref)
                    self.places[room][text] = position.seq
                    self.acknowledged += 1
                case Failed(ref):
                    self._waiting.pop(ref)
                    self.failures.append(event)


async def enter(bench: Bench, broker: Broker, *talkers: Talker) -> None:
    """Connect talkers, with the patience to sit out any restart."""
    for talker in talkers:
        chat = bench.sdk(talker.name, broker, rooms=(), timeout_s=WAIT_S)
        await chat.__aenter__()
        await talker.enter(chat)


async def until(what: str, condition: Callable[[], object], limit_s: float = WAIT_S) -> None:
    """Wait for something; raises AssertionError when the limit has passed."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s:g} s in vain for {what}")
        await asyncio.sleep(PACE_S)


async def answered(talkers: Iterable[Talker]) -> None:
    """Wait until each line has its answer."""
    people = list(talkers)
    await until("answers to everybody", lambda: not any(one.unanswered for one in people))


async def ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task


# --------------------------------------------------------------------------- what there is


async def tail(bench: Bench, broker: Broker | str, person: str, room: str) -> list[Said]:
    """All lines of a room, as `chat-client tail` prints them."""
    options = ("tail", "--room", room, "--since", "all", "--no-follow", "--json")
    done = await asyncio.to_thread(bench.client, person, broker, *options, limit_s=600)
    assert done[0] == 0, f"tail ended with {done[0]}: {done[2]}"
    rows = [json.loads(row) for row in done[1].splitlines()]
    return [Said(row["seq"], row["from"], row["text"]) for row in rows if row["kind"] == "line"]


def stored(folder: Path) -> dict[str, list[Said]]:
    """All lines in the log of a stopped broker, by room."""
    with closing(SqliteLog(folder)) as log:
        return {room: _lines(log, room) for room in log.rooms() if room != SERVER_ROOM}


def _lines(log: SqliteLog, room: str) -> list[Said]:
    lines = ((entry, line_text(entry)) for entry in entries_after(log, room, 0))
    return [Said(entry.seq, entry.sender, text) for entry, text in lines if text is not None]


def check(proof: Proof, there: dict[str, list[Said]], talkers: Iterable[Talker]) -> None:
    """Every acknowledged line once, where it was said to be; no refused one; each sender's own order."""
    for talker in talkers:
        refused = {(failure.room, failure.text) for failure in talker.failures if not failure.unknown}
        for room in talker.rooms:
            places = talker.places[room]
            proof.acknowledged += len(places)
            its = [said for said in there.get(room, []) if said.sender == talker.name]
            seqs = {said.text: said.seq for said in its}
            proof.lost += sum(seqs.get(text) != seq for text, seq in places.items())
            proof.doubled += sum(count - 1 for count in Counter(said.text for said in its).values())
            order = {text: number for number, text in enumerate(talker.said[room])}
            numbers = [order[said.text] for said in its if said.text in order]
            proof.disordered += sum(b < a for a, b in pairwise(numbers))
            kept = [said.text for said in its if (room, said.text) in refused]
            if kept:
                proof.violations.append(
                    f"{len(kept)} lines of {talker.name} were refused and stored, as {kept[0]!r}"
                )
            strange = len(its) - len(numbers)
            if strange:
                proof.violations.append(f"{strange} lines of {talker.name} were never said")
