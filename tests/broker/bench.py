"""A test bench: a hub on a log in memory, its clock moved by hand, and peers that talk to it.

Nothing is stored before `bench.round()` (or `store` in steps), so that tests see what is said before
and what only after a commit. Peers open what the feed brings with the real seal.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any, TypeVar

from chat_broker.clock import Now
from chat_broker.hub import Hub
from chat_broker.log import MemoryLog, Stretch
from chat_broker.settings import Settings
from chat_protocol.codec import (
    decode_feed,
    decode_reply,
    decode_request,
    decode_requests,
    encode,
    encode_requests,
    line_text,
)
from chat_protocol.envelope import (
    HEADER_BYTES,
    SIGNATURE_BYTES,
    TAG_BYTES,
    Header,
    Opener,
    Sealer,
    pack_header,
    read_header,
)
from chat_protocol.errors import BadSeal
from chat_protocol.messages import (
    LOBBY,
    AnyFeed,
    Beacon,
    Closed,
    Cursor,
    Enroll,
    Enrolled,
    Entry,
    Fetch,
    Hello,
    Key,
    Limits,
    Message,
    Open,
    Opened,
    Page,
    Ping,
    Presence,
    Publication,
    Refusal,
    Reply,
    Request,
    Said,
    Say,
    SessionRequest,
    Welcome,
)
from chat_protocol.sealing import SigningSealer, VerifyingOpener

R = TypeVar("R", bound=Reply)

WALL = 1_790_000_000_000
EPOCH = b"epoch..1"
OPERATOR_KEY = bytes(range(32))
PROCESS_INVITE = bytes(range(32, 64))
DAY_S = 24 * 3_600


class ClearSealer:
    """Seals nothing: quick, where a test looks at what is said and not at who may read it."""

    verify_key = bytes(32)

    def seal(self, topic: bytes, key: bytes, header: Header, plaintext: bytes) -> bytes:
        return pack_header(header) + plaintext + bytes(TAG_BYTES + SIGNATURE_BYTES)

    def verify(self, topic: bytes, envelope: bytes) -> None:
        """Nothing to check: a test that reads in the clear forges nothing."""

    def open(self, topic: bytes, key: bytes, envelope: bytes) -> bytes:
        return envelope[HEADER_BYTES : -TAG_BYTES - SIGNATURE_BYTES]


def settings(**changes: Any) -> Settings:
    """Settings with some changed; those of `Limits` by their names there."""
    limits = {name: changes.pop(name) for name in Limits.__struct_fields__ if name in changes}
    return Settings(limits=Limits(**limits), **changes)


class Bench:
    """A broker without sockets. `log` survives `restart`, as a disk does."""

    def __init__(
        self, *, log: MemoryLog | None = None, seed: int = 0, clear: bool = False, **changes: Any
    ) -> None:
        self.settings = settings(**changes)
        self.clear = clear  # with `ClearSealer`
        self.log = log or MemoryLog(EPOCH)
        self.clock = 1_000.0
        self.wall = WALL
        self.random = random.Random(seed)
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.peers: dict[bytes, Peer] = {}
        self.feed: list[tuple[bytes, bytes]] = []
        self._peers_made = 0
        self._start()

    def _start(self) -> None:
        sealer: Sealer = ClearSealer() if self.clear else SigningSealer(self.random.randbytes(32))
        self.hub = Hub(self.log, sealer, self.random.randbytes, self.now, self.settings)
        self.hub.found(OPERATOR_KEY, PROCESS_INVITE)
        self.round()

    # ------------------------------------------------------------------ time

    @property
    def now(self) -> Now:
        return Now(self.clock, self.wall)

    def jump(self, seconds: float) -> None:
        """Time passes and the broker does not run."""
        self.clock += seconds
        self.wall += round(seconds * 1_000)

    def wait(self, seconds: float) -> None:
        """Time passes; the broker ticks when it said that it has to, and no more often."""
        until = self.clock + seconds
        while (deadline := self.hub.next_deadline()) is not None and deadline <= until:
            self.jump(max(0.0, deadline - self.clock))
            self.hub.tick(self.now)
            self.collect()
        self.jump(until - self.clock)

    def live(self, seconds: float) -> None:
        """Time passes, and every client pings as it should."""
        until = self.clock + seconds
        while self.clock < until:
            for peer in list(self.peers.values()):
                peer.ping()
            self.wait(min(self.settings.ping_s, until - self.clock))

    # ------------------------------------------------------------------ rounds

    def flush(self) -> None:
        """The queue is drained: what was proposed goes to the log, which has not stored it yet."""
        self.hub.flush(self.now)
        self.collect()

    def store(self, batches: int | None = None) -> None:
        """The log stores the oldest of what it was given (all, if None), and the hub hears of it."""
        self.log.commit(batches)
        self.hub.log_results(self.now)
        self.collect()

    def round(self) -> None:
        """Everything that was asked is stored and answered."""
        self.flush()
        self.store()
        while self.log.waiting:
            self.store()

    def collect(self) -> None:
        """Bring what the hub wants sent to whom it is for, through the codec."""
        outgoing = self.hub.take()
        self.notes += outgoing.notes
        self.feed += outgoing.feed
        for peer, message in outgoing.replies:
            if peer in self.peers:
                self.peers[peer].take(decode_reply(encode(message)))

    # ------------------------------------------------------------------ faults

    def restart(self, **changes: Any) -> None:
        """The process is killed and started again: what was not stored is gone, and all connections."""
        self.log.crash()
        self.settings = settings(**changes) if changes else self.settings
        self.peers.clear()
        self.feed.clear()
        self._start()

    # ------------------------------------------------------------------ peers

    def key(self) -> bytes:
        return self.random.randbytes(32)

    def connect(self, key: bytes) -> Peer:
        """A connection with this public key, past the handshake."""
        assert self.hub.admits(key, self.now)
        self._peers_made += 1
        peer = Peer(self, b"%05d" % self._peers_made, key)
        self.peers[peer.id] = peer
        return peer

    def enroll(self, name: str, key: bytes | None = None) -> bytes:
        """Make an account by the process's invite; returns its key."""
        key = key or self.key()
        self.connect(PROCESS_INVITE).ask(Enrolled, Enroll, name, key)
        return key

    def join(self, name: str, *rooms: str) -> Peer:
        """A new account's session that follows `rooms`."""
        return self.come(name, self.enroll(name), *rooms)

    def come(self, name: str, key: bytes, *rooms: str, instance: bytes | None = None) -> Peer:
        """A session of an account, on a new connection, that follows `rooms`."""
        peer = self.connect(key)
        peer.hello(name, instance)
        for room in rooms:
            peer.open(room)
        return peer

    def operator(self) -> Peer:
        return self.come("operator", OPERATOR_KEY)

    # ------------------------------------------------------------------ what is stored

    def entries(self, room: str = LOBBY) -> list[Entry]:
        return self.log.read(room, 0, 1_000_000, 1 << 40).entries

    def texts(self, room: str = LOBBY) -> list[str]:
        """The lines that are stored of a room."""
        return texts(self.entries(room))


