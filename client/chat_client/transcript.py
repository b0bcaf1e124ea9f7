"""What a screen shows: events go in, rows come out. Shared by every front end.

Rows are handed over once and not kept. What stays is bounded: the rooms that are followed, some names
seen in them, how much of them is unread, the lines said here that are not shown yet, and the newest
that failed.

`now` is wall-clock time in seconds since 1970; only `status` takes the session's clock.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
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
from chat_client.mentions import mentions
from chat_client.rows import Row, RowKind
from chat_client.unread import Unread
from chat_protocol.messages import RoomKind

NAMES_KEPT_MAX = 1_000  # of a room; and of everybody seen, for completion
RESUME_QUIET_S = 10.0
BEHIND_WORTH_A_ROW = 100  # more than the recent lines that a room begins with
LATELY_S = 1_800.0  # who has spoken since then is missed when they go
FAILED_KEPT_MAX = 100


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


@dataclass(frozen=True, slots=True)
class Place:
    """A followed room as it is now. `names` are some of the `count` who are here, `bots` those of them that
    are bots, `away` others who spoke; `behind` of at most `behind_most` entries are still to be shown, and
    `level` says that nothing is; `other_here`: of a direct conversation, whether the other one is about.
    What is not read is counted up to UNREAD_COUNTED_MAX."""

    room: str
    title: str
    kind: RoomKind
    count: int
    names: tuple[str, ...]
    away: tuple[str, ...]
    bots: frozenset[str]
    unread: int
    mentions: int
    first_unread: int
    behind: int
    behind_most: int
    level: bool
    other_here: bool


@dataclass(slots=True)
class _Room:
    title: str
    kind: RoomKind
    introduced: bool = False  # who is here was shown
    epoch: bytes = b""
    shown: int = 0  # the newest seq that was shown
    head: int = 0
    behind: int = 0
    behind_most: int = 0
    level: bool = False  # everything that there was at the last look is shown
    count: int = 0
    names: dict[str, None] = field(default_factory=dict)
    spoke: dict[str, float] = field(default_factory=dict)  # when, the latest last
    bots: set[str] = field(default_factory=set)  # of those
    unread: Unread = field(default_factory=Unread)
    known: frozenset[str] = frozenset()  # were here before the resume; not announced until quiet_until
    quiet_until: float = 0.0

    def keep(self, names: Iterable[str]) -> None:
        for name in names:
            if len(self.names) < NAMES_KEPT_MAX:
                self.names[name] = None

    def heard(self, name: str, at: float, *, bot: bool) -> None:
        """Somebody spoke."""
        self.spoke.pop(name, None)
        self.spoke[name] = at
        (self.bots.add if bot else self.bots.discard)(name)
        while len(self.spoke) > NAMES_KEPT_MAX:
            oldest = next(iter(self.spoke))
            del self.spoke[oldest]
            self.bots.discard(oldest)


class Transcript:
    """The transcript of the account `name`. `tz` None means this machine's local time. With `apart`, people
    who did not speak lately come and go in rows of their own, for a screen that folds those."""

    def __init__(self, name: str, *, now: float, tz: tzinfo | None = None, apart: bool = False) -> None:
        self.name = name
        self.here = ""  # the id of the current room, "" for none
        #: The title, in lower case, of a room that is being opened in order to go there. It becomes the
        #: current one as soon as it is open, so that its first lines are already shown as such.
        self.expected = ""
        self.link = Link.LIVE
        self._retry_at: float | None = None
        self._down_said = False  # that there is no link
        self._why_said = False  # that it may not come back by itself
        self._tz = tz
        self._apart = apart
        self._day: date | None = self._local(now).date()
        self._rooms: dict[str, _Room] = {}
        self._sending: dict[int, Pending] = {}
        self._stored_at: dict[Position, Pending] = {}
        self._failed_lines: dict[int, Failed] = {}
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
    def rooms(self) -> Collection[str]:
        """The ids of the rooms that are followed."""
        return self._rooms.keys()

    @property
    def places(self) -> list[Place]:
        """The rooms that are followed, in the order they were opened."""
        return [self._place(room, its) for room, its in self._rooms.items()]

    def place(self, room: str) -> Place | None:
        its = self._rooms.get(room)
        return self._place(room, its) if its else None

    def _place(self, room: str, its: _Room) -> Place:
        away = tuple(name for name in reversed(its.spoke) if name not in its.names)
        return Place(
            room, its.title, its.kind, max(its.count, len(its.names)), tuple(its.names), away,
            frozenset(its.bots), len(its.unread), its.unread.mentions, its.unread.first,
            its.behind, its.behind_most, its.level,
            its.kind is RoomKind.DIRECT and self._is_here(its.title[1:]),
        )  # fmt: skip

    def _is_here(self, name: str) -> bool:
        return any(name in room.names for room in self._rooms.values())

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
        room.head, room.count, room.level = max(room.head, event.head), event.count, False
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
        return self._row(RowKind.PLACE, rows.who_is("here", names, event.count), now, event.room)

    def switch(self, room: str, now: float) -> list[Row]:
        """Make a followed room the current one."""
        self.here = room
        return self._row(RowKind.PLACE, f"You are in {self.title} now.", now)

    def looked(self, room: str) -> int:
        """Everything shown of a room was looked at; the seq up to which that is so, 0 if it is no news."""
        its = self._rooms.get(room)
        if its is None:
            return 0
        seq = max(its.shown, its.head) if its.level else its.shown  # a new room begins behind its first entry
        return seq if its.unread.read_to(seq) else 0

    def left(self, room: str, text: str, now: float) -> list[Row]:
        """A room is no longer followed, `text` says why; nothing if it was not followed. If it was the
        current one, none is: what is being typed for it is not to be said anywhere else."""
        if room not in self._rooms:
            return []
        shown = self._row(RowKind.NOTICE, text, now, room)
        del self._rooms[room]
        self._forget_stored(room)
        if room == self.here:
            self.here = ""
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

    @property
    def failed(self) -> Sequence[Failed]:
        """The newest lines said here that failed, oldest first, until they are said again or given up."""
        return tuple(self._failed_lines.values())

    def take_failed(self, ref: int) -> Failed | None:
        """A line that failed is said again or given up: it is none of the failed ones any more."""
        return self._failed_lines.pop(ref, None)

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

    def older(self, entries: Sequence[Line | Notice]) -> list[Row]:
        """Rows of entries older than what was shown, for a screen that puts them above."""
        return [self._entry_row(entry) for entry in entries]

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
            case ReadMarker():
                if event.room in self._rooms:
                    self._rooms[event.room].unread.read_to(event.seq)
                return []
            case Enrolled():
                text = (
                    f"The name {rows.clean_name(event.name)} is yours now; its key is kept on this computer"
                )
                return self._row(RowKind.NOTICE, text, now)

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
            name = rows.clean_name(event.sender)
            self._see([name])
            self._stored_at.pop(Position(event.room, event.epoch, event.seq), None)
            if room is not None:
                room.heard(name, event.at / 1_000, bot=event.by_bot)
                self._count(room, event)

    def _count(self, room: _Room, line: Line) -> None:
        """Is it unread? What was said in an open room before one ever came there is not waited for."""
        if line.own:
            room.unread.read_to(line.seq)
        elif not line.replayed or room.unread.read or room.kind is not RoomKind.PUBLIC:
            direct = room.kind is RoomKind.DIRECT
            room.unread.add(line.seq, mention=direct or mentions(line.text, self.name))

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
        self._failed_lines[event.ref] = event
        while len(self._failed_lines) > FAILED_KEPT_MAX:
            del self._failed_lines[next(iter(self._failed_lines))]
        room = event.room if event.room in self._rooms else self.find(event.room)
        row = self._make(RowKind.PROBLEM, text, now, room or event.room, event.room)
        return self._dated(replace(row, ref=event.ref))

    def _link_changed(self, event: LinkChanged, now: float) -> list[Row]:
        self.link, self._retry_at = event.link, event.retry_at
        if event.link is Link.OFFLINE and not self._down_said:
            self._down_said = True
            why = rows.sentence(event.reason) or "it does not answer."
            text = f"No link to the broker: {why} What you say is kept, and sent when the link is back"
            return self._row(RowKind.LINK, text, now)
        if event.link is Link.OFFLINE and event.code and not self._why_said:
            self._why_said = True
            return self._row(RowKind.PROBLEM, rows.sentence(event.reason), now)
        if event.link is Link.LIVE and self._down_said:
            self._down_said = self._why_said = False
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
        room.keep([*joined, *rows.clean_names(event.back)])
        room.count = event.count
        self._see(joined)
        if event.room != self.here:
            return []  # whoever leaves the chat leaves every room: one sentence about that is enough
        if now < room.quiet_until:
            joined = [name for name in joined if name not in room.known]
        silent = {name for name in (*joined, *left) if now - room.spoke.get(name, 0.0) > LATELY_S}
        if not self._apart or silent.issuperset((*joined, *left)):
            return self._came_and_went(joined, left, event, now, aside=silent.issuperset((*joined, *left)))
        shown: list[Row] = []
        for aside in (True, False):
            came = [name for name in joined if (name in silent) is aside]
            went = [name for name in left if (name in silent) is aside]
            if came or went:
                shown += self._came_and_went(came, went, event, now, aside=aside)
        return shown

    def _came_and_went(
        self, came: list[str], went: list[str], event: PresenceChanged, now: float, *, aside: bool
    ) -> list[Row]:
        text = rows.came_and_went(came, went, event)
        if not text:
            return []
        row = self._make(RowKind.PRESENCE, text, now, event.room)
        return self._dated(replace(row, came=tuple(came), went=tuple(went), aside=aside))

    def _catching_up(self, event: CatchingUp, now: float) -> list[Row]:
        room = self._rooms.get(event.room)
        if room is None:
            return []
        before, room.behind = room.behind, event.behind
        room.level = not event.behind
        room.behind_most = max(room.behind_most, event.behind) if event.behind else 0
        if before or event.behind < BEHIND_WORTH_A_ROW:
            return []
        return self._row(RowKind.LINK, f"Catching up, {event.behind} behind", now, event.room)

    def _epoch_changed(self, event: EpochChanged, now: float) -> list[Row]:
        room = self._rooms.get(event.room)
        if room is not None:
            room.epoch, room.shown, room.head = b"", 0, 0
            room.unread.begin_afresh()
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
        return self._dated(self._entry_row(event))

    def _entry_row(self, event: Line | Notice) -> Row:
        """The row of an entry, at the time it was made."""
        sender, at = rows.clean_name(event.sender), event.at / 1_000
        if isinstance(event, Notice):
            text = event.text or f"{sender} did something that this version can't show"
            row = self._make(RowKind.NOTICE, text, at, event.room, event.title)
            return replace(row, epoch=event.epoch, seq=event.seq)
        kind = RowKind.OWN if event.own else RowKind.LINE
        return replace(
            self._make(kind, rows.body(event.text), at, event.room, event.title, sender),
            epoch=event.epoch,
            seq=event.seq,
            bot=event.by_bot,
            mention=not event.own and mentions(event.text, self.name),
            replayed=event.replayed,
        )

    def _row(self, kind: RowKind, text: str, at: float, room: str = "", title: str = "") -> list[Row]:
        return self._dated(self._make(kind, text, at, room, title))

    def _dated(self, row: Row) -> list[Row]:
        """The row, after the day it is of where that is another than the last row's."""
        if row.day is None or row.day == self._day:
            return [row]
        self._day = row.day
        return [Row(RowKind.DAY, "", "", "", rows.day_title(row.day)), row]

    def _make(
        self, kind: RowKind, text: str, at: float, room: str = "", title: str = "", sender: str = ""
    ) -> Row:
        day: date | None = None
        try:
            moment = self._local(at)
        except (ValueError, OverflowError, OSError):
            time = "--:--"  # beyond what a calendar holds
        else:
            time, day = f"{moment:%H:%M}", moment.date()
        if kind in (RowKind.NOTICE, RowKind.PRESENCE, RowKind.PLACE, RowKind.LINK):
            text = rows.sentence(text)
        name = self._title(room) or (rows.clean_name(title) if title else "")
        style = rows.color(sender) if sender else ""
        elsewhere = bool(room) and room != self.here
        return Row(kind, time, name, sender, text, style, elsewhere, where=room, day=day)

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
