"""What was measured, in which version."""

from __future__ import annotations

import subprocess
from importlib.metadata import version

import apsw
import zmq

from bench.peers.peer import find

_ASK = {
    "redis-server": ("--version",),
    "nats-server": ("--version",),
    "ngircd": ("--version",),
    "mosquitto": ("-h",),
}


def versions() -> dict[str, str]:
    """Programs as they name themselves, "not installed" for those that are not here."""
    found = {
        "simple-chat": version("simple-chat"),
        "pyzmq": zmq.pyzmq_version(),
        "libzmq": zmq.zmq_version(),
        "SQLite": apsw.sqlite_lib_version(),
        "cryptography": version("cryptography"),
        "msgspec": version("msgspec"),
    }
    for program, options in _ASK.items():
        path = find(program)
        found[program] = _first_line([path, *options]) if path else "not installed"
    return found


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    return (done.stdout or done.stderr).strip().splitlines()[0][:60]
