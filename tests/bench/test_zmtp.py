"""ZMTP as bytes: what a subscriber sends, and what it makes of what comes."""

from __future__ import annotations

import pytest
import zmq

from bench import zmtp
from bench.wire import Wire


def test_a_greeting_names_version_and_mechanism() -> None:
    greeting = zmtp.greeting(b"PLAIN")
    assert len(greeting) == zmtp.GREETING_BYTES
    assert greeting[:12] == b"\xff" + bytes(8) + b"\x7f\x03\x01"
    assert greeting[12:32].rstrip(b"\0") == b"PLAIN"


def test_the_ticket_is_shown_as_rfc_24_has_it() -> None:
    assert zmtp.plain_hello(b"feed", b"ab") == b"\x04\x0e\x05HELLO\x04feed\x02ab"


@pytest.mark.parametrize("size", [0, 1, 255, 256, 70_000])
def test_frames_come_apart_as_they_were_made(size: int) -> None:
    body = bytes(size)
    data = zmtp.frame(body, more=True) + zmtp.frame(b"next")
    assert len(zmtp.frame(body)) == zmtp.frame_bytes(size)
    assert zmtp.split(data) == ([(1 if size < 256 else 3, body), (0, b"next")], b"")


def test_a_cut_frame_stays_whole_until_the_rest_is_there() -> None:
    data = zmtp.frame(b"a") + zmtp.frame(bytes(300))
    for cut in range(len(data)):
        frames, rest = zmtp.split(data[:cut])
        again, nothing = zmtp.split(rest + data[cut:])
        assert [body for _, body in frames + again] == [b"a", bytes(300)]
        assert nothing == b""


def test_a_subscriber_by_hand_is_served_by_libzmq() -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as pub:
        port = pub.bind_to_random_port("tcp://127.0.0.1")
        wire = Wire(port)
        wire.send(zmtp.greeting(b"NULL"))
        assert wire.exactly(zmtp.GREETING_BYTES)[:1] == b"\xff"
        wire.send(zmtp.ready(b"SUB"))
        assert b"PUB" in wire.exactly(wire.exactly(2)[1])
        wire.send(zmtp.subscribe(b"room"))
        got = b""
        wire.go()
        while b"room: hello" not in got:
            pub.send(b"other: hello")
            pub.send(b"room: hello")
            wire.poll(0.01)
            got += wire.receive()
        assert b"other" not in got
        wire.close()
