"""Core: what is on its way to the log, and all that waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chat_broker.clock import Now
from chat_broker.log import Batch, Stretch
from chat_broker.roster import Session
from chat_protocol.messages import Entry, Stored

ASKED_BYTES = 512  # what a request that waits for the log counts for, beside what it proposes

Effect = Callable[[Now], None]


@dataclass(slots=True)
class Run:
    """Entries of one room that go out together; with `turns`, the room's key turns after them."""

    room: str
    entries: list[Stretch] = field(default_factory=list)
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
    """A batch and all that waits for it. `events` are the entries of rooms that are no lines."""

    batch: Batch
    events: dict[str, list[Entry]] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    said: dict[bytes, tuple[Session, list[Stored]]] = field(default_factory=dict)  # by session token
    waiting: list[Waiting] = field(default_factory=list)
    bytes: int = 0
    _open_runs: dict[str, Run] = field(default_factory=dict)

    def add(self, room: str, entries: Stretch) -> None:
        """Further entries of a room: to be stored, and to go out."""
        self.batch.entries.setdefault(room, []).append(entries)
        self._run(room).entries.append(entries)

    def add_event(self, room: str, entry: Entry) -> None:
        self.add(room, Stretch.of([entry]))
        self.events.setdefault(room, []).append(entry)

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
