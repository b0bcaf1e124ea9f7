"""The broker's sockets: what an attacker who knows libzmq must not be able to guess."""

from __future__ import annotations

import zmq

from chat_broker.auth import new_keys
from chat_broker.sockets import Sockets, open_sockets


def test_routing_ids_begin_anywhere() -> None:
    """libzmq aborts when a peer has claimed the id that it would give next, so none may be foreseen."""
    firsts = {_first_routing_id() for _ in range(4)}
    assert len(firsts) == 4


def _first_routing_id() -> bytes:
    keys = new_keys()
    sockets = open_sockets("127.0.0.1", 0, 0, keys)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    try:
        dealer.linger = 0
        dealer.curve_publickey, dealer.curve_secretkey = new_keys()
        dealer.curve_serverkey = keys.public
        dealer.connect(f"tcp://127.0.0.1:{sockets.port}")
        dealer.send(b"hello")
        _admit_one(sockets)
        assert sockets.command.poll(10_000)
        return sockets.command.recv_multipart()[0]
    finally:
        dealer.close()
        context.term()
        sockets.close()


def _admit_one(sockets: Sockets) -> None:
    assert sockets.zap.poll(10_000)
    version, number, *_ = sockets.zap.recv_multipart()
    sockets.zap.send_multipart([version, number, b"200", b"ok", b"", b""])
