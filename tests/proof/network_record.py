"""What people logged in one stretch of talk: how it went, and what was lost, doubled or out of order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.proof.results import Proof

Row = dict[str, Any]


@dataclass(frozen=True)
class Window:
    """The time of a fault, on the machine's monotonic clock."""

    begin: float
    end: float


class Record:
    """The rows of each person, as network_person.py writes them. Lines are told apart by their texts."""

    def __init__(self, logs: Mapping[str, list[Row]]) -> None:
        self._logs = logs
        self._said = {row["text"]: row["t"] for who in logs for row in self.rows(who, "said")}
        self._stored = {row["text"]: row["seq"] for who in logs for row in self.rows(who, "stored")}

    def rows(self, who: str, what: str) -> list[Row]:
        return [row for row in self._logs[who] if row["what"] == what]

    # ------------------------------------------------------------------ how long things took

    def is_level(self, until: float) -> bool:
        """Whether every line said until then is stored, and was seen by everybody."""
        said = {text for text, t in self._said.items() if t <= until}
        return said <= self._stored.keys() and self._seen_by_all(until) < math.inf

    def notice_s(self, who: str, begin: float) -> float | None:
        """How long after a fault's begin the client said that its link is down; None: it did not."""
        return self._link(who, "offline", begin)

    def repair_s(self, window: Window) -> float:
        """How long after a fault's end everything said until then was seen by everybody; inf: it was not."""
        return max(0.0, self._seen_by_all(window.end) - window.end)

    def healed_s(self, who: str, begin: float) -> float | None:
        """From a sudden fault until everything said before the link was live again was seen by everybody."""
        back_s = self._link(who, "live", begin)
        return None if back_s is None else back_s + self.repair_s(Window(begin, begin + back_s))

    def latencies(self, who: str, window: Window) -> list[float]:
        """From saying to seeing, of lines that others said in the window."""
        shown = [row for row in self.rows(who, "shown") if row["sender"] != who]
        waits = [(self._said.get(row["text"], math.inf), row["t"]) for row in shown]
        return [seen - said for said, seen in waits if window.begin <= said <= window.end]

    def _link(self, who: str, link: str, begin: float) -> float | None:
        times = [row["t"] for row in self.rows(who, "link") if row["link"] == link]
        return min((t - begin for t in times if t >= begin), default=None)

    def _seen_by_all(self, until: float) -> float:
        """When the last person had seen the last of the lines said until then."""
        texts = [text for text, t in self._said.items() if t <= until]
        seen = [{row["text"]: row["t"] for row in self.rows(who, "shown")} for who in self._logs]
        return max((one.get(text, math.inf) for one in seen for text in texts), default=-math.inf)

    # ------------------------------------------------------------------ the verdict

    def judge(self, proof: Proof) -> None:
        """Count into a proof what was acknowledged, and what became of it on each person's screen.

        A line that was not said in this stretch was seen before: it counts as doubled.
        """
        proof.acknowledged += len(self._stored)
        for who in self._logs:
            shown = self.rows(who, "shown")
            texts, seqs = [row["text"] for row in shown], [row["seq"] for row in shown]
            proof.lost += len(self._stored.keys() - set(texts))
            proof.doubled += max(len(texts) - len(set(texts)), len(seqs) - len(set(seqs)))
            proof.doubled += len(set(texts) - self._said.keys())
            proof.disordered += _falls(seqs)
            proof.disordered += sum(_falls(_numbers(shown, sender)) for sender in self._logs)
            proof.disordered += sum(self._stored.get(row["text"], row["seq"]) != row["seq"] for row in shown)


def _falls(numbers: list[int]) -> int:
    return sum(later < earlier for earlier, later in itertools.pairwise(numbers))


def _numbers(shown: Iterable[Row], sender: str) -> list[int]:
    return [int(row["text"].split()[1]) for row in shown if row["sender"] == sender]
