"""The broker's machine: the real hub on a log in memory, in the shell's round, with a power switch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

from chat_broker.clock import Now
from chat_broker.hub import Hub
from chat_broker.log import (
    SERVER_ROOM,
    Answer,
    Batch,
    MarkKey,
    MemoryLog,
    OnceKey,
    Sender,
    SenderKey,
    _MemoryRoom,
)
from chat_broker.settings import Settings
from chat_protocol.codec import decode_requests, encode
from chat_protocol.errors import BadFrame, StorageError
from chat_protocol.messages import Added, Key, Marked, Message, Opened, Page
from tests.simulation.clock import Clock
from tests.simulation.history import History
from tests.simulation.network import FeedLink, Link, Weather
from tests.simulation.seals import SymbolicSealer

OPERATOR_KEY = b"operator".ljust(32, b".")
INVITE_KEY = b"invite".ljust(32, b".")
ROUND_S = 0.0003


Backup = tuple[
    dict[str, _MemoryRoom],
    dict[SenderKey, Sender],
    dict[OnceKey, Answer],
    dict[MarkKey, int],
    dict[int, int],
]


class Crash(Exception):
    """The broker's process is killed just here."""


class Disk(MemoryLog):
    """Survives crashes; tells the history what it has stored."""

    def __init__(self, history: History, appended: Callable[[], None]) -> None:
        super().__init__(epoch=b"epoch..1")
        self._history = history
        self._appended = appended
        self._backup: Backup | None = None
        history.epoch = self.epoch

    def append(self, batch: Batch) -> None:
        super().append(batch)
        self._appended()

    def _store(self, batch: Batch) -> StorageError | None:
        error = super()._store(batch)
        if error is None:
            entries = {
                room: [entry for one in stretches for entry in one.entries()]
                for room, stretches in batch.entries.items()
            }
            self._history.note("disk", "stores", {room: some[-1].seq for room, some in entries.items()})
            self._history.stored(entries, batch.trims)
            self._history.marked(batch.marks)
        else:
            self._history.note("disk", "fails", batch.ticket)
        return error

    @property
    def has_results(self) -> bool:
        return bool(self._results)

    def back_up(self) -> None:
        """Remember what is stored now."""
        rooms = {name: replace(room, entries=list(room.entries)) for name, room in self._rooms.items()}
        self._backup = (
            rooms,
            dict(self._senders),
            dict(self._onces),
            dict(self._marks),
            dict(self._history.banned),
        )

    def restore(self) -> None:
        """Go back to the backup, if there is one; a new history begins."""
        if self._backup is None:
            return
        self._rooms, self._senders, self._onces, self._marks, self._history.banned = self._backup
        self._backup = None
        self.epoch = (int.from_bytes(self.epoch, "big") + 1).to_bytes(8, "big")
        trimmed = {name: room.trimmed for name, room in self._rooms.items()}
        self._history.note("disk", "is restored", self.heads())
        self._history.restored(self.epoch, self.heads(), trimmed, self._marks)

    def forget_senders(self) -> None:
        """A week has passed since anything was heard of them."""
        self._senders.clear()

    def heads(self) -> dict[str, int]:
        return {room: self.read(room, 0, 1).head for room in self.rooms() if room != SERVER_ROOM}


