"""Loads for Simple Chat: sessions that say lines, and a subscriber that verifies, opens and checks them."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import zmq
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench import zmtp
from bench.load import LINE_BYTES, PROBE_MARK, text_of
from bench.peers.chat import FEED_USER, Access, Context, Due, Followers, Person, Session
from bench.server import BenchError
from bench.wire import Wire
from chat_client.outbox import BESIDE_BYTES
from chat_protocol.codec import decode_feed, decode_reply, encode_requests
from chat_protocol.envelope import HEADER_BYTES, SIGNATURE_BYTES, read_header
from chat_protocol.messages import (
    SAY_BYTES_MAX,
    SAY_LINES_MAX,
    EntryKind,
    Goodbye,
    Line,
    Pong,
    Publication,
    Refusal,
    Said,
    Say,
)
from chat_protocol.sealing import VerifyingOpener

#: Lines of a Say, as the client packs what waits.
COALESCED = min(SAY_LINES_MAX, SAY_BYTES_MAX // (LINE_BYTES + BESIDE_BYTES))
PIPELINE = 8  # Says of a room that a client has in flight
PING_S = 2.0
FEED_S = 40.0
VERIFY_SHARE = 0.25  # of the load's time at most goes into verifying signatures; all are opened

_lines = msgspec.msgpack.Decoder(Line)


class SubscribeFeed:
    """Connections to the feed in plain ZMTP. All show the ticket of one real session, made on first use."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._followers: Followers | None = None

    def __call__(self, who: str, rooms: Sequence[str]) -> Wire:
        if self._followers is None:
            context: Context = zmq.Context()
            self._followers = Followers(Person(self._access, context, f"sinks-{time.monotonic_ns()}"))
        topics = [self._followers.room(f"#{room}").topic for room in rooms]
        return join_feed(self._access.feed_port, self._followers.welcome.feed_token, topics)

    def keep_alive(self, wires: Sequence[Wire]) -> None:
        if self._followers is not None:
            self._followers.keep_alive()


def join_feed(port: int, token: bytes, topics: Sequence[bytes]) -> Wire:
    """Connect, greet, show the ticket, subscribe."""
    wire = Wire(port)
    wire.send(zmtp.greeting(b"PLAIN"))
    wire.exactly(zmtp.GREETING_BYTES)
    wire.send(zmtp.plain_hello(FEED_USER, token.hex().encode()))
    wire.exactly(len(zmtp.command(b"WELCOME")))
    wire.send(zmtp.initiate(b"SUB"))
    head = wire.exactly(2)
    wire.exactly(head[1])  # READY
    wire.send(b"".join(zmtp.subscribe(topic) for topic in topics))
    return wire


def open_sub(context: Context, port: int, token: bytes, topics: Sequence[bytes]) -> zmq.Socket[bytes]:
    """A SUB on the feed that drops nothing."""
    sub = context.socket(zmq.SUB)
    sub.rcvhwm = 0
    sub.plain_username = FEED_USER
    sub.plain_password = token.hex().encode()
    for topic in topics:
        sub.subscribe(topic)
    sub.connect(f"tcp://127.0.0.1:{port}")
    return sub


def join_reader(sub: zmq.Socket[bytes], last: bytes) -> None:
    """Wait until subscriptions hold. Open pulls the rooms' beacons forward, and one of the topic that was
    subscribed last says so."""
    give_up = time.monotonic() + FEED_S
    while time.monotonic() < give_up:
        if sub.poll(500) and sub.recv_multipart()[0] == last:
            return
    raise BenchError(f"nothing came on the feed within {FEED_S:g} s")


class _Talker:
    """A session that says lines into its rooms, numbered in each, and hears whether they are stored."""

    def __init__(
        self, session: Session, publisher: int, rooms: Sequence[str], lines_per_say: int, says_max: int
    ) -> None:
        self.session = session
        self._rooms = itertools.cycle(rooms)
        self._numbers: Counter[str] = Counter()
        self._prev: dict[str, int] = {}
        self._per_say = lines_per_say
        self._says_max = says_max
        self._in_flight = 0
        self._unsent: list[Say] = []
        head, tail = text_of(publisher)
        self._head, self._tail = head.decode(), tail.decode()

    def say(self, lines_max: int) -> int:
        """One Say, if one may be in flight and is full; its lines."""
        if self._in_flight >= self._says_max or lines_max < self._per_say:
            return 0
        room, head, tail = next(self._rooms), self._head, self._tail
        first = self._numbers[room]
        self._numbers[room] += self._per_say
        lines = [f"{head}{number:010}{tail}" for number in range(first, first + self._per_say)]
        request = self.session.next()
        say = Say(request, self.session.token, room, self._prev.get(room, 0), lines)
        self._prev[room] = request
        self._unsent.append(say)
        self._in_flight += 1
        return self._per_say

    def flush(self) -> None:
        """Send what was said, in as few frames as clients do."""
        for frame in encode_requests(self._unsent):
            self.session.socket.send(frame, zmq.NOBLOCK)
        self._unsent.clear()

    def stored(self) -> int:
        """How many further lines were acknowledged. Raises BenchError for a refusal."""
        lines = 0
        while True:
            try:
                frame = self.session.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return lines
            match decode_reply(frame):
                case Said(stored=stored):
                    self._in_flight -= len(stored)
                    lines += sum(one.count for one in stored)
                case Refusal(code=code, text=why) | Goodbye(code=code, text=why):
                    raise BenchError(f"the broker refuses: {code}, {why}")
                case Pong() | _:
                    pass


