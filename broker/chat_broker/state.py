"""Core: everything the handlers share, and the way into and out of the log.

A request is judged at once, against the state after everything ahead of it, stored or not. What it
proposes joins the open batch; what it answers waits with that batch and is released when the log has
stored it. So no reply, publication or key ever speaks of something that a crash could take back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import Raw

from chat_broker.accounts import Account, Accounts, RoomMade, ServerKind, server_body
from chat_broker.clock import Now
from chat_broker.feed import Feed
from chat_broker.log import SERVER_ROOM, Batch, Fold, Log, Result, entries_after
from chat_broker.rooms import Room, Rooms
from chat_broker.roster import Roster, Session
from chat_broker.sends import Sends
from chat_broker.settings import Settings
from chat_protocol.codec import encode_plain
from chat_protocol.errors import Code, StorageError
from chat_protocol.messages import (
    Closed,
    Created,
    Done,
    Entry,
    EntryKind,
    Goodbye,
    Key,
    Message,
    Refusal,
    Reply,
    RoomKind,
    Said,
    Stored,
)
from chat_protocol.names import direct_accounts, direct_room

STORAGE_RETRY_S = 1.0  # after a failure the log is tried again no earlier

Effect = Callable[[Now], None]


@dataclass(slots=True)
class Run:
    """Entries of one room that go out together; with `turns`, the room's key turns after them."""

    room: str
    entries: list[Entry] = field(default_factory=list)
    turns: bool = False


@dataclass(slots=True)
class Pending:
    """A batch and all that waits for it."""

    batch: Batch
    runs: list[Run] = field(default_factory=list)
    said: dict[bytes, tuple[Session, list[Stored]]] = field(default_factory=dict)
    effects: list[tuple[Effect, bool]] = field(default_factory=list)  # True: do it after a failure too
    asked: list[tuple[bytes, Session | None, int]] = field(default_factory=list)  # request 0: refuse none
    bytes: int = 0
    _open_runs: dict[str, Run] = field(default_factory=dict)

    def run(self, room: str) -> Run:
        """The room's run that further entries join."""
        run = self._open_runs.get(room)
        if run is None:
            run = self._open_runs[room] = Run(room)
            self.runs.append(run)
        return run

    def turn(self, room: str) -> None:
        """The room's key turns after what is in its run so far."""
        self.run(room).turns = True
        del self._open_runs[room]


