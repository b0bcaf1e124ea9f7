"""What a connected client costs libzmq itself, whoever uses it: the limit of what a client can cost us."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack

import zmq

from bench import machine
from bench.machine import free_port
from bench.peers.limits import ROOT
from bench.peers.peer import Place
from bench.server import BenchError, Server

COUNT = 500
ANSWER_MS = 10_000
SETTLE_S = 0.5


def kib_per_client(place: Place) -> float:
    """Resident memory that a DEALER over CURVE and a SUB over PLAIN take of a server that does nothing with
    them, in KiB. Each has sent one message and got one."""
    port, feed_port = free_port(), free_port()
    public, secret = zmq.curve_keypair()
    words = ["bench.peers.connected_server", str(port), str(feed_port), secret.decode()]
    command = [sys.executable, "-m", *words]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    machine.raise_descriptor_limit(4 * COUNT + 500)
    with ExitStack() as kept:
        server = Server("libzmq", command, place.fresh("connected"), place.core, environment)
        kept.enter_context(server)
        server.says("ready")
        before = machine.resident_kib(server.pid)
        context = kept.enter_context(zmq.Context())
        context.max_sockets = 4 * COUNT
        for _ in range(COUNT):
            dealer = kept.enter_context(context.socket(zmq.DEALER))
            dealer.linger = 0
            dealer.curve_publickey, dealer.curve_secretkey = zmq.curve_keypair()
            dealer.curve_serverkey = public
            dealer.connect(f"tcp://127.0.0.1:{port}")
            sub = kept.enter_context(context.socket(zmq.SUB))
            sub.linger = 0
            sub.plain_username, sub.plain_password = b"feed", b"00" * 16
            sub.subscribe(b"t" * 16)
            sub.connect(f"tcp://127.0.0.1:{feed_port}")
            dealer.send(b"there")
            if not dealer.poll(ANSWER_MS):
                raise BenchError("libzmq's ROUTER does not answer")
            dealer.recv()
        time.sleep(SETTLE_S)
        return (machine.resident_kib(server.pid) - before) / COUNT
