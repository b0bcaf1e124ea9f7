"""The connection: the only file of the client that opens a ZeroMQ socket (asyncio).

Receive, hand to the session, do what it says, sleep until its next deadline. A DEALER lives for one
TCP connection and never reconnects by itself, so that answers belong to one session and names are
resolved anew each time; a socket monitor tells how the handshake went. The SUB may reconnect: its
token stays good as long as the session.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import zmq
import zmq.asyncio
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from chat_client.actions import Action, Dial, Hangup, JoinFeed, Subscribe, Unsubscribe
from chat_client.events import Event, Link
from chat_client.session import Answered, Session
from chat_protocol.address import Address
from chat_protocol.codec import decode_reply, encode_requests
from chat_protocol.errors import BadFrame, Code
from chat_protocol.messages import CURVE_BYTES, REPLY_BYTES_MAX

FEED_USER = b"feed"
DRAIN_MAX = 512  # messages between two looks at the clock
LOOK_MS = 250  # a wake-up that went astray costs no more than this
BYE_LINGER_MS = 500
CONNECT_MS = 5_000
HANDSHAKE_MS = 3_000
HANDSHAKE_AGAIN_MS = 20_000  # with a broker that has answered before
_WATCHED = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
)

Context = zmq.asyncio.Context
Socket = zmq.asyncio.Socket


def new_secret_key() -> bytes:
    return z85.decode(zmq.curve_keypair()[1])


def public_key(secret: bytes) -> bytes:
    return z85.decode(zmq.curve_public(z85.encode(secret)))


class _Line:
    """One socket with its monitor and the tasks that read them; `close` ends all of it at once."""

    def __init__(self, one: Socket, patience_ms: int = 0) -> None:
        self.socket = one
        self.monitor = one.get_monitor_socket(_WATCHED)
        self.shadow: zmq.Socket[bytes] = zmq.Socket.shadow(one.underlying)
        self.begun = time.monotonic()
        self.patience_s = patience_ms / 1_000  # with the handshake
        self.is_up = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *readers: Coroutine[Any, Any, None]) -> None:
        self._tasks = [asyncio.create_task(reader) for reader in readers]

    def close(self, linger_ms: int = 0) -> None:
        for task in self._tasks:
            task.cancel()
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.socket.close(linger=linger_ms)


class Connection:
    """Runs a session until it is closed.

    `on_event` and `on_answer` are called from the loop for everything that comes out of the session.
    After any call into the session from elsewhere, call `pump`.
    """

    def __init__(
        self,
        session: Session,
        address: Address,
        secret: bytes,
        on_event: Callable[[Event], None],
        on_answer: Callable[[Answered], None],
    ) -> None:
        self._session = session
        self._address = address
        self._secret = secret
        self._on_event = on_event
        self._on_answer = on_answer
        self._context = Context()
        self._command: _Line | None = None
        self._feed: _Line | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._dials = 0
        self._reached = address.host
        self.has_answered = False  # a broker that holds the right key did, at least once
        self._ended = asyncio.Event()
        self._pumping = False

    @staticmethod
    def now() -> float:
        """The session's clock: monotonic seconds."""
        return time.monotonic()

    async def run(self) -> None:
        """Connect, reconnect and serve the session until it is CLOSED."""
        try:
            self.pump()
            await self._ended.wait()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._hang_up(BYE_LINGER_MS)
            await asyncio.sleep(0)  # let the cancelled readers end before their loop does
            await asyncio.to_thread(self._context.term)

    def pump(self) -> None:
        """Do what the session wants, and plan the next look at it."""
        if self._pumping or self._ended.is_set():
            return
        self._pumping = True
        session = self._session
        try:
            while True:
                now = self.now()
                session.tick(now)
                session.flush(now)
                if not (session.outgoing or session.actions or session.events or session.answers):
                    break
                self._send()
                actions, session.actions = session.actions, []
                for action in actions:
                    self._do(action)
                self._deliver()
        finally:
            self._pumping = False
        self._plan()

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._session.link is Link.CLOSED:
            self._ended.set()
            return
        deadline = self._session.next_deadline()
        if deadline is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, deadline - self.now()), self.pump)

    def _send(self) -> None:
        outgoing, self._session.outgoing = self._session.outgoing, []
        if self._command is None:
            return
        for frame in encode_requests(outgoing):
            try:
                self._command.shadow.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                break  # the link is stuck: what was not answered is asked again
        if outgoing:
            asyncio.get_running_loop().call_soon(self._take_command, self._command)

    def _deliver(self) -> None:
        session = self._session
        while session.events:
            self._on_event(session.events.popleft())
        answers, session.answers = session.answers, []
        for answer in answers:
            self._on_answer(answer)

    # ------------------------------------------------------------------ actions

    def _do(self, action: Action) -> None:
        match action:
            case Dial(with_invite):
                self._hang_up()
                self._dialling = asyncio.create_task(self._dial(with_invite))
            case Hangup():
                self._hang_up(BYE_LINGER_MS if self._session.link is Link.CLOSED else 0)
            case JoinFeed(host, port, token):
                self._join_feed(host or self._reached, port, token)
            case Subscribe(topic) if self._feed is not None:
                self._feed.shadow.setsockopt(zmq.SUBSCRIBE, topic)
                asyncio.get_running_loop().call_soon(self._take_feed, self._feed)
            case Unsubscribe(topic) if self._feed is not None:
                self._feed.shadow.setsockopt(zmq.UNSUBSCRIBE, topic)
                asyncio.get_running_loop().call_soon(self._take_feed, self._feed)

    def _hang_up(self, linger_ms: int = 0) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        if self._command is not None:
            self._command.close(linger_ms)
            self._command = None
        self._leave_feed()

    def _leave_feed(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    async def _dial(self, with_invite: bool) -> None:
        """Resolve the name, take the next of its addresses, connect."""
        host, port = self._address.host, self._address.port
        try:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            text = f"the name {host} cannot be resolved ({error.strerror}); is the address right?"
            self._session.link_down(self.now(), text)
            self.pump()
            return
        self._reached = str(found[self._dials % len(found)][4][0])
        self._dials += 1
        invite = self._address.invite
        secret = invite if with_invite and invite else self._secret
        one = self._context.socket(zmq.DEALER)
        one.linger = 0
        one.reconnect_ivl = -1
        one.connect_timeout = CONNECT_MS
        one.handshake_ivl = patience_ms = HANDSHAKE_AGAIN_MS if self.has_answered else HANDSHAKE_MS
        one.maxmsgsize = REPLY_BYTES_MAX + CURVE_BYTES
        one.ipv6 = ":" in self._reached
        one.curve_secretkey = secret
        one.curve_publickey = public_key(secret)
        one.curve_serverkey = self._address.key or b""
        line = self._command = _Line(one, patience_ms)
        line.start(self._read_command(line), self._watch_command(line))
        one.connect(_endpoint(self._reached, port))

    def _join_feed(self, host: str, port: int, token: bytes) -> None:
        """A new SUB for a new token: changing the option of an old one does nothing."""
        self._leave_feed()
        one = self._context.socket(zmq.SUB)
        one.linger = 0
        one.reconnect_ivl = 100
        one.reconnect_ivl_max = 10_000
        one.heartbeat_ivl = 5_000
        one.heartbeat_timeout = 15_000
        one.maxmsgsize = REPLY_BYTES_MAX
        one.ipv6 = ":" in host
        one.plain_username = FEED_USER
        one.plain_password = token.hex().encode()
        line = self._feed = _Line(one)
        line.start(self._read_feed(line), self._watch_feed(line))
        one.connect(_endpoint(host, port))

    # ------------------------------------------------------------------ what comes in

    # ZeroMQ tells of what has come once, and any use of a socket may take that word: so whoever sent or
    # subscribed looks itself, soon, besides the reader that sleeps until it is woken.

    async def _read_command(self, line: _Line) -> None:
        while self._command is line:
            await line.socket.poll(LOOK_MS)
            self._take_command(line)

    def _take_command(self, line: _Line) -> None:
        if self._command is not line:
            return
        for _ in range(DRAIN_MAX):
            try:
                frames = line.shadow.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            if len(frames) == 1:
                self._receive(frames[0])
        else:
            asyncio.get_running_loop().call_soon(self._take_command, line)
        self.pump()

    def _receive(self, frame: bytes) -> None:
        try:
            message = decode_reply(frame)
        except BadFrame as error:
            if error.code is Code.VERSION:
                self._session.receive_version(str(error))
            return  # of a later version, or broken: the request behind it is asked again
        self._session.receive(message, self.now())

    async def _watch_command(self, line: _Line) -> None:
        place = self._address.place
        while self._command is line:
            event = parse_monitor_message(await line.monitor.recv_multipart())
            now = self.now()
            match event["event"]:
                case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    line.is_up = self.has_answered = True
                    self._session.link_up(now)
                case zmq.EVENT_HANDSHAKE_FAILED_AUTH if event["value"] == 400:
                    self._session.not_admitted(now)
                case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    self._session.link_down(now, "the broker is not ready")
                case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL if now >= line.begun + line.patience_s:
                    # Broken off by us. A broker with another key does it itself, and at once.
                    self._session.link_down(now, f"what listens at {place} does not answer")
                case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                    self._session.handshake_failed(now)
                case zmq.EVENT_CLOSED:
                    self._session.link_down(now, f"nothing answers at {place}")
                case zmq.EVENT_DISCONNECTED if line.is_up:
                    self._session.link_down(now, "the connection to the broker was lost")
                case zmq.EVENT_DISCONNECTED:
                    self._session.link_down(now, f"{place} breaks the connection off")
            self.pump()

    async def _read_feed(self, line: _Line) -> None:
        while self._feed is line:
            await line.socket.poll(LOOK_MS)
            self._take_feed(line)

    def _take_feed(self, line: _Line) -> None:
        if self._feed is not line:
            return
        now = self.now()
        for _ in range(DRAIN_MAX):
            try:
                frames = line.shadow.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            if len(frames) == 2:
                self._session.receive_feed(frames[0], frames[1], now)
        else:
            asyncio.get_running_loop().call_soon(self._take_feed, line)
        self.pump()

    async def _watch_feed(self, line: _Line) -> None:
        while self._feed is line:
            event = parse_monitor_message(await line.monitor.recv_multipart())
            if event["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._session.feed_not_admitted(self.now())
                self.pump()


def _endpoint(host: str, port: int) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
