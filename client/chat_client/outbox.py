"""Core: what this client says into one room, until it is answered.

Lines wait in a queue, are packed into Says, and stay until the broker has answered each (SPEC.md,
"Exactly once"): a Say's lines are fixed when it is first sent, and it goes out again, with the same
request id, after anything that may have lost it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from chat_protocol.errors import RETRY_CODES, Code
from chat_protocol.messages import SAY_BYTES_MAX, SAY_LINES_MAX, Refusal, Say

PIPELINE_MAX = 8  # Says of one room in flight; what is said meanwhile shares the next
ANSWER_S = 5.0  # without an answer for this long, a Say goes out again
RESEND_S = 0.05  # first pause before a resend; it doubles up to RESEND_MAX_S
RESEND_MAX_S = 2.0


@dataclass(frozen=True, slots=True)
class Unsaid:
    """A line that waits to be packed."""

    ref: int
    text: str
    once: bytes | None = None


@dataclass(slots=True)
class Saying:
    """A Say on its way. `sent` counts how often it went out under the present instance."""

    request: int
    lines: list[Unsaid]
    sent_at: float = 0.0
    sent: int = 0


@dataclass(slots=True)
class Outbox:
    """One room's lines. `room` is how the broker is told of it; `accepted` the newest id it took."""

    room: str
    accepted: int = 0
    resend_at: float | None = None
    _queue: deque[Unsaid] = field(default_factory=deque)
    _unanswered: OrderedDict[int, Saying] = field(default_factory=OrderedDict)
    _pause_s: float = RESEND_S

    def __len__(self) -> int:
        """Lines neither stored nor failed yet."""
        return len(self._queue) + sum(len(saying.lines) for saying in self._unanswered.values())

    def add(self, line: Unsaid) -> None:
        self._queue.append(line)

    def outgoing(self, next_request: Callable[[], int], in_flight_max: int, now: float) -> list[Saying]:
        """The Says to send now, in order; `message` makes each into a request."""
        if self.resend_at is None and self._oldest_sent_at() + ANSWER_S <= now:
            self.resend_at = now
        if self.resend_at is not None:
            if now < self.resend_at:
                return []
            self.resend_at = None
            for saying in self._unanswered.values():
                self._mark_sent(saying, now)
            return list(self._unanswered.values())
        packed = []
        while self._queue and len(self._unanswered) < min(PIPELINE_MAX, in_flight_max):
            saying = Saying(next_request(), self._pack())
            self._unanswered[saying.request] = saying
            self._mark_sent(saying, now)
            packed.append(saying)
        return packed

    def message(self, saying: Saying, token: bytes) -> Say:
        """A Say with its `prev`: the newest earlier id that was taken or still may be."""
        prev = max(
            (self.accepted if self.accepted < saying.request else 0),
            max((request for request in self._unanswered if request < saying.request), default=0),
        )
        lines = [line.text for line in saying.lines]
        return Say(saying.request, token, self.room, prev, lines, saying.lines[0].once)

    def next_deadline(self) -> float | None:
        if self.resend_at is not None:
            return self.resend_at
        return self._oldest_sent_at() + ANSWER_S if self._unanswered else None

    def said(self, request: int) -> Saying | None:
        """A Say is stored; None if it was answered before."""
        self._pause_s = RESEND_S
        self.accepted = max(self.accepted, request)
        return self._unanswered.pop(request, None)

    def refused(self, refusal: Refusal, now: float) -> tuple[Saying | None, bool]:
        """A Say was refused: (the Say, whether its outcome is unknown) if that is final, else (None, False)
        and it goes out again by itself."""
        saying = self._unanswered.get(refusal.request)
        if saying is None:
            return None, False
        if refusal.code == Code.OUT_OF_ORDER and refusal.last < saying.request:
            self._pause(now, self._pause_s)
            self._pause_s = min(RESEND_MAX_S, self._pause_s * 2)
            return None, False
        if refusal.code in RETRY_CODES and refusal.code != Code.OUT_OF_ORDER:
            self._pause(now, max(refusal.retry_ms / 1_000, self._pause_s))
            return None, False
        del self._unanswered[refusal.request]
        unknown = refusal.code in (Code.OUT_OF_ORDER, Code.FORGOTTEN)
        return saying, unknown

    def resend_all(self, now: float) -> None:
        """A new session: whatever was not answered goes out again."""
        self.resend_at = now if self._unanswered else None

    def new_instance(self) -> list[Saying]:
        """The broker knows nothing of what was said under the old instance. Returns the Says whose
        outcome nobody can tell; the others go out again, under the new one."""
        self.accepted = 0
        doubtful = [saying for saying in self._unanswered.values() if saying.sent > 1]
        for saying in doubtful:
            del self._unanswered[saying.request]
        for saying in self._unanswered.values():
            saying.sent = 0
        return doubtful

    def abandon_sent(self) -> list[Saying]:
        """Give up what was sent and not answered: it may have been stored."""
        sayings = list(self._unanswered.values())
        self._unanswered.clear()
        self.resend_at = None
        return sayings

    def abandon_queue(self) -> list[Unsaid]:
        """Give up what was never sent."""
        queue = list(self._queue)
        self._queue.clear()
        return queue

    def _pause(self, now: float, seconds: float) -> None:
        self.resend_at = max(self.resend_at or 0.0, now + seconds)

    def _mark_sent(self, saying: Saying, now: float) -> None:
        saying.sent_at = now
        saying.sent += 1

    def _oldest_sent_at(self) -> float:
        return next(iter(self._unanswered.values())).sent_at if self._unanswered else float("inf")

    def _pack(self) -> list[Unsaid]:
        """Lines for one Say; one with a `once` key goes alone."""
        lines = [self._queue.popleft()]
        size = len(lines[0].text.encode())
        while self._queue and lines[0].once is None and self._queue[0].once is None:
            size += len(self._queue[0].text.encode()) + 8
            if len(lines) == SAY_LINES_MAX or size > SAY_BYTES_MAX:
                break
            lines.append(self._queue.popleft())
        return lines
