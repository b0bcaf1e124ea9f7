"""A bot at work: the rooms it follows, how far it has handled each, its timers.

The lines of one room are handled one after the other, those of different rooms beside each other. How far
a room was handled is written only when the handlers have finished with a line, so that what they were at
when the process died is handled again; `answering` sees to it that nothing is answered twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from chat_client import events as ev
from chat_client.bots.answering import Joined
from chat_client.bots.dispatching import Dispatcher
from chat_client.bots.folder import BotFolder
from chat_client.client import ChatClient
from chat_client.events import Event, Line, Link, Notice, RoomOpened
from chat_client.following import NOW, Start
from chat_protocol.errors import Refused, SetupError, Unreachable
from chat_protocol.messages import Cursor, RoomInfo, RoomKind

SAVE_S = 1.0  # how far rooms were read in which there was nothing to do is written so often
GRACE_S = 5.0  # for handlers to finish when the bot is told to stop
WAITING_MAX = 1_000  # lines of a room that wait for its handlers; then the bot hears nothing more for a while

_log = logging.getLogger("chat_client.bot")


@dataclass(slots=True)
class _Room:
    """A room that is followed. Up to seq `missed` lines were said while the bot was away; up to `skips` they
    are of a history that it does not know."""

    missed: int = 0
    skips: int = 0
    is_busy: bool = False
    jobs: asyncio.Queue[Line | Notice | Joined] = field(default_factory=lambda: asyncio.Queue(WAITING_MAX))
    worker: asyncio.Task[None] | None = None


class Runner:
    """Runs a bot over a live ChatClient until it is told to `stop` or the session is over. `ready` is set
    when the rooms that the bot begins with are open."""

    def __init__(
        self, chat: ChatClient, dispatcher: Dispatcher, folder: BotFolder, rooms: Iterable[str]
    ) -> None:
        self.ready = asyncio.Event()
        self._chat = chat
        self._dispatcher = dispatcher
        self._folder = folder
        self._first_rooms = list(rooms)
        self._rooms: dict[str, _Room] = {}
        self._added: set[str] = set()  # rooms that came while the bot was here
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Finish what handlers are at, and end `run`."""
        self._stopped.set()

    async def run(self) -> ev.LinkChanged | None:
        """The end of the session if the broker ended it; None if it was told to stop."""
        reading = asyncio.create_task(self._read())
        stopped = asyncio.create_task(self._stopped.wait())
        self._begin(self._open_first())
        self._begin(self._save_often())
        for timer in self._dispatcher.handlers.timers:
            self._begin(self._tick(timer.every_s, timer.function))
        try:
            await asyncio.wait((reading, stopped), return_when=asyncio.FIRST_COMPLETED)
            await self._finish()
            return reading.result() if reading.done() else None
        finally:
            for task in (reading, stopped, *self._tasks, *self._workers()):
                task.cancel()
            await asyncio.gather(reading, stopped, *self._tasks, *self._workers(), return_exceptions=True)
            self._save()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a part of the bot has failed", exc_info=task.exception())

    def _workers(self) -> list[asyncio.Task[None]]:
        return [room.worker for room in self._rooms.values() if room.worker is not None]

    async def _finish(self) -> None:
        """Let handlers that are at work come to their end, for a while."""
        self._stopped.set()
        busy = [room.worker for room in self._rooms.values() if room.is_busy and room.worker is not None]
        if busy:
            await asyncio.wait(busy, timeout=GRACE_S)

    # ------------------------------------------------------------------ rooms

    async def _open_first(self) -> None:
        """The rooms it was told of, and those that are its own: private and direct ones."""
        infos = {info.title.lower(): info for info in await self._infos()}
        mine = [info.title for info in infos.values() if info.member]
        wanted = dict.fromkeys(name.lower() for name in (*self._first_rooms, *mine))
        ids = {name: infos[name].room if name in infos else name for name in wanted}
        await asyncio.gather(*(self._open(ids[name], name) for name in wanted))
        self.ready.set()

    async def _infos(self) -> list[RoomInfo]:
        while True:
            try:
                return await self._chat.rooms()
            except Unreachable as error:
                _log.warning("%s", error)
            except Refused as error:
                _log.warning("the broker does not tell its rooms: %s", error)
                return []

    async def _open(self, room: str, title: str) -> None:
        start: Start = NOW
        if not self._skips(room):
            handled = self._folder.handled(room)
            if handled is not None:
                start = Cursor(bytes.fromhex(handled.epoch), handled.seq)
            elif title.startswith("@"):
                start = 0  # what was said to the bot alone is for it, all of it
        try:
            await self._chat.open(title, start)
        except Refused as error:
            _log.warning("%s is not followed: %s", title, error)
        except Unreachable:
            pass  # the session goes on trying

    def _skips(self, room: str) -> bool:
        """Whether what was said in a room before it was opened is of no interest."""
        return self._dispatcher.on_restart == "skip" and room not in self._added

    def _opened(self, opened: RoomOpened) -> None:
        room = self._rooms.get(opened.room)
        if room is None:
            room = self._rooms[opened.room] = _Room()
            room.worker = asyncio.create_task(self._work(room))
            _log.info("%s is in %s", self._chat.name, opened.title)
        if opened.resumed:
            return
        room.missed = 0 if opened.room in self._added else opened.head
        handled, epoch = self._folder.handled(opened.room), self._chat.epoch
        if self._skips(opened.room):
            self._folder.move(opened.room, epoch, opened.head)
        elif handled is None:
            self._folder.move(opened.room, epoch, 0 if opened.kind is RoomKind.DIRECT else opened.head)
        elif handled.epoch != epoch.hex():
            _log.warning(
                "the broker's history was reset or restored; in %s only new lines count", opened.title
            )
            room.skips = opened.head
            self._folder.move(opened.room, epoch, opened.head)
        self._save()

    # ------------------------------------------------------------------ what happens

    async def _read(self) -> ev.LinkChanged:
        async for event in self._chat.events():
            await self._take(event)
            if isinstance(event, ev.LinkChanged) and event.link is Link.CLOSED:
                return event
        raise AssertionError("the last event is the end of the session")

    async def _take(self, event: Event) -> None:
        match event:
            case Line() | Notice():
                await self._rooms[event.room].jobs.put(event)
            case RoomOpened():
                self._opened(event)
            case ev.PresenceChanged(room=room, title=title, joined=joined) if room in self._rooms:
                for name in joined if self._dispatcher.handlers.joins else ():
                    if name != self._chat.name:
                        await self._rooms[room].jobs.put(Joined(name, title, self._dispatcher.mouth))
            case ev.RoomAdded(room=room, title=title):
                self._added.add(room)
                self._begin(self._open(room, title))
            case ev.RoomClosed(title=title, text=text):
                _log.warning("%s is no longer followed: %s", title, text)
            case ev.Lost(title=title, first=first, last=last):
                _log.warning(
                    "lines %d to %d of %s are no longer kept, and were not handled", first, last, title
                )
            case ev.LinkChanged(link=Link.OFFLINE, reason=reason):
                _log.warning("no link to the broker (%s); trying again", reason)

    async def _work(self, room: _Room) -> None:
        """One room's lines, one after the other."""
        while not self._stopped.is_set():
            job = await room.jobs.get()
            room.is_busy = True
            try:
                if isinstance(job, Joined):
                    await self._dispatcher.joined(job)
                else:
                    await self._entry(room, job)
            finally:
                room.is_busy = False

    async def _entry(self, room: _Room, entry: Line | Notice) -> None:
        if entry.seq <= room.skips and entry.epoch == self._chat.epoch:
            return
        ran = self._dispatcher.ran
        if isinstance(entry, Line):
            missed = entry.seq <= room.missed
            fine = await self._dispatcher.line(entry, own=entry.own, missed=missed)
            if not fine and self._chat.closed is not None:
                return  # it may have failed for that, and is to be handled again
        self._folder.move(entry.room, entry.epoch, entry.seq)
        if self._dispatcher.ran != ran:
            self._save()

    # ------------------------------------------------------------------ time

    async def _tick(self, every_s: float, function: Any) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + every_s
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + every_s, loop.time())  # a time that was missed is not made up for
            await self._dispatcher.timer(function)

    async def _save_often(self) -> None:
        while True:
            await asyncio.sleep(SAVE_S)
            self._save()

    def _save(self) -> None:
        try:
            self._folder.save()
        except SetupError as error:
            _log.error("%s; after a restart lines are handled again", error)
