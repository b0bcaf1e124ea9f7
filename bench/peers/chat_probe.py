"""The two ends of a latency probe of Simple Chat: one says, one verifies and opens."""

from __future__ import annotations

import time
from collections.abc import Sequence

import zmq

from bench.peers.chat import Access, Context, Followers, Person
from bench.peers.chat_load import join_reader, open_sub
from chat_protocol.codec import decode_feed, encode, line_text
from chat_protocol.messages import Opened, Publication, Say
from chat_protocol.sealing import VerifyingOpener


class ChatMouth:
    def __init__(self, access: Access, room: str) -> None:
        self._access, self._room = access, room
        self._prev = 0

    def open(self) -> None:
        context: Context = zmq.Context()
        self._session = Person(self._access, context, f"mouth-{time.monotonic_ns()}").session()

    def say(self, text: bytes) -> None:
        request = self._session.next()
        lines = [text.decode()]
        self._session.socket.send(encode(Say(request, self._session.token, self._room, self._prev, lines)))
        self._prev = request
        self._session.drain()

    def keep_alive(self) -> None:
        self._session.drain()
        self._session.ping()


class ChatEar:
    def __init__(self, access: Access, room: str) -> None:
        self._access, self._room = access, room

    def open(self) -> None:
        context: Context = zmq.Context()
        self._followers = Followers(Person(self._access, context, f"ear-{time.monotonic_ns()}"))
        self._opened: Opened = self._followers.room(self._room)
        welcome = self._followers.welcome
        self._opener = VerifyingOpener(welcome.verify_key)
        self._sub = open_sub(context, self._access.feed_port, welcome.feed_token, [self._opened.topic])
        join_reader(self._sub, self._opened.topic)

    def hear(self, wait_s: float) -> Sequence[bytes]:
        """All that has come: the first is waited for."""
        texts: list[bytes] = []
        if not self._sub.poll(int(wait_s * 1_000)):
            return texts
        topic, envelope = self._sub.recv_multipart()
        message = decode_feed(self._opener.open(topic, self._opened.key, envelope))
        if isinstance(message, Publication):
            texts += [text.encode() for entry in message.entries if (text := line_text(entry)) is not None]
        return texts

    def keep_alive(self) -> None:
        self._followers.keep_alive()
