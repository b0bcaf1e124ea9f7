"""A chat without a broker: it remembers what was asked for, and tells what it is told to tell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from chat_client.events import (
    Event,
    Failed,
    Line,
    Link,
    LinkChanged,
    Notice,
    Position,
    RoomOpened,
    Stored,
)
from chat_protocol.errors import Code, Refused
from chat_protocol.messages import LOBBY, Limits, RoomInfo, RoomKind
from chat_protocol.names import check_text

EPOCH = b"epoch--1"
NOON = 1_732_190_520.0  # 2024-11-21 12:02 UTC, in seconds
ME = 1


def public(room: str, *, names: tuple[str, ...] = (), head: int = 0) -> RoomOpened:
    """A public room as it is opened."""
    return RoomOpened(room, room, RoomKind.PUBLIC, head, len(names), names, room, resumed=False)


class FakeChat:
    """The port `Chat`. Lines are stored and shown as soon as they are posted, unless `stores` is False;
    then `store` and `fail` say what becomes of them."""

    def __init__(self, name: str = "bob", *, stores: bool = True) -> None:
        self.name = name
        self.link = Link.LIVE
        self.limits = Limits()
        self.stores = stores
        self.shows = True  # lines that are stored
        self.time = 100.0
        self.wall = NOON
        self.posted: list[tuple[str, str]] = []  # (room, text)
        self.marked: dict[str, int] = {}  # room -> the newest seq that was read
        self.asked: list[str] = []  # every other thing that was asked for
        self.present = ["alice", name]
        self.known: dict[str, RoomOpened] = {LOBBY: public(LOBBY, names=("alice", name))}
        self.members: set[str] = set()
        self.refusals: dict[str, Exception] = {}  # what was asked for -> what is raised
        self.entries: list[Line | Notice] = []
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.may_tell = asyncio.Event()  # who is here
        self.may_tell.set()
        self._seqs: dict[str, int] = {}
        self._unanswered: dict[int, tuple[str, str]] = {}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._called = asyncio.Event()

    # ----------------------------------------------------------------------- what a test makes happen

    def tell(self, *events: Event) -> None:
        for event in events:
            if isinstance(event, LinkChanged):
                self.link = event.link
            self._events.put_nowait(event)

    def hear(self, sender: str, text: str, room: str = LOBBY) -> None:
        """Somebody says a line."""
        self.tell(self.line(sender, text, room))

    def store(self, ref: int) -> None:
        room, text = self._unanswered.pop(ref)
        line = self.line(self.name, text, room)
        self.tell(Stored(ref, Position(room, EPOCH, line.seq)), *([line] if self.shows else []))

    def fail(self, ref: int, reason: str, *, unknown: bool = False) -> None:
        room, text = self._unanswered.pop(ref)
        self.tell(Failed(ref, room, text, Code.STORAGE_FULL, reason, unknown))

    def line(self, sender: str, text: str, room: str = LOBBY) -> Line:
        """The next line of a room."""
        self._seqs[room] = seq = self._seqs.get(room, 0) + 1
        at, title = int(self.wall * 1_000), self.known[room].title if room in self.known else room
        account = ME if sender == self.name else 2
        return Line(room, title, EPOCH, seq, at, sender, account, text, sender == self.name)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something was asked for or posted that makes it true. Raises TimeoutError."""
        async with asyncio.timeout(5.0):
            while not true():
                self._called.clear()
                await self._called.wait()

    def knows(self, opened: RoomOpened, *, member: bool = False) -> None:
        """There is such a room."""
        self.known[opened.room] = opened
        if member:
            self.members.add(opened.room)

    # ----------------------------------------------------------------------- the port

    def now(self) -> float:
        return self.time

    def post(self, text: str, room: str) -> int:
        check_text(text)
        self.posted.append((room, text))
        ref = len(self.posted)
        self._unanswered[ref] = (room, text)
        self._called.set()
        if self.stores:
            self.store(ref)
        return ref

    def mark_read(self, room: str, seq: int) -> None:
        self.marked[room] = seq
        self._called.set()

    def unanswered(self) -> int:
        return len(self._unanswered)

    async def events(self) -> AsyncIterator[Event]:
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, LinkChanged) and event.link is Link.CLOSED:
                return

    async def users(self, room: str = "") -> list[str]:
        self._ask(f"users {room}".strip())
        await self.may_tell.wait()
        return list(self.present)

    async def rooms(self) -> list[RoomInfo]:
        self._ask("rooms")
        return [
            RoomInfo(its.room, its.title, its.kind, its.head, its.count, its.room in self.members)
            for its in self.known.values()
        ]

    async def open(self, room: str) -> RoomOpened:
        self._ask(f"open {room}")
        await self.may_open.wait()
        for its in self.known.values():
            if its.title == room:
                self.tell(its)
                return its
        code = Code.NO_SUCH_ACCOUNT if room.startswith("@") else Code.NO_SUCH_ROOM
        raise Refused(code, f"there is no {room}")

    async def close_room(self, room: str) -> None:
        self._ask(f"close {room}")

    async def create(self, room: str, *, private: bool) -> None:
        self._ask(f"create {room} {'private' if private else 'public'}")
        kind = RoomKind.PRIVATE if private else RoomKind.PUBLIC
        self.knows(RoomOpened(room, room, kind, 1, 1, (self.name,), room, resumed=False), member=private)

    async def add(self, room: str, name: str) -> None:
        self._ask(f"add {room} {name}")

    async def remove(self, room: str, name: str) -> None:
        self._ask(f"remove {room} {name}")

    async def leave(self, room: str) -> None:
        self._ask(f"leave {room}")

    async def history(self, room: str, after: int, limit: int) -> list[Line | Notice]:
        self._ask(f"history {room} {after} {limit}")
        return [entry for entry in self.entries if entry.seq > after][:limit]

    async def invite(self, *, uses: int, expires_s: int, device: bool) -> str:
        self._ask(f"invite {uses} {expires_s} {device}")
        return "chat://example.org:5555"

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        self._called.set()
        if what in self.refusals:
            raise self.refusals[what]
