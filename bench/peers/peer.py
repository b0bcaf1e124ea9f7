"""What all peers have in common."""

from __future__ import annotations

import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load import Opening
from bench.server import Server
from bench.sink import Subscribe
from bench.tls import Certificate

LINES_MIN = 40  # a window of fewer lines measures how long a line takes


@dataclass(frozen=True)
class Place:
    """Where servers run: a folder on the disk for each, their core, a certificate for those with TLS."""

    folder: Path
    core: int
    load_core: int
    certificate: Certificate

    def fresh(self, key: str) -> Path:
        """A folder that nobody has used."""
        return Path(tempfile.mkdtemp(prefix=f"{key}-", dir=self.folder))


@dataclass
class Target:
    """A server that runs, ready for fan-out. `window` is how many lines may be under way,
    fewer where that were more than `deliveries_max`: a server is to have work for a second, not a minute."""

    server: Server
    subscribe: Subscribe
    opening: Opening
    window: int
    deliveries_max: int = 1_600_000

    def window_to(self, fan: int) -> int:
        return min(self.window, max(LINES_MIN, self.deliveries_max // fan))

    def close(self) -> None:
        self.server.stop()


@dataclass
class Store:
    """A server that runs, ready to store lines and to acknowledge them."""

    server: Server
    opening: Opening
    window: int


class Named(ABC):
    """A server to be measured: `key` for results, `title` for people."""

    key: str
    title: str
    program: str  # what has to be installed
    install: str  # and how
    is_local = False  # True: part of this project, nothing to install

    def missing(self) -> str | None:
        """What to do so that it can be measured; None if it can."""
        if self.is_local or find(self.program):
            return None
        return f"{self.title}: {self.program} is not installed; {self.install}"


class Peer(Named):
    """One that hands lines on to subscribers."""

    @abstractmethod
    def fan_out(self, place: Place, rooms: Sequence[str]) -> Target:
        """Start it for these rooms."""


class Storing(Named):
    """One that stores lines."""

    @abstractmethod
    def ingest(self, place: Place) -> Store:
        """Start it with an empty store."""


def find(program: str) -> str | None:
    """Where a program is: beside this Python, on the path, or where Debian keeps servers."""
    beside = Path(sys.executable).parent / program
    if beside.exists():
        return str(beside)
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


def found(program: str) -> str:
    """The same, where it is known to be installed."""
    path = find(program)
    assert path is not None, program
    return path