class Peer:
    """One connection, with what its client would know. `inbox` holds replies not looked at yet."""

    def __init__(self, bench: Bench, id: bytes, key: bytes) -> None:
        self.bench = bench
        self.id = id
        self.key = key
        self.name = ""
        self.welcome: Welcome | None = None
        self.inbox: list[Reply] = []
        self.request = 0
        self.prev: dict[str, int] = {}
        self.topics: dict[bytes, str] = {}
        self.keys: dict[tuple[str, int], bytes] = {}  # by room and generation
        self._read = len(bench.feed)

    # ------------------------------------------------------------------ asking

    @property
    def token(self) -> bytes:
        return self.welcome.token if self.welcome else bytes(16)

    @property
    def instance(self) -> bytes:
        assert self.welcome
        return self.welcome.instance

    def send(self, kind: type[Request], *fields: Any, request: int = 0, **named: Any) -> int:
        """Send a request and store nothing; returns its id."""
        self.request = request or self.request + 1
        token = (self.token,) if issubclass(kind, SessionRequest) else ()
        self.deliver(kind(self.request, *token, *fields, **named))
        return self.request

    def deliver(self, message: Message) -> None:
        """A message as it stands, through the codec."""
        self.bench.hub.receive(self.id, self.key, decode_request(encode(message)), self.bench.now)
        self.bench.collect()

    def deliver_all(self, *messages: Request) -> None:
        """Messages as they stand, in as few frames as a client would take."""
        for frame in encode_requests(messages):
            self.bench.hub.receive_all(self.id, self.key, decode_requests(frame), self.bench.now)
        self.bench.collect()

    def ask(self, reply: type[R], kind: type[Request], *fields: Any, **named: Any) -> R:
        """Send a request, store everything; the one answer, which is a `reply`."""
        request = self.send(kind, *fields, **named)
        self.bench.round()
        return self.answer(reply, request)

    def refused(self, kind: type[Request], *fields: Any, **named: Any) -> Refusal:
        return self.ask(Refusal, kind, *fields, **named)

    def answer(self, reply: type[R], request: int) -> R:
        """The one answer to a request that was sent; it is looked at then."""
        answers = self.answers(request)
        assert len(answers) == 1, (request, answers)
        assert isinstance(answers[0], reply), answers[0]
        return answers[0]

    def answers(self, request: int) -> list[Reply]:
        found = [reply for reply in self.inbox if reply.request == request]
        self.inbox = [reply for reply in self.inbox if reply.request != request]
        return found

    def unasked(self, kind: type[R]) -> list[R]:
        """What the broker said unasked, of this kind; it is looked at then."""
        found = [reply for reply in self.inbox if isinstance(reply, kind) and reply.request == 0]
        self.inbox = [reply for reply in self.inbox if reply not in found]
        return found

    # ------------------------------------------------------------------ what a client does

    def hello(self, name: str, instance: bytes | None = None) -> Welcome:
        self.name = name
        self.welcome = self.ask(Welcome, Hello, name, instance)
        return self.welcome

    def open(self, room: str) -> Opened:
        return self.ask(Opened, Open, room)

    def send_say(
        self,
        *lines: str,
        room: str = LOBBY,
        request: int = 0,
        prev: int | None = None,
        once: bytes | None = None,
    ) -> int:
        """Say, with the `prev` an honest client gives unless told otherwise."""
        prev = self.prev.get(room, 0) if prev is None else prev
        self.prev[room] = self.send(Say, room, prev, list(lines), once, request=request)
        return self.prev[room]

    def say(self, *lines: str, room: str = LOBBY, once: bytes | None = None) -> Said:
        request = self.send_say(*lines, room=room, once=once)
        self.bench.round()
        return self.answer(Said, request)

    def refused_say(self, *lines: str, **how: Any) -> Refusal:
        before = dict(self.prev)
        request = self.send_say(*lines, **how)
        self.prev = before
        self.bench.round()
        return self.answer(Refusal, request)

    def fetch(self, room: str = LOBBY, after: int = 0, limit: int = 500) -> Page:
        return self.ask(Page, Fetch, room, Cursor(EPOCH, after), limit)

    def ping(self) -> None:
        """Keep the session, if there is one; nobody looks at the Pong."""
        if self.welcome:
            self.answers(self.send(Ping))

    def take(self, reply: Reply) -> None:
        match reply:
            case Opened():
                self.topics[reply.topic] = reply.room
                self.keys[reply.room, reply.generation] = reply.key
            case Key():
                self.keys[reply.room, reply.generation] = reply.key
            case Closed():
                pass  # keeps its keys, as whoever was removed may
        self.inbox.append(reply)

    # ------------------------------------------------------------------ the feed

    def read(self) -> list[tuple[str, AnyFeed]]:
        """What the feed brought since the last look that this peer's keys open, with its room."""
        return [(room, message) for room, message in self._opened() if message is not None]

    def sealed(self) -> int:
        """How many messages the feed brought since the last look that its keys do not open."""
        return sum(message is None for _, message in self._opened())

    def heard(self, room: str = LOBBY) -> list[str]:
        """The lines of a room that the feed brought since the last look."""
        return [
            text
            for name, message in self.read()
            if name == room and isinstance(message, Publication)
            for text in texts(message.entries)
        ]

    def _opened(self) -> list[tuple[str, AnyFeed | None]]:
        assert self.welcome
        opener: Opener = ClearSealer() if self.bench.clear else VerifyingOpener(self.welcome.verify_key)
        found: list[tuple[str, AnyFeed | None]] = []
        for topic, envelope in self.bench.feed[self._read :]:
            room = self.topics.get(topic, "")
            key = self.keys.get((room, read_header(envelope).generation), bytes(32))
            try:
                found.append((room, decode_feed(opener.open(topic, key, envelope))))
            except BadSeal:
                found.append((room, None))
        self._read = len(self.bench.feed)
        return found


def packed(entries: list[Entry]) -> list[Stretch]:
    """Entries as a batch holds them, each by itself."""
    return [Stretch.of([entry]) for entry in entries]


def texts(entries: list[Entry]) -> list[str]:
    return [text for entry in entries if (text := line_text(entry)) is not None]


def of_kind(feed: list[tuple[str, AnyFeed]]) -> dict[type[AnyFeed], list[Any]]:
    """Feed messages by their kind."""
    found: dict[Any, list[Any]] = defaultdict(list, {Publication: [], Beacon: [], Presence: []})
    for _, message in feed:
        found[type(message)].append(message)
    return found
