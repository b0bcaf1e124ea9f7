"""ngIRCd: an IRC server in C. It stores nothing."""

from __future__ import annotations

from collections.abc import Sequence

from bench.machine import free_port
from bench.peers.peer import Peer, Place, Target, found
from bench.server import Server
from bench.stream_load import OpenStreamLoad, Subscribe
from bench.wire import Wire

PUBLISHERS = 16  # it takes a few lines of each in turn
WINDOW = 2_000  # a subscriber with more than 32 KiB waiting beyond the kernel's buffers is cut off
CONFIG = """
[Global]
Name = irc.bench.local
Info = bench
Listen = 127.0.0.1
Ports = {port}
ServerUID = 0
ServerGID = 0
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 100000
PongTimeout = 100000
[Options]
DNS = no
Ident = no
PAM = no
OperCanUseMode = no
"""


class IrcDialect:
    interruption = b""

    def enter(self, wire: Wire, who: str) -> None:
        wire.send(b"NICK %b\r\nUSER %b 0 * :%b\r\n" % ((who.encode(),) * 3))
        wire.send(b"PING :ready\r\n")
        wire.expect(b"PONG")
        wire.expect(b"\r\n")

    def subscribe(self, wire: Wire, rooms: Sequence[str]) -> None:
        for room in rooms:
            wire.send(b"JOIN #%b\r\n" % room.encode())
            wire.expect(b" 366 ")
            wire.expect(b"\r\n")

    def publication(self, room: str) -> tuple[bytes, bytes]:
        return b"PRIVMSG #%b :" % room.encode(), b"\r\n"

    def delivery(self, who: str, room: str) -> tuple[bytes, bytes]:
        return b":%b!~%b@127.0.0.1 PRIVMSG #%b :" % (who.encode(), who.encode(), room.encode()), b"\r\n"


class Ngircd(Peer):
    key = "ngircd"
    title = "ngIRCd"
    program = "ngircd"
    install = "on Debian: apt-get install ngircd"

    def fan_out(self, place: Place, rooms: Sequence[str]) -> Target:
        port, folder = free_port(), place.fresh(self.key)
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "ngircd.conf"
        config.write_text(CONFIG.format(port=port))
        server = Server(self.key, [found("ngircd"), "-n", "-f", str(config)], folder, place.core).listens(
            port
        )
        subscribe = Subscribe(IrcDialect(), port, None)
        return Target(server, subscribe, OpenStreamLoad(subscribe, tuple(rooms), PUBLISHERS), WINDOW)
