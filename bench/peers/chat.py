"""Simple Chat's protocol for load processes: raw sockets and real messages, without the client's session."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import zmq
from zmq.utils import z85

from bench.server import BenchError
from chat_protocol.codec import decode_reply, encode
from chat_protocol.messages import (
    AnyReply,
    Create,
    Done,
    Enroll,
    Enrolled,
    Hello,
    Message,
    Open,
    Opened,
    Ping,
    Pong,
    RoomKind,
    Welcome,
)

R = TypeVar("R", bound=AnyReply)
Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

ANSWER_S = 30.0
ROOMS_OPEN_MAX = 250  # of a session
ROOMS_MADE_MAX = 50  # by an account
FEED_USER = b"feed"


class Keys(NamedTuple):
    """A CURVE key pair, in Z85."""

    public: bytes
    secret: bytes


@dataclass(frozen=True)
class Access:
    """How to reach a broker."""

    port: int
    feed_port: int
    key: bytes  # the broker's public key, in Z85
    invite: Keys


def new_keys() -> Keys:
    return Keys(*zmq.curve_keypair())


def keys_of(secret: bytes) -> Keys:
    """From a raw secret key."""
    coded = z85.encode(secret)
    return Keys(zmq.curve_public(coded), coded)


class Dealer:
    """A connection to the command port; `ask` waits for the answer."""

    def __init__(self, access: Access, keys: Keys, context: Context) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.set_hwm(0)
        self.socket.curve_publickey, self.socket.curve_secretkey = keys
        self.socket.curve_serverkey = access.key
        self.socket.connect(f"tcp://127.0.0.1:{access.port}")
        self._request = 0

    def next(self) -> int:
        """A fresh request id."""
        self._request += 1
        return self._request

    def ask(self, message: Message, kind: type[R]) -> R:
        """Send a request and wait for its answer. Raises BenchError if it is another."""
        self.socket.send(encode(message))
        while True:
            if not self.socket.poll(int(ANSWER_S * 1_000)):
                raise BenchError(f"the broker does not answer {message!r}"[:300])
            reply = decode_reply(self.socket.recv())
            if isinstance(reply, kind):
                return reply
            if reply.request:
                raise BenchError(f"the broker answers {reply!r}"[:300])

    def close(self) -> None:
        self.socket.close()


class Session(Dealer):
    """A session of an account."""

    def __init__(self, access: Access, keys: Keys, context: Context, name: str) -> None:
        super().__init__(access, keys, context)
        self.name = name
        self.welcome = self.ask(Hello(self.next(), name), Welcome)
        self.opened: list[Opened] = []

    @property
    def token(self) -> bytes:
        return self.welcome.token

    def open(self, room: str) -> Opened:
        opened = self.ask(Open(self.next(), self.token, room), Opened)
        self.opened.append(opened)
        return opened

    def ping(self) -> None:
        """Keep the session; the answer comes like any other."""
        self.socket.send(encode(Ping(self.next(), self.token)))

    def drain(self) -> None:
        """Throw away what has come."""
        while self.socket.poll(0):
            self.socket.recv()


class Person:
    """An account that was just enrolled, and its sessions."""

    def __init__(self, access: Access, context: Context, name: str) -> None:
        self._access, self._context, self.name = access, context, name
        self.keys = new_keys()
        guest = Dealer(access, access.invite, context)
        guest.ask(Enroll(guest.next(), name, z85.decode(self.keys.public)), Enrolled)
        guest.close()

    def session(self) -> Session:
        return Session(self._access, self.keys, self._context, self.name)


class Followers:
    """Sessions of one account that follow any number of rooms; `keep_alive` keeps them."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._rooms: dict[str, Opened] = {}
        self.sessions = [person.session()]

    @property
    def welcome(self) -> Welcome:
        return self.sessions[0].welcome

    def room(self, name: str) -> Opened:
        """The room, opened if it is not yet."""
        if name not in self._rooms:
            if len(self.sessions[-1].opened) >= ROOMS_OPEN_MAX:
                self.sessions.append(self._person.session())
            self._rooms[name] = self.sessions[-1].open(name)
        return self._rooms[name]

    def keep_alive(self) -> None:
        for session in self.sessions:
            session.drain()
            session.ping()

    def close(self) -> None:
        for session in self.sessions:
            session.close()


def make_rooms(access: Access, names: list[str]) -> None:
    """Create public rooms."""
    context: Context = zmq.Context()
    for begin in range(0, len(names), ROOMS_MADE_MAX):
        session = Person(access, context, f"maker{begin}").session()
        for name in names[begin : begin + ROOMS_MADE_MAX]:
            session.ask(Create(session.next(), session.token, name, RoomKind.PUBLIC), Done)
        session.close()
    context.term()


def until_pong(session: Session) -> None:
    """Wait until the broker has taken everything before."""
    session.ask(Ping(session.next(), session.token), Pong)


class Due:
    """Says every `every_s` seconds that it is time."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._at = time.monotonic() + every_s

    def __bool__(self) -> bool:
        now = time.monotonic()
        if now < self._at:
            return False
        self._at = now + self._every_s
        return True
