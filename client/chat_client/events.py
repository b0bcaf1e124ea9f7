"""What a front end receives from a session: one struct for each thing that can happen.

`Line` and `Notice` come exactly once per entry and in the room's order. Everything else describes
the present and may repeat.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from chat_protocol.messages import RoomKind


class Link(StrEnum):
    """The state of the link to the broker, as a person would say it."""

    OFFLINE = "offline"
    JOINING = "joining"
    LIVE = "live"
    CLOSED = "closed"


class Position(Struct, frozen=True):
    """Where a line is stored: what `say` returns and what identifies a line for ever."""

    room: str
    epoch: bytes
    seq: int


class LinkChanged(Struct, frozen=True):
    """`reason` is a sentence ("" when live); `retry_at` the time of the next try, on the session's clock.
    `code` says why a session is closed, or offline in a way that may not pass by itself."""

    link: Link
    reason: str = ""
    code: str = ""
    retry_at: float | None = None


class Enrolled(Struct, frozen=True):
    """The account `name` exists now and this client's key opens it."""

    name: str


class RoomOpened(Struct, frozen=True):
    """A room is being followed. `title` is what people call it: #lobby, or @bob for a direct room.
    `asked` is the name it was opened by."""

    room: str
    title: str
    kind: RoomKind
    head: int
    count: int
    names: tuple[str, ...]
    asked: str
    resumed: bool


class RoomClosed(Struct, frozen=True):
    """A room is no longer followed: refused, left, or removed from it."""

    room: str
    title: str
    code: str
    text: str


class RoomAdded(Struct, frozen=True):
    """This account may open a room: somebody added it, or wrote it directly. `by` is "" where it was
    away when that happened."""

    room: str
    title: str
    kind: RoomKind
    by: str


class Line(Struct, frozen=True):
    """Something was said; `own`: by this account. `hops` is 0 for a person's line; for a bot's it counts
    how many bots in a row have answered each other. `replayed`: it is from before the room was opened."""

    room: str
    title: str
    epoch: bytes
    seq: int
    at: int
    sender: str
    account: int
    text: str
    own: bool = False
    hops: int = 0
    replayed: bool = False

    @property
    def by_bot(self) -> bool:
        return self.hops > 0

    def answer_key(self, purpose: str = "") -> bytes:
        """A `once` key for the answer to this line: with it a bot never answers twice, even if it died
        before it knew that its answer was stored. `purpose` tells several answers to one line apart."""
        import hashlib  # slow to load, and only bots need it

        what = b"\0".join((self.epoch, self.room.encode(), str(self.seq).encode(), purpose.encode()))
        return hashlib.sha256(what).digest()[:16]


class Notice(Struct, frozen=True):
    """An entry that is no line: a room was created, a member added or removed. `text` is "" for an
    entry of a kind this version does not know."""

    room: str
    title: str
    epoch: bytes
    seq: int
    at: int
    sender: str
    account: int
    kind: str
    text: str


class Stored(Struct, frozen=True):
    """The line said as `ref` is stored."""

    ref: int
    position: Position


class Failed(Struct, frozen=True):
    """The line said as `ref` was not stored, or (`unknown`) nobody can say whether it was."""

    ref: int
    room: str
    text: str
    code: str
    reason: str
    unknown: bool = False


class Lost(Struct, frozen=True):
    """Entries `first` to `last` of a room are no longer kept by the broker."""

    room: str
    title: str
    first: int
    last: int


class EpochChanged(Struct, frozen=True):
    """The broker's history is another one now (restored or reset); the room is shown afresh."""

    room: str
    title: str


class CatchingUp(Struct, frozen=True):
    """How many entries of a room are still to be shown; 0 when level again."""

    room: str
    title: str
    behind: int


class PresenceChanged(Struct, frozen=True):
    """Who came to a room and who went. Names are left out (`whole` False) when there were too many. `back`
    are here again after a break of the link, and nobody was told that they had gone: no news to a person."""

    room: str
    title: str
    count: int
    joined: tuple[str, ...]
    left: tuple[str, ...]
    whole: bool = True
    back: tuple[str, ...] = ()


class ReadMarker(Struct, frozen=True):
    """How far this account has read a room, as the broker knows it: told after RoomOpened if it ever read
    there, and when another of its devices has read on. It never goes back but after EpochChanged."""

    room: str
    title: str
    seq: int


Event = (
    LinkChanged
    | Enrolled
    | RoomOpened
    | RoomClosed
    | RoomAdded
    | Line
    | Notice
    | Stored
    | Failed
    | Lost
    | EpochChanged
    | CatchingUp
    | PresenceChanged
    | ReadMarker
)
