"""The guard, on real sockets: who piles up is cut, and nobody else."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import zmq

from chat_broker import guard
from chat_broker.guard import Guard

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a connection sent")

Socket = zmq.Socket[bytes]
FRAME = bytes(60_000)
LIMIT_S = 20.0


class Hall:
    """A ROUTER and a PUB with a guard, and peers of them."""

    def __init__(self, *, start: bool = True) -> None:
        self.context: zmq.Context[Socket] = zmq.Context()
        self.router, self.pub = self.context.socket(zmq.ROUTER), self.context.socket(zmq.PUB)
        self.router.backlog = 1_024
        self.router.backlog = 1_024
        self.guard = Guard(self.router, self.pub)
        self.port = self.router.bind_to_random_port("tcp://127.0.0.1")
        self.feed_port = self.pub.bind_to_random_port("tcp://127.0.0.1")
        self.notes: list[tuple[str, dict[str, object]]] = []
        self._peers: list[Peer] = []
        if start:
            self.start()

    def start(self) -> None:
        self.guard.start(lambda event, what: self.notes.append((event, what)))

    def close(self) -> None:
        for peer in self._peers:
            peer.close()
        self.guard.close()
        for one in (self.router, self.pub):
            one.close(linger=0)
        self.context.term()

    def peer(self, kind: int) -> Peer:
        one = Peer(self.context, kind, self.port if kind == zmq.DEALER else self.feed_port)
        self._peers.append(one)
        return one

    @property
    def watched(self) -> int:
        return len(self.guard._connections)

    @property
    def cuts(self) -> list[dict[str, object]]:
        return [what for event, what in self.notes if event == "cut"]

    def take(self) -> int:
        """Take the next message and what waits behind it, as the server does; how many bytes."""
        size, descriptors = 0, set()
        while self.router.poll(0 if size else int(LIMIT_S * 1_000)):
            frames = self.router.recv_multipart(copy=False)
            size += sum(len(frame) for frame in frames[1:])
            descriptors.add(frames[-1].get(zmq.SRCFD))
        self.guard.arrived(descriptors)
        return size

    def hears_from(self, peer: Peer) -> bool:
        peer.socket.send(b"still here")
        return bool(self.take())


class Peer:
    """A socket that connects once, and knows when it was cut."""

    def __init__(self, context: zmq.Context[Socket], kind: int, port: int) -> None:
        self.socket = context.socket(kind)
        self.socket.set_hwm(0)
        self.socket.reconnect_ivl = -1
        self._monitor = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECTED)
        self.socket.connect(f"tcp://127.0.0.1:{port}")
        assert self._monitor.poll(int(LIMIT_S * 1_000))
        self._monitor.recv_multipart()

    def close(self) -> None:
        if not self.socket.closed:
            self.socket.disable_monitor()
            self._monitor.close(linger=0)
            self.socket.close(linger=0)

    def pile(self, size: int) -> None:
        """One message of so many bytes, in frames."""
        self.socket.send_multipart([FRAME] * (size // len(FRAME)), copy=False)

    def is_cut(self, limit_s: float = LIMIT_S) -> bool:
        return bool(self._monitor.poll(int(limit_s * 1_000)))


def waits(condition: Callable[[], object]) -> bool:
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def hall() -> Iterator[Hall]:
    one = Hall()
    yield one
    one.close()


def test_a_message_without_an_end_is_cut_and_others_stay(hall: Hall) -> None:
    honest, member = hall.peer(zmq.DEALER), hall.peer(zmq.DEALER)
    member.pile(200 << 20)
    assert member.is_cut()
    assert waits(lambda: [what["port"] for what in hall.cuts] == ["command"])
    assert int(str(hall.cuts[0]["bytes_ahead"])) > guard.COMMAND_AHEAD_MAX
    assert hall.hears_from(honest)


def test_what_arrives_whole_may_go_on_for_ever(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "COMMAND_AHEAD_MAX", 2 << 20)
    member = hall.peer(zmq.DEALER)
    taken = 0
    for _ in range(20):
        member.pile(1 << 20)
        taken += hall.take()
    assert taken > 15 << 20
    assert not member.is_cut(0.2)


def test_together_they_pile_up_no_more_than_one_may(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "COMMAND_AHEAD_TOTAL_MAX", 8 << 20)
    small, large = hall.peer(zmq.DEALER), hall.peer(zmq.DEALER)
    small.pile(3 << 20)
    large.pile(6 << 20)
    assert large.is_cut()
    assert not small.is_cut(0.2)


@pytest.mark.parametrize("frame", [b"\x01" + bytes(200), b"no subscription" * 20], ids=["topics", "junk"])
def test_a_flood_of_the_feed_port_is_cut(hall: Hall, frame: bytes) -> None:
    member, honest = hall.peer(zmq.XSUB), hall.peer(zmq.SUB)
    honest.socket.subscribe(b"topic")
    for number in range(1_000):
        member.socket.send(frame + number.to_bytes(4, "big"))
    assert member.is_cut()
    assert waits(lambda: [what["port"] for what in hall.cuts] == ["feed"])
    assert not honest.is_cut(0.1)


def test_many_rooms_opened_at_once_are_no_flood(hall: Hall) -> None:
    member = hall.peer(zmq.SUB)
    for number in range(512):
        member.socket.subscribe(number.to_bytes(16, "big"))
    assert not member.is_cut(0.5)
    assert not hall.cuts


def test_the_feed_allowance_refills(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "FEED_AHEAD_MAX", 2 << 10)
    monkeypatch.setattr(guard, "FEED_REFILL_PER_S", 1 << 20)
    member = hall.peer(zmq.XSUB)
    for number in range(40):
        member.socket.send(b"\x01" + bytes(200) + bytes([number]))
        time.sleep(0.02)
    assert not member.is_cut(0.1)


def test_who_leaves_is_forgotten(hall: Hall) -> None:
    hall.peer(zmq.DEALER).close()
    stays = hall.peer(zmq.DEALER)
    assert hall.hears_from(stays)
    assert waits(lambda: hall.watched == 1)


def test_comings_and_goings_stall_nothing(hall: Hall) -> None:
    """More events than a monitor holds unread."""
    for _ in range(1_500):
        socket.create_connection(("127.0.0.1", hall.port)).close()
    assert hall.hears_from(hall.peer(zmq.DEALER))
    assert waits(lambda: hall.watched == 1)


def test_it_ends_while_everybody_leaves() -> None:
    """More events than a monitor would hold: libzmq is not to wait until they are read."""
    hall = Hall(start=False)
    for _ in range(1_500):
        socket.create_connection(("127.0.0.1", hall.port)).close()
    hall.start()
    hall.close()


def test_a_descriptor_that_changed_hands_is_left_alone(hall: Hall) -> None:
    member = hall.peer(zmq.DEALER)
    assert waits(lambda: hall.watched == 1)
    (watched,) = hall.guard._connections.values()
    watched.peer = ("127.0.0.1", 1)
    member.pile(100 << 20)
    assert waits(lambda: not hall.watched)
    assert hall.take() > 99 << 20
    assert not hall.cuts


def test_elsewhere_it_says_that_it_does_not_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "AVAILABLE", False)
    hall = Hall()
    try:
        assert hall.notes == [("no_guard", {"reason": "only Linux tells how much a connection has sent"})]
        hall.guard.arrived([3])
        member = hall.peer(zmq.DEALER)
        assert hall.hears_from(member)
    finally:
        hall.close()
