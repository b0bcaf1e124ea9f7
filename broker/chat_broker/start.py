"""Start a broker: folder, log, keys, ports, and the line that says it is ready."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from chat_broker.announcer import Announcer, where_it_listens
from chat_broker.announcing import Announced
from chat_broker.auth import KeyPair, new_keys, write_private
from chat_broker.folder import DataFolder
from chat_broker.hub import Hub
from chat_broker.machine import raise_descriptor_limit
from chat_broker.server import Note, Server, Waker, read_clock
from chat_broker.settings import Settings
from chat_broker.sockets import Sockets, open_sockets
from chat_broker.sqlite_log import SqliteLog
from chat_protocol.address import Address, encode_key, parse_address
from chat_protocol.errors import BadAddress
from chat_protocol.places import connection_file
from chat_protocol.sealing import SigningSealer

SWITCH_S = 0.0005  # the log's thread needs Python some times a commit, and is not to wait 5 ms for each
GC_THRESHOLDS = (50_000, 20, 20)  # thousands of sessions are not to be looked through again and again
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class Place:
    """Where to listen; what others are told instead (`advertise`): host, port, feed port; and whether to
    `announce` it on the local network, if it listens there."""

    host: str
    port: int
    feed_port: int
    advertise: tuple[str, int | None, int | None] | None = None
    announce: bool = True


def serve(
    folder: DataFolder, place: Place, settings: Settings, *, print_invite: bool, log_format: str
) -> None:
    """Run a broker until SIGINT or SIGTERM. Raises SetupError or StorageError if it cannot start."""
    note = _configure_notes(log_format)
    clients = raise_descriptor_limit()
    folder.prepare()
    sys.setswitchinterval(SWITCH_S)
    waker = Waker()
    log = SqliteLog(folder.path, wake=waker, backup_secrets=folder.secrets)
    try:
        if log.secrets:
            folder.restore_secrets(log.secrets)
            log.forget_secrets()
        keys, operator, invite = folder.broker_keys(), folder.operator_keys(), new_keys()
        sockets = open_sockets(place.host, place.port, place.feed_port, keys)
        sockets.guard.start(note)
        public = _public_address(place, sockets, keys)
        hub = Hub(
            log, SigningSealer(os.urandom(32)), os.urandom, read_clock(), _with_feed(settings, place, sockets)
        )
        hub.found(operator.public, invite.public)
        server = Server(hub, sockets, waker, note)
        waker.watch_signals()
        signal.signal(signal.SIGINT, server.stop)
        signal.signal(signal.SIGTERM, server.stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            signal.signal(signal.SIGHUP, server.stop)
        local = Address(_WILDCARDS.get(place.host, place.host), sockets.port, keys.public, invite.secret)
        handed = connection_file(sockets.port)
        _tidy_up(connection_file(folder.left_behind()), keys.public)
        folder.announce(local, public)
        _write_connection_file(handed, local, note)
        if log.restored:
            note("restored", {"epoch": log.epoch.hex()})
        note("ready", {"port": sockets.port, "feed_port": sockets.feed_port, "clients_max": clients})
        url = Address(public.host, public.port, keys.public, invite.secret if print_invite else None)
        print(f"ready {url}", flush=True)
        announcer = _announce(place, sockets, keys, settings, note)
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        try:
            server.run()
        finally:
            if announcer is not None:
                announcer.stop()
            handed.unlink(missing_ok=True)
            folder.withdraw()
            sockets.close(linger_ms=1_000)
            if announcer is not None:
                announcer.wait()
        note("stopped", {})
    finally:
        log.close()
        waker.close()


def backup_stopped(folder: DataFolder, path: str) -> None:
    """Back up the log of a broker that does not run. Raises SetupError or StorageError."""
    done = threading.Event()
    log = SqliteLog(folder.path, wake=done.set, backup_secrets=folder.secrets)
    try:
        log.backup(path, 1)
        done.wait()
    finally:
        log.close()
    for result in log.take_results():
        if result.error is not None:
            raise result.error


def _with_feed(settings: Settings, place: Place, sockets: Sockets) -> Settings:
    host, _, feed_port = place.advertise or ("", None, None)
    return replace(settings, feed_host=host, feed_port=feed_port or sockets.feed_port)


def _public_address(place: Place, sockets: Sockets, keys: KeyPair) -> Address:
    """The address for others: as advertised, else as bound, a wildcard becoming this machine's name."""
    if place.advertise:
        host, port, _ = place.advertise
        return Address(host, port or sockets.port, keys.public)
    host = socket.gethostname() if place.host in _WILDCARDS else place.host
    return Address(host, sockets.port, keys.public)


def _announce(
    place: Place, sockets: Sockets, keys: KeyPair, settings: Settings, note: Note
) -> Announcer | None:
    """Make the broker known where others could reach it, unless it is told not to."""
    hosts = where_it_listens(place.host)
    if not place.announce or hosts is None:
        return None
    name = f"{socket.gethostname().partition('.')[0][:40]}-{sockets.port}"
    what = Announced(name, hosts, ":" in place.host, sockets.port, encode_key(keys.public), settings.open)
    announcer = Announcer(what, note)
    announcer.start()
    return announcer


def _write_connection_file(path: Path, address: Address, note: Note) -> None:
    """Let local clients find us. Without a runtime folder they need the URL, which is no reason to stop."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        write_private(path, f"{address}\n".encode())
    except OSError as error:
        note("no_connection_file", {"path": str(path), "reason": error.strerror})


def _tidy_up(path: Path, key: bytes) -> None:
    """Remove the connection file of an earlier run that was killed: clients would look for it there."""
    try:
        if parse_address(path.read_text()).key == key:
            path.unlink()
    except (OSError, BadAddress):
        pass  # there is none, or it is another's


def _configure_notes(log_format: str) -> Note:
    """The broker's own log, on stderr: one line an event, as text or JSON."""
    renderer: structlog.typing.Processor
    if log_format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=18)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    log = structlog.get_logger()

    def note(event: str, what: dict[str, object]) -> None:
        log.info(event, **{name: value for name, value in what.items() if value is not None})

    return note
