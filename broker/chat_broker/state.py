"""Core: everything the handlers share, and the way into and out of the log.

A request is judged at once, against the state after everything ahead of it, stored or not. What it
proposes joins the open batch; what it answers waits with that batch and is released when the log has
stored it. Requests that read wait until everything ahead of them is stored, and then see only what is
stored. So no reply, publication or key ever speaks of something that a crash could take back.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable

from msgspec import Raw

from chat_broker.accounts import Account, Accounts, RoomMade, ServerKind, server_body
from chat_broker.clock import Now
from chat_broker.feed import Feed
from chat_broker.log import (
    ARRAY_HEAD_BYTES,
    SERVER_ROOM,
    Batch,
    Fold,
    Log,
    Result,
    Sender,
    Stretch,
    entries_after,
    entry_bytes,
)
from chat_broker.marks import Marks
from chat_broker.pending import ASKED_BYTES, Effect, Pending, Run, Waiting
from chat_broker.rooms import Room, Rooms
from chat_broker.roster import Roster, Session
from chat_broker.sends import Sends
from chat_broker.settings import Settings
from chat_protocol.codec import encode_plain, pack_lines
from chat_protocol.errors import Code, StorageError
from chat_protocol.messages import (
    ENTRIES_BYTES_MAX,
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
from chat_protocol.names import clean_text, direct_accounts, direct_room

STORAGE_RETRY_S = 1.0  # after a failure the log is tried again no earlier
LINE_BESIDE_BYTES = 22  # of a stored line, about, besides its text and its sender's name
PAGES_BYTES_MAX = 32 << 20  # in Pages between two `take`s
PAGES_BYTES_MAX_PER_SESSION = 4 << 20


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
        self.roster = Roster(settings.lease_s)
        self.sends = Sends(log, settings.limits.says_in_flight)
        self.marks = Marks(log)
        self.replies: list[tuple[bytes, Message]] = []
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.backups: dict[int, tuple[bytes, Session, int]] = {}
        self.lines_stored = 0
        self.pending_bytes = 0  # on their way to the log, and asked meanwhile
        self.storage_error: StorageError | None = None
        self.storage_retry_at = 0.0  # on the monotonic clock; until then nothing is given to a failed log
        self._tickets = 0
        self._server_folded = 0
        self._failing: StorageError | None = None
        self._doomed: list[Pending] = []
        self._in_flight: deque[Pending] = deque()
        self._paged_bytes = 0  # in Pages since the last `take`, and by peer
        self._paged: dict[bytes, int] = {}
        self._open = self._new_pending()
        self.accounts = Accounts()
        self.rooms = Rooms(settings.newcomer_lines)
        self._load()

    # ------------------------------------------------------------------ judging

    def readable(self, session: Session, request: int, ref: str) -> Room | None:
        """The stored room that `ref` names, if this session's account may read it; refuses if not."""
        room = self.rooms.get(self.room_id(session.account.id, ref) or "")
        if room is not None and room.may_read(session.account.id):
            return room
        self.refuse_now(session.peer, request, Code.NO_SUCH_ROOM, no_such_room(ref))
        return None

    def room_id(self, account: int, ref: str) -> str | None:
        """The id behind a reference; None for "@name" when nobody is called so."""
        if not ref.startswith("@") or direct_accounts(ref):
            return ref.lower()
        other = self.accounts.named(ref[1:])
        return direct_room(account, other.id) if other else None

    def is_shut_out(self, session: Session, request: int) -> bool:
        """Whether the account is banned or the key revoked by now; refuses the request if so."""
        if session.account.banned:
            text = "you are banned from this broker"
            self.refuse(session.peer, session, request, Code.BANNED, text)
        elif session.key not in session.account.keys:
            self.refuse(session.peer, session, request, Code.REVOKED, "this key was revoked")
        else:
            return False
        return True

    def is_log_down(self, peer: bytes, request: int) -> bool:
        """Whether the log takes nothing at the moment; refuses the request if so."""
        if self.storage_error is None or self.now.clock >= self.storage_retry_at:
            return False
        code = self.storage_error.code
        self.refuse_now(peer, request, code, no_storage(code), retry_ms=int(STORAGE_RETRY_S * 1000))
        return True

    def has_allowance(self, session: Session, lines: int) -> bool:
        """Take lines from the session's allowance, if they are in it."""
        return self._spend(session, lines) <= 0

    def _spend(self, session: Session, lines: int) -> float:
        limits, account = self.settings.limits, session.account
        rate = max(1, account.lines_per_s or limits.lines_per_s)
        burst = max(1, limits.lines_burst * rate // max(1, limits.lines_per_s))
        return session.allowance.spend(lines, rate, burst, self.now.clock)

    def may_spend(self, session: Session, request: int, lines: int) -> bool:
        """Take lines from the session's allowance; if they are not in it, refuse and say when they will."""
        wait_s = self._spend(session, lines)
        if wait_s > 0:
            text = "you are saying more lines a second than this broker takes"
            retry_ms = math.ceil(wait_s * 1000)
            self.refuse_now(session.peer, request, Code.RATE_LIMITED, text, retry_ms=retry_ms)
        return wait_s <= 0

    def may_page(self, session: Session) -> bool:
        """Whether there is room for a further Page before what is there has been sent."""
        mine = self._paged.get(session.peer, 0)
        return mine < PAGES_BYTES_MAX_PER_SESSION and self._paged_bytes < PAGES_BYTES_MAX

    def paged(self, session: Session, entries: list[Entry]) -> None:
        """These entries go out as a Page."""
        size = sum(map(entry_bytes, entries))
        self._paged[session.peer] = self._paged.get(session.peer, 0) + size
        self._paged_bytes += size

    def sent(self) -> None:
        """Everything that was to be sent is taken."""
        self._paged.clear()
        self._paged_bytes = 0

    # ------------------------------------------------------------------ proposing

    def propose(self, room: str, kind: int, body: Raw, by: Account) -> Entry:
        """Append an entry to a room, and to what the room is from here on."""
        head = self.rooms[room].head if self.rooms.get(room) else 0
        entry = Entry(head + 1, self.now.wall, by.id, by.name, kind, body)
        self.rooms.apply(room, entry)
        self._open.add_event(room, entry)
        self._count(self._open, entry_bytes(entry))
        return entry

    def propose_lines(self, room: Room, lines: list[str], by: Account, hops: int) -> int:
        """Append what somebody said, all of it at once; returns the first line's seq."""
        first, count, bytes_max = room.head + 1, len(lines), ENTRIES_BYTES_MAX - ARRAY_HEAD_BYTES
        likely = sum(map(len, lines)) + count * (LINE_BESIDE_BYTES + len(by.name))
        if count == 1 or likely <= bytes_max:
            data = pack_lines(first, self.now.wall, by.id, by.name, lines, hops)
            if count == 1 or len(data) <= bytes_max:
                room.apply_lines(first, count)
                self._open.add(room.name, Stretch(first, room.head, data))
                self._count(self._open, len(data))
                return first
        half = count // 2
        self.propose_lines(room, lines[:half], by, hops)
        self.propose_lines(room, lines[half:], by, hops)
        return first

    def propose_event(self, room: str, kind: EntryKind, body: Message, by: Account) -> Entry:
        return self.propose(room, kind, Raw(encode_plain(body)), by)

    def propose_server(self, kind: ServerKind, body: Message, by: Account | None = None) -> Entry:
        """Append an entry to the broker's own log."""
        account, name = (by.id, by.name) if by else (0, "")
        entry = Entry(self.accounts.head + 1, self.now.wall, account, name, kind, server_body(body))
        self.accounts.apply(entry)
        self._open.batch.entries.setdefault(SERVER_ROOM, []).append(Stretch.of([entry]))
        self._count(self._open, entry_bytes(entry))
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
        text = " ".join(clean_text(text).split())  # it may quote what the peer sent
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
        self._wait(Waiting(peer, session, [request], effect))

    def when_settled(self, peer: bytes, session: Session | None, request: int, effect: Effect) -> None:
        """Do something once everything ahead is stored or known not to be."""
        self._wait(Waiting(peer, session, [request], effect, settled=True))

    def said(self, session: Session, stored: list[Stored]) -> None:
        """Acknowledge Says that are in the open batch; one message a session and batch."""
        self._ask(self._open, Waiting(session.peer, session, [one.request for one in stored]))
        self._open.said.setdefault(session.token, (session, []))[1].extend(stored)

    def said_before(self, session: Session, stored: Stored) -> None:
        """Acknowledge a Say that is stored, again."""
        self.reply_now(session.peer, Said(stored.request, self.log.epoch, [stored]))

    def note(self, event: str, **what: object) -> None:
        """A line for the broker's own log."""
        self.notes.append((event, what))

    def _newest_pending(self) -> Pending | None:
        """What has to be stored before a reply may be given now; None if nothing."""
        if self._open.batch:
            return self._open
        return self._in_flight[-1] if self._in_flight else None

    def _wait(self, waiting: Waiting) -> None:
        pending = self._newest_pending()
        if pending is None:
            self._do(waiting)
        else:
            self._ask(pending, waiting)

    def _ask(self, pending: Pending, waiting: Waiting) -> None:
        pending.waiting.append(waiting)
        self._count(pending, ASKED_BYTES * len(waiting.requests))
        if waiting.session is not None:
            waiting.session.in_flight += len(waiting.requests)

    def _do(self, waiting: Waiting) -> None:
        """What was waited for has come. A log that cannot be read at the moment is no reason to fall."""
        if waiting.effect is None:
            return
        try:
            waiting.effect(self.now)
        except StorageError as error:
            self.note("storage_failed", code=str(error.code), text=str(error))
            for request in waiting.requests:
                self.refuse_now(waiting.peer, request, error.code, no_storage(error.code))

    def _count(self, pending: Pending, size: int) -> None:
        pending.bytes += size
        self.pending_bytes += size

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
            account = session.account
            is_in = (
                session.key in account.keys and not account.banned and self.accounts.is_settled(session.key)
            )
            if is_in and self.rooms[room].may_read(account.id):
                feed.holders.add(account.id)
                self.reply_now(session.peer, Key(0, room, feed.generation, feed.key, stored))

    def _presence_changed(self, session: Session, room: str, *, came: bool) -> None:
        present = len(self.roster.present(room))
        self.feed.presence_changed(
            room, session.account.name, came=came, present=present, clock=self.now.clock
        )

    # ------------------------------------------------------------------ the log

    def flush(self) -> None:
        """Give the open batch to the log; unless it is at work, and the batch can grow meanwhile."""
        pending = self._open
        if not pending.batch or self._failing is not None:
            return
        if self._in_flight and pending.bytes < self.settings.batch_bytes:
            return
        batch = pending.batch
        batch.now = self.now.wall
        batch.senders = {  # the log keeps them as they are now, while the hub goes on to change its own
            key: Sender(sender.last, OrderedDict(sender.answers)) for key, sender in batch.senders.items()
        }
        self._add_folds(batch)
        self._in_flight.append(pending)
        self._open = self._new_pending()
        self.log.append(batch)

    @property
    def has_much_to_store(self) -> bool:
        """Whether the open batch is as big as batches have to be."""
        return self._open.bytes >= max(1, self.settings.batch_bytes)

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
        self.marks.settle(pending.batch.marks)
        for room, stretches in pending.batch.entries.items():
            if room == SERVER_ROOM:
                self.accounts.settle(stretches[-1].last)
            else:
                self.rooms.settle(room, stretches[-1].last, pending.events.get(room, []))
        for run in pending.runs:
            self._publish(run)
        for session, stored in pending.said.values():
            self.lines_stored += sum(one.count for one in stored)
            self.reply_now(session.peer, Said(stored[-1].request, self.log.epoch, stored))
        self._settle(pending)
        for waiting in pending.waiting:
            self._do(waiting)

    def _publish(self, run: Run) -> None:
        if run.entries and len(self.roster.present(run.room)):
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
        touched = {room for pending in doomed for room in pending.batch.entries}
        retry_ms = int(STORAGE_RETRY_S * 1000)
        for pending in doomed:
            self._settle(pending)
            for one in pending.waiting:
                for request in () if one.settled else filter(None, one.requests):
                    text = no_storage(error.code)
                    self.reply_now(one.peer, Refusal(request, error.code, text, retry_ms))
        self.log.recover()
        self.sends.forget()
        self.marks.forget()
        self._reload(touched)
        for pending in doomed:
            for one in pending.waiting:
                if one.settled:
                    self._do(one)

    def _reload(self, touched: set[str]) -> None:
        """Undo what was proposed to these rooms and not stored. Raises StorageError: then nobody knows
        what is stored, and the broker cannot go on."""
        if SERVER_ROOM in touched:
            self._load_accounts()
            for session in self.roster:
                session.account = self.accounts.by_id[session.account.id]
        stored = set(self.log.rooms())
        for name in touched - {SERVER_ROOM}:
            self.rooms.forget(name)
            if name in stored:
                self._load_room(name)

    def _settle(self, pending: Pending) -> None:
        self.pending_bytes -= pending.bytes
        for waiting in pending.waiting:
            if waiting.session is not None:
                waiting.session.in_flight -= len(waiting.requests)

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
        """Store a room's fold every so many entries, and with it let go of what is not to be kept. Big
        folds come less often, so that they never are most of the work."""
        every = self.settings.fold_every
        for name, stretches in batch.entries.items():
            head = stretches[-1].last
            if name == SERVER_ROOM:
                if head - self._server_folded >= max(every, len(self.accounts.by_id)):
                    batch.folds[name] = Fold(head, self.accounts.fold())
                    self._server_folded = head
                continue
            room = self.rooms[name]
            if head - room.folded >= max(every, len(room.members)):
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
        self.accounts.settle(self.accounts.head)

    def _load_room(self, name: str) -> None:
        fold = self.log.fold(name)
        after = fold.seq if fold else 0
        self.rooms.load(name, fold.state if fold else None, entries_after(self.log, name, after))


def no_storage(code: Code) -> str:
    """What clients are told of a log that cannot be used; the whole story is the operator's alone."""
    if code is Code.STORAGE_FULL:
        return "the broker's disk is full: nothing new is stored until there is room again"
    return "the broker cannot use its log at the moment; its operator's log tells why"


def no_such_room(ref: str) -> str:
    """The same sentence for a room that is not there and one that the asker may not know of."""
    return f"there is no room {ref}; /rooms lists them, /create {ref} makes it"
