"""What a program under `exec` is told, and how far it is done.

A program that says so ("done") is told again what it was not done with when it died, also by a later
process. What it dies at again and again is given up, so that one line does not hold up all others. One that
never says so is told everything once.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chat_client.bots.folder import BotFolder
from chat_protocol.errors import CallerError

Write = Callable[[str], Awaitable[None]]

UNTOLD_MAX = 1_000  # what the program has not read; then nothing more is heard for a while
UNDONE_MAX = 10_000  # of one room; what is older counts as done
TELLINGS_MAX = 3  # of a line at which the program died each time


@dataclass(frozen=True, slots=True)
class Telling:
    """Something to tell the program; `room` is the id of its room, "" for what is no entry."""

    fields: dict[str, object]
    room: str = ""
    seq: int = 0

    @property
    def title(self) -> str:
        return str(self.fields["room"])


class Delivery:
    """One program's; `feed` serves its processes, one after the other."""

    def __init__(self, folder: BotFolder, complain: Callable[[str], None]) -> None:
        self._folder = folder
        self._complain = complain
        self._untold: asyncio.Queue[Telling] = asyncio.Queue(UNTOLD_MAX)
        self._next: Telling | None = None  # taken from there, and not told yet
        self._undone: dict[str, deque[Telling]] = {}  # by room id
        self._newest: dict[str, int] = {}  # by room id: the newest seq to be told
        self._died_at: tuple[str, int] = ("", 0)
        self._deaths = 0
        self.uses_done = folder.has_handled

    async def tell(self, telling: Telling) -> None:
        """Have the program told; waits while too much waits already."""
        if telling.room:
            self._newest[telling.room] = telling.seq
        await self._untold.put(telling)

    async def feed(self, write: Write) -> None:
        """Give one process all that it is to be told, beginning with what none is done with. Goes on until
        it is cancelled, or `write` raises."""
        if self.uses_done:
            self._give_up_what_kills()
            for waiting in self._undone.values():
                for telling in list(waiting):
                    await write(_line({**telling.fields, "replayed": True}))
        while True:
            if self._next is None:
                self._next = await self._untold.get()
            await self._write_next(write, self._next)
            self._next = None

    async def _write_next(self, write: Write, telling: Telling) -> None:
        """It may be done with before `write` returns; if that raises, it was not told."""
        waiting = self._undone.setdefault(telling.room, deque(maxlen=UNDONE_MAX))
        if telling.room:
            waiting.append(telling)
        try:
            await write(_line(telling.fields))
        except BaseException:
            if waiting and waiting[-1] is telling:
                waiting.pop()
            raise

    def done(self, room: str, title: str, seq: int, epoch: bytes) -> None:
        """The program is done with a room up to `seq`. Raises CallerError for what it was not told."""
        if not 0 < seq <= self._newest.get(room, 0):
            raise CallerError(f"line {seq} of {title} was not told, and cannot be done")
        self.uses_done = True
        waiting = self._undone.get(room, deque())
        while waiting and waiting[0].seq <= seq:
            waiting.popleft()
        handled = self._folder.handled(room)
        if handled is None or handled.epoch != epoch.hex() or handled.seq < seq:
            self._folder.move(room, epoch, seq)
            self._folder.save()

    def _give_up_what_kills(self) -> None:
        """See at what the last process died, if it was done with all before."""
        oldest = next((waiting[0] for waiting in self._undone.values() if waiting), None)
        if oldest is None or (oldest.room, oldest.seq) != self._died_at:
            self._died_at, self._deaths = (oldest.room, oldest.seq) if oldest else ("", 0), 1
            return
        self._deaths += 1
        if self._deaths >= TELLINGS_MAX:
            where = f"line {oldest.seq} of {oldest.title}"
            self._complain(f"{where} is given up: the program died at it {self._deaths} times")
            self.done(oldest.room, oldest.title, oldest.seq, bytes.fromhex(str(oldest.fields["epoch"])))


def _line(fields: dict[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False)