class BrokerMachine:
    """`fuse` is the number of further commits and sends after which the process is killed."""

    def __init__(
        self, clock: Clock, rng: Random, weather: Weather, history: History, settings: Settings
    ) -> None:
        self.disk = Disk(history, self._appended)
        self.hub: Hub | None = None
        self.feeds: list[FeedLink] = []
        self.fuse: int | None = None
        self.commit_s = 0.002
        self.crashes = 0
        self.has_forged = False
        self._clock = clock
        self._rng = rng
        self._weather = weather
        self._history = history
        self._settings = settings
        self._links: dict[bytes, Link] = {}
        self._inbox: deque[tuple[Link, bytes]] = deque()
        self._doors: list[Callable[[Hub], None]] = []
        self._round_at: float | None = None
        self._is_committing = False
        self._run = 0
        self._frozen_until = 0.0
        self._published: deque[tuple[bytes, bytes]] = deque(maxlen=50)

    # ------------------------------------------------------------------ power

    @property
    def is_running(self) -> bool:
        return self.hub is not None

    def start(self) -> None:
        if self.hub is not None:
            return
        self._run += 1
        rng = self._rng
        self._history.note("broker", "starts", self._run)
        sealer = SymbolicSealer(rng.randbytes(32))
        self.hub = Hub(self.disk, sealer, rng.randbytes, self._now(), self._settings)
        self.hub.found(OPERATOR_KEY, INVITE_KEY)
        self._wake(0.0)

    def crash(self) -> None:
        if self.hub is None:
            return
        self.crashes += 1
        self._history.note("broker", "crashes")
        self.hub, self.fuse = None, None
        self._round_at, self._is_committing, self._frozen_until = None, False, 0.0
        self.disk.crash()
        self._inbox.clear()
        self._doors.clear()
        links, self._links = self._links, {}
        silent = self._rng.random() < 0.1  # the machine, not only the process
        for link in links.values():
            link.cut(0.0)
            if not silent:
                self._clock.after(self._weather.delay(self._rng), partial(link.person.link_lost, link))
        for feed in list(self.feeds):
            feed.drop()

    def freeze(self, seconds: float) -> None:
        """Stopped as by SIGSTOP: nothing moves, everything waits."""
        self._history.note("broker", "freezes", f"{seconds:.1f} s")
        self._frozen_until = self._clock.now + seconds

    def calm_down(self) -> None:
        """Nothing more is done to this machine."""
        self.fuse = None
        self.commit_s = 0.002
        self.disk.fail = None
        self._frozen_until = min(self._frozen_until, self._clock.now)
        if self.hub is None:
            self.start()
        self._wake(0.0)

    # ------------------------------------------------------------------ what comes in

    def connect(self, link: Link) -> bool:
        """A TCP connection; the handshake follows. False if nothing listens."""
        if self.hub is None:
            return False
        self._links[link.peer] = link

        def answer(hub: Hub) -> None:
            admitted = hub.admits(link.key, self._now())
            delay = self._weather.delay(self._rng)
            self._clock.after(delay, lambda: link.person.handshaken(link, admitted=admitted))

        self._doors.append(answer)
        self._wake(ROUND_S)
        return True

    def greet_feed(self, feed: FeedLink, attempt: int) -> None:
        if self.hub is None:
            feed.drop()
            return

        def answer(hub: Hub) -> None:
            if hub.admits_feed(feed.token):
                feed.admitted(attempt)
            else:
                feed.refused(attempt)

        self._doors.append(answer)
        self._wake(ROUND_S)

    def take_in(self, link: Link, frame: bytes) -> None:
        if self._links.get(link.peer) is link:
            self._inbox.append((link, frame))
            self._wake(ROUND_S)

    # ------------------------------------------------------------------ the round

    def _wake(self, delay: float) -> None:
        self._wake_at(self._clock.now + delay)

    def _wake_at(self, at: float) -> None:
        if self._round_at is None or at < self._round_at:
            self._round_at = at
            self._clock.at(at, lambda: self._due(at))

    def _due(self, at: float) -> None:
        if self._round_at != at or self.hub is None:
            return
        self._round_at = None
        if self._clock.now < self._frozen_until:
            self._wake_at(self._frozen_until)
            return
        try:
            self._round(self.hub)
        except Crash:
            self.crash()
            return
        deadline = self.hub.next_deadline()
        if self._inbox:
            self._wake(ROUND_S)
        elif deadline is not None:
            self._wake_at(max(deadline, self._clock.now))

    def _round(self, hub: Hub) -> None:
        if self.disk.has_results:
            hub.log_results(self._now())
            self._send(hub)
        doors, self._doors = self._doors, []
        for answer in doors:
            answer(hub)
        for link, frame in self._drain():
            try:
                requests = decode_requests(frame)
            except BadFrame as error:
                hub.receive_bad(link.peer, error, self._now())
                continue
            hub.receive_all(link.peer, link.key, requests, self._now())
        hub.flush(self._now())
        self._send(hub)
        if not self._inbox:
            hub.tick(self._now())
            self._send(hub)

    def _drain(self) -> list[tuple[Link, bytes]]:
        """Some of what waits: each connection's in order, several interleaved anyhow."""
        if self._rng.random() < 0.2 and len(self._inbox) > 1:
            return [self._inbox.popleft() for _ in range(self._rng.randint(1, len(self._inbox)))]
        waiting, self._inbox = self._inbox, deque()
        queues: dict[bytes, deque[tuple[Link, bytes]]] = {}
        for link, frame in waiting:
            queues.setdefault(link.peer, deque()).append((link, frame))
        if len(queues) < 2:
            return list(waiting)
        found = []
        ready = list(queues.values())
        while ready:
            queue = self._rng.choice(ready)
            found.append(queue.popleft())
            if not queue:
                ready.remove(queue)
        return found

    def _send(self, hub: Hub) -> None:
        outgoing = hub.take()
        for topic, envelope in outgoing.feed:
            self._burn()
            self._publish(topic, envelope)
        for peer, message in outgoing.replies:
            self._burn()
            self._reply(hub, peer, message)

    def _publish(self, topic: bytes, envelope: bytes) -> None:
        assert self.hub is not None
        room = self._history.room_of(topic)
        if room is not None:
            self._history.sealed(envelope, room)
        forged = self._rng.random() < self._weather.feed_forged
        self.has_forged = self.has_forged or forged
        for feed in self.feeds:
            if topic not in feed.heard:
                continue
            feed.publish(topic, envelope)
            if forged:
                feed.bring(self._clock.now, topic, self._forge(envelope))
        self._published.append((topic, envelope))

    def _forge(self, envelope: bytes) -> bytes:
        """What somebody on the wire may send: an old envelope, a changed one, or noise."""
        roll = self._rng.random()
        if roll < 0.4 and self._published:
            return self._rng.choice(self._published)[1]
        if roll < 0.8:
            at = self._rng.randrange(len(envelope))
            return envelope[:at] + bytes([envelope[at] ^ 1 << self._rng.randrange(8)]) + envelope[at + 1 :]
        return self._rng.randbytes(self._rng.randrange(200))

    def _reply(self, hub: Hub, peer: bytes, message: Message) -> None:
        link = self._links.get(peer)
        if link is None:
            return
        account = hub.state.accounts.by_key.get(link.key)
        if account is not None:
            match message:
                case Marked(room=room, seq=seq) | Opened(room=room, read=seq) if seq > 0:
                    name = f"account {account.id}"
                    self._history.told_of_marker(name, MarkKey(account.id, room), seq)
            match message:
                case Opened(room=room, topic=topic, key=key):
                    self._history.topic(topic, room)
                    self._history.handed(key, account.id)
                case Key(key=key):
                    self._history.handed(key, account.id)
                case Page(room=room, entries=entries):
                    self._history.paged(account.id, room, entries)
        if self._rng.random() >= self._weather.swallowed or isinstance(message, Added):
            link.down.send(encode(message))

    def _burn(self) -> None:
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                raise Crash

    # ------------------------------------------------------------------ the disk

    def _appended(self) -> None:
        if not self._is_committing:
            self._is_committing = True
            run = self._run
            self._clock.after(self.commit_s * self._rng.uniform(0.2, 1.0), lambda: self._commit(run))

    def _commit(self, run: int) -> None:
        if run != self._run or self.hub is None:
            return
        if self._clock.now < self._frozen_until:
            self._clock.at(self._frozen_until, lambda: self._commit(run))
            return
        self._is_committing = False
        self.disk.commit(1 if self._rng.random() < 0.3 else None)
        try:
            self._burn()
        except Crash:
            self.crash()
            return
        if self.disk.waiting:
            self._appended()
        self._wake(0.0)

    def _now(self) -> Now:
        return Now(self._clock.now, self._clock.wall)
