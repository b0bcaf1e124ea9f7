"""Thousands of clients of Simple Chat in one process: each a session over CURVE and a subscriber of the feed,
two descriptors, and all of the protocol that a client in a terminal would speak while it is quiet."""

from __future__ import annotations

import errno
import heapq
import random
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from multiprocessing.connection import Connection

import zmq
from zmq.utils import z85

from bench import machine, zmtp
from bench.curve import CurveClient, CurveError, key_pair
from bench.peers.chat import FEED_USER, Access, Context, Dealer
from bench.server import BenchError
from bench.sink import Spawn
from chat_protocol.codec import decode_reply, encode
from chat_protocol.messages import (
    Cursor,
    Enroll,
    Enrolled,
    Goodbye,
    Hello,
    Open,
    Opened,
    Ping,
    Refusal,
    Request,
    Welcome,
)

ROOM = "#lobby"
PING_S = 2.5
RETRY_S = (0.1, 10.0)  # first and longest pause before a new connection, less up to half
COMING_S = 0.003  # between two that come for the first time
HANDSHAKE_S = 25.0  # a connection that has not come so far is given up, as clients do who were here before
ENROLLING = 64  # requests in flight
RECEIVE_BYTES = 1 << 16
LIMIT_S = 120.0


class State(Enum):
    """AWAY: waits to connect. COMING: on the way to a session. LIVE: session, room and feed stand."""

    AWAY = 1
    COMING = 2
    LIVE = 3


@dataclass(frozen=True)
class Identity:
    name: str
    public: bytes
    secret: bytes


@dataclass(frozen=True)
class Status:
    """How many are live, and when the last one became it (monotonic)."""

    live: int
    live_s: float
    retries: int


class Swarm:
    """Clients in a process of their own."""

    def __init__(self, access: Access, count: int, core: int) -> None:
        self.count = count
        self._pipe, other = Spawn.Pipe()
        self._process = Spawn.Process(target=_run, args=(access, count, core, other), daemon=True)
        self._process.start()
        other.close()
        if self._hear() != "enrolled":
            raise BenchError("the clients could not be enrolled")

    @property
    def cpu_s(self) -> float:
        assert self._process.pid is not None
        return machine.cpu_s(self._process.pid)

    def connect(self) -> None:
        self._pipe.send("connect")

    def status(self) -> Status:
        self._pipe.send("status")
        got = self._hear()
        assert isinstance(got, Status)
        return got

    def all_live(self, since_s: float, limit_s: float = LIMIT_S) -> Status:
        """Wait until every client is live, the last of them after `since_s`."""
        give_up = time.monotonic() + limit_s
        while time.monotonic() < give_up:
            status = self.status()
            if status.live == self.count and status.live_s > since_s:
                return status
            time.sleep(0.05)
        raise BenchError(f"after {limit_s:g} s {status.live} of {self.count} clients are connected")

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _hear(self) -> object:
        if not self._pipe.poll(LIMIT_S):
            raise BenchError("the clients do not answer")
        got = self._pipe.recv()
        if isinstance(got, BaseException):
            raise BenchError(str(got))
        return got


def _run(access: Access, count: int, core: int, pipe: Connection) -> None:
    machine.pin(core)
    machine.raise_descriptor_limit(2 * count + 200)
    try:
        identities = _enroll(access, count)
        pipe.send("enrolled")
        _Loop(access, identities, pipe).run()
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:
        pipe.send(BenchError(f"{type(error).__name__}: {error}"))


def _enroll(access: Access, count: int) -> list[Identity]:
    """Make an account for each, pipelined on one invite's connection."""
    identities = [Identity(f"member{index}", *key_pair()) for index in range(count)]
    context: Context = zmq.Context()
    guest = Dealer(access, access.invite, context)
    sent = answered = 0
    while answered < count:
        while sent < count and sent - answered < ENROLLING:
            one = identities[sent]
            guest.socket.send(encode(Enroll(guest.next(), one.name, one.public)))
            sent += 1
        if not guest.socket.poll(30_000):
            raise BenchError("the broker does not enroll")
        reply = decode_reply(guest.socket.recv())
        if not isinstance(reply, Enrolled):
            raise BenchError(f"the broker does not enroll: {reply!r}"[:300])
        answered += 1
    guest.close()
    context.term()
    return identities


class _Loop:
    """The event loop: sockets by descriptor, and what is due by time."""

    def __init__(self, access: Access, identities: list[Identity], pipe: Connection) -> None:
        self.access = access
        self.server_key = z85.decode(access.key)
        self.live = self.retries = 0
        self.live_s = 0.0
        self._pipe = pipe
        self._poller = select.epoll()
        self._readers: dict[int, Callable[[int], None]] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._clients = [_Client(self, identity) for identity in identities]

    def run(self) -> None:
        self._poller.register(self._pipe.fileno(), select.EPOLLIN)
        while True:
            wait_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else 1.0
            for fd, events in self._poller.poll(min(1.0, wait_s), 512):
                if fd == self._pipe.fileno():
                    self._obey()
                elif fd in self._readers:
                    self._readers[fd](events)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()

    def _obey(self) -> None:
        if self._pipe.recv() == "connect":
            for index, client in enumerate(self._clients):
                self.after(index * COMING_S, client.dial)
        else:
            self._pipe.send(Status(self.live, self.live_s, self.retries))

    def after(self, pause_s: float, what: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._due, (time.monotonic() + pause_s, self._order, what))

    def connect(self, port: int, reader: Callable[[int], None]) -> socket.socket:
        """A connection under way; `reader` hears of it when it stands."""
        one = socket.socket()
        one.setblocking(False)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.connect_ex(("127.0.0.1", port))
        self._readers[one.fileno()] = reader
        self._poller.register(one, select.EPOLLOUT)
        return one

    def stands(self, one: socket.socket) -> None:
        self._poller.modify(one, select.EPOLLIN)

    def forget(self, one: socket.socket) -> None:
        del self._readers[one.fileno()]
        self._poller.unregister(one)
        one.close()

    def became_live(self) -> None:
        self.live += 1
        self.live_s = time.monotonic()


