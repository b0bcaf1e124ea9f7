"""CURVE as bytes, against libzmq's own server."""

from __future__ import annotations

import pytest
import zmq
from zmq.utils import z85

pytest.importorskip("nacl", reason="the extra 'bench' is not installed")

from bench.curve import CurveClient, key_pair
from bench.wire import Wire


def test_a_dealer_by_hand_speaks_with_a_router() -> None:
    public, secret = zmq.curve_keypair()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.curve_server = True
        router.curve_secretkey = secret
        wire = Wire(router.bind_to_random_port("tcp://127.0.0.1"))
        client = CurveClient(z85.decode(public), *key_pair(), b"DEALER")
        wire.send(client.begin())
        while not client.is_ready:
            out, _ = client.receive(wire.some())
            wire.send(out)
        wire.send(client.message(b"hello") + client.message(bytes(1_000)))
        peer, first = router.recv_multipart()
        assert first == b"hello"
        assert router.recv_multipart() == [peer, bytes(1_000)]
        router.send_multipart([peer, b"and back"])
        messages: list[bytes] = []
        while not messages:
            messages += client.receive(wire.some())[1]
        assert messages == [b"and back"]
        wire.close()
