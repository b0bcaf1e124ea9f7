"""The network between clients and broker: command connections, the feed, and what goes wrong on them.

A command connection is TCP: in order, whole, until it is cut; then only what was already on its way
may still arrive, even later than what a newer connection brings. A full queue at either end swallows
single messages. The feed promises nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.clock import Clock

if TYPE_CHECKING:
    from tests.simulation.machine import BrokerMachine
    from tests.simulation.person import Person


@dataclass
class Weather:
    """How likely each fault is at present; the figures are probabilities for one message."""

    delay_s: float = 0.002
    swallowed: float = 0.0  # by a full queue at the end of a live command connection
    feed_lost: float = 0.0
    feed_twice: float = 0.0
    feed_late: float = 0.0
    feed_forged: float = 0.0

    def delay(self, rng: Random) -> float:
        return self.delay_s * rng.uniform(0.2, 1.0)


class Wire:
    """One direction of a command connection."""

    def __init__(self, clock: Clock, rng: Random, weather: Weather, deliver: Callable[[bytes], None]) -> None:
        self._clock = clock
        self._rng = rng
        self._weather = weather
        self._deliver = deliver
        self._on_its_way: deque[tuple[float, bytes]] = deque()
        self._last_at = 0.0
        self._is_cut = False

    def send(self, frame: bytes) -> None:
        if self._is_cut:
            return
        self._last_at = max(self._last_at, self._clock.now + self._weather.delay(self._rng))
        self._on_its_way.append((self._last_at, frame))
        self._clock.at(self._last_at, self._arrive)

    def cut(self, kept: float, late_s: float) -> None:
        """Only this share of what is on its way still arrives, so much later; nothing follows."""
        if self._is_cut:
            return
        self._is_cut = True
        keep = round(len(self._on_its_way) * kept)
        self._on_its_way = deque((at + late_s, frame) for at, frame in list(self._on_its_way)[:keep])
        for at, _ in self._on_its_way:
            self._clock.at(at, self._arrive)

    def _arrive(self) -> None:
        if self._on_its_way and self._on_its_way[0][0] <= self._clock.now:
            self._deliver(self._on_its_way.popleft()[1])


class Link:
    """One command connection. `up` leads to the broker."""

    def __init__(
        self, peer: bytes, key: bytes, person: Person, broker: BrokerMachine, clock: Clock, rng: Random,
        weather: Weather,
    ) -> None:  # fmt: skip
        self.peer = peer
        self.key = key
        self.person = person
        self.up = Wire(clock, rng, weather, lambda frame: broker.take_in(self, frame))
        self.down = Wire(clock, rng, weather, lambda frame: person.take_in(self, frame))
        self.is_cut = False
        self._rng = rng

    def cut(self, late_s: float) -> None:
        """The connection breaks somewhere between the two."""
        self.is_cut = True
        self.up.cut(self._rng.random(), late_s)
        self.down.cut(self._rng.random(), 0.0)

    def hang_up(self, late_s: float, *, linger: bool) -> None:
        """The client lets go of it."""
        self.is_cut = True
        self.up.cut(1.0 if linger else self._rng.random(), late_s)
        self.down.cut(0.0, 0.0)


class FeedLink:
    """A client's SUB: it reconnects by itself with the token it was made with, until a broker takes it
    for none. `heard` are the topics whose subscription has reached the broker."""

    def __init__(
        self, token: bytes, person: Person, broker: BrokerMachine, clock: Clock, rng: Random, weather: Weather
    ) -> None:
        self.token = token
        self.person = person
        self.heard: set[bytes] = set()
        self.is_connected = False
        self._broker = broker
        self._clock = clock
        self._rng = rng
        self._weather = weather
        self._wanted: dict[bytes, None] = {}
        self._is_closed = False
        self._last_at = 0.0
        self._attempt = 0
        self._connect()

    def subscribe(self, topic: bytes) -> None:
        self._wanted[topic] = None
        if self.is_connected:
            self._clock.after(self._weather.delay(self._rng), partial(self._subscribed, topic))

    def unsubscribe(self, topic: bytes) -> None:
        self._wanted.pop(topic, None)
        self.heard.discard(topic)

    def admitted(self, attempt: int) -> None:
        if attempt == self._attempt and not self._is_closed:
            self.is_connected = True
            for topic in self._wanted:
                self._clock.after(self._weather.delay(self._rng), partial(self._subscribed, topic))

    def refused(self, attempt: int) -> None:
        if attempt == self._attempt and not self._is_closed:
            self.close()
            self.person.feed_refused(self)

    def close(self) -> None:
        self._is_closed = True
        self.is_connected = False
        self.heard.clear()

    def drop(self) -> None:
        """The TCP connection is lost; the socket makes another."""
        self._attempt += 1
        self.is_connected = False
        self.heard.clear()
        self._clock.after(self._rng.uniform(0.1, 2.0), self._connect)

    def publish(self, topic: bytes, envelope: bytes) -> None:
        """A message leaves the broker for this client."""
        weather, rng = self._weather, self._rng
        if rng.random() < weather.feed_lost:
            return
        self._last_at = at = max(self._last_at, self._clock.now + weather.delay(rng))
        if rng.random() < weather.feed_late:
            at += rng.uniform(0.0, 1.5)
        self.bring(at, topic, envelope)
        if rng.random() < weather.feed_twice:
            self.bring(at + rng.uniform(0.0, 3.0), topic, envelope)

    def bring(self, at: float, topic: bytes, envelope: bytes) -> None:
        self._clock.at(at, lambda: self.person.take_feed(self, topic, envelope))

    def _subscribed(self, topic: bytes) -> None:
        if self.is_connected and topic in self._wanted:
            self.heard.add(topic)

    def _connect(self) -> None:
        if self._is_closed:
            return
        attempt = self._attempt
        if self._broker.is_running:
            self._clock.after(self._weather.delay(self._rng), lambda: self._broker.greet_feed(self, attempt))
        else:
            self._clock.after(self._rng.uniform(0.1, 2.0), self._connect)
