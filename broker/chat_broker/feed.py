"""Core: the feed side of rooms: topics, keys and their turns, counters, beacons, presence notices.

Everything here lives only as long as the broker runs. Per room there is one counter for each key, and
every message takes the next: that is the nonce, so it never repeats under one key.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from chat_broker.log import Stretch, joined
from chat_protocol.codec import encode_plain, encode_publication
from chat_protocol.envelope import Header, Sealer
from chat_protocol.messages import (
    ENTRIES_BYTES_MAX,
    NAMES_PER_MESSAGE_MAX,
    Beacon,
    Presence,
)

#: Seconds from a room's last publication to its first beacon, and from each to the next; the last
#: figure repeats. So the second comes 1 s after the publication.
BEACON_S = (0.3, 0.7, 2.0, 4.0, 8.0, 16.0, 30.0)
PRESENCE_S = 0.25  # changes within this time make one notice
S_PER_LISTENER = 0.0005  # what comings and goings cause comes later where more people are told


class RoomFeed:
    """One room's side of the feed. `holders` are the accounts that were given the current key."""

    __slots__ = (
        "alarm_at",
        "beacon_at",
        "beacon_step",
        "counter",
        "generation",
        "holders",
        "joined",
        "key",
        "left",
        "pictured",
        "presence",
        "presence_at",
        "topic",
    )

    def __init__(self, topic: bytes, key: bytes) -> None:
        self.topic = topic
        self.key = key
        self.generation = 1
        self.counter = 0
        self.holders: set[int] = set()
        self.presence = 1
        self.joined: set[str] = set()
        self.left: set[str] = set()
        self.pictured = False  # somebody was shown who is here since the oldest of these changes
        self.beacon_at: float | None = None
        self.beacon_step = 0
        self.presence_at: float | None = None
        self.alarm_at: float | None = None  # the earliest alarm that is set for this room


class Feed:
    """All rooms' feeds. `outgoing` collects (topic, envelope) for the shell to send, in order."""

    def __init__(self, run: bytes, sealer: Sealer, random: Callable[[int], bytes]) -> None:
        self.run = run
        self.sealer = sealer
        self.outgoing: list[tuple[bytes, bytes]] = []
        self._random = random
        self._rooms: dict[str, RoomFeed] = {}
        self._alarms: list[tuple[float, str]] = []

    def room(self, name: str) -> RoomFeed:
        feed = self._rooms.get(name)
        if feed is None:
            feed = self._rooms[name] = RoomFeed(self._random(16), self._random(32))
        return feed

    def held_by(self, account: int) -> list[str]:
        """The rooms whose current key an account was given."""
        return [name for name, feed in self._rooms.items() if account in feed.holders]

    def turn(self, name: str) -> RoomFeed:
        """A new key for a room; nobody holds it yet."""
        feed = self.room(name)
        feed.key = self._random(32)
        feed.generation += 1
        feed.counter = 0
        feed.holders.clear()
        return feed

    def publish(self, name: str, entries: list[Stretch], clock: float) -> None:
        """Entries of one room, in publications of bounded size; beacons follow."""
        feed = self.room(name)
        for some in joined(entries, ENTRIES_BYTES_MAX):
            count = some[-1].last - some[0].first + 1
            self._send(feed, encode_publication(count, [one.data for one in some]))
        feed.beacon_at = None  # a publication tells what a beacon would
        self.pull_beacons(name, clock)

    def pull_beacons(self, name: str, clock: float, present: int = 0) -> None:
        """Let the room's next beacons come 0.3 s and 1 s from now, or sooner; for somebody who opened the
        room later where many are `present`: while they all come, each would be told of each."""
        feed = self.room(name)
        soon = clock + BEACON_S[0] + present * S_PER_LISTENER
        feed.beacon_step = 0
        feed.beacon_at = soon if feed.beacon_at is None else min(feed.beacon_at, soon)
        self._set_alarm(name, feed)

    def presence_changed(self, name: str, who: str, *, came: bool, present: int, clock: float) -> None:
        """An account came to a room or went; a notice follows shortly, with others."""
        feed = self.room(name)
        here, there = (feed.joined, feed.left) if came else (feed.left, feed.joined)
        if who not in there or feed.pictured:
            here.add(who)
        there.discard(who)
        if feed.presence_at is None:
            feed.pictured = False
            feed.presence_at = clock + PRESENCE_S + present * S_PER_LISTENER
            self._set_alarm(name, feed)

    def picture(self, name: str) -> int:
        """Somebody is shown who is here, changes of which no notice tells yet included: from now on a
        coming and a going do not cancel out. Returns the version of the newest notice."""
        feed = self.room(name)
        feed.pictured = True
        return feed.presence

    def next_deadline(self) -> float | None:
        return self._alarms[0][0] if self._alarms else None

    def tick(self, clock: float, stored: Callable[[str], int], present: Callable[[str], int]) -> None:
        """Send the beacons and notices that are due. The callables give a room's stored head and how
        many follow it; a room that nobody follows falls silent."""
        while self._alarms and self._alarms[0][0] <= clock:
            at, name = heapq.heappop(self._alarms)
            feed = self._rooms[name]
            if at != feed.alarm_at:
                continue  # an earlier one was set later
            feed.alarm_at = None
            listeners = present(name)
            if feed.presence_at is not None and feed.presence_at <= clock:
                self._notice(feed, listeners)
            if feed.beacon_at is not None and feed.beacon_at <= clock:
                self._beacon(feed, stored(name), listeners, clock)
            self._set_alarm(name, feed)

    def _set_alarm(self, name: str, feed: RoomFeed) -> None:
        """One alarm a room is enough: one that comes too early sets the next."""
        at = min((at for at in (feed.beacon_at, feed.presence_at) if at is not None), default=None)
        if at is not None and (feed.alarm_at is None or at < feed.alarm_at):
            feed.alarm_at = at
            heapq.heappush(self._alarms, (at, name))

    def _beacon(self, feed: RoomFeed, head: int, listeners: int, clock: float) -> None:
        feed.beacon_at = None
        if not listeners:
            return
        self._send(feed, encode_plain(Beacon(head, feed.presence)))
        feed.beacon_step = min(feed.beacon_step + 1, len(BEACON_S) - 1)
        feed.beacon_at = clock + BEACON_S[feed.beacon_step]

    def _notice(self, feed: RoomFeed, listeners: int) -> None:
        feed.presence_at = None
        joined, left = sorted(feed.joined), sorted(feed.left)
        feed.joined.clear()
        feed.left.clear()
        if not joined and not left:
            return
        feed.presence += 1
        if len(joined) + len(left) > NAMES_PER_MESSAGE_MAX:
            notice = Presence(feed.presence, listeners, [], [], whole=False)
        else:
            notice = Presence(feed.presence, listeners, joined, left)
        if listeners:
            self._send(feed, encode_plain(notice))

    def _send(self, feed: RoomFeed, plaintext: bytes) -> None:
        feed.counter += 1
        header = Header(self.run, feed.generation, feed.counter)
        self.outgoing.append((feed.topic, self.sealer.seal(feed.topic, feed.key, header, plaintext)))
