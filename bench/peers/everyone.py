"""Everyone who takes part, in the order of the report."""

from __future__ import annotations

from bench.peers.limits import limits
from bench.peers.mosquitto import Mosquitto
from bench.peers.nats import JetStream, Nats
from bench.peers.ngircd import Ngircd
from bench.peers.peer import Peer, Storing
from bench.peers.redis import Redis, RedisStreams
from bench.peers.simple_chat import SimpleChat, SimpleChatStoring


def peers() -> dict[str, Peer]:
    everyone: list[Peer] = [
        SimpleChat(),
        Redis(tls=False),
        Redis(tls=True),
        Nats(tls=False),
        Nats(tls=True),
        Ngircd(),
        Mosquitto(),
        *limits(),
    ]
    return {peer.key: peer for peer in everyone}


def stores() -> dict[str, Storing]:
    everyone: list[Storing] = [
        SimpleChatStoring(single=False),
        SimpleChatStoring(single=True),
        RedisStreams("always"),
        RedisStreams("everysec"),
        JetStream(syncs=False),
        JetStream(syncs=True),
    ]
    return {peer.key: peer for peer in everyone}


def titles() -> dict[str, str]:
    """What everyone is called, also those that are only a limit of latency; in the order of the report."""
    named = {key: peer.title for key, peer in stores().items()}
    named |= {key: peer.title for key, peer in peers().items()}
    named |= {"fsync": "limit: bare ROUTER and PUB, one fsync", "zmq": "bare ROUTER and PUB, nothing stored"}
    return {"simple_chat": "Simple Chat", **named}