class State:
    """The broker's whole state. Handlers read it, `propose` changes to it, and `reply`."""

    def __init__(
        self, log: Log, feed: Feed, settings: Settings, random: Callable[[int], bytes], now: Now
    ) -> None:
        self.log = log
        self.feed = feed
        self.settings = settings
        self.random = random
        self.started = now
        self.now = now
        self.process_invite: bytes | None = None  # public key of the invite that lives as long as we do
        self.stopping = False
        self.roster = Roster(settings.lease_s)
        self.sends = Sends(log, settings.limits.says_in_flight)
        self.replies: list[tuple[bytes, Message]] = []
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.backups: dict[int, tuple[bytes, Session, int]] = {}
        self.lines_stored = 0
        self.storage_error: StorageError | None = None
        self.storage_retry_at = 0.0  # on the monotonic clock; until then nothing is given to a failed log
        self._tickets = 0
        self._server_folded = 0
        self._failing: StorageError | None = None
        self._doomed: list[Pending] = []
        self._in_flight: deque[Pending] = deque()
        self._open = self._new_pending()
        self.accounts = Accounts()
        self.rooms = Rooms(settings.newcomer_lines)
        self._load()

    # ------------------------------------------------------------------ judging

    def readable(self, account: int, ref: str) -> Room | None:
        """The room that `ref` names, if this account may read it. "@name" is the direct room with them."""
        room = self.rooms.get(self.room_id(account, ref) or "")
        return room if room and room.may_read(account) else None

    def room_id(self, account: int, ref: str) -> str | None:
        """The id behind a reference; None for "@name" when nobody is called so."""
        if not ref.startswith("@") or direct_accounts(ref):
            return ref.lower()
        other = self.accounts.named(ref[1:])
        return direct_room(account, other.id) if other else None

    @property
    def pending_bytes(self) -> int:
        return self._open.bytes + sum(pending.bytes for pending in self._in_flight)

    # ------------------------------------------------------------------ proposing

    def propose(self, room: str, kind: int, body: Raw, by: Account) -> Entry:
        """Append an entry to a room, and to what the room is from here on."""
        head = self.rooms[room].head if self.rooms.get(room) else 0
        entry = Entry(head + 1, self.now.wall, by.id, by.name, kind, body)
        self.rooms.apply(room, entry)
        self._open.batch.entries.setdefault(room, []).append(entry)
        self._open.run(room).entries.append(entry)
        self._open.bytes += len(bytes(body)) + 64
        return entry

    def propose_event(self, room: str, kind: EntryKind, body: Message, by: Account) -> Entry:
        return self.propose(room, kind, Raw(encode_plain(body)), by)

    def propose_server(self, kind: ServerKind, body: Message, by: Account | None = None) -> Entry:
        """Append an entry to the broker's own log."""
        account, name = (by.id, by.name) if by else (0, "")
        entry = Entry(self.accounts.head + 1, self.now.wall, account, name, kind, server_body(body))
        self.accounts.apply(entry)
        self._open.batch.entries.setdefault(SERVER_ROOM, []).append(entry)
        return entry

    def make_room(self, name: str, kind: RoomKind, members: list[Account], by: Account) -> Room:
        """Propose a room and its first entry."""
        self.propose_server(ServerKind.ROOM, RoomMade(name, kind), by)
        self.propose_event(
            name, EntryKind.CREATED, Created(kind, [(one.id, one.name) for one in members]), by
        )
        return self.rooms[name]

    def turn_key(self, room: str) -> None:
        """The room's key turns after what is proposed so far."""
        self._open.turn(room)

    @property
    def open_batch(self) -> Batch:
        return self._open.batch

    # ------------------------------------------------------------------ answering

    def reply_now(self, peer: bytes, message: Reply) -> None:
        """Answer at once: for what does not depend on the log."""
        self.replies.append((peer, message))

    def reply(self, peer: bytes, session: Session | None, message: Reply) -> None:
        """Answer when everything ahead is stored."""
        self.when_stored(peer, session, message.request, lambda now: self.reply_now(peer, message))

    def refuse_now(
        self, peer: bytes, request: int, code: Code, text: str, *, retry_ms: int = 0, last: int = 0
    ) -> None:
        self.reply_now(peer, Refusal(request, code, text, retry_ms, last))
        session = self.roster.at(peer)
        self.note("refused", name=session.account.name if session else None, code=str(code), text=text)

    def refuse(
        self, peer: bytes, session: Session | None, request: int, code: Code, text: str, *, last: int = 0
    ) -> None:
        """Refuse for a reason that may itself not be stored yet."""
        self.when_stored(
            peer, session, request, lambda now: self.refuse_now(peer, request, code, text, last=last)
        )

    def when_stored(self, peer: bytes, session: Session | None, request: int, effect: Effect) -> None:
        """Do something once everything ahead is stored; refuse `request` if it cannot be."""
        pending = self._newest_pending()
        if pending is None:
            effect(self.now)
            return
        self._ask(pending, peer, session, request)
        pending.effects.append((effect, False))

    def when_settled(self, peer: bytes, session: Session | None, effect: Effect) -> None:
        """Do something once everything ahead is stored or known not to be."""
        pending = self._newest_pending()
        if pending is None:
            effect(self.now)
            return
        self._ask(pending, peer, session, 0)
        pending.effects.append((effect, True))

    def said(self, session: Session, stored: Stored) -> None:
        """Acknowledge a Say with its batch; one message a session and batch."""
        pending = self._newest_pending()
        if pending is None:
            self.reply_now(session.peer, Said(stored.request, self.log.epoch, [stored]))
            return
        self._ask(pending, session.peer, session, stored.request)
        pending.said.setdefault(session.peer, (session, []))[1].append(stored)

    def note(self, event: str, **what: object) -> None:
        """A line for the broker's own log."""
        self.notes.append((event, what))

    def _newest_pending(self) -> Pending | None:
        """What has to be stored before a reply may be given now; None if nothing."""
        if self._open.batch:
            return self._open
        return self._in_flight[-1] if self._in_flight else None

    def _ask(self, pending: Pending, peer: bytes, session: Session | None, request: int) -> None:
        pending.asked.append((peer, session, request))
        if session is not None:
            session.in_flight += 1

    # ------------------------------------------------------------------ sessions and rooms

    def enter_room(self, session: Session, room: str) -> None:
        if self.roster.enter(session, room):
            self._presence_changed(session, room, came=True)

    def exit_room(self, session: Session, room: str) -> None:
        if self.roster.exit(session, room):
            self._presence_changed(session, room, came=False)

    def close_room(self, session: Session, room: Room, code: Code, text: str) -> None:
        """Tell a session that it follows a room no longer."""
        if room.name in session.open:
            self.exit_room(session, room.name)
            self.reply_now(session.peer, Closed(0, room.name, code, text))

    def end_session(self, session: Session, code: Code, text: str, *, tell: bool = True) -> None:
        """A session is over; its rooms hear of it."""
        for room in list(session.open):
            self.exit_room(session, room)
        if self.roster.drop(session):
            self.note("left", name=session.account.name, reason=str(code))
        if tell:
            self.reply_now(session.peer, Goodbye(0, code, text))

    def give_key(self, room: str) -> None:
        """Hand the room's new key to every session that follows it and may read it."""
        feed = self.feed.room(room)
        stored = self.rooms[room].stored
        for session in self.roster.in_room(room):
            if self.rooms[room].may_read(session.account.id) and not session.account.banned:
                feed.holders.add(session.account.id)
                self.reply_now(session.peer, Key(0, room, feed.generation, feed.key, stored))

    def _presence_changed(self, session: Session, room: str, *, came: bool) -> None:
        present = len(self.roster.present(room))
        self.feed.presence_changed(
            room, session.account.name, came=came, present=present, clock=self.now.clock
        )

    # ------------------------------------------------------------------ the log

    def flush(self) -> None:
        """Give the open batch to the log."""
        pending = self._open
        if not pending.batch or self._failing is not None:
            return
        pending.batch.now = self.now.wall
        self._add_folds(pending.batch)
        self._in_flight.append(pending)
        self._open = self._new_pending()
        self.log.append(pending.batch)

    @property
    def is_storing(self) -> bool:
        return bool(self._in_flight)

    def next_ticket(self) -> int:
        self._tickets += 1
        return self._tickets

    def take_results(self) -> None:
        """Release what the log has stored; refuse what it could not store, and begin again from it."""
        for result in self.log.take_results():
            if result.ticket in self.backups:
                self._backup_done(result)
                continue
            pending = self._in_flight.popleft()
            assert pending.batch.ticket == result.ticket, "batches come back in order"
            if result.error is None and self._failing is None:
                self._stored(pending)
            else:
                self._failing = self._failing or result.error
                self._doomed.append(pending)
        if self._failing is not None and not self._in_flight:
            self._failed(self._failing)

    def _stored(self, pending: Pending) -> None:
        if self.storage_error is not None:
            self.storage_error = None
            self.note("storage_recovered")
        self.sends.stored(pending.batch.ticket)
        for room, entries in pending.batch.entries.items():
            if room != SERVER_ROOM:
                self.rooms[room].stored = entries[-1].seq
        for run in pending.runs:
            self._publish(run)
        for peer, (session, stored) in pending.said.items():
            self.lines_stored += sum(one.count for one in stored)
            if self.roster.is_alive(session):
                self.reply_now(peer, Said(stored[-1].request, self.log.epoch, stored))
        for effect, _ in pending.effects:
            effect(self.now)
        self._settle(pending)

    def _publish(self, run: Run) -> None:
        if run.entries and self.roster.in_room(run.room):
            self.feed.publish(run.room, run.entries, self.now.clock)
        if run.turns:
            self.feed.turn(run.room)
            self.give_key(run.room)
            self.feed.pull_beacons(run.room, self.now.clock)

    def _failed(self, error: StorageError) -> None:
        """Refuse everything that is queued, and go back to what is stored."""
        self.note("storage_failed", code=str(error.code), text=str(error))
        doomed, self._doomed, self._failing = [*self._doomed, self._open], [], None
        self.storage_error = error
        self.storage_retry_at = self.now.clock + STORAGE_RETRY_S
        self._open = self._new_pending()
        touched: set[str] = set()
        for pending in doomed:
            touched |= pending.batch.entries.keys()
            for peer, _, request in pending.asked:
                if request:
                    retry_ms = int(STORAGE_RETRY_S * 1000)
                    self.reply_now(peer, Refusal(request, error.code, str(error), retry_ms))
            self._settle(pending)
        self.log.recover()
        self.sends.forget()
        self._reload(touched)
        for pending in doomed:
            for effect, after_failure in pending.effects:
                if after_failure:
                    effect(self.now)

    def _reload(self, touched: set[str]) -> None:
        """Undo what was proposed to these rooms and not stored, and what sessions got by it."""
        if SERVER_ROOM in touched:
            self._load_accounts()
            for session in self.roster:
                account = self.accounts.by_id.get(session.account.id)
                if account is None:
                    self.end_session(session, Code.EXPIRED, "this account was not stored")
                else:
                    session.account = account
        stored = set(self.log.rooms())
        for name in touched - {SERVER_ROOM}:
            self.rooms.forget(name)
            if name in stored:
                self._load_room(name)
            for session in self.roster.in_room(name):
                if self.readable(session.account.id, name) is None:
                    self.exit_room(session, name)
                    self.reply_now(
                        session.peer, Closed(0, name, Code.NO_SUCH_ROOM, "this room was not stored")
                    )
            if name in stored and not self.feed.room(name).holders <= self._readers(name):
                self.feed.turn(name)
                self.give_key(name)

    def _readers(self, name: str) -> set[int]:
        room = self.rooms[name]
        return set(self.accounts.by_id if room.kind is RoomKind.PUBLIC else room.members)

    def _settle(self, pending: Pending) -> None:
        for _, session, _ in pending.asked:
            if session is not None:
                session.in_flight -= 1

    def _backup_done(self, result: Result) -> None:
        peer, session, request = self.backups.pop(result.ticket)
        if not self.roster.is_alive(session):
            return
        if result.error is None:
            self.reply_now(peer, Done(request))
        else:
            self.refuse_now(peer, request, result.error.code, str(result.error))

    def _new_pending(self) -> Pending:
        return Pending(Batch(self.next_ticket(), self.now.wall))

    def _add_folds(self, batch: Batch) -> None:
        """Store a room's fold every so many entries, and with it let go of what is not to be kept."""
        for name, entries in batch.entries.items():
            head = entries[-1].seq
            if name == SERVER_ROOM:
                if head - self._server_folded >= self.settings.fold_every:
                    batch.folds[name] = Fold(head, self.accounts.fold())
                    self._server_folded = head
                continue
            room = self.rooms[name]
            if head - room.folded >= self.settings.fold_every:
                batch.folds[name] = Fold(head, room.fold())
                room.folded = head
                if 0 < self.settings.keep_entries < head:
                    batch.trims[name] = head - self.settings.keep_entries

    def _load(self) -> None:
        """The state as the log has it: newest folds, and the entries after them."""
        self._load_accounts()
        for name in self.log.rooms():
            if name != SERVER_ROOM:
                self._load_room(name)

    def _load_accounts(self) -> None:
        fold = self.log.fold(SERVER_ROOM)
        self.accounts = Accounts.unfold(fold.state) if fold else Accounts()
        self._server_folded = self.accounts.head
        for entry in entries_after(self.log, SERVER_ROOM, self.accounts.head):
            self.accounts.apply(entry)

    def _load_room(self, name: str) -> None:
        fold = self.log.fold(name)
        room = self.rooms.restore(name, fold.state if fold else None)
        for entry in entries_after(self.log, name, room.head):
            self.rooms.apply(name, entry)
        room.stored = room.head
