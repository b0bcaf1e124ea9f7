"""What a line client does with what was typed and what happened, whatever its screen.

Typed lines go in, one at a time and in order; rows come out through `show`. A command is carried out
before the next line is looked at, so that a line after `/join` is said in the room that was joined.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from enum import Enum

from chat_client import slash
from chat_client.events import Failed, Line, Link, LinkChanged, Notice, RoomAdded
from chat_client.front import Chat
from chat_client.outcome import Outcome, outcome_of
from chat_client.rows import Row, clean_name, clean_names, plural, who_is
from chat_client.slash import Command, ScreenCommand
from chat_client.transcript import PendingState, Transcript
from chat_protocol.errors import CallerError, ChatError, Code, Refused
from chat_protocol.messages import RoomInfo, RoomKind
from chat_protocol.names import clean_text

UNANSWERED_MAX = 4_000
EVENTS_IN_A_ROW_MAX = 100

_KIND_WORDS = {RoomKind.PUBLIC: "public", RoomKind.PRIVATE: "private", RoomKind.DIRECT: "direct"}


class Next(Enum):
    """What is to be done after a typed line."""

    GO_ON = "go on"
    LEAVE = "leave"
    STOP = "stop"  # not where the lines that follow were meant to be said


class Conversation:
    """One account's talk through `chat`, from `start` until `closed` or a command to leave.

    `listen` must run all the while, begun just after `start` so that the first lines already count as
    those of the current room: it is what shows things, and what `settle` waits for. A screen that knows
    commands of its own brings `obey`, which may raise CallerError.
    """

    def __init__(
        self,
        chat: Chat,
        show: Callable[[Sequence[Row]], None],
        *,
        clock: Callable[[], float] = time.time,
        tz: tzinfo | None = None,
        obey: Callable[[ScreenCommand], None] | None = None,
    ) -> None:
        self.transcript = Transcript(chat.name, now=clock(), tz=tz, apart=obey is not None)
        self.transcript.link = chat.link
        self.closed: LinkChanged | None = None
        self.outcome = Outcome.DONE
        self.rooms_seen: list[str] = []
        self._chat = chat
        self._show = show
        self._clock = clock
        self._obey_screen = obey
        self._verbs = slash.VERBS if obey is None else slash.SCREEN_VERBS
        self._changed = asyncio.Event()
        self._opening: set[asyncio.Task[None]] = set()

    # ----------------------------------------------------------------------- what happens

    async def listen(self) -> None:
        """Show what happens until the session is closed; `closed` then says why."""
        try:
            count = 0
            async for event in self._chat.events():
                self._show(self.transcript.receive(event, self._clock()))
                self._changed.set()
                match event:
                    case RoomAdded():
                        self._follow(event)
                    case Failed(unknown=unknown):
                        self._worsen(Outcome.UNKNOWN if unknown else Outcome.REFUSED)
                    case LinkChanged(link=Link.CLOSED):
                        self.closed = event
                        return
                count += 1
                if count % EVENTS_IN_A_ROW_MAX == 0:
                    await asyncio.sleep(0)  # a flood of events leaves room for what is being typed
            self.closed = LinkChanged(Link.CLOSED)
        finally:
            self._changed.set()
            for task in self._opening:
                task.cancel()

    def _follow(self, event: RoomAdded) -> None:
        if not self.transcript.find(event.title) and self.transcript.expected != event.title.lower():
            task = asyncio.create_task(self._open_added(event.title))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open_added(self, title: str) -> None:
        try:
            await self.follow(title)
        except ChatError as error:
            self._problem(f"{title} could not be opened: {error}")

    # ----------------------------------------------------------------------- beginning and end

    async def start(self, room: str, *, person: bool) -> None:
        """Go to the first room; a person is told how things are done. Raises BadName, Refused or
        Unreachable."""
        if person:
            self._answer("Enter says what you typed; /help shows more, exit leaves.")
        await self._enter(slash.room_name(room))

    async def settle(self, answered_s: float, shown_s: float) -> None:
        """Wait until every line said is stored or failed, then a little until it was shown as well; what is
        still unanswered then has an unknown outcome, and is named."""
        await self._until(lambda: self.transcript.unanswered == 0, answered_s)
        if self.transcript.unanswered == 0:
            await self._until(lambda: not self.transcript.pending, shown_s)
        for line in self.transcript.pending:
            if line.state is PendingState.SENDING:
                self._worsen(Outcome.UNKNOWN)
                self._show(self.transcript.given_up(line, self._clock()))

    async def _until(self, true: Callable[[], bool], within_s: float | None) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not true() and self.closed is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass  # the caller looks at what is left

    # ----------------------------------------------------------------------- what was typed

    async def take(self, typed: str, room: str = "") -> Next:
        """Carry out one typed line; what is said is said in `room` ("" is the current one). After
        `Next.STOP`, what was meant to follow is best not said: it would be said in another room."""
        command = slash.parse(typed, self._verbs)
        if command is None:
            return Next.GO_ON
        if isinstance(command, slash.Exit):
            return Next.LEAVE
        try:
            await self._obey(command, room)
        except ChatError as error:
            self._worsen(outcome_of(error))
            self._problem(str(error))
            return Next.STOP if isinstance(command, slash.Going) else Next.GO_ON
        await self._until(lambda: self.transcript.unanswered < UNANSWERED_MAX, None)
        return Next.GO_ON

    async def _obey(self, command: Command, room: str) -> None:
        match command:
            case slash.Say(text):
                self._say(text, room or self._here())
            case slash.Users(where):
                await self._users(where)
            case slash.Rooms():
                await self._list_rooms()
            case slash.Join(target):
                await self.go(target)
            case slash.Leave():
                await self._leave()
            case slash.Msg(name, text):
                self._say(text, await self.follow(f"@{name}"))
            case slash.Create(new_room, private):
                await self._create(new_room, private)
            case slash.InviteMember(name):
                await self._chat.add(self._private_room(), name)
            case slash.Remove(name):
                await self._chat.remove(self._private_room(), name)
            case slash.History(count):
                await self._history(count)
            case slash.Help():
                self._answer(slash.help_text(self._verbs))
            case slash.Invalid(sentence):
                raise CallerError(sentence)
            case slash.Exit():
                pass  # `take` has seen to it
            case _ if self._obey_screen is not None:
                self._obey_screen(command)

    def stop_reading(self) -> None:
        """Tell that what was to be typed after a `Next.STOP` is not going to be."""
        self._problem("Nothing of what follows is done: it was meant for another room than this")

    def retry(self, ref: int) -> None:
        """Say a line that failed once more; nothing happens if it was said again or given up already.
        Raises BadText."""
        failed = self.transcript.take_failed(ref)
        if failed is not None:
            self._say(failed.text, self.transcript.find(failed.room) or failed.room)

    def looked(self, room: str) -> None:
        """What is shown of a room was looked at."""
        seq = self.transcript.looked(room)
        if seq:
            self._chat.mark_read(room, seq)

    def _say(self, text: str, room: str) -> None:
        clean = clean_text(text)
        self.transcript.posted(self._chat.post(clean, room), room, clean)

    async def _users(self, room: str | None) -> None:
        where = self.transcript.find(room) or room if room else ""
        names = clean_names(await self._chat.users(where))
        self._answer(who_is("connected" if room is None else f"in {room}", names, len(names)))

    async def _list_rooms(self) -> None:
        infos = await self._rooms()
        width = max((len(clean_name(info.title)) for info in infos), default=0)
        here = self.transcript.here
        described = [
            f"{clean_name(info.title):{width}}  {_KIND_WORDS[info.kind]}, {info.count} here"
            f"{', you too' if info.room == here else ''}"
            for info in infos
        ]
        self._answer("\n".join([plural(len(infos), "room", "rooms"), *described]))

    async def _history(self, count: int) -> None:
        room = self._here()
        after = max(0, self.transcript.head - count)
        entries = await self._chat.history(room, after, count)
        self._show(self.transcript.past(entries, self._clock()))

    async def older(self, room: str, before: int, count: int) -> list[Line | Notice]:
        """At most `count` entries with seq < `before`, the newest of those that are still kept. Raises
        Refused or Unreachable."""
        entries = await self._chat.history(room, max(0, before - 1 - count), count)
        return [entry for entry in entries if entry.seq < before]

    # ----------------------------------------------------------------------- going from room to room

    async def go(self, target: str) -> None:
        """Go to a room by a title or a bare word, as /join does. Raises BadName, Refused, Unreachable."""
        await self._enter(await self._resolve(target))

    async def _enter(self, title: str) -> None:
        """Make a room the current one, following it if it was not followed."""
        room = self.transcript.find(title)
        if room:
            self._show(self.transcript.switch(room, self._clock()))
            return
        with self._expecting(title):
            await self.follow(title)

    @contextmanager
    def _expecting(self, title: str) -> Iterator[None]:
        self.transcript.expected = title.lower()
        try:
            yield
        finally:
            self.transcript.expected = ""

    async def follow(self, title: str) -> str:
        """Follow a room if it is not followed yet, and return its id; one stays where one is. Raises BadName,
        Refused or Unreachable."""
        room = self.transcript.find(title)
        if room:
            return room
        opened = await self._chat.open(title)
        self._show(self.transcript.opened(opened, self._clock()))
        return opened.room

    async def _create(self, title: str, private: bool) -> None:
        with self._expecting(title):  # it may be announced before it is said to be made
            await self._chat.create(title, private=private)
        await self._enter(title)

    async def _leave(self) -> None:
        room, title, kind = self._here(), self.transcript.title, self.transcript.kind
        if len(self.transcript.titles) == 1:
            raise CallerError("This is the only room you are in; exit leaves the chat")
        if kind is RoomKind.PRIVATE:
            await self._chat.leave(room)
        else:
            await self._chat.close_room(room)
        others = [each for each in self.transcript.places if each.room != room]
        others.sort(key=lambda each: each.kind is RoomKind.DIRECT)
        self._show(self.transcript.left(room, f"You left {title}", self._clock()))
        if others and not self.transcript.here:
            self._show(self.transcript.switch(others[0].room, self._clock()))

    async def _resolve(self, target: str) -> str:
        """The title behind a bare word: a room or a person. Raises Refused if there is neither."""
        if target[0] in "#@":
            return target
        room, person = slash.room_name(target), f"@{target}"
        is_room = any(info.title == room for info in await self._rooms())
        is_person = target.lower() in (name.lower() for name in await self._chat.users())
        if is_room and is_person:
            raise CallerError(f"There is a room {room} and a person {person}: /join {room} or /join {person}")
        if is_room or is_person:
            return room if is_room else person
        try:
            await self.follow(person)  # somebody who is away just now
        except Refused as error:
            if error.code != Code.NO_SUCH_ACCOUNT:
                raise
            text = f"There is no room {room}, and nobody is called {target}; /create {room} makes the room"
            raise CallerError(text) from None
        return person

    async def _rooms(self) -> list[RoomInfo]:
        infos = await self._chat.rooms()
        self.rooms_seen = [clean_name(info.title) for info in infos]
        return infos

    async def everywhere(self) -> tuple[list[str], list[str]]:
        """The titles of all rooms that one may join, and the names of everyone connected. Raises
        Unreachable."""
        titles = [clean_name(info.title) for info in await self._rooms()]
        return titles, clean_names(await self._chat.users())

    def _here(self) -> str:
        if not self.transcript.here:
            raise CallerError("You are in no room; /rooms lists them, /join ROOM goes to one")
        return self.transcript.here

    def _private_room(self) -> str:
        room = self._here()
        if self.transcript.kind is not RoomKind.PRIVATE:
            raise CallerError(
                f"{self.transcript.title} is not a private room, so nobody is invited or removed"
            )
        return room

    # ----------------------------------------------------------------------- what to say about it

    def _answer(self, text: str) -> None:
        self._show(self.transcript.answer(text, self._clock()))

    def _problem(self, text: str) -> None:
        self._show(self.transcript.problem(text, self._clock()))

    def _worsen(self, outcome: Outcome) -> None:
        self.outcome = max(self.outcome, outcome)
