"""Core: read markers. How far this account has read the rooms that are followed, here and elsewhere.

What is read here is told to the broker, coalesced: for each room the newest seq, one request at a time
and no sooner than `MARK_EVERY_S` after the one before; again after a reconnection, until it is answered.
"""

from __future__ import annotations

from msgspec import Struct

from chat_client import events as ev
from chat_client.rooms import Host
from chat_protocol.errors import RETRY_CODES, Code
from chat_protocol.messages import Mark, Marked, Opened, Refusal

MARK_EVERY_S = 1.0
MARK_AGAIN_S = 5.0  # a Mark without an answer
_LATER = RETRY_CODES | {Code.STORAGE_FULL, Code.STORAGE_FAILED}


class _Marker(Struct):
    """One room's. `known` is the broker's word, `read` what was read here, `asked` the newest of that which
    is on its way, in `request`."""

    room: str
    known: int = 0
    read: int = 0
    asked: int = 0
    request: int = 0
    sent_at: float = float("-inf")
    not_before: float = float("-inf")

    @property
    def due_at(self) -> float | None:
        """When to send what was read; None if the broker knows it."""
        if self.read <= self.known:
            return None
        if self.request:
            return self.sent_at + MARK_AGAIN_S
        return max(self.sent_at + MARK_EVERY_S, self.not_before)


class Markers:
    """All markers of one session. Methods may add to the host's outgoing and events."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._by_room: dict[str, _Marker] = {}
        self._by_request: dict[int, tuple[_Marker, int]] = {}  # and the seq that it told

    def read(self, room: str, seq: int) -> None:
        """The room of that id was read up to `seq`."""
        marker = self._marker(room)
        marker.read = max(marker.read, seq)

    def opened(self, message: Opened, title: str, *, first: bool) -> None:
        """The broker's word on a room that is opened, for the `first` time or again."""
        marker = self._marker(message.room)
        news = message.read > (0 if first else marker.known)
        marker.known = max(marker.known, message.read)
        if news:
            self._host.events.append(ev.ReadMarker(message.room, title, marker.known))

    def marked(self, message: Marked, title: str) -> None:
        """Another device has read on."""
        marker = self._marker(message.room)
        if message.seq > marker.known:
            marker.known = message.seq
            self._host.events.append(ev.ReadMarker(message.room, title, marker.known))

    def done(self, request: int) -> bool:
        """Take an answer; False if it is for somebody else."""
        marker, seq = self._by_request.pop(request, (None, 0))
        if marker is None:
            return False
        if marker.request == request:
            marker.request = 0
        marker.known = max(marker.known, seq)
        return True

    def refused(self, message: Refusal, now: float) -> bool:
        """Take a refusal; False if it is for somebody else."""
        marker, _ = self._by_request.pop(message.request, (None, 0))
        if marker is None:
            return False
        if marker.request == message.request:
            marker.request = 0
        if message.code in _LATER:
            marker.not_before = now + max(MARK_EVERY_S, message.retry_ms / 1_000)
        else:
            marker.read = 0  # a room that may not be read has no marker
        return True

    def offline(self) -> None:
        """What is on its way may be lost: it goes out again."""
        self._by_request.clear()
        for marker in self._by_room.values():
            marker.request = 0

    def forget(self) -> None:
        """The history is another one."""
        self._by_request.clear()
        self._by_room.clear()

    def tick(self, now: float) -> None:
        for marker in self._by_room.values():
            if marker.due_at is not None and now >= marker.due_at:
                marker.sent_at = now
                self._send(marker)

    def hurry(self, room: str | None = None) -> None:
        """Nothing more is read in a room (None: in any): what was is told at once."""
        for marker in self._by_room.values():
            is_untold = marker.read > max(marker.known, marker.asked if marker.request else 0)
            if room in (None, marker.room) and is_untold and self._host.is_live:
                self._send(marker)

    def next_deadline(self) -> float | None:
        due = (marker.due_at for marker in self._by_room.values())
        return min((at for at in due if at is not None), default=None)

    def _send(self, marker: _Marker) -> None:
        marker.request = self._host.take_request()
        marker.asked = marker.read
        self._by_request[marker.request] = marker, marker.asked
        self._host.outgoing.append(Mark(marker.request, self._host.token, marker.room, marker.asked))

    def _marker(self, room: str) -> _Marker:
        return self._by_room.setdefault(room, _Marker(room))
