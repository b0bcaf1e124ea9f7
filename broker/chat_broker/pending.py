"""Core: what is on its way to the log, and all that waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chat_broker.clock import Now
from chat_broker.log import Batch
from chat_broker.roster import Session
from chat_protocol.messages import Entry, Stored

ASKED_BYTES = 512  # what a request that waits for the log counts for, beside what it proposes

Effect = Callable[[Now], None]


@dataclass(slots=True)
class Run:
    """Entries of one room that go out together; with `turns`, the room's key turns after them."""

    room: str
    entries: list[Entry] = field(default_factory=list)
    turns: bool = False


@dataclass(slots=True)
class Waiting:
    """Requests that wait for a batch, and what is done when that is stored. If it cannot be stored, they
    are refused, or (`settled`) the effect sees what is left. Request 0: nobody asked."""

    peer: bytes
    session: Session | None
    requests: list[int]
    effect: Effect | None = None
    settled: bool = False


@dataclass(slots=True)
class Pending:
    """A batch and all that waits for it."""

    batch: Batch
    runs: list[Run] = field(default_factory=list)
    said: dict[bytes, tuple[Session, list[Stored]]] = field(default_factory=dict)  # by session token
    waiting: list[Waiting] = field(default_factory=list)
    bytes: int = 0
    _open_runs: dict[str, Run] = field(default_factory=dict)

    def add(self, room: str, entries: list[Entry]) -> None:
        """Further entries of a room: to be stored, and to go out."""
        self.batch.entries.setdefault(room, []).extend(entries)
        self._run(room).entries.extend(entries)

    def _run(self, room: str) -> Run:
        """The room's run that further entries join."""
        run = self._open_runs.get(room)
        if run is None:
            run = self._open_runs[room] = Run(room)
            self.runs.append(run)
        return run

    def turn(self, room: str) -> None:
        """The room's key turns after what is in its run so far."""
        self._run(room).turns = True
        del self._open_runs[room]
