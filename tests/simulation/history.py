"""What was said, stored, acknowledged and shown, and whether the promises held.

Checked as it happens:

- nothing is shown or acknowledged before it is stored, or other than it is stored;
- no line is stored twice, nor one that its sender was told had failed;
- each sender's own order is kept;
- everybody is shown every entry of a room once and in the room's order, or told that it is gone;
- no key, page or line reaches an account that may not read what it holds;
- a read marker is told as it is stored, never goes back and never past the head.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from chat_broker.accounts import Ruling, ServerKind
from chat_broker.log import SERVER_ROOM, MarkKey
from chat_client import events as ev
from chat_protocol.codec import decode_body, decode_feed, line_text
from chat_protocol.errors import BadFrame, Code
from chat_protocol.messages import Created, Cursor, Entry, EntryKind, Membership, Publication, RoomKind
from tests.simulation.seals import look_inside

_FILLER = re.compile(r"( x)+")


class Violation(AssertionError):
    """A promise was broken."""


class Said(NamedTuple):
    """A line that a process said; `number` counts up within the process."""

    process: str
    ref: int
    number: int
    text: str
    is_once: bool


@dataclass
class RoomTruth:
    """A room as it was ever stored, trimmed or not. `members[i]` are those after entry i."""

    name: str
    kind: RoomKind = RoomKind.PUBLIC
    entries: list[Entry] = field(default_factory=list)
    members: list[frozenset[int]] = field(default_factory=lambda: [frozenset()])

    def append(self, entry: Entry) -> None:
        members = self.members[-1]
        if entry.kind == EntryKind.CREATED and (created := decode_body(entry, Created)):
            self.kind, members = created.kind, frozenset(account for account, _ in created.members)
        elif entry.kind == EntryKind.ADDED and (added := decode_body(entry, Membership)):
            members |= {added.account}
        elif entry.kind == EntryKind.REMOVED and (removed := decode_body(entry, Membership)):
            members -= {removed.account}
        self.entries.append(entry)
        self.members.append(members)

    def is_member(self, account: int) -> bool:
        return account in self.members[-1]

    def may_read(self, account: int, seq: int) -> bool:
        """Whether an account may know entry `seq` by now: a member just before it or at any time after
        (members may fetch everything)."""
        return self.kind is RoomKind.PUBLIC or any(account in members for members in self.members[seq - 1 :])

    def cut(self, head: int) -> None:
        del self.entries[head:], self.members[head + 1 :]


@dataclass
class View:
    """One room as one process shows it. `next` is the seq that comes next, None before the first; `read`
    the marker that it was told of."""

    epoch: bytes
    start: int | None = None  # the seq to begin after, where the process chose one
    next: int | None = None
    head_at_open: int = 0
    read: int = 0


class History:
    """`now` gives the simulated time, for the trace."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.rooms: dict[str, RoomTruth] = {}
        self.epoch = b""
        self.banned: dict[int, int] = {}  # account -> the batch with its ban
        self.said: dict[tuple[str, int], Said] = {}
        self.outcomes: dict[tuple[str, int], ev.Stored | ev.Failed] = {}
        self.marks: dict[MarkKey, int] = {}
        self.shown = 0
        self.lost = 0
        self.stored_lines = 0
        self._now = now
        self._by_text: dict[str, Said] = {}
        self._place: dict[str, tuple[str, int]] = {}
        self._newest: dict[tuple[str, str], int] = {}
        self._denied: dict[str, Said] = {}  # lines that were said to have failed for certain
        self._views: dict[tuple[str, str], View] = {}
        self._holders: dict[bytes, set[int]] = {}  # room key -> accounts that were handed it
        self._sealed: dict[bytes, list[tuple[str, int]]] = {}  # room key -> what was sealed with it
        self._topics: dict[bytes, str] = {}
        self._trimmed: dict[str, int] = {}
        self._past_epochs: dict[bytes, dict[str, int]] = {}  # and what was trimmed at their ends
        self._batches = 0
        self._batch_of: dict[tuple[str, int], int] = {}
        self._trace: list[tuple[float, str, str, object]] = []

    # ------------------------------------------------------------------ the trace

    def note(self, who: str, what: str, about: object = "") -> None:
        self._trace.append((self._now(), who, what, about))

    def trace(self, lines: int | None = None) -> str:
        noted = self._trace if lines is None else self._trace[-lines:]
        return "\n".join(f"{at:9.4f}  {who:10} {what:16} {_brief(about)}" for at, who, what, about in noted)

    def require(self, holds: bool, broken: str) -> None:
        if not holds:
            raise Violation(f"at {self._now():.4f} s: {re.sub(_FILLER, ' x…', broken)}")

    # ------------------------------------------------------------------ the log

    def stored(self, entries: dict[str, list[Entry]], trims: dict[str, int]) -> None:
        """A batch was committed."""
        self._batches += 1
        for name, appended in entries.items():
            if name == SERVER_ROOM:
                self._rule(appended)
                continue
            room = self.rooms.setdefault(name, RoomTruth(name))
            for entry in appended:
                self.require(entry.seq == len(room.entries) + 1, f"{name} has no entry before {entry.seq}")
                room.append(entry)
                self._batch_of[name, entry.seq] = self._batches
                text = line_text(entry)
                if text is not None:
                    self._stored_line(name, entry, text)
        for name, through in trims.items():
            self._trimmed[name] = max(self._trimmed.get(name, 0), through)

    def marked(self, moves: dict[MarkKey, int]) -> None:
        """A batch was committed, and these markers moved with it."""
        for key, seq in moves.items():
            before, head = self.marks.get(key, 0), len(self.rooms[key.room].entries)
            where = f"the marker of {key.account} in {key.room}"
            self.require(seq > before, f"{where} goes from {before} to {seq}")
            self.require(seq <= head, f"{where} is at {seq}, and the head at {head}")
            self.marks[key] = seq

    def told_of_marker(self, process: str, key: MarkKey, seq: int) -> None:
        """The broker told an account how far it has read."""
        stored = self.marks.get(key, 0)
        self.require(seq <= stored, f"{process} is told of a marker at {seq} in {key.room}, not {stored}")

    def _rule(self, entries: list[Entry]) -> None:
        for entry in entries:
            ruling = decode_body(entry, Ruling)
            if ruling is not None and entry.kind == ServerKind.BANNED:
                self.banned[ruling.account] = self._batches
            elif ruling is not None and entry.kind == ServerKind.UNBANNED:
                self.banned.pop(ruling.account, None)

    def _stored_line(self, room: str, entry: Entry, text: str) -> None:
        self.stored_lines += 1
        said = self._by_text.get(text)
        self.require(said is not None, f"{room} {entry.seq} holds {text!r}, which nobody said")
        assert said is not None
        before = self._place.get(text)
        self.require(before is None, f"{text!r} is stored twice: {before}, {entry.seq}")
        self.require(text not in self._denied, f"{text!r} is stored, and its sender was told it failed")
        self._place[text] = (room, entry.seq)
        if not said.is_once:
            newest = self._newest.get((said.process, room), 0)
            self.require(said.number > newest, f"{text!r} is stored behind a later line of {said.process}")
            self._newest[said.process, room] = said.number

    def restored(
        self, epoch: bytes, heads: dict[str, int], trimmed: dict[str, int], marks: dict[MarkKey, int]
    ) -> None:
        """The history goes on from a backup, in which rooms ended at `heads`."""
        self._past_epochs[self.epoch] = self._trimmed
        self.epoch = epoch
        self._trimmed = dict(trimmed)
        self.marks = dict(marks)
        for name in list(self.rooms):
            if name in heads:
                self.rooms[name].cut(heads[name])
            else:
                del self.rooms[name]
        self._place = {
            text: (room, seq) for text, (room, seq) in self._place.items() if seq <= heads.get(room, 0)
        }

    # ------------------------------------------------------------------ what leaves the broker

    def topic(self, topic: bytes, room: str) -> None:
        self._topics[topic] = room

    def room_of(self, topic: bytes) -> str | None:
        return self._topics.get(topic)

    def handed(self, key: bytes, account: int) -> None:
        """A room's key was sent to an account."""
        self._holders.setdefault(key, set()).add(account)
        for room, seq in self._sealed.get(key, ()):
            self._require_readable(account, room, seq, "can open on the feed")

    def sealed(self, envelope: bytes, room: str) -> None:
        """The broker sends this on the feed, for all who hold its key."""
        inside = look_inside(envelope)
        try:
            message = decode_feed(inside.plaintext)
        except BadFrame as error:
            raise Violation(f"the broker publishes what is no feed message: {error}") from error
        if isinstance(message, Publication):
            for entry in message.entries:
                self._require_stored(room, entry, "is published")
                self._sealed.setdefault(inside.key, []).append((room, entry.seq))
                for account in self._holders.get(inside.key, ()):
                    self._require_readable(account, room, entry.seq, "can open on the feed")

    def paged(self, account: int, room: str, entries: list[Entry]) -> None:
        for entry in entries:
            self._require_stored(room, entry, "is in a page")
            self._require_readable(account, room, entry.seq, "is sent a page with")

    def _require_stored(self, room: str, entry: Entry, what: str) -> None:
        stored = self._stored(room, entry.seq)
        self.require(stored is not None, f"{room} {entry.seq} {what}, and is not stored")
        self.require(stored == entry, f"{room} {entry.seq} {what} otherwise than stored")

    def _stored(self, room: str, seq: int) -> Entry | None:
        truth = self.rooms.get(room)
        return truth.entries[seq - 1] if truth and 1 <= seq <= len(truth.entries) else None

    def _require_readable(self, account: int, room: str, seq: int, how: str) -> None:
        allowed = room in self.rooms and self.rooms[room].may_read(account, seq)
        if account in self.banned:
            allowed = allowed and self._batch_of[room, seq] <= self.banned[account]
        self.require(allowed, f"account {account} {how} {room} {seq}, which it may not read")

    # ------------------------------------------------------------------ what processes say and hear

    def says(self, said: Said) -> None:
        self.said[said.process, said.ref] = said
        self._by_text.setdefault(said.text, said)

    def opens(self, process: str, room: str, start: Cursor | int | None, head: int, epoch: bytes) -> None:
        """A room is followed that was not before, from where `start` says; None: its recent lines."""
        view = self._views[process, room] = View(epoch, head_at_open=head)
        if isinstance(start, Cursor):
            view.epoch, view.start = start.epoch, min(start.seq, head)
        elif start is not None:
            view.start = min(start, head)

    def closes(self, process: str, room: str) -> None:
        self._views.pop((process, room), None)

    def hears(self, process: str, event: ev.Event) -> None:
        match event:
            case ev.Line() | ev.Notice():
                self._shown(process, event)
            case ev.ReadMarker(room=room, seq=seq):
                view = self._views.get((process, room))
                self.require(view is not None, f"{process} is told of a marker in {room}, not followed")
                assert view is not None
                self.require(seq > view.read, f"{process} is told of {seq} after {view.read} in {room}")
                view.read = seq
            case ev.Lost(room, _, first, last):
                self._told_lost(process, room, first, last)
            case ev.EpochChanged(room):
                self.closes(process, room)
            case ev.Stored():
                self._acknowledged(process, event)
            case ev.Failed():
                self._refused(process, event)

    def _shown(self, process: str, event: ev.Line | ev.Notice) -> None:
        self.shown += 1
        where = f"{event.room} {event.seq}, shown to {process},"
        if event.epoch not in self._past_epochs:
            self._require_as_stored(event, where)
        self._expect(process, event.room, event.seq, where)
        view = self._views[process, event.room]
        view.next = event.seq + 1
        self.require(event.epoch == view.epoch, f"{where} is of another epoch than what was shown before")

    def _require_as_stored(self, event: ev.Line | ev.Notice, where: str) -> None:
        entry = self._stored(event.room, event.seq)
        self.require(entry is not None, f"{where} is not stored")
        assert entry is not None
        same = (entry.at, entry.sender, entry.account) == (event.at, event.sender, event.account)
        if isinstance(event, ev.Line):
            same = same and line_text(entry) == event.text
        self.require(same, f"{where} is stored otherwise")
        self.require(event.epoch == self.epoch, f"{where} is of another epoch")

    def _told_lost(self, process: str, room: str, first: int, last: int) -> None:
        self.lost += last - first + 1
        where = f"{room} {first} to {last}, lost to {process},"
        self._expect(process, room, first, where)
        view = self._views[process, room]
        view.next = last + 1
        # Who has not heard of a new epoch yet may be told what was so in the old one.
        trimmed = self._past_epochs.get(view.epoch, self._trimmed)
        self.require(last <= trimmed.get(room, 0), f"{where} are kept")

    def _expect(self, process: str, room: str, seq: int, where: str) -> None:
        view = self._views.get((process, room))
        self.require(view is not None, f"{where} comes from a room that is not followed")
        assert view is not None
        if view.next is not None:
            self.require(seq == view.next, f"{where} should be {view.next}")
        elif view.start is not None:
            self.require(seq == view.start + 1, f"{where} should be {view.start + 1}, the first asked for")
        else:
            told = f"{where} is the first, though the room was opened before it"
            self.require(seq <= view.head_at_open + 1, told)

    def _acknowledged(self, process: str, event: ev.Stored) -> None:
        said = self._settled(process, event)
        position = event.position
        if position.epoch in self._past_epochs:
            return
        where = f"{said.text!r}, acknowledged as {position.room} {position.seq},"
        self.require(position.epoch == self.epoch, f"{where} is of another epoch")
        entry = self._stored(position.room, position.seq)
        self.require(entry is not None, f"{where} is not stored")
        assert entry is not None
        sender = said.process.split(".")[0]
        same = line_text(entry) == said.text and entry.sender == sender
        self.require(same, f"{where} is another line")

    def _refused(self, process: str, event: ev.Failed) -> None:
        said = self._settled(process, event)
        self.require(event.text == said.text, f"{said.text!r} failed as {event.text!r}")
        # A direct room has two names: until the broker has told that they are one, its lines are two chains.
        overtaken = event.code == Code.OUT_OF_ORDER and not event.room.startswith("@")
        self.require(not overtaken, f"{said.text!r} was overtaken, and so given up")
        if not event.unknown and not said.is_once:
            self._denied[said.text] = said
            self.require(said.text not in self._place, f"{said.text!r} failed ({event.code}), and is stored")

    def _settled(self, process: str, event: ev.Stored | ev.Failed) -> Said:
        said = self.said.get((process, event.ref))
        self.require(said is not None, f"{process} hears of line {event.ref}, which it never said")
        assert said is not None
        before = self.outcomes.get((process, event.ref))
        self.require(before is None, f"{process} hears of {said.text!r} twice: {before}, {event}")
        self.outcomes[process, event.ref] = event
        return said

    # ------------------------------------------------------------------ when all is over

    def require_settled(self, process: str) -> None:
        """Every line of a living process was stored or failed."""
        for (its, ref), said in self.said.items():
            if its == process:
                told = (its, ref) in self.outcomes
                self.require(told, f"{process} never hears what became of {said.text!r}")


def _brief(about: object) -> str:
    text = re.sub(r" object at 0x[0-9a-f]+", "", re.sub(_FILLER, " x…", str(about)))
    return text if len(text) <= 200 else f"{text[:197]}..."
