"""Core: exactly once. Judges each Say against what its instance has sent into that room before.

A connection may lose or repeat requests without telling anyone, and an old and a new connection may
interleave. So a Say names the request before it (`prev`), and per instance and room the log keeps the
newest id and a window of answers (SPEC.md, "Exactly once").
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec

from chat_broker.log import Answer, Log, OnceKey, Sender, SenderKey

INSTANCE_KEPT_MS = 7 * 24 * 3600 * 1000
SENDERS_CACHED_MAX = 20_000
_encoder = msgspec.msgpack.Encoder()
_DIGEST = struct.Struct(">II")
_CLOCK_SKEW_MS = 3_600_000  # an instance may seem this much younger than now: the clock was set back


def new_instance(wall: int, random: bytes) -> bytes:
    """An instance carries its birth: 8 bytes of the broker's clock, then 8 random ones."""
    return wall.to_bytes(8, "big") + random


def say_digest(lines: list[str], once: bytes | None = None, hops: int = 0) -> bytes:
    """What makes two Says the same: their lines, `once` key and hops. It finds a client that takes one
    request for another, and protects nobody else: a checksum and a length do."""
    what = _encoder.encode((lines, once, hops))
    return _DIGEST.pack(zlib.crc32(what), len(what))


@dataclass(slots=True)
class _Cached:
    sender: Sender
    ticket: int = 0  # the batch that stores its newest change


@dataclass(slots=True)
class Sends:
    """Senders in use. Those whose changes are stored may be forgotten here: the log has them."""

    log: Log
    window: int
    cached_max: int = SENDERS_CACHED_MAX
    _cache: OrderedDict[SenderKey, _Cached] = field(default_factory=OrderedDict)
    _onces: dict[OnceKey, tuple[Answer, int]] = field(default_factory=dict)  # not yet stored, and their batch
    _stored: int = 0  # the newest stored batch

    def sender(self, key: SenderKey) -> Sender:
        """The sender as it is after everything ahead, stored or not. Raises StorageError."""
        cached = self._cache.get(key)
        if cached is None:
            cached = self._cache[key] = _Cached(self.log.sender(key) or Sender())
            self._let_go()
        self._cache.move_to_end(key)
        return cached.sender

    def is_stored(self, key: SenderKey) -> bool:
        """Whether all that this sender was answered with is stored."""
        cached = self._cache.get(key)
        return cached is None or cached.ticket <= self._stored

    def is_forgotten(self, key: SenderKey, wall: int) -> bool:
        """Whether what this instance said before may have been forgotten."""
        born = int.from_bytes(key.instance[:8], "big")
        return not -_CLOCK_SKEW_MS <= wall - born <= INSTANCE_KEPT_MS and self.sender(key).last == 0

    def once(self, key: OnceKey) -> Answer | None:
        """The answer that a `once` key was given before."""
        waiting = self._onces.get(key)
        return waiting[0] if waiting else self.log.once(key)

    def record(self, key: SenderKey, answers: dict[int, Answer], ticket: int) -> Sender:
        """Says were taken, or answered from their `once` keys: answers by request id, in order. Returns the
        sender as it must be stored with them."""
        cached = self._cache[key]
        cached.ticket = ticket
        sender = cached.sender
        sender.answers.update(answers)
        sender.last = next(reversed(answers))
        while len(sender.answers) > self.window:
            sender.answers.popitem(last=False)
        return sender

    def record_once(self, key: OnceKey, answer: Answer, ticket: int) -> None:
        self._onces[key] = (answer, ticket)

    def stored(self, ticket: int) -> None:
        """Everything up to this batch is stored."""
        self._stored = ticket
        for once in [key for key, (_, waits) in self._onces.items() if waits <= ticket]:
            del self._onces[once]
        self._let_go()

    def forget(self) -> None:
        """Nothing on its way was stored: begin again from the log."""
        self._cache.clear()
        self._onces.clear()

    def _let_go(self) -> None:
        """Of the senders not used for longest, as far as the log has them."""
        while len(self._cache) > self.cached_max:
            key, cached = next(iter(self._cache.items()))
            if cached.ticket > self._stored:
                return
            del self._cache[key]