@dataclass(frozen=True)
class OpenChatLoad:
    """`follows`: the lines are counted as a subscriber sees them; else as the broker acknowledges them."""

    access: Access
    rooms: tuple[str, ...]
    sessions: int
    lines_per_say: int = COALESCED
    says_in_flight: int = PIPELINE
    follows: bool = True

    def __call__(self) -> ChatLoad:
        return ChatLoad(self)


class ChatLoad:
    def __init__(self, opening: OpenChatLoad) -> None:
        self._opening = opening
        self.owed_bytes = 0
        self._due = Due(PING_S)
        self._context: Context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, 4_096)
        self._talkers: list[_Talker] = []
        self._reader: Reader | None = None
        self._poller = zmq.Poller()

    def open(self) -> None:
        opening = self._opening
        person = Person(opening.access, self._context, f"load-{time.monotonic_ns()}")
        if opening.follows:
            self._reader = Reader(opening.access, Followers(person), opening.rooms, self._context)
            self._poller.register(self._reader.socket, zmq.POLLIN)
        for index in range(opening.sessions):
            session, rooms = person.session(), opening.rooms
            own = rooms[index :: opening.sessions] or (rooms[index % len(rooms)],)
            self._talkers.append(_Talker(session, index, own, opening.lines_per_say, opening.says_in_flight))
            self._poller.register(session.socket, zmq.POLLIN)

    def publish(self, lines_max: int) -> int:
        done = 0
        while True:
            said = 0
            for talker in self._talkers:
                said += talker.say(lines_max - done - said)
            done += said
            if not said:
                break
        for talker in self._talkers:
            talker.flush()
        return done

    def seen(self) -> int:
        stored = sum(talker.stored() for talker in self._talkers)
        if self._due:
            self._ping()
        if self._reader is None:
            return stored
        lines = self._reader.read()
        self.owed_bytes = self._reader.owed_bytes
        return lines

    def wait(self, wait_s: float) -> None:
        self._poller.poll(int(wait_s * 1_000) or 1)

    def idle(self) -> None:
        if self.seen():
            raise BenchError("lines came that nobody said")

    def _ping(self) -> None:
        for talker in self._talkers:
            talker.session.ping()
        if self._reader is not None:
            self._reader.followers.keep_alive()

    def notes(self) -> dict[str, float]:
        return {} if self._reader is None else self._reader.take_notes()

    def close(self) -> None:
        self._context.destroy(linger=0)


class Reader:
    """A subscriber that opens every publication, verifies as many as it has time for, and checks the order
    of each publisher's lines and of the rooms' seqs."""

    def __init__(self, access: Access, followers: Followers, rooms: Sequence[str], context: Context) -> None:
        self.followers = followers
        self.owed_bytes = 0
        welcome = followers.welcome
        self._opener = VerifyingOpener(welcome.verify_key)
        self._rooms = {(opened := followers.room(room)).topic: opened for room in rooms}
        self._heads = {opened.topic: opened.head for opened in self._rooms.values()}
        self._next: Counter[tuple[bytes, str]] = Counter()
        self._publications = self._lines = self._verified = 0
        self._verifying_s, self._since = 0.0, time.monotonic()
        self.socket = open_sub(context, access.feed_port, welcome.feed_token, list(self._rooms))
        join_reader(self.socket, list(self._rooms)[-1])

    def read(self, publications_max: int = 64) -> int:
        lines = 0
        for _ in range(publications_max):
            try:
                topic, envelope = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            lines += self._take(topic, envelope)
        return lines

    def _take(self, topic: bytes, envelope: bytes) -> int:
        message = decode_feed(self._open(topic, envelope))
        if not isinstance(message, Publication):
            return 0
        before = self._lines
        for entry in message.entries:
            if entry.seq != self._heads[topic] + 1:
                raise BenchError(
                    f"entry {entry.seq} came after {self._heads[topic]}: the feed has dropped some"
                )
            self._heads[topic] = entry.seq
            if entry.kind == EntryKind.LINE:
                self._check(topic, _lines.decode(entry.body).text)
        self._publications += 1
        self.owed_bytes += zmtp.frame_bytes(len(topic)) + zmtp.frame_bytes(len(envelope))
        return self._lines - before

    def _open(self, topic: bytes, envelope: bytes) -> bytes:
        begun = time.monotonic()
        if self._verifying_s > VERIFY_SHARE * (begun - self._since):
            return self._decrypt(topic, envelope)
        plain = self._opener.open(topic, self._rooms[topic].key, envelope)
        self._verifying_s += time.monotonic() - begun
        self._verified += 1
        return plain

    def _decrypt(self, topic: bytes, envelope: bytes) -> bytes:
        """Open without verifying: the same as VerifyingOpener does, less the signature."""
        nonce = bytes(4) + read_header(envelope).counter.to_bytes(8, "big")
        sealed, head = envelope[HEADER_BYTES:-SIGNATURE_BYTES], envelope[:HEADER_BYTES]
        return AESGCM(self._rooms[topic].key).decrypt(nonce, sealed, topic + head)

    def _check(self, topic: bytes, text: str) -> None:
        if text.startswith(PROBE_MARK.decode()):
            return
        publisher, number = text[:2], int(text[3:13])
        if self._next[topic, publisher] != number:
            raise BenchError(
                f"expected line {self._next[topic, publisher]} of publisher {publisher}, got {text!r}"
            )
        self._next[topic, publisher] += 1
        self._lines += 1

    def take_notes(self) -> dict[str, float]:
        """Of what was read since the last call."""
        notes = {
            "lines_per_publication": self._lines / max(1, self._publications),
            "verified_share": self._verified / max(1, self._publications),
        }
        self._publications = self._lines = self._verified = 0
        self._verifying_s, self._since = 0.0, time.monotonic()
        return notes