class _Client:
    """One client: dials, says Hello, opens the room, joins the feed, pings; and comes back when cut off."""

    def __init__(self, loop: _Loop, identity: Identity) -> None:
        self._loop, self._identity = loop, identity
        self._state = State.AWAY
        self._request = 0
        self._instance: bytes | None = None
        self._cursor: Cursor | None = None
        self._command: socket.socket | None = None
        self._feed: socket.socket | None = None
        self._pause_s = RETRY_S[0]
        self._tries = 0

    # ------------------------------------------------------------------ coming and going

    def dial(self) -> None:
        self._state = State.COMING
        self._tries += 1
        self._curve = CurveClient(
            self._loop.server_key, self._identity.public, self._identity.secret, b"DEALER"
        )
        self._command = self._loop.connect(self._loop.access.port, self._on_command)
        tries = self._tries
        self._loop.after(HANDSHAKE_S, lambda: self._give_up(tries))

    def _give_up(self, tries: int) -> None:
        if self._state is State.COMING and tries == self._tries:
            self._lose()

    def _lose(self) -> None:
        """A connection is gone: begin again after a pause."""
        if self._state is State.LIVE:
            self._loop.live -= 1
            self._pause_s = RETRY_S[0]
        for one in (self._command, self._feed):
            if one is not None:
                self._loop.forget(one)
        self._command = self._feed = None
        self._state = State.AWAY
        self._loop.retries += 1
        self._loop.after(self._pause_s * random.uniform(0.5, 1.0), self.dial)
        self._pause_s = min(RETRY_S[1], self._pause_s * 2)

    # ------------------------------------------------------------------ the command connection

    def _on_command(self, events: int) -> None:
        assert self._command is not None
        try:
            if events & select.EPOLLOUT:
                if self._command.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self._lose()
                    return
                self._loop.stands(self._command)
                self._command.send(self._curve.begin())
                return
            data = self._command.recv(RECEIVE_BYTES)
            if not data:
                self._lose()
                return
            was_ready = self._curve.is_ready
            out, messages = self._curve.receive(data)
            if out:
                self._command.send(out)
            if self._curve.is_ready and not was_ready:
                self._say(Hello(self._next(), self._identity.name, self._instance))
            for message in messages:
                if message and self._command is not None:
                    self._take(message)
        except (OSError, CurveError):
            if self._state is not State.AWAY:
                self._lose()

    def _next(self) -> int:
        self._request += 1
        return self._request

    def _say(self, request: Request) -> None:
        assert self._command is not None
        self._command.send(self._curve.message(encode(request)))

    def _take(self, message: bytes) -> None:
        match decode_reply(message):
            case Welcome() as welcome:
                self._welcome, self._instance = welcome, welcome.instance
                self._say(Open(self._next(), welcome.token, ROOM, self._cursor))
            case Opened() as opened:
                self._cursor = Cursor(self._welcome.epoch, opened.head)
                self._topic = opened.topic
                self._join_feed()
            case Refusal() | Goodbye():
                self._lose()
            case _:
                pass

    # ------------------------------------------------------------------ the feed

    def _join_feed(self) -> None:
        self._feed_bytes, self._feed_step = b"", 0
        self._feed = self._loop.connect(self._loop.access.feed_port, self._on_feed)

    def _on_feed(self, events: int) -> None:
        assert self._feed is not None
        try:
            if events & select.EPOLLOUT:
                if self._feed.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self._lose()
                    return
                self._loop.stands(self._feed)
                self._feed.send(zmtp.greeting(b"PLAIN"))
                return
            data = self._feed.recv(RECEIVE_BYTES)
            if not data:
                self._lose()
            elif self._state is State.COMING:
                self._shake_hands(data)
        except OSError:
            self._lose()

    def _shake_hands(self, data: bytes) -> None:
        """Greeting, WELCOME and READY come in turn, and each is answered."""
        assert self._feed is not None
        self._feed_bytes += data
        if self._feed_step == 0 and len(self._feed_bytes) >= zmtp.GREETING_BYTES:
            self._feed_bytes = self._feed_bytes[zmtp.GREETING_BYTES :]
            password = self._welcome.feed_token.hex().encode()
            self._feed.send(zmtp.plain_hello(FEED_USER, password))
            self._feed_step = 1
        if self._feed_step == 0:
            return
        frames, self._feed_bytes = zmtp.split(self._feed_bytes)
        for _, body in frames:
            if body.startswith(b"\x07WELCOME"):
                self._feed.send(zmtp.initiate(b"SUB"))
            elif body.startswith(b"\x05READY"):
                self._feed.send(zmtp.subscribe(self._topic))
                self._is_live()

    def _is_live(self) -> None:
        self._state = State.LIVE
        self._pause_s = RETRY_S[0]
        self._loop.became_live()
        tries = self._tries
        self._loop.after(PING_S * random.uniform(0.5, 1.0), lambda: self._ping(tries))

    def _ping(self, tries: int) -> None:
        """Keep the session, and ask the feed whether it is there as often as a client's SUB does."""
        if self._state is not State.LIVE or tries != self._tries:
            return
        assert self._feed is not None
        try:
            self._say(Ping(self._next(), self._welcome.token))
            if self._request % 2:
                self._feed.send(zmtp.PING)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self._lose()
                return
        self._loop.after(PING_S, lambda: self._ping(tries))
