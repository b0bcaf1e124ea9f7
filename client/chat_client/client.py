"""The SDK: `ChatClient` for asyncio, `SyncChatClient` for scripts. Both run the same connection.

async with ChatClient("dice") as chat:
    await chat.say("hello")
    async for event in chat.events(): ...
"""

from __future__ import annotations

import asyncio
import functools
import random
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from chat_client import events as ev
from chat_client.connection import Connection, new_secret_key, public_key
from chat_client.events import Event, Line, Link, Notice, Position, RoomOpened
from chat_client.finding import default_home, find_broker
from chat_client.following import NOW, RECENT, Start
from chat_client.home import Home
from chat_client.rooms import entry_event
from chat_client.session import WRONG_KEY, Answered, Session
from chat_protocol.address import Address
from chat_protocol.envelope import Opener
from chat_protocol.errors import Code, OutcomeUnknown, Refused, Unreachable
from chat_protocol.messages import (
    LOBBY,
    PAGE_ENTRIES_MAX,
    Add,
    Create,
    Cursor,
    DeviceInfo,
    DeviceList,
    Devices,
    Done,
    Fetch,
    Invite,
    Leave,
    Limits,
    Page,
    Remove,
    Reply,
    Revoke,
    RoomInfo,
    RoomKind,
    RoomList,
    Rooms,
    SessionRequest,
    Users,
    Welcome,
    Who,
)
from chat_protocol.names import check_name, check_text, clean_text

EVENTS_WAITING_MAX = 10_000  # then the feed is dropped until they are taken: the log has it
CURSORS_SAVED_S = 5.0
SOFTWARE = "simple-chat"

R = TypeVar("R", bound=Reply)
T = TypeVar("T")


def _open_seals(verify_key: bytes) -> Opener:
    from chat_protocol.sealing import VerifyingOpener  # heavy, and only needed to read

    return VerifyingOpener(verify_key)


