"""The guard: cuts connections whose bytes pile up inside libzmq, where nobody else sees them.

libzmq hands a message over when its last frame is there. A member who sends frames without an end, or
subscriptions without number, fills the broker's memory while the application hears nothing. The kernel
knows what each connection has sent (TCP_INFO), and socket monitors tell which connections there are; so
whoever sent too much since the last whole message of theirs was taken is shut down. Linux only: elsewhere
the guard watches nothing and says so.

To look at every connection every time would cost more than it saves. Each look takes the next few, and all
of them when the process has grown.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import zmq
from zmq.utils.monitor import parse_monitor_message

COMMAND_AHEAD_MAX = 32 << 20  # bytes: 256 frames of 64 KiB in libzmq's queue are 16 MiB, the kernel's 6 MiB
COMMAND_AHEAD_TOTAL_MAX = 256 << 20  # of all command connections together; then the largest goes
FEED_AHEAD_MAX = 64 << 10  # bytes: the subscriptions of a session are some 6 KiB
FEED_REFILL_PER_S = 1 << 10  # bytes: heartbeats, and rooms opened and closed
LOOK_S = 0.05
LOOKS_AT = 100  # connections a look, in turn
GROWTH_BYTES = 16 << 20  # of the process since all were looked at: then all are again
CONNECTION_BYTES = 128 << 10  # by so much each new connection may let it grow besides
EVENTS_MAX = 1_000  # taken from a monitor before the next look
AVAILABLE = sys.platform == "linux"

_ENDED = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED
_WATCHED = zmq.EVENT_ACCEPTED | _ENDED
_TCP_INFO_BYTES = 160
_RECEIVED_AT = 128  # tcpi_bytes_received (linux/tcp.h, since Linux 4.1)
_PAGE_BYTES = os.sysconf("SC_PAGESIZE") if AVAILABLE else 0

Note = Callable[[str, dict[str, object]], None]
Socket = zmq.Socket[bytes]
T = TypeVar("T")


@dataclass(slots=True)
class _Connection:
    """`settled` is how much it had sent when it last owed nothing, `ahead` what it sent since."""

    fd: int
    peer: object
    is_feed: bool
    looked_at: float
    settled: int = 0
    ahead: int = 0


class Guard:
    """Watches the connections of the ROUTER and the PUB from a thread of its own.

    Make it before the sockets are bound, `start` it soon after, and tell it with `arrived` whose messages
    came. `close` it before the sockets.
    """

    def __init__(self, command: Socket, feed: Socket) -> None:
        self._watched = (command, feed) if AVAILABLE else ()
        self._monitors = [_monitor(one) for one in self._watched]
        self._connections: dict[int, _Connection] = {}  # by descriptor
        self._turn: list[int] = []  # descriptors to be looked at before the round begins again
        self._lock = threading.Lock()
        self._arrived: set[int] = set()  # under the lock
        self._heard: set[int] = set()  # arrived, and not looked at since
        self._statm = os.open("/proc/self/statm", os.O_RDONLY) if AVAILABLE else -1  # before none are left
        self._lowest_bytes = 0  # of the process since all were looked at
        self._fewest = 0  # connections since then
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._note: Note

    def start(self, note: Note) -> None:
        """Begin to watch. `note` hears of each cut, on the guard's thread."""
        self._note = note
        if not AVAILABLE:
            note("no_guard", {"reason": "only Linux tells how much a connection has sent"})
            return
        self._thread = threading.Thread(target=self._run, name="guard", daemon=True)
        self._thread.start()

    def arrived(self, descriptors: Iterable[int]) -> None:
        """Whole messages came from these connections since the last call."""
        with self._lock:
            self._arrived.update(descriptors)

    def close(self) -> None:
        for one in self._watched:
            one.disable_monitor()
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        for monitor in self._monitors:
            monitor.close(linger=0)
        self._watched, self._monitors = (), []
        if self._statm >= 0:
            os.close(self._statm)
            self._statm = -1

    # ------------------------------------------------------------------ its thread

    def _run(self) -> None:
        poller = zmq.Poller()
        for monitor in self._monitors:
            poller.register(monitor, zmq.POLLIN)
        look_at = time.monotonic() + LOOK_S
        while not self._ended.is_set():
            ready = dict(poller.poll(max(0, int((look_at - time.monotonic()) * 1_000))))
            for is_feed, monitor in enumerate(self._monitors):
                if monitor in ready:
                    self._take_events(monitor, bool(is_feed))
            if (now := time.monotonic()) >= look_at:
                self._look(now)
                look_at = time.monotonic() + LOOK_S

    def _take_events(self, monitor: Socket, is_feed: bool) -> None:
        """Learn which connections came and went. A descriptor may have changed to the other port before
        its end on this one is heard of."""
        for _ in range(EVENTS_MAX):
            try:
                event = parse_monitor_message(monitor.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            fd = int(event["value"])
            if event["event"] & _ENDED:
                if fd in self._connections and self._connections[fd].is_feed is is_feed:
                    del self._connections[fd]
            elif (peer := _use(fd, _peer)) is not None:
                self._connections[fd] = _Connection(fd, peer, is_feed, time.monotonic())
                self._heard.discard(fd)

    def _look(self, now: float) -> None:
        """Look at the next in turn, or at all if the process has grown."""
        with self._lock:
            arrived, self._arrived = self._arrived, set()
        self._heard |= arrived & self._connections.keys()
        resident = self._resident_bytes()
        count = len(self._connections)
        self._lowest_bytes, self._fewest = min(self._lowest_bytes, resident), min(self._fewest, count)
        may_grow = GROWTH_BYTES + (count - self._fewest) * CONNECTION_BYTES
        if resident - self._lowest_bytes > may_grow:
            self._lowest_bytes, self._fewest = resident, count
            chosen, self._turn = list(self._connections), []
        else:
            self._turn = self._turn or list(self._connections)
            chosen, self._turn = self._turn[:LOOKS_AT], self._turn[LOOKS_AT:]
        for fd in chosen:
            if (connection := self._connections.get(fd)) is not None:
                self._look_at(connection, now)
        self._bound_total()

    def _look_at(self, connection: _Connection, now: float) -> None:
        received = _use(connection.fd, _received) or 0
        if connection.is_feed:
            refill = int((now - connection.looked_at) * FEED_REFILL_PER_S)
            connection.settled = min(connection.settled + refill, received)
        elif connection.fd in self._heard:
            self._heard.remove(connection.fd)
            connection.settled = received
        connection.looked_at = now
        connection.ahead = received - connection.settled
        if connection.ahead > (FEED_AHEAD_MAX if connection.is_feed else COMMAND_AHEAD_MAX):
            self._cut(connection)

    def _bound_total(self) -> None:
        """Many together may not pile up much either: the largest goes first."""
        piled = [one for one in self._connections.values() if one.ahead and not one.is_feed]
        total = sum(one.ahead for one in piled)
        if total <= COMMAND_AHEAD_TOTAL_MAX:
            return
        for connection in sorted(piled, key=lambda one: one.ahead, reverse=True):
            if total <= COMMAND_AHEAD_TOTAL_MAX:
                break
            total -= connection.ahead
            if connection.fd in self._heard:
                connection.ahead = 0  # its message came meanwhile
            else:
                self._cut(connection)

    def _cut(self, connection: _Connection) -> None:
        """Shut a connection down; libzmq then lets go of it and of what it sent."""
        self._connections.pop(connection.fd, None)
        self._heard.discard(connection.fd)
        if _use(connection.fd, lambda one: _shut_down(one, connection.peer)):
            port = "feed" if connection.is_feed else "command"
            what = {"peer": str(connection.peer), "port": port, "bytes_ahead": connection.ahead}
            self._note("cut", what)

    def _resident_bytes(self) -> int:
        return int(os.pread(self._statm, 100, 0).split()[1]) * _PAGE_BYTES


def _monitor(one: Socket) -> Socket:
    """Where libzmq tells who connects. Without a bound, for on a full one its I/O waits to be read."""
    place = f"inproc://guard-{id(one)}"
    one.monitor(place, _WATCHED)
    monitor: Socket = one.context.socket(zmq.PAIR)
    monitor.rcvhwm = 0
    monitor.connect(place)
    return monitor


def _peer(one: socket.socket) -> object:
    return one.getpeername()


def _received(one: socket.socket) -> int:
    """How many bytes a connection has sent us."""
    info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    return int(struct.unpack_from("=Q", info, _RECEIVED_AT)[0]) if len(info) >= _RECEIVED_AT + 8 else 0


def _shut_down(one: socket.socket, peer: object) -> bool:
    if one.getpeername() != peer:
        return False  # the descriptor is somebody else's by now
    one.shutdown(socket.SHUT_RDWR)
    return True


def _use(fd: int, use: Callable[[socket.socket], T]) -> T | None:
    """Do something with libzmq's descriptor, without owning it; None if it is gone. Family and type are
    told so that Python does not ask for them."""
    try:
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=fd)
    except OSError:
        return None
    try:
        return use(one)
    except OSError:
        return None
    finally:
        one.detach()
