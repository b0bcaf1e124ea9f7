"""The server: sockets, clock and log around the hub. Receive, hand to the hub, send what comes back."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType

import zmq

from chat_broker.auth import answer_zap
from chat_broker.clock import Now
from chat_broker.hub import Hub
from chat_broker.replies import Replies
from chat_broker.sockets import Sockets, receive, send
from chat_protocol.codec import decode_requests, encode
from chat_protocol.errors import BadFrame

DRAIN_MESSAGES_MAX = 4_096
DRAIN_BYTES_MAX = 4 << 20
DRAIN_S = 0.02  # judging takes time, too: what others say is not to wait for all that a flooder asks
ADMITTED_AT_ONCE = 100  # whose keys are looked at before others are heard
TICK_S = 0.5  # for so long what waits goes before what is due; a flood is not to hold beacons back
GATHER_MS = 1  # what comes while the log stores could not be stored sooner: for so long it gathers
STOP_STORE_S = 10.0  # how long a stop waits for the log
STOP_LINGER_MS = 1_000  # and for goodbyes to leave
ZAP_STATUS = 2  # where it stands in an answer
NOTES_PER_S_MAX = 50  # of one kind; the rest are counted

Note = Callable[[str, dict[str, object]], None]


def read_clock() -> Now:
    return Now(time.monotonic(), time.time_ns() // 1_000_000)


class Waker:
    """Wakes the server's poll from the log's thread and from signals."""

    def __init__(self) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)

    def __call__(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is awake already
            self._writer.send(b"\0")

    def wait(self, timeout_ms: int) -> bool:
        """Whether it was woken, by the end of this time."""
        return bool(select.select([self.reader], [], [], timeout_ms / 1_000)[0])

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self.reader.recv(4_096):
                pass

    def watch_signals(self) -> None:
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def close(self) -> None:
        with contextlib.suppress(ValueError):  # not the main thread: no signals were watched
            signal.set_wakeup_fd(-1)
        self.reader.close()
        self._writer.close()


class Server:
    """Runs a hub on its sockets until told to stop. `note` writes to the broker's own log."""

    def __init__(self, hub: Hub, sockets: Sockets, waker: Waker, note: Note) -> None:
        self._hub = hub
        self._sockets = sockets
        self._waker = waker
        self._note = note
        self._replies = Replies(sockets.command)
        self._stopping = False
        self._noted: Counter[str] = Counter()
        self._noted_second = 0
        self._poller = zmq.Poller()
        for one in (sockets.command, sockets.zap, waker.reader):
            self._poller.register(one, zmq.POLLIN)

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """End `run` soon; a signal handler, and safe from another thread."""
        self._stopping = True
        self._waker()

    def run(self) -> None:
        """Serve until `stop`; then store what was taken and say goodbye."""
        tick_by = 0.0
        while not self._stopping:
            if self._hub.is_storing and self._waker.wait(GATHER_MS):
                self._take_results()
            self._poll(self._next_deadline())
            self._answer_zap()
            if self._drain() and time.monotonic() < tick_by:
                continue  # more waits: leases do not age before it is heard
            self._hub.tick(read_clock())
            self._send()
            tick_by = time.monotonic() + TICK_S
        self._finish()

    def _next_deadline(self) -> float | None:
        deadlines = (self._hub.next_deadline(), self._replies.next_deadline(time.monotonic()))
        return min((at for at in deadlines if at is not None), default=None)

    def _finish(self) -> None:
        self._poller.unregister(self._sockets.command)
        until = time.monotonic() + STOP_STORE_S
        self._hub.flush(read_clock())
        while self._hub.is_storing and time.monotonic() < until:
            self._poll(until)
        self._hub.stop(read_clock())
        self._send()

    def _poll(self, deadline: float | None) -> None:
        wait_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1_000
        ready = dict(self._poller.poll(wait_ms if wait_ms is None else int(wait_ms) + 1))
        if self._waker.reader.fileno() in ready:
            self._take_results()

    def _take_results(self) -> None:
        self._waker.clear()
        self._hub.log_results(read_clock())
        self._send()

    def _answer_zap(self) -> None:
        """Let some in; those who are in already are not to wait until all are."""
        zap = self._sockets.zap
        for _ in range(ADMITTED_AT_ONCE):
            try:
                request = [frame.bytes for frame in receive(zap)]
            except zmq.Again:
                return
            answer = answer_zap(request, self._hub, read_clock())
            send(zap, *answer)
            if answer[ZAP_STATUS] == b"400":
                domain, address = (part.decode("ascii", "replace") for part in request[2:4])
                self._note_some("not_admitted", {"port": domain, "address": address})

    def _drain(self) -> bool:
        """Hand what waits on the command socket to the hub, as one batch; True if it was cut short."""
        now = read_clock()
        taken = size = 0
        descriptors = set()
        until, is_cut_short = now.clock + DRAIN_S, True
        while taken < DRAIN_MESSAGES_MAX and size < DRAIN_BYTES_MAX and time.monotonic() < until:
            try:
                frames = receive(self._sockets.command)
            except zmq.Again:
                is_cut_short = False
                break
            size += sum(len(frame) for frame in frames)
            descriptors.add(frames[-1].get(zmq.SRCFD))
            taken += self._receive(frames, now)
        self._sockets.guard.arrived(descriptors)
        self._hub.flush(now)
        self._send()
        return is_cut_short

    def _receive(self, frames: list[zmq.Frame], now: Now) -> int:
        """Hand a message's requests to the hub; returns how many they are."""
        peer = frames[0].bytes
        try:
            if len(frames) != 2:
                raise BadFrame(f"a request is one frame, this one {len(frames) - 1}")
            found = decode_requests(frames[1].bytes)
        except BadFrame as error:
            self._hub.receive_bad(peer, error, now)
            return 1
        key = bytes.fromhex(str(frames[1].get("User-Id")))
        self._hub.receive_all(peer, key, found, now)
        return len(found)

    def _send(self) -> None:
        outgoing = self._hub.take()
        for topic, envelope in outgoing.feed:
            send(self._sockets.feed, topic, envelope)
        clock = time.monotonic()
        self._replies.go_on(clock)
        for peer, message in outgoing.replies:
            self._replies.send(peer, encode(message), clock)
        for event, what in outgoing.notes:
            self._note_some(event, what)

    def _note_some(self, event: str, what: dict[str, object]) -> None:
        second = int(time.monotonic())
        if second != self._noted_second:
            for kind, count in self._noted.items():
                if count > NOTES_PER_S_MAX:
                    self._note("more_of_the_same", {"kind": kind, "count": count - NOTES_PER_S_MAX})
            self._noted.clear()
            self._noted_second = second
        self._noted[event] += 1
        if self._noted[event] <= NOTES_PER_S_MAX:
            self._note(event, what)
