"""Simple Chat as it ships: encrypted, signed, and every line stored with fsync before it is told."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from zmq.utils import z85

from bench.machine import free_port
from bench.peers.chat import Access, keys_of, make_rooms
from bench.peers.chat_load import COALESCED, PIPELINE, OpenChatLoad, SubscribeFeed
from bench.peers.peer import Peer, Place, Store, Storing, Target, found
from bench.server import Server
from chat_protocol.address import parse_address

SESSIONS = 4
ONE_ROOM_WINDOW = SESSIONS * PIPELINE * COALESCED
DELIVERIES_MAX = 6_000_000  # Says are whole: to 1,000 subscribers this is twelve of them
MANY_ROOMS_SAYS = 200  # in flight for a session; a broker takes 256
READY_S = 600.0
LINES_PER_S = 1_000_000
SINGLE_SESSIONS = 32
SINGLE_SAYS = 64  # in flight for a session in one room: what the broker remembers answers of


class Broker(Server):
    """A broker process. `access` says how to reach it."""

    def __init__(self, folder: Path, core: int, *options: str, ports: tuple[int, int] | None = None) -> None:
        port, feed_port = ports or (free_port(), free_port())
        self.ports, self.core = (port, feed_port), core
        self.folder, self.data = folder, folder / "data"
        runtime = folder / "run"
        runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
        command = [found("chat-broker"), "start", "--data", str(self.data), "--log-format", "json"]
        command += ["--port", str(port), "--feed-port", str(feed_port), "--lines-per-s", str(LINES_PER_S)]
        self.begun_s = time.monotonic()
        super().__init__(
            "chat-broker", [*command, *options], folder, core, clean | {"XDG_RUNTIME_DIR": str(runtime)}
        )
        self.until(lambda: "ready chat://" in self.log, "is ready", READY_S)
        self.ready_s = time.monotonic()
        url = re.findall(r"ready (chat://\S+)", self.log)[-1]
        address = parse_address(url)
        self.url = f"chat://127.0.0.1:{port}?{url.partition('?')[2]}"
        self.access = Access(port, feed_port, z85.encode(address.key or b""), keys_of(address.invite or b""))

    def again(self) -> Broker:
        """Start it once more, on the same folder and ports, after it was stopped or killed."""
        return Broker(self.folder, self.core, ports=self.ports)


class SimpleChat(Peer):
    key = "simple_chat"
    title = "Simple Chat"
    is_local = True

    def fan_out(self, place: Place, rooms: Sequence[str]) -> Target:
        broker = Broker(place.fresh(self.key), place.core)
        names = tuple(f"#{room}" for room in rooms)  # as the others call them, and as sinks do
        make_rooms(broker.access, list(names))
        one = len(names) == 1
        per_say, says = (COALESCED, PIPELINE) if one else (1, MANY_ROOMS_SAYS)
        opening = OpenChatLoad(broker.access, names, SESSIONS, per_say, says)
        window = ONE_ROOM_WINDOW if one else SESSIONS * MANY_ROOMS_SAYS
        return Target(broker, SubscribeFeed(broker.access), opening, window, DELIVERIES_MAX)


class SimpleChatStoring(Storing):
    """Lines said in one room by several sessions: many a Say, as the client packs what waits, or one."""

    is_local = True

    def __init__(self, *, single: bool) -> None:
        self._single = single
        self.key = "simple_chat_single" if single else "simple_chat"
        self.title = "Simple Chat, " + ("one line a request" if single else "as the client packs lines")

    def ingest(self, place: Place) -> Store:
        broker = Broker(place.fresh(self.key), place.core)
        sessions, per_say, says = (
            (SINGLE_SESSIONS, 1, SINGLE_SAYS) if self._single else (SESSIONS, COALESCED, PIPELINE)
        )
        opening = OpenChatLoad(broker.access, ("#lobby",), sessions, per_say, says, follows=False)
        return Store(broker, opening, sessions * per_say * says)
