"""A broker on a thread of this process: real sockets on loopback, a real log in a folder."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

from chat_broker.auth import new_keys
from chat_broker.folder import DataFolder
from chat_broker.hub import Hub
from chat_broker.server import Server, Waker, read_clock
from chat_broker.settings import Settings
from chat_broker.sockets import open_sockets
from chat_broker.sqlite_log import SqliteLog
from chat_protocol.address import Address
from chat_protocol.sealing import SigningSealer

HOST = "127.0.0.1"


class LocalBroker:
    """A broker that lives as long as a test wants it, on ports that are free. `url` lets anybody in.

    `start` and `stop` it; started again it has the same ports, keys and log. It has no signal handlers and
    writes no log of its own: `notes` is what it would have written.
    """

    def __init__(self, folder: Path, settings: Settings | None = None) -> None:
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.port = self.feed_port = 0
        self._folder = DataFolder(folder)
        self._settings = settings or Settings()
        self._invite = new_keys()
        self._thread: threading.Thread | None = None
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """The address, with an invite."""
        return str(Address(HOST, self.port, self._folder.broker_keys().public, self._invite.secret))

    def start(self) -> None:
        """Begin to serve; clients may come when this returns. Raises SetupError or StorageError."""

        self._folder.prepare()
        waker = Waker()
        log = SqliteLog(self._folder.path, wake=waker, backup_secrets=self._folder.secrets)
        sockets = open_sockets(HOST, self.port, self.feed_port, self._folder.broker_keys())
        sockets.guard.start(self._note)
        self.port, self.feed_port = sockets.port, sockets.feed_port
        settings = replace(self._settings, feed_port=self.feed_port)
        hub = Hub(log, SigningSealer(os.urandom(32)), os.urandom, read_clock(), settings)
        hub.found(self._folder.operator_keys().public, self._invite.public)
        self._server = server = Server(hub, sockets, waker, self._note)

        def serve() -> None:
            try:
                server.run()
            finally:
                sockets.close(linger_ms=1_000)
                log.close()
                waker.close()

        self._thread = threading.Thread(target=serve, name="broker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Store what was taken, say goodbye, and let go of everything."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
            self._server = self._thread = None

    def __enter__(self) -> LocalBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _note(self, event: str, what: dict[str, object]) -> None:
        self.notes.append((event, what))
