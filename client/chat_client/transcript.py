"""What a screen shows: events go in, rows come out. Shared by every front end.

Rows are handed over once and not kept. What stays is bounded: the rooms that are followed, some names
seen in them, and the lines said here that are not shown yet.

`now` is wall-clock time in seconds since 1970; only `status` takes the session's clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, tzinfo
from enum import StrEnum

from chat_client import rows
from chat_client.events import (
    CatchingUp,
    Enrolled,
    EpochChanged,
    Event,
    Failed,
    Line,
    Link,
    LinkChanged,
    Lost,
    Notice,
    Position,
    PresenceChanged,
    ReadMarker,
    RoomAdded,
    RoomClosed,
    RoomOpened,
    Stored,
)
from chat_client.rows import Row, RowKind
from chat_protocol.messages import RoomKind

NAMES_KEPT_MAX = 1_000  # of a room; and of everybody seen, for completion
RESUME_QUIET_S = 10.0
BEHIND_WORTH_A_ROW = 100  # more than the recent lines that a room begins with


class PendingState(StrEnum):
    SENDING = "sending"
    STORED = "stored"


@dataclass(frozen=True, slots=True)
class Pending:
    """A line said here that its own `Line` has not shown yet."""

    ref: int
    room: str
    title: str
    text: str
    state: PendingState = PendingState.SENDING


@dataclass(slots=True)
class _Room:
    title: str
    kind: RoomKind
    introduced: bool = False  # who is here was shown
    epoch: bytes = b""
    shown: int = 0  # the newest seq that was shown
    head: int = 0
    behind: int = 0
    names: dict[str, None] = field(default_factory=dict)
    known: frozenset[str] = frozenset()  # were here before the resume; not announced until quiet_until
    quiet_until: float = 0.0

    def keep(self, names: Iterable[str]) -> None:
        for name in names:
            if len(self.names) < NAMES_KEPT_MAX:
                self.names[name] = None


class Transcript:
    """The transcript of the account `name`. `tz` None means this machine's local time."""

    def __init__(self, name: str, *, now: float, tz: tzinfo | None = None) -> None:
        self.name = name
        self.here = ""  # the id of the current room, "" for none
        #: The title, in lower case, of a room that is being opened in order to go there. It becomes the
        #: current one as soon as it is open, so that its first lines are already shown as such.
        self.expected = ""
        self.link = Link.LIVE
        self._retry_at: float | None = None
        self._down_said = False
        self._tz = tz
        self._day: date | None = self._local(now).date()
        self._rooms: dict[str, _Room] = {}
        self._sending: dict[int, Pending] = {}
        self._stored_at: dict[Position, Pending] = {}
        self._seen: dict[str, None] = {}

    # ----------------------------------------------------------------------- rooms

    @property
    def title(self) -> str:
        """What people call the current room, "" for none."""
        return self._rooms[self.here].title if self.here else ""

    @property
    def kind(self) -> RoomKind | None:
        return self._rooms[self.here].kind if self.here else None

    @property
    def head(self) -> int:
        """The newest seq known of the current room."""
        room = self._rooms.get(self.here)
        return max(room.head, room.shown) if room else 0

    @property
    def titles(self) -> list[str]:
        """Of the rooms that are followed, in the order they were opened."""
        return [room.title for room in self._rooms.values()]

    @property
    def people(self) -> list[str]:
        """Names of others that were seen lately."""
        return [name for name in self._seen if name != self.name]

    def find(self, title: str) -> str:
        """The id of a followed room by its title, "" if it is not followed."""
        wanted = title.lower()
        return next((room for room, its in self._rooms.items() if its.title.lower() == wanted), "")

    def opened(self, event: RoomOpened, now: float) -> list[Row]:
        """A room is followed, if it was not already; says who is here if it becomes the current one."""
        room = self._rooms.setdefault(event.room, _Room(rows.clean_name(event.title), event.kind))
        room.head = max(room.head, event.head)
        if event.resumed:
            room.known, room.quiet_until = frozenset(room.names), now + RESUME_QUIET_S
            room.names = {}
        names = rows.clean_names(event.names)
        room.keep(names)
        self._see(names)
        if self.expected and self.expected in (event.asked.lower(), room.title.lower()):
            self.here, self.expected = event.room, ""
        if room.introduced or event.room != self.here:
            return []
        room.introduced = True
        return self._row(RowKind.PRESENCE, rows.who_is("here", names, event.count), now, event.room)

    def switch(self, room: str, now: float) -> list[Row]:
        """Make a followed room the current one."""
        self.here = room
        return self._row(RowKind.ANSWER, f"You are in {self.title} now.", now)

    def left(self, room: str, text: str, now: float) -> list[Row]:
        """A room is no longer followed, `text` says why; nothing if it was not followed."""
        if room not in self._rooms:
            return []
        shown = self._row(RowKind.NOTICE, text, now, room)
        del self._rooms[room]
        self._forget_stored(room)
        if room == self.here:
            self.here = next(iter(self._rooms), "")
            shown += self.switch(self.here, now) if self.here else []
        return shown

    # ----------------------------------------------------------------------- lines said here

    def posted(self, ref: int, room: str, text: str) -> None:
        """The line `text` was said as `ref`; it is pending until its own Line shows it, or it failed."""
        self._sending[ref] = Pending(ref, room, self._title(room), rows.body(text))

    @property
    def pending(self) -> Sequence[Pending]:
        """Lines said here that are not shown yet, oldest first."""
        return (*self._stored_at.values(), *self._sending.values())

    def given_up(self, line: Pending, now: float) -> list[Row]:
        """A pending line is no longer waited for."""
        self._sending.pop(line.ref, None)
        text = f"Left before the broker answered: this line may be stored or not. It was:\n{line.text}"
        return self._row(RowKind.PROBLEM, text, now, line.room)

    @property
    def unanswered(self) -> int:
        """How many of them may still fail."""
        return len(self._sending)

    # ----------------------------------------------------------------------- answers to commands

    def answer(self, text: str, now: float) -> list[Row]:
        """What a command found out; may have several rows."""
        return self._row(RowKind.ANSWER, rows.body(text), now)

    def problem(self, text: str, now: float) -> list[Row]:
        """Why a command was not carried out, or a line not said."""
        return self._row(RowKind.PROBLEM, rows.reason(text), now)

    def undone(self, typed: str, why: str, now: float) -> list[Row]:
        """Something that was typed ahead is not going to be done."""
        text = f"Not done, because {why}. It was:\n{rows.body(typed)}"
        return self._row(RowKind.PROBLEM, text, now)

    def past(self, entries: Sequence[Line | Notice], now: float) -> list[Row]:
        """The current room's newest entries once more; everything else stays as it is."""
        if not entries:
            return self.answer("Nothing has been said here yet.", now)
        count = rows.plural(len(entries), "line", "lines")
        shown = self.answer(f"The last {count} of {self.title}:", now)
        for entry in entries:
            shown += self._entry(entry)
        return shown + self.answer(f"End of the last {count}.", now)

    # ----------------------------------------------------------------------- what happened

    def receive(self, event: Event, now: float) -> list[Row]:
        """The rows that an event adds to the screen, in order."""
        match event:
            case Line() | Notice():
                self._shown(event)
                return self._entry(event)
            case Stored():
                self._stored(event)
                return []
            case Failed():
                return self._failed(event, now)
            case LinkChanged():
                return self._link_changed(event, now)
            case RoomOpened():
                return self.opened(event, now)
            case RoomClosed():
                return self.left(event.room, rows.closed(event), now)
            case RoomAdded():
                return self._added(event, now)
            case PresenceChanged():
                return self._presence(event, now)
            case CatchingUp():
                return self._catching_up(event, now)
            case Lost():
                return self._row(RowKind.NOTICE, rows.lost(event), now, event.room, event.title)
            case EpochChanged():
                return self._epoch_changed(event, now)
            case Enrolled():
                text = (
                    f"The name {rows.clean_name(event.name)} is yours now; its key is kept on this computer"
                )
                return self._row(RowKind.NOTICE, text, now)
            case ReadMarker():
                return []  # the line client shows nothing of it

    def status(self, now: float) -> str:
        """What is wrong with the link, in a few words, "" when all is well. `now`: the session's clock."""
        if self.link is Link.CLOSED:
            return "closed"
        if self.link is not Link.LIVE:
            if self._retry_at is None or self._retry_at <= now:
                return "offline, connecting"
            return f"offline, retrying in {math.ceil(self._retry_at - now)} s"
        room = self._rooms.get(self.here)
        return f"catching up, {room.behind} behind" if room and room.behind else ""

    def _shown(self, event: Line | Notice) -> None:
        room = self._rooms.get(event.room)
        if room is not None:
            room.shown, room.epoch = event.seq, event.epoch
        if isinstance(event, Line):
            self._see([rows.clean_name(event.sender)])
            self._stored_at.pop(Position(event.room, event.epoch, event.seq), None)

    def _stored(self, event: Stored) -> None:
        line = self._sending.pop(event.ref, None)
        if line is None:
            return
        room, at = self._rooms.get(line.room), event.position
        # The feed may have been faster than this answer, or the room may be gone: its Line won't come.
        if room is None or (room.epoch == at.epoch and at.seq <= room.shown):
            return
        self._stored_at[at] = replace(line, state=PendingState.STORED)

    def _failed(self, event: Failed, now: float) -> list[Row]:
        self._sending.pop(event.ref, None)
        what = "Nobody can say whether this line was stored" if event.unknown else "Not sent"
        text = f"{what}: {rows.sentence(event.reason)} The line was:\n{rows.body(event.text)}"
        room = event.room if event.room in self._rooms else self.find(event.room)
        return self._row(RowKind.PROBLEM, text, now, room or event.room, event.room)

    def _link_changed(self, event: LinkChanged, now: float) -> list[Row]:
        self.link, self._retry_at = event.link, event.retry_at
        if event.link is Link.OFFLINE and not self._down_said:
            self._down_said = True
            why = rows.sentence(event.reason) or "it does not answer."
            text = f"No link to the broker: {why} What you say is kept, and sent when the link is back"
            return self._row(RowKind.LINK, text, now)
        if event.link is Link.LIVE and self._down_said:
            self._down_said = False
            return self._row(RowKind.LINK, "The link is back", now)
        return []

    def _added(self, event: RoomAdded, now: float) -> list[Row]:
        if event.room in self._rooms or event.title.lower() == self.expected:
            return []
        text = rows.added(event, own=event.by == self.name)
        return self._row(RowKind.NOTICE, text, now)

    def _presence(self, event: PresenceChanged, now: float) -> list[Row]:
        room = self._rooms.get(event.room)
        if room is None:
            return []
        passing = {self.name, *(set(event.joined) & set(event.left))}
        joined = rows.clean_names(name for name in event.joined if name not in passing)
        left = rows.clean_names(name for name in event.left if name not in passing)
        for name in left:
            room.names.pop(name, None)
        room.keep(joined)
        self._see(joined)
        if event.room != self.here:
            return []  # whoever leaves the chat leaves every room: one sentence about that is enough
        if now < room.quiet_until:
            joined = [name for name in joined if name not in room.known]
        text = rows.came_and_went(joined, left, event)
        return self._row(RowKind.PRESENCE, text, now, event.room) if text else []

    def _catching_up(self, event: CatchingUp, now: float) -> list[Row]:
        room = self._rooms.get(event.room)
        if room is None:
            return []
        before, room.behind = room.behind, event.behind
        if before or event.behind < BEHIND_WORTH_A_ROW:
            return []
        return self._row(RowKind.LINK, f"Catching up, {event.behind} behind", now, event.room)

    def _epoch_changed(self, event: EpochChanged, now: float) -> list[Row]:
        room = self._rooms.get(event.room)
        if room is not None:
            room.epoch, room.shown, room.head = b"", 0, 0
        self._forget_stored(event.room)
        title = rows.clean_name(event.title)
        text = f"The broker's history was reset or restored; {title} is shown afresh"
        return self._row(RowKind.NOTICE, text, now, event.room, event.title)

    def _forget_stored(self, room: str) -> None:
        """Stop waiting for lines of a room that nothing will show any more."""
        for position in [position for position in self._stored_at if position.room == room]:
            del self._stored_at[position]

    # ----------------------------------------------------------------------- making rows

    def _entry(self, event: Line | Notice) -> list[Row]:
        """The row of an entry, at the time it was made."""
        sender, at = rows.clean_name(event.sender), event.at / 1_000
        if isinstance(event, Notice):
            text = event.text or f"{sender} did something that this version can't show"
            return self._row(RowKind.NOTICE, text, at, event.room, event.title)
        kind = RowKind.OWN if event.own else RowKind.LINE
        return self._row(kind, rows.body(event.text), at, event.room, event.title, sender)

    def _row(
        self, kind: RowKind, text: str, at: float, room: str = "", title: str = "", sender: str = ""
    ) -> list[Row]:
        """The row, after the day it is of where that is another than the last row's."""
        shown: list[Row] = []
        try:
            moment = self._local(at)
        except (ValueError, OverflowError, OSError):
            time = "--:--"  # beyond what a calendar holds
        else:
            time = f"{moment:%H:%M}"
            if moment.date() != self._day:
                self._day = moment.date()
                shown.append(Row(RowKind.DAY, "", "", "", f"{moment:%A}, {moment.day} {moment:%B %Y}"))
        if kind in (RowKind.NOTICE, RowKind.PRESENCE, RowKind.LINK):
            text = rows.sentence(text)
        name = self._title(room) or (rows.clean_name(title) if title else "")
        style = rows.color(sender) if sender else ""
        shown.append(Row(kind, time, name, sender, text, style, bool(room) and room != self.here))
        return shown

    def _local(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, self._tz)

    def _title(self, room: str) -> str:
        known = self._rooms.get(room)
        return known.title if known else ""

    def _see(self, names: Iterable[str]) -> None:
        for name in names:
            self._seen.pop(name, None)
            self._seen[name] = None
        while len(self._seen) > NAMES_KEPT_MAX:
            del self._seen[next(iter(self._seen))]