class ChatClient:
    """One client process of the account `name`. Use it in an `async with`; entering connects.

    `broker` is a chat:// URL; None takes $CHAT_BROKER, then the broker of this user on this machine.
    `rooms` are followed from the start on, each from `start` (RECENT, NOW, or a seq to begin after).
    `timeout_s` bounds how long entering and each question may take; a line that is said waits as long
    as it takes. With `remember`, how far rooms were read is kept in `home` from one run to the next,
    and rooms that the account was added to are followed from there.

    Entering raises Refused (name taken, invite used up, banned, ...), Unreachable (nobody answers in
    time, or another key does), BadName, BadAddress or SetupError.
    """

    def __init__(
        self,
        name: str,
        broker: str | None = None,
        *,
        rooms: Iterable[str] = (LOBBY,),
        start: Start = RECENT,
        home: Path | None = None,
        timeout_s: float = 10.0,
        remember: bool = False,
    ) -> None:
        self._asked_name = check_name(name)
        self._broker = broker
        self._first_rooms = list(rooms)
        self._start = start
        self._home = Home(home or default_home())
        self._timeout_s = timeout_s
        self._remember = remember
        self._session: Session
        self._connection: Connection
        self._address: Address
        self._running: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._queue: deque[Event] = deque()
        self._more = asyncio.Event()
        self._paused = False
        self._answers: dict[int, asyncio.Future[Reply]] = {}
        self._said: dict[int, asyncio.Future[Position]] = {}
        self._opens: dict[str, list[asyncio.Future[RoomOpened]]] = {}
        self._live: asyncio.Future[None] | None = None

    # ------------------------------------------------------------------ coming and going

    async def __aenter__(self) -> ChatClient:
        address = self._address = find_broker(self._broker, self._home)
        broker = address.key or b""
        secret, enrolled = self._home.secret_key(broker, self._asked_name, new_secret_key())
        self._session = Session(
            self._asked_name,
            public_key(secret),
            enrolled=enrolled,
            has_invite=address.invite is not None,
            make_opener=_open_seals,
            rng=random.Random(),
            software=SOFTWARE,
        )
        self._connection = Connection(self._session, address, secret, self._on_event, self._on_answer)
        self._live = asyncio.get_running_loop().create_future()
        opened = [self._opening(room) for room in self._first_rooms]
        for room in self._first_rooms:
            self._session.open(room, self._start, now=self.now())
        self._running = asyncio.create_task(self._connection.run())
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._live
                for one in opened:
                    await one
        except TimeoutError as error:
            text = self._why_not_in()
            await self._stop()
            raise Unreachable(text) from error
        except BaseException:
            await self._stop()
            raise
        self._home.pin(address)
        if self._remember:
            await self._follow_mine()
            self._saving = asyncio.create_task(self._save_cursors_often())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._remember:
            self._save_cursors()
        await self._stop()

    async def _stop(self) -> None:
        if self._saving is not None:
            self._saving.cancel()
        self._session.close()
        self._connection.pump()
        if self._running is not None:
            await self._running
        for future in self._waiting_to_enter():
            future.cancel()

    def _why_not_in(self) -> str:
        """A sentence for whoever could not come in within the time allowed."""
        place, tried = self._address.place, f"(tried for {self._timeout_s:g} s)"
        reason = self._session.reason
        if self._connection.has_answered:
            return f"the broker at {place} does not let {self.name} in: {reason or 'no answer'} {tried}"
        if reason.endswith("?"):
            return reason
        reason = reason or f"no broker answers at {place}"
        return f"{reason} {tried}; is the broker running, and is its port open to you?"

    # ------------------------------------------------------------------ what is so

    @property
    def name(self) -> str:
        """The account's name as the broker spells it."""
        return self._session.name

    @property
    def home(self) -> Path:
        """The folder with keys and known brokers."""
        return self._home.path

    @property
    def broker_key(self) -> bytes:
        """The broker's public key."""
        return self._address.key or b""

    @property
    def link(self) -> Link:
        return self._session.link

    @property
    def limits(self) -> Limits:
        return self._session.limits

    @property
    def epoch(self) -> bytes:
        return self._session.epoch

    @property
    def address(self) -> Address:
        return self._address

    @property
    def closed(self) -> tuple[str, str] | None:
        """Code and sentence, once the session is over for good."""
        return self._session.closed

    @property
    def bad_seals(self) -> int:
        """How many messages of the feed did not verify, and were dropped."""
        return self._session.bad_seals

    @property
    def welcome(self) -> Welcome:
        """What the broker said when this session began: its software, its feed's port, and more."""
        assert self._session.welcomed is not None, "entering waits for it"
        return self._session.welcomed[0]

    def now(self) -> float:
        return self._connection.now()

    def broker_time(self) -> int:
        """The broker's clock: milliseconds since 1970, late by half the way there and back."""
        assert self._session.welcomed is not None, "entering waits for it"
        welcome, at = self._session.welcomed
        return welcome.now + round((self.now() - at) * 1_000)

    def unanswered(self) -> int:
        """How many lines are neither stored nor failed yet."""
        return self._session.unanswered()

    # ------------------------------------------------------------------ saying

    async def say(
        self, text: str, room: str = LOBBY, *, once: bytes | None = None, hops: int = 0
    ) -> Position:
        """Say a line and wait until it is stored; returns where.

        `once` (16 bytes) makes it one line however often it is said, also by later processes. `hops` marks
        it as a bot's: 1, or one more than those of the line it answers. Raises BadText at once; Refused if
        the broker will not store it; OutcomeUnknown if nobody can tell.
        """
        ref = self.post(text, room, once=once, hops=hops)
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._said[ref] = future
        return await future

    def post(self, text: str, room: str = LOBBY, *, once: bytes | None = None, hops: int = 0) -> int:
        """Say a line without waiting; a Stored or Failed event with the returned ref follows."""
        limits = self._session.limits
        text = check_text(clean_text(text), line_bytes=limits.line_bytes, line_rows=limits.line_rows)
        ref = self._session.say(text, room, once, hops)
        asyncio.get_running_loop().call_soon(self._connection.pump)
        return ref

    def mark_read(self, room: str, seq: int) -> None:
        """This account has read a followed room up to `seq`; its other devices hear of it. May be called
        for every line that is shown: the broker is told the newest about once a second."""
        self._session.mark_read(room, seq)
        asyncio.get_running_loop().call_soon(self._connection.pump)

    # ------------------------------------------------------------------ hearing

    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens, from the start on, each once; ends when the session is over."""
        while True:
            while self._queue:
                event = self._queue.popleft()
                self._unpause()
                yield event
                if isinstance(event, ev.LinkChanged) and event.link is Link.CLOSED:
                    return
            self._more.clear()
            await self._more.wait()

    def take_events(self) -> list[Event]:
        """What waits for `events`, at once."""
        taken = list(self._queue)
        self._queue.clear()
        self._unpause()
        return taken

    def give_up(self, reason: str) -> None:
        """End the session; lines without an answer become Failed events."""
        self._session.close(reason)
        self._connection.pump()

    async def open(self, room: str, start: Start | None = None) -> RoomOpened:
        """Follow a room (#name, or @name for a direct one). Raises Refused."""
        following = self._session.following(room)
        if following is not None and following.sequencer is not None:
            names = tuple(sorted(following.names))
            return RoomOpened(
                following.room, following.title, following.kind, following.sequencer.head,
                following.count, names, following.asked, True,
            )  # fmt: skip
        future = self._opening(room)
        self._session.open(room, RECENT if start is None else start, now=self.now())
        self._connection.pump()
        return await self._bounded(future)

    async def close_room(self, room: str) -> None:
        """Follow a room no longer."""
        self._session.close_room(room)
        self._connection.pump()

    async def history(self, room: str, after: int, limit: int = PAGE_ENTRIES_MAX) -> list[Line | Notice]:
        """Entries with seq > `after`, at most `limit`, that are still kept."""
        found: list[Line | Notice] = []
        while len(found) < limit:
            page = await self._page(room, after, min(limit - len(found), PAGE_ENTRIES_MAX))
            following = self._session.following(page.room)
            title = following.title if following else page.room
            first_head = following.first_head if following else page.head
            found += [
                entry_event(entry, page.room, title, self._session, replayed=entry.seq <= first_head)
                for entry in page.entries
            ]
            if not page.entries or page.entries[-1].seq >= page.head:
                break
            after = page.entries[-1].seq
        return found

    async def head(self, room: str) -> int:
        """The newest seq of a room; 0 if it holds nothing yet. Raises Refused."""
        return (await self._page(room, 0, 1)).head

    # ------------------------------------------------------------------ questions and commands

    async def users(self, room: str = "") -> list[str]:
        """The names of everyone connected, or of those who follow a room."""
        names: list[str] = []
        while True:
            after = names[-1] if names else ""
            page = await self._ask(functools.partial(Who, room=room, after=after), Users)
            names += page.names
            if not page.more or not page.names:
                return [clean_text(name) for name in names]

    async def rooms(self) -> list[RoomInfo]:
        """The rooms this account may open."""
        infos: list[RoomInfo] = []
        while True:
            after = infos[-1].room if infos else ""
            page = await self._ask(functools.partial(Rooms, after=after), RoomList)
            infos += page.rooms
            if not page.more or not page.rooms:
                return infos

    async def create(self, room: str, *, private: bool = False) -> None:
        """Make a room."""
        kind = RoomKind.PRIVATE if private else RoomKind.PUBLIC
        await self._ask(lambda request, token: Create(request, token, room, kind), Done)

    async def add(self, room: str, name: str) -> None:
        """Make somebody a member of a private room."""
        await self._ask(lambda request, token: Add(request, token, room, name), Done)

    async def remove(self, room: str, name: str) -> None:
        """End somebody's membership; the next line is unreadable to them."""
        await self._ask(lambda request, token: Remove(request, token, room, name), Done)

    async def leave(self, room: str) -> None:
        """End one's own membership of a private room."""
        await self._ask(lambda request, token: Leave(request, token, room), Done)

    async def invite(self, *, uses: int = 1, expires_s: int = 604_800, device: bool = False) -> str:
        """A chat:// URL that lets somebody new in (operator), or one's own second device."""
        secret = new_secret_key()
        key = public_key(secret)
        await self._ask(lambda request, token: Invite(request, token, key, uses, expires_s, device), Done)
        return str(Address(self._address.host, self._address.port, self._address.key, secret))

    async def devices(self) -> list[DeviceInfo]:
        """The keys of this account."""
        return (await self._ask(Devices, DeviceList)).devices

    async def revoke(self, key: bytes) -> None:
        """Revoke a key of this account; what holds it is shut out."""
        await self._ask(lambda request, token: Revoke(request, token, key), Done)

    # ------------------------------------------------------------------

    async def _page(self, room: str, after: int, limit: int) -> Page:
        def make(request: int, token: bytes) -> Fetch:
            return Fetch(request, token, room, Cursor(self._session.epoch, after), limit)

        return await self._ask(make, Page)

    async def _ask(self, make: Callable[[int, bytes], SessionRequest], kind: type[R]) -> R:
        request = self._session.ask(make, self.now())
        future = self._answers[request] = asyncio.get_running_loop().create_future()
        self._connection.pump()
        try:
            reply = await self._bounded(future)
        finally:
            self._session.forget(request)
            self._answers.pop(request, None)
        if not isinstance(reply, kind):
            raise Unreachable(f"the broker answered with {type(reply).__name__} instead of {kind.__name__}")
        return reply

    async def _bounded(self, future: asyncio.Future[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await future
        except TimeoutError as error:
            reason = f" ({self._session.reason})" if self.link is not Link.LIVE else ""
            raise Unreachable(f"the broker has not answered for {self._timeout_s:g} s{reason}") from error

    def _opening(self, room: str) -> asyncio.Future[RoomOpened]:
        future: asyncio.Future[RoomOpened] = asyncio.get_running_loop().create_future()
        self._opens.setdefault(room.lower(), []).append(future)
        return future

    async def _follow_mine(self) -> None:
        """Rooms the account belongs to, each from where it was read last."""
        cursors = self._home.cursors(self._address.key or b"", self.name)
        for info in await self.rooms():
            if info.member and self._session.following(info.room) is None:
                self._session.open(info.room, cursors.get(info.room, RECENT), now=self.now())
        self._connection.pump()

    async def _save_cursors_often(self) -> None:
        while True:
            await asyncio.sleep(CURSORS_SAVED_S)
            self._save_cursors()

    def _save_cursors(self) -> None:
        broker = self._address.key or b""
        cursors = self._home.cursors(broker, self.name)
        for following in self._session.followed():
            cursor = following.cursor()
            if following.room and cursor is not None:
                cursors[following.room] = cursor
        self._home.save_cursors(broker, self.name, cursors)

    # ------------------------------------------------------------------ from the connection

    def _on_answer(self, answer: Answered) -> None:
        future = self._answers.pop(answer.request, None)
        if future is None or future.done():
            return
        if isinstance(answer.reply, Refused):
            future.set_exception(answer.reply)
        else:
            future.set_result(answer.reply)

    def _on_event(self, event: Event) -> None:
        match event:
            case ev.Enrolled(name):
                self._home.enrolled(self._address.key or b"", name)
            case ev.LinkChanged(link=Link.LIVE):
                if self._live is not None and not self._live.done():
                    self._live.set_result(None)
            case ev.LinkChanged(link=Link.CLOSED, code=code, reason=reason):
                self._on_closed(code, reason)
            case ev.Stored(ref, position) if (future := self._said.pop(ref, None)) is not None:
                if not future.done():
                    future.set_result(position)
                return
            case ev.Failed() if (future := self._said.pop(event.ref, None)) is not None:
                if not future.done():
                    future.set_exception(failure(event))
                return
            case RoomOpened(room=room, title=title, asked=asked):
                for opened in self._opens_of(room, title, asked):
                    opened.set_result(event)
            case ev.RoomClosed(room=room, title=title, code=code, text=text):
                for refused in self._opens_of(room, title):
                    refused.set_exception(Refused(code, text))
        self._queue.append(event)
        self._more.set()
        if len(self._queue) > EVENTS_WAITING_MAX and not self._paused:
            self._paused = True
            self._session.pause(True, self.now())

    def _opens_of(self, *names: str) -> list[asyncio.Future[RoomOpened]]:
        """Who waits for a room to be opened, by any of its names."""
        found = [one for name in names for one in self._opens.pop(name.lower(), [])]
        return [one for one in found if not one.done()]

    def _on_closed(self, code: str, reason: str) -> None:
        error = Unreachable(reason) if code == WRONG_KEY else Refused(code, reason)
        for future in self._waiting_to_enter():
            if not future.done():
                future.set_exception(error)
                future.exception()  # seen: not everybody waits for each of them

    def _waiting_to_enter(self) -> list[asyncio.Future[Any]]:
        waiting: list[asyncio.Future[Any]] = [one for ones in self._opens.values() for one in ones]
        self._opens.clear()
        return [*waiting, self._live] if self._live is not None else waiting

    def _unpause(self) -> None:
        if self._paused and len(self._queue) < EVENTS_WAITING_MAX // 2:
            self._paused = False
            self._session.pause(False, self.now())
            self._connection.pump()


def failure(event: ev.Failed) -> Refused | OutcomeUnknown:
    """What `say` raises for a line that was not stored, or may not have been."""
    if event.unknown:
        return OutcomeUnknown(f"nobody can tell whether this line was stored ({event.reason}): {event.text}")
    return Refused(event.code, event.reason)


class SyncChatClient:
    """The same for scripts without asyncio; use it in a `with`. The connection runs on a background
    thread; every method waits. Takes the arguments of ChatClient and raises what it raises."""

    def __init__(self, name: str, broker: str | None = None, **options: Any) -> None:
        self._make: Callable[[], ChatClient] = functools.partial(ChatClient, name, broker, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat connection", daemon=True)
        self._chat: ChatClient

    def __enter__(self) -> SyncChatClient:
        self._thread.start()
        try:
            self._chat = self._wait(self._enter())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._wait(self._chat.__aexit__())
        finally:
            self._end()

    @property
    def name(self) -> str:
        return self._chat.name

    def say(self, text: str, room: str = LOBBY, *, once: bytes | None = None, hops: int = 0) -> Position:
        return self._wait(self._chat.say(text, room, once=once, hops=hops))

    def say_all(self, lines: Iterable[str], room: str = LOBBY) -> list[Position]:
        """Say many lines at once; waits until all are stored."""

        async def say_all() -> list[Position]:
            return await asyncio.gather(*(self._chat.say(line, room) for line in lines))

        return self._wait(say_all())

    def events(self) -> Iterator[Event]:
        """Everything that happens; waits for the next."""
        events = self._chat.events()
        while True:
            try:
                yield self._wait(anext(events))
            except StopAsyncIteration:
                return

    def open(self, room: str, start: Start | None = None) -> RoomOpened:
        return self._wait(self._chat.open(room, start))

    def history(self, room: str, after: int, limit: int = PAGE_ENTRIES_MAX) -> list[Line | Notice]:
        return self._wait(self._chat.history(room, after, limit))

    def users(self, room: str = "") -> list[str]:
        return self._wait(self._chat.users(room))

    def rooms(self) -> list[RoomInfo]:
        return self._wait(self._chat.rooms())

    def create(self, room: str, *, private: bool = False) -> None:
        self._wait(self._chat.create(room, private=private))

    def add(self, room: str, name: str) -> None:
        self._wait(self._chat.add(room, name))

    def remove(self, room: str, name: str) -> None:
        self._wait(self._chat.remove(room, name))

    def leave(self, room: str) -> None:
        self._wait(self._chat.leave(room))

    async def _enter(self) -> ChatClient:
        chat = self._make()
        await chat.__aenter__()
        return chat

    def _wait(self, work: Awaitable[T]) -> T:
        async def run() -> T:
            return await work

        future: Future[T] = asyncio.run_coroutine_threadsafe(run(), self._loop)
        return future.result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


__all__ = ["NOW", "RECENT", "ChatClient", "Code", "SyncChatClient", "failure"]
