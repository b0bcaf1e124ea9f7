"""Answers to peers that are busy, slow or gone."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

import zmq

from chat_broker.replies import WAITING_BYTES_IN_ALL_MAX, WAITING_BYTES_MAX, WAITING_S, Replies


class Router:
    """A ROUTER whose peers have room for so many frames."""

    def __init__(self) -> None:
        self.room: dict[bytes, int] = {}
        self.sent: dict[bytes, list[bytes]] = defaultdict(list)
        self._to = b""

    def send(self, frame: bytes, flags: int) -> None:
        assert flags & zmq.NOBLOCK
        if not flags & zmq.SNDMORE:
            self.sent[self._to].append(frame)
            return
        if frame not in self.room:
            raise zmq.ZMQError(zmq.EHOSTUNREACH)
        if not self.room[frame]:
            raise zmq.Again
        self.room[frame] -= 1
        self._to = frame


def replies(router: Router) -> Replies:
    return Replies(cast(Any, router))


def test_what_is_taken_at_once_does_not_wait() -> None:
    router = Router()
    router.room = {b"a": 2}
    answers = replies(router)
    answers.send(b"a", b"1", 0.0)
    answers.send(b"a", b"2", 0.0)
    assert router.sent[b"a"] == [b"1", b"2"]
    assert answers.next_deadline(0.0) is None


def test_a_busy_peer_gets_everything_in_order_and_nobody_waits_for_it() -> None:
    router = Router()
    router.room = {b"a": 1, b"b": 9}
    answers = replies(router)
    for number in range(5):
        answers.send(b"a", b"%d" % number, 0.0)
        answers.send(b"b", b"%d" % number, 0.0)
    assert router.sent[b"b"] == [b"0", b"1", b"2", b"3", b"4"]
    deadline = answers.next_deadline(0.0)
    assert deadline is not None
    assert deadline < 0.1
    router.room[b"a"] = 2
    answers.go_on(0.1)
    router.room[b"a"] = 1
    answers.send(b"a", b"5", 0.2)  # behind what waits
    answers.go_on(0.2)
    assert router.sent[b"a"] == [b"0", b"1", b"2", b"3"]
    router.room[b"a"] = 9
    answers.go_on(0.3)
    assert router.sent[b"a"] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert answers.next_deadline(0.3) is None


def test_nothing_is_kept_for_who_is_gone() -> None:
    router = Router()
    router.room = {b"a": 0}
    answers = replies(router)
    answers.send(b"nobody", b"1", 0.0)
    assert answers.next_deadline(0.0) is None
    answers.send(b"a", b"1", 0.0)
    del router.room[b"a"]
    answers.go_on(0.1)
    assert answers.next_deadline(0.1) is None


def test_who_takes_nothing_is_given_up() -> None:
    router = Router()
    router.room = {b"a": 0}
    answers = replies(router)
    answers.send(b"a", b"1", 0.0)
    answers.go_on(WAITING_S - 0.1)
    assert answers.next_deadline(0.0) is not None
    answers.go_on(WAITING_S)
    assert answers.next_deadline(0.0) is None
    router.room[b"a"] = 1
    answers.send(b"a", b"2", WAITING_S)
    assert router.sent[b"a"] == [b"2"]


def test_what_waits_has_bounds() -> None:
    router = Router()
    router.room = {b"a": 0}
    answers = replies(router)
    frame = bytes(WAITING_BYTES_MAX // 4)
    for _ in range(9):
        answers.send(b"a", frame, 0.0)
    router.room[b"a"] = 99
    answers.go_on(0.0)
    assert len(router.sent[b"a"]) == 4

    peers = [b"%d" % number for number in range(2 * WAITING_BYTES_IN_ALL_MAX // WAITING_BYTES_MAX)]
    router.room = dict.fromkeys(peers, 0)
    for peer in peers:
        for _ in range(4):
            answers.send(peer, frame, 0.0)
    router.room = dict.fromkeys(peers, 99)
    answers.go_on(0.0)
    assert sum(len(router.sent[peer]) * len(frame) for peer in peers) == WAITING_BYTES_IN_ALL_MAX
    answers.send(b"0", frame, 0.0)
    assert answers.next_deadline(0.0) is None
