"""Peers that speak to the ports byte by byte: what a client in another language, or an attacker, would do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import zmq

from chat_broker.auth import KeyPair, keys_of, new_keys
from chat_protocol.codec import decode_reply, encode
from chat_protocol.messages import (
    Enroll,
    Enrolled,
    Hello,
    Message,
    Open,
    Opened,
    Refusal,
    Reply,
    Welcome,
)
from chat_protocol.sealing import VerifyingOpener
from tests.integration.bench import PATIENCE_S, Broker

R = TypeVar("R", bound=Reply)
Socket = zmq.Socket[bytes]


class Peer:
    """A DEALER with a key of its own choice; it sends whatever it is told to."""

    def __init__(self, broker: Broker, keys: KeyPair | None = None) -> None:
        self.broker = broker
        self.keys = keys or new_keys()
        self.welcome: Welcome
        self.request = 0
        self.unasked: list[Reply] = []
        self._context: zmq.Context[Socket] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.reconnect_ivl = -1
        self.socket.curve_publickey, self.socket.curve_secretkey = self.keys
        self.socket.curve_serverkey = broker.address.key or b""
        self._monitor = self.socket.get_monitor_socket(zmq.EVENT_ALL)
        self.socket.connect(f"tcp://127.0.0.1:{broker.port}")

    def close(self) -> None:
        self.socket.disable_monitor()
        self._monitor.close(linger=0)
        self.socket.close()
        self._context.destroy(linger=0)

    # ------------------------------------------------------------------ what it says

    def send(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def say(self, message: Message) -> None:
        self.send(encode(message))

    def next(self) -> int:
        """A fresh request id."""
        self.request += 1
        return self.request

    @property
    def token(self) -> bytes:
        return self.welcome.token

    def hello(self, name: str) -> Welcome:
        """Begin a session."""
        request = self.next()
        self.say(Hello(request, name))
        self.welcome = self.answer(request, Welcome)
        return self.welcome

    def open(self, room: str) -> Opened:
        request = self.next()
        self.say(Open(request, self.token, room))
        return self.answer(request, Opened)

    # ------------------------------------------------------------------ what it hears

    def hear(self, limit_s: float = PATIENCE_S) -> Reply:
        """The next reply."""
        if not self.socket.poll(int(limit_s * 1_000)):
            raise AssertionError(f"waited {limit_s:g} s in vain for a reply")
        return decode_reply(self.socket.recv())

    def answer(self, request: int, kind: type[R]) -> R:
        """The answer to a request; what came unasked is kept in `unasked`."""
        while (reply := self.hear()).request != request:
            self.unasked.append(reply)
        assert isinstance(reply, kind), reply
        return reply

    def refusal(self, request: int) -> Refusal:
        return self.answer(request, Refusal)

    def is_let_in(self, limit_s: float = PATIENCE_S) -> bool:
        """Wait until the handshake is over; whether it went well."""
        return self._comes_to(zmq.EVENT_HANDSHAKE_SUCCEEDED, limit_s)

    def is_cut_off(self, limit_s: float = PATIENCE_S) -> bool:
        """Wait until the connection is refused or broken."""
        return self._comes_to(zmq.EVENT_DISCONNECTED, limit_s)

    def _comes_to(self, event: int, limit_s: float) -> bool:
        until = time.monotonic() + limit_s
        while (left := until - time.monotonic()) > 0 and self._monitor.poll(int(left * 1_000)):
            number = int.from_bytes(self._monitor.recv_multipart()[0][:2], "little")
            if number in (event, zmq.EVENT_DISCONNECTED):
                return number == event
        return False


@contextmanager
def peer(broker: Broker, keys: KeyPair | None = None) -> Iterator[Peer]:
    one = Peer(broker, keys)
    try:
        yield one
    finally:
        one.close()


@contextmanager
def member(broker: Broker, name: str) -> Iterator[Peer]:
    """A peer with an account and a session."""
    keys = enroll(broker, name)
    with peer(broker, keys) as one:
        one.hello(name)
        yield one


def enroll(broker: Broker, name: str) -> KeyPair:
    """Make an account by the broker's own invite; its key."""
    keys = new_keys()
    with peer(broker, keys_of(broker.address.invite or b"")) as guest:
        request = guest.next()
        guest.say(Enroll(request, name, keys.public))
        guest.answer(request, Enrolled)
    return keys


class Feed:
    """A SUB on the feed port that follows everything; `token` as the feed's ticket."""

    def __init__(self, port: int, token: bytes | None) -> None:
        self._context: zmq.Context[Socket] = zmq.Context()
        self.socket = self._context.socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.rcvhwm = 100_000
        if token is not None:
            self.socket.plain_username = b"feed"
            self.socket.plain_password = token.hex().encode()
        self.socket.subscribe(b"")
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    def hear(self, limit_s: float = PATIENCE_S) -> tuple[bytes, bytes] | None:
        """The next topic and envelope; None if none came in time."""
        if not self.socket.poll(int(limit_s * 1_000)):
            return None
        topic, envelope = self.socket.recv_multipart()
        return topic, envelope

    def close(self) -> None:
        self.socket.close()
        self._context.destroy(linger=0)


@contextmanager
def feed(broker: Broker, token: bytes | None) -> Iterator[Feed]:
    one = Feed(broker.feed_port, token)
    try:
        yield one
    finally:
        one.close()


def opener(one: Peer) -> VerifyingOpener:
    """What opens seals of this peer's session."""
    return VerifyingOpener(one.welcome.verify_key)
