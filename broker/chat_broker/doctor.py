"""What `chat-broker doctor` looks at; each finding says what to do."""

from __future__ import annotations

import resource
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import apsw
import zmq

from chat_broker.folder import DataFolder
from chat_broker.machine import DESCRIPTORS_MIN
from chat_broker.sqlite_log import SqliteLog
from chat_protocol.errors import ChatError
from chat_protocol.messages import Report, Status

FREE_BYTES_MIN = 100 << 20


@dataclass(frozen=True)
class Finding:
    good: bool
    text: str


def examine(folder: DataFolder) -> Iterator[Finding]:
    """Look at everything a broker on this folder depends on; nothing is changed."""
    yield Finding(
        bool(zmq.has("curve")),
        f"libzmq {zmq.zmq_version()} with CURVE, SQLite {apsw.sqlite_lib_version()}",
    )
    yield _descriptors()
    if not folder.path.is_dir():
        yield Finding(False, f"there is no data folder {folder.path}; start makes it, or name --data")
        return
    free = shutil.disk_usage(folder.path).free
    yield Finding(free >= FREE_BYTES_MIN, f"{free >> 20} MiB free for {folder.path} (100 are little)")
    if folder.is_served():
        yield from _running(folder)
    else:
        yield from _stopped(folder)


def _descriptors() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = "any number of" if hard == resource.RLIM_INFINITY else hard
    good = hard == resource.RLIM_INFINITY or hard >= DESCRIPTORS_MIN
    return Finding(good, f"a broker here may open {count} files, two for each client (ulimit -Hn raises it)")


def _running(folder: DataFolder) -> Iterator[Finding]:
    from chat_broker.operator import Operator

    try:
        with Operator(folder) as operator:
            figures = dict(operator.ask(Status, Report).figures)
            feed_port = operator.feed_port
    except ChatError as error:
        yield Finding(False, f"the folder is locked by a broker that does not answer: {error}")
        return
    yield Finding(True, f"a broker answers at {operator.address.place}, {figures['connected']} connected")
    yield Finding(figures["storage"] == "ok", f"its log: {figures['storage']}")
    try:
        socket.create_connection((operator.address.host, feed_port), timeout=3).close()
        yield Finding(True, f"the feed port {feed_port} is open")
    except OSError as error:
        text = f"the feed port {feed_port} cannot be reached ({error.strerror}): is a firewall in the way?"
        yield Finding(False, text)


def _stopped(folder: DataFolder) -> Iterator[Finding]:
    yield Finding(True, "no broker is running on this folder")
    if not (folder.path / "chat.db").exists():
        yield Finding(True, "it holds no log yet; chat-broker start makes one")
        return
    try:
        folder.broker_keys()
        folder.operator_keys()
        yield Finding(True, "the keys are in place, and nobody else may read them")
        SqliteLog(folder.path).close()
        yield Finding(True, "the log is whole")
    except ChatError as error:
        yield Finding(False, str(error))
