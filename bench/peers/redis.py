"""Redis: pub/sub, which stores nothing, and streams with the append-only file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.ack_load import OpenAckLoad
from bench.load import LINE_BYTES
from bench.machine import free_port
from bench.peers.peer import Peer, Place, Store, Storing, Target, found
from bench.server import BenchError, Server
from bench.stream_load import OpenStreamLoad, Subscribe
from bench.wire import Wire

PUBLISHERS = 2
WINDOW = 8_000
STREAM_CONNECTIONS = 32  # it reads 16 KiB of each between two fsyncs
STREAM_WINDOW = 8_000
INSTALL = "on Debian: apt-get install redis-server"


class RedisDialect:
    """RESP, with the least that clients send."""

    interruption = b""

    def enter(self, wire: Wire, who: str) -> None:
        pass

    def subscribe(self, wire: Wire, rooms: Sequence[str]) -> None:
        wire.send(command(b"SUBSCRIBE", *(room.encode() for room in rooms)))
        for count in range(1, len(rooms) + 1):
            wire.expect(b":%d\r\n" % count)

    def publication(self, room: str) -> tuple[bytes, bytes]:
        return around(b"PUBLISH", room.encode())

    def delivery(self, who: str, room: str) -> tuple[bytes, bytes]:
        return around(b"message", room.encode())


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def around(*words: bytes) -> tuple[bytes, bytes]:
    """What stands before and after a last word of LINE_BYTES."""
    whole = command(*words, bytes(LINE_BYTES))
    return whole[: -LINE_BYTES - 2], whole[-2:]


def start(name: str, folder: Path, core: int, port: int, *options: str) -> Server:
    base = [
        "--bind",
        "127.0.0.1",
        "--dir",
        str(folder),
        "--save",
        "",
        "--maxclients",
        "15000",
        "--protected-mode",
        "no",
    ]
    return Server(name, [found("redis-server"), *base, *options], folder, core).listens(port)


class Redis(Peer):
    program = "redis-server"
    install = INSTALL

    def __init__(self, *, tls: bool) -> None:
        self._tls = tls
        self.key = "redis_tls" if tls else "redis"
        self.title = "Redis pub/sub" + (", TLS" if tls else "")

    def fan_out(self, place: Place, rooms: Sequence[str]) -> Target:
        port, ca = free_port(), None
        options = ["--client-output-buffer-limit", "pubsub 0 0 0", "--appendonly", "no"]
        if self._tls:
            files, ca = place.certificate, place.certificate.ca
            options += ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
            options += ["--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key)]
        else:
            options += ["--port", str(port)]
        server = start(self.key, place.fresh(self.key), place.core, port, *options)
        subscribe = Subscribe(RedisDialect(), port, ca)
        return Target(server, subscribe, OpenStreamLoad(subscribe, tuple(rooms), PUBLISHERS), WINDOW)


class StreamDialect:
    """XADD, pipelined. Each answer is the new id: one bulk string."""

    def enter(self, wire: Wire, who: str) -> None:
        pass

    def storing(self, who: str) -> tuple[bytes, bytes]:
        return around(b"XADD", b"room", b"*", b"line")

    def acknowledged(self, data: bytes) -> tuple[int, bytes]:
        if data.startswith(b"-") or b"\r\n-" in data:
            raise BenchError(f"Redis refuses: {data[:200]!r}")
        return data.count(b"$"), b""


class RedisStreams(Storing):
    program = "redis-server"
    install = INSTALL

    def __init__(self, fsync: str) -> None:
        self._fsync = fsync
        self.key = f"redis_aof_{fsync}"
        self.title = f"Redis Streams, appendfsync {fsync}"

    def ingest(self, place: Place) -> Store:
        port = free_port()
        options = ["--port", str(port), "--appendonly", "yes", "--appendfsync", self._fsync]
        options += ["--auto-aof-rewrite-percentage", "0"]
        server = start(self.key, place.fresh(self.key), place.core, port, *options)
        return Store(server, OpenAckLoad(StreamDialect(), port, STREAM_CONNECTIONS), STREAM_WINDOW)
