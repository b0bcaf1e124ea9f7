"""What a front end may ask of a chat: the port between screens and the connection.

`ChatClient` is the one implementation; tests of screens bring a fake. Every coroutine raises
`Refused` when the broker says no, `Unreachable` when it does not answer in time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from chat_client.events import Event, Line, Link, Notice, RoomOpened
from chat_protocol.messages import Limits, RoomInfo


class Chat(Protocol):
    @property
    def name(self) -> str:
        """The account's name as the broker spells it."""

    @property
    def link(self) -> Link: ...

    @property
    def limits(self) -> Limits: ...

    def now(self) -> float:
        """The session's clock, seconds; `LinkChanged.retry_at` is on it."""

    def post(self, text: str, room: str) -> int:
        """Say a line without waiting; `Stored` or `Failed` with the returned ref follows.
        Raises BadText for what may not be said."""

    def mark_read(self, room: str, seq: int) -> None:
        """This account has read a followed room up to `seq`; its other devices hear of it. May be called
        for every line that is shown: the broker is told the newest about once a second."""

    def unanswered(self) -> int:
        """How many posted lines are neither stored nor failed yet."""

    def events(self) -> AsyncIterator[Event]:
        """Everything that happens, until the session is closed (the last one is LinkChanged(CLOSED))."""

    async def users(self, room: str = "") -> list[str]: ...

    async def rooms(self) -> list[RoomInfo]: ...

    async def open(self, room: str) -> RoomOpened:
        """Follow a room (#name, or @name for a direct one) from its recent lines on."""

    async def close_room(self, room: str) -> None: ...

    async def create(self, room: str, *, private: bool) -> None: ...

    async def add(self, room: str, name: str) -> None: ...

    async def remove(self, room: str, name: str) -> None: ...

    async def leave(self, room: str) -> None:
        """End one's membership of a private room."""

    async def history(self, room: str, after: int, limit: int) -> list[Line | Notice]:
        """Entries with seq > `after`, at most `limit`, that are still kept."""

    async def invite(self, *, uses: int, expires_s: int, device: bool) -> str:
        """A chat:// URL that lets somebody new in, or (device) one's own second device."""
