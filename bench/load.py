"""What loads a server: it publishes as much as it may, and sees what became of that."""

from __future__ import annotations

from typing import Protocol

LINE_BYTES = 100
PROBE_MARK = b"@"  # begins lines that belong to a latency probe, and not to the load beside it


class Load(Protocol):
    """One load of one server, in a process of its own. `open` comes first, `close` last.

    `owed_bytes` counts what each other subscriber of the same rooms must have received on its connection
    for what this one has seen.
    """

    owed_bytes: int

    def open(self) -> None: ...

    def publish(self, lines_max: int) -> int:
        """Send up to so many further lines; how many it were."""

    def seen(self) -> int:
        """How many further lines have come, or were acknowledged, in order; raises BenchError if not."""

    def wait(self, wait_s: float) -> None:
        """Sleep until there may be something to do."""

    def idle(self) -> None:
        """Called now and then between rounds: keep sessions alive."""

    def notes(self) -> dict[str, float]:
        """Further figures of the round that has ended."""

    def close(self) -> None: ...


class Opening(Protocol):
    """Makes a load, in the process where it runs. Whatever goes into it can be pickled."""

    def __call__(self) -> Load: ...


def text_of(publisher: int) -> tuple[bytes, bytes]:
    """What stands before and after the ten digits of a line's number."""
    head = b"%02d " % publisher
    return head, b" ".ljust(LINE_BYTES - len(head) - 10, b".")
