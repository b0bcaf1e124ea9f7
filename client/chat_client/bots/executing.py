"""`chat-client exec`: any program as a bot. What happens goes to its stdin, what it writes is said."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from chat_client import events as ev
from chat_client.bots.answering import OWN_HOPS
from chat_client.bots.delivery import Delivery, Telling, Write
from chat_client.bots.directives import Done, Saying, read_directive
from chat_client.bots.folder import BotFolder
from chat_client.bots.program import Program
from chat_client.client import ChatClient, failure
from chat_client.entries_json import entry_fields
from chat_client.events import Event, Line, Link, Notice
from chat_client.following import NOW, Start
from chat_client.outcome import Outcome, outcome_of_closing
from chat_protocol.errors import CallerError, Refused, Unreachable
from chat_protocol.messages import HOPS_MAX, Cursor, RoomKind

REMEMBERED_MAX = 10_000  # lines that may be answered
UNANSWERED_MAX = 1_000  # lines said and not stored yet; then the program is not listened to
ANSWERING_S = 60.0  # what is said so soon after a line was told may be in answer to it

RESUME = "resume"


class Executor:
    """Runs a program over a live client that follows no room yet. `since`: where to begin in the first
    rooms; RESUME goes on after what the program was done with, else with what comes now."""

    def __init__(
        self,
        chat: ChatClient,
        command: Sequence[str],
        rooms: Sequence[str],
        *,
        since: Start,
        timeout_s: float,
        complain: Callable[[str], None],
    ) -> None:
        self._chat = chat
        self._rooms = list(rooms)
        self._since = since
        self._timeout_s = timeout_s
        self._complain = complain
        self._folder = BotFolder.of(chat.home, chat.broker_key, chat.name)
        self._delivery = Delivery(self._folder, complain)
        self._program = Program(
            command, env={"CHAT_NAME": chat.name}, feed=self._feed, said=self._said, complain=complain
        )
        self._told: OrderedDict[tuple[str, int], Line] = OrderedDict()  # by title and seq
        self._ids: dict[str, str] = {}  # title -> room id
        self._answers: dict[tuple[str, int], int] = {}  # by line: how many so far
        self._newest_hops = 0
        self._newest_at = float("-inf")
        self._closed: ev.LinkChanged | None = None

    async def run(self) -> Outcome:
        """Until the program has finished, or the session is over."""
        await self._follow()
        reading = asyncio.create_task(self._read())
        running = asyncio.create_task(self._program.run())
        try:
            await asyncio.wait((reading, running), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            else:
                running.result()
                await self._settle()
                return Outcome.UNKNOWN if self._chat.unanswered() else Outcome.DONE
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            self._folder.save()
        return outcome_of_closing(self._closed) if self._closed else Outcome.DONE

    # ------------------------------------------------------------------ rooms

    async def _follow(self) -> None:
        """The rooms asked for, and this account's own. Raises Refused for one asked for that may not be."""
        infos = {info.title.lower(): info for info in await self._chat.rooms()}
        asked = [name.lower() for name in self._rooms]
        for name in dict.fromkeys([*asked, *(info.title for info in infos.values() if info.member)]):
            room = infos[name].room if name in infos else name
            await self._chat.open(name, self._start(room, name in asked))

    def _start(self, room: str, is_asked: bool) -> Start:
        if is_asked and self._since != RESUME:
            return self._since
        handled = self._folder.handled(room)
        return Cursor(bytes.fromhex(handled.epoch), handled.seq) if handled else NOW

    # ------------------------------------------------------------------ to the program

    async def _read(self) -> None:
        async for event in self._chat.events():
            await self._take(event)

    async def _take(self, event: Event) -> None:
        match event:
            case Line() if not event.own:
                self._remember(event)
                extra = {"bot": event.by_bot, "hops": event.hops, "replayed": event.replayed}
                await self._delivery.tell(Telling({**entry_fields(event), **extra}, event.room, event.seq))
            case Notice() if event.text:
                fields = {**entry_fields(event), "replayed": False}
                await self._delivery.tell(Telling(fields, event.room, event.seq))
            case ev.PresenceChanged(title=title, joined=joined, left=left):
                for kind, names in (("joined", joined), ("left", left)):
                    for name in names:
                        await self._delivery.tell(Telling({"room": title, "from": name, "kind": kind}))
            case ev.RoomOpened(room=room, title=title):
                self._ids[title.lower()] = room
            case ev.RoomAdded(title=title, kind=kind):
                try:
                    await self._chat.open(title, 0 if kind is RoomKind.DIRECT else NOW)
                except (Refused, Unreachable) as error:
                    self._complain(f"{title} is not followed: {error}")
            case ev.Failed(text=text):
                self._complain(f"not said: {text!r}: {failure(event)}")
            case _:
                self._note(event)

    def _note(self, event: Event) -> None:
        match event:
            case ev.Lost(title=title, first=first, last=last):
                self._complain(f"entries {first} to {last} of {title} are no longer kept")
            case ev.EpochChanged(title=title):
                self._complain(f"the broker's history was reset or restored; {title} is told afresh")
            case ev.RoomClosed(title=title, text=text):
                self._complain(f"{title} is no longer followed: {text}")
            case ev.LinkChanged(link=Link.OFFLINE, reason=reason):
                self._complain(f"offline ({reason}); trying again")
            case ev.LinkChanged(link=Link.CLOSED, reason=reason):
                self._complain(reason)
                self._closed = event

    def _remember(self, line: Line) -> None:
        self._told[line.title.lower(), line.seq] = line
        while len(self._told) > REMEMBERED_MAX:
            self._told.popitem(last=False)
        self._newest_hops, self._newest_at = line.hops, asyncio.get_running_loop().time()

    async def _feed(self, write: Write) -> None:
        """A process of the program begins: its answers to a line are counted anew."""
        self._answers.clear()
        await self._delivery.feed(write)

    # ------------------------------------------------------------------ from the program

    async def _said(self, line: str) -> None:
        if not line.strip():
            return
        try:
            match read_directive(line):
                case Saying() as saying:
                    self._say(saying)
                case Done(done=seq, room=room):
                    self._done(self._named(room), seq)
        except CallerError as error:
            self._complain(f"{self._program.name}: {error}")
        await self._until_unanswered(UNANSWERED_MAX)

    def _named(self, room: str) -> str:
        """A room as it was told; the first one if none is named."""
        if not room:
            return self._rooms[0]
        return room if room.startswith(("#", "@")) else f"#{room}"

    def _say(self, saying: Saying) -> None:
        """Raises CallerError for what cannot be said."""
        room = self._named(saying.room)
        once = None
        hops = OWN_HOPS
        if saying.answers:
            key = room.lower(), saying.answers
            line = self._told.get(key)
            if line is None:
                raise CallerError(f"line {saying.answers} of {room} was not told, and cannot be answered")
            self._answers[key] = count = self._answers.get(key, 0) + 1
            once, hops = line.answer_key(f"exec {count}"), line.hops + 1
        elif asyncio.get_running_loop().time() < self._newest_at + ANSWERING_S:
            hops = self._newest_hops + 1
        if hops > HOPS_MAX:
            raise CallerError(f"bots have answered each other {HOPS_MAX} times in a row; nothing is said")
        self._chat.post(saying.text, room, once=once, hops=hops)

    def _done(self, room: str, seq: int) -> None:
        self._delivery.done(self._ids.get(room.lower(), room), room, seq, self._chat.epoch)

    async def _until_unanswered(self, fewer_than: int) -> None:
        """Wait until fewer lines are on their way. The event that tells of one may stand behind what the
        program does not read, so nothing waits for that."""
        while self._chat.unanswered() >= fewer_than and self._chat.closed is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def _settle(self) -> None:
        """The program has finished: what it said last may still be on its way."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._until_unanswered(1)
        except TimeoutError:
            self._complain(f"{self._chat.unanswered()} lines are not known to be stored")
