"""The broker's ZeroMQ sockets: the only place that opens any, with the options that keep them safe.
The guard watches both ports from before they are bound.

Each option answers something that was seen to go wrong with libzmq 4.3.5; docs/architecture.md tells
which. High-water marks are set before bind, the ZAP handler is bound before all.
"""

from __future__ import annotations

import ctypes
import os
import socket
from dataclasses import dataclass

import zmq

from chat_broker.auth import COMMAND_DOMAIN, FEED_DOMAIN, KeyPair
from chat_broker.guard import Guard
from chat_protocol.address import Address
from chat_protocol.errors import SetupError
from chat_protocol.messages import CURVE_BYTES, FEED_INBOUND_BYTES_MAX, FRAME_BYTES_MAX

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

ZAP_ENDPOINT = "inproc://zeromq.zap.01"

HANDSHAKE_MS = 10_000  # thousands who come back at once wait for each other
KEEPALIVE_IDLE_S = 10  # of silence, then the kernel asks whether the peer's still answers
KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_TRIES = 3
UNACKNOWLEDGED_MS = 25_000  # of what was sent; then the peer is gone, too

_NOW = int(zmq.NOBLOCK)  # plain numbers: the library's own take their time to be put together
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)


@dataclass
class Sockets:
    """`command` is the ROUTER, `feed` the PUB, `zap` the authenticator; the ports are those bound.

    Start the guard soon after."""

    context: Context
    command: Socket
    feed: Socket
    zap: Socket
    guard: Guard
    port: int
    feed_port: int

    def close(self, linger_ms: int = 0) -> None:
        """Close everything; what is queued for peers has `linger_ms` to leave."""
        self.guard.close()
        for one in (self.command, self.feed, self.zap):
            one.close(linger=linger_ms)
        self.context.term()


def open_sockets(host: str, port: int, feed_port: int, keys: KeyPair) -> Sockets:
    """Bind both ports (0: any free one). Raises SetupError with a sentence when that cannot be."""
    if not zmq.has("curve"):
        raise SetupError("this libzmq was built without CURVE; install pyzmq's own wheel")
    context: Context = zmq.Context()
    opened: list[Socket] = []
    guard: Guard | None = None
    try:
        zap = _socket(context, zmq.REP, opened)
        zap.bind(ZAP_ENDPOINT)
        _hide_routing_ids()
        command = _socket(context, zmq.ROUTER, opened)
        _protect(command, host, COMMAND_DOMAIN)
        command.curve_server = True
        command.curve_secretkey = keys.secret
        command.router_mandatory = True
        command.setsockopt(zmq.ROUTER_HANDOVER, 0)
        command.set_hwm(256)
        command.maxmsgsize = FRAME_BYTES_MAX + CURVE_BYTES
        feed = _socket(context, zmq.PUB, opened)
        _protect(feed, host, FEED_DOMAIN)
        feed.plain_server = True
        feed.sndhwm = 1_000
        feed.rcvhwm = 64  # subscriptions that wait: each costs the next publication time
        feed.maxmsgsize = FEED_INBOUND_BYTES_MAX
        guard = Guard(command, feed)
        bound = _bind(command, host, port), _bind(feed, host, feed_port)
        return Sockets(context, command, feed, zap, guard, *bound)
    except SetupError:
        if guard is not None:
            guard.close()
        for one in opened:
            one.close(linger=0)
        context.term()
        raise


def receive(one: Socket) -> list[zmq.Frame]:
    """A message that is there. Raises zmq.Again if none is. As recv_multipart, which asks the socket after
    every frame whether more follow, where the frame knows: that cost more than to receive them."""
    frames = [one.recv(_NOW, copy=False)]
    while frames[-1].more:
        frames.append(one.recv(_NOW, copy=False))
    return frames


def send(one: Socket, *frames: bytes) -> None:
    """Send a message; the first frame is a peer's routing id or a topic. Raises zmq.ZMQError, and then
    nothing was sent."""
    for frame in frames[:-1]:
        one.send(frame, _MORE)
    one.send(frames[-1], _NOW)


def connect_operator(address: Address, keys: KeyPair) -> tuple[Context, Socket]:
    """A DEALER to a running broker, as its operator; the caller closes it and ends the context."""
    context: Context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    dealer.curve_publickey, dealer.curve_secretkey = keys.public, keys.secret
    dealer.curve_serverkey = address.key or b""
    dealer.ipv6 = ":" in address.host
    dealer.connect(address.endpoint)
    return context, dealer


def _socket(context: Context, kind: int, opened: list[Socket]) -> Socket:
    one = context.socket(kind)
    one.linger = 0
    opened.append(one)
    return one


def _hide_routing_ids() -> None:
    """Let nobody know where a ROUTER made after this begins to count.

    libzmq numbers peers from rand(), which it never seeds, and aborts the process when a peer has chosen
    the next number for itself.
    """
    if os.name == "posix":
        ctypes.CDLL(None).srand(ctypes.c_uint(int.from_bytes(os.urandom(4), "big")))


def _protect(one: Socket, host: str, domain: bytes) -> None:
    """What both ports need: an authenticator that must be asked, and dead peers noticed. By the kernel:
    libzmq's own heartbeats look through the timers of all connections whenever one is answered."""
    one.zap_domain = domain
    one.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    one.handshake_ivl = HANDSHAKE_MS
    one.tcp_keepalive = 1
    one.tcp_keepalive_idle = KEEPALIVE_IDLE_S
    one.tcp_keepalive_intvl = KEEPALIVE_INTERVAL_S
    one.tcp_keepalive_cnt = KEEPALIVE_TRIES
    one.tcp_maxrt = UNACKNOWLEDGED_MS
    one.backlog = 1_024
    one.ipv6 = ":" in host


def _bind(one: Socket, host: str, port: int) -> int:
    try:
        number = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise SetupError(f"--host {host} is no address of this machine: {error.strerror}") from error
    place = f"[{number}]" if ":" in str(number) else number
    try:
        one.bind(f"tcp://{place}:{port or '*'}")
    except zmq.ZMQError as error:
        raise SetupError(_why_not_bound(host, port, error.errno or 0)) from error
    endpoint = one.getsockopt_string(zmq.LAST_ENDPOINT)
    return int(endpoint.rsplit(":", 1)[1])


def _why_not_bound(host: str, port: int, number: int) -> str:
    if number == zmq.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what uses it, or choose --port and --feed-port"
    if number == zmq.EADDRNOTAVAIL:
        return f"--host {host} is no address of this machine; 0.0.0.0 takes all it has"
    return f"port {port} on {host} cannot be opened: {os.strerror(number)}"
