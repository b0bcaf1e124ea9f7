"""What goes back to peers, whether they take it at once or not.

libzmq holds few answers for each peer and refuses more, which a burst of questions reaches even when the
peer reads all it can. Then the rest waits here, within bounds, and is tried again shortly. What is beyond
the bounds is dropped: whoever is that slow asks again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import zmq

from chat_broker.sockets import send

RETRY_S = 0.005
WAITING_S = 5.0  # for a peer that takes nothing
WAITING_BYTES_MAX = 256 << 10  # for one peer
WAITING_BYTES_IN_ALL_MAX = 64 << 20


@dataclass
class _Waiting:
    """Frames for one peer, and until when it must have taken one."""

    until: float
    frames: deque[bytes] = field(default_factory=deque)
    size: int = 0


class Replies:
    """Sends through a ROUTER that says when a peer is gone or full (ROUTER_MANDATORY)."""

    def __init__(self, router: zmq.Socket[bytes]) -> None:
        self._router = router
        self._waiting: dict[bytes, _Waiting] = {}
        self._size = 0

    def send(self, peer: bytes, frame: bytes, clock: float) -> None:
        """Send a frame, after those that wait for the same peer."""
        waiting = self._waiting.get(peer)
        if waiting is None:
            if self._is_done(peer, frame):
                return
            waiting = self._waiting[peer] = _Waiting(clock + WAITING_S)
        fits = self._size + len(frame) <= WAITING_BYTES_IN_ALL_MAX
        if fits and waiting.size + len(frame) <= WAITING_BYTES_MAX:
            waiting.frames.append(frame)
            waiting.size += len(frame)
            self._size += len(frame)

    def go_on(self, clock: float) -> None:
        """Try again what waits."""
        for peer, waiting in list(self._waiting.items()):
            while waiting.frames and self._is_done(peer, waiting.frames[0]):
                size = len(waiting.frames.popleft())
                waiting.size -= size
                self._size -= size
                waiting.until = clock + WAITING_S
            if not waiting.frames or clock >= waiting.until:
                self._size -= waiting.size
                del self._waiting[peer]

    def next_deadline(self, clock: float) -> float | None:
        """When to `go_on`."""
        return clock + RETRY_S if self._waiting else None

    def _is_done(self, peer: bytes, frame: bytes) -> bool:
        """Whether the frame is on its way, or nobody is there to take it."""
        try:
            send(self._router, peer, frame)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
        return True
