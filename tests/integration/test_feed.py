"""Somebody sits on the feed's wire: they hold a ticket, see every byte, and pass on what they like.

The broker is told to advertise their port as its feed port, so clients come to them; they connect to the
real one with the ticket that a client showed.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import zmq

from chat_client.events import Lost, PresenceChanged
from chat_protocol.envelope import HEADER_BYTES
from tests.integration.bench import Bench, Broker, Hearing, until, wait_until

Message = tuple[bytes, bytes]
Tamper = Callable[[Message, list[Message]], list[Message]]


def untouched(message: Message, past: list[Message]) -> list[Message]:
    return [message]


class Wiretap:
    """A PUB in the feed's place. What comes from the real feed goes through `tamper`, which is given all
    that came before as well, and may give back anything."""

    def __init__(self) -> None:
        self.broker: Broker
        self.past: list[Message] = []
        self.tamper: Tamper = untouched
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._door = self._context.socket(zmq.REP)
        self._door.bind("inproc://zeromq.zap.01")
        self._out = self._context.socket(zmq.XPUB)
        self._out.linger = 0
        self._out.zap_domain = b"feed"
        self._out.plain_server = True
        self.port = self._out.bind_to_random_port("tcp://127.0.0.1")
        self._in = self._context.socket(zmq.SUB)
        self._in.linger = 0
        self._in.subscribe(b"")
        self._connected = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        poller = zmq.Poller()
        for one in (self._door, self._out, self._in):
            poller.register(one, zmq.POLLIN)
        while not self._stop.is_set():
            for one, _ in poller.poll(20):
                if one is self._door:
                    self._let_in()
                elif one is self._out:
                    self._out.recv()  # a subscription
                else:
                    topic, envelope = self._in.recv_multipart()
                    for message in self.tamper((topic, envelope), self.past):
                        self._out.send_multipart(message)
                    self.past.append((topic, envelope))

    def _let_in(self) -> None:
        """Whoever comes is welcome; the first one's ticket opens the real feed."""
        _, number, _, _, _, _, user, password = self._door.recv_multipart()
        self._door.send_multipart([b"1.0", number, b"200", b"come in", b"", b""])
        if not self._connected:
            self._connected = True
            self._in.plain_username, self._in.plain_password = user, password
            self._in.connect(f"tcp://127.0.0.1:{self.broker.feed_port}")

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._context.destroy(linger=0)


@pytest.fixture(scope="module")
def tap(house: Bench) -> Iterator[Wiretap]:
    """A wiretap from which the clients of the house's broker get their feed."""
    one = Wiretap()
    ports = [str(port) for port in free_ports(2)]
    advertised = f"127.0.0.1:{ports[0]}:{one.port}"
    try:
        one.broker = house.broker("--port", ports[0], "--feed-port", ports[1], "--advertise", advertised)
        one.start()
        yield one
    finally:
        one.close()


def free_ports(count: int) -> list[int]:
    """Ports that are free just now."""
    with ExitStack() as taken:
        sockets = [taken.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def forge(message: Message, past: list[Message]) -> list[Message]:
    """Everything that somebody without the keys can make of what they have seen, and then the message."""
    topic, envelope = message
    forged = [
        (topic, flipped(envelope, at))
        for at in (0, 1, 9, 13, HEADER_BYTES, len(envelope) // 2, len(envelope) - 65, len(envelope) - 1)
    ]
    forged += [(topic, envelope[:size]) for size in (0, 1, 20, 100, len(envelope) - 1)]
    forged += [(topic, envelope + b"\0"), (topic, b"\x01" * 300), (b"x" * 16, envelope), (b"", b"")]
    other_topics = {other for other, _ in past if other != topic}
    forged += [(other, envelope) for other in other_topics]  # in another room's name
    return [*forged, *past[-20:], message, message]  # and what was said before, again


def talk(bench: Bench, tap: Wiretap, tamper: Tamper, count: int, side: str) -> int:
    """Annika talks in two rooms while the wire is tampered with; Bobbie hears each line once and in order.
    How many messages he dropped because they did not verify."""

    async def test() -> int:
        async with (
            bench.sdk("annika", tap.broker, start="now") as annika,
            bench.sdk("bobbie", tap.broker, start="now") as bobbie,
            Hearing(bobbie) as hears,
        ):
            await annika.create(side)
            for chat in (annika, bobbie):
                await chat.open(side)
            await until("the first beacon", lambda: tap.past)
            tap.tamper = tamper
            for number in range(count):
                await annika.say(f"lobby {number}", "#lobby")
                await annika.say(f"side {number}", side)
            await hears.waits_for(f"lobby {count - 1}", f"side {count - 1}")
            assert hears.lines("#lobby") == [f"lobby {number}" for number in range(count)]
            assert hears.lines(side) == [f"side {number}" for number in range(count)]
            assert not hears.of(Lost)
            for event in hears.of(PresenceChanged):
                assert set(event.joined) | set(event.left) <= {"annika", "bobbie"}
            return bobbie.bad_seals

    tap.tamper = untouched
    return asyncio.run(test())


def test_what_is_on_the_wire_is_unreadable(house: Bench, tap: Wiretap) -> None:
    """Neither what is said nor by whom nor where: only sizes and times."""
    assert talk(house, tap, untouched, 10, "#side-1") == 0
    wait_until("publications", lambda: len(tap.past) > 20)
    seen = b"".join(topic + envelope for topic, envelope in tap.past)
    for word in (b"lobby", b"side-1", b"side 3", b"annika", b"bobbie"):
        assert word not in seen


def test_forged_and_replayed_publications(house: Bench, tap: Wiretap) -> None:
    assert talk(house, tap, forge, 20, "#side-2") > 20


def test_a_feed_that_brings_nothing(house: Bench, tap: Wiretap) -> None:
    """What the feed keeps back comes by the command port, three seconds later at most."""
    assert talk(house, tap, lambda message, past: [], 20, "#side-3") == 0


def test_a_feed_that_brings_every_other_message_and_late(house: Bench, tap: Wiretap) -> None:
    def shuffle(message: Message, past: list[Message]) -> list[Message]:
        return [] if len(past) % 2 else [message, *past[-2:-1]]

    assert talk(house, tap, shuffle, 50, "#side-4") == 0
