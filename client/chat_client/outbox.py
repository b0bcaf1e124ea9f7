"""Core: what this client says into one room, until it is answered.

Lines wait in a queue, are packed into Says, and stay until the broker has answered each (SPEC.md,
"Exactly once"): a Say's lines are fixed when it is first sent, and it goes out again, with the same
request id, after anything that may have lost it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec import field as structs_field

from chat_protocol.errors import RETRY_CODES, Code
from chat_protocol.messages import SAY_BYTES_MAX, SAY_LINES_MAX, Refusal, Say

PIPELINE_MAX = 8  # Says of one room in flight; what is said meanwhile shares the next
BESIDE_BYTES = 8  # of a Say, reckoned for each line besides its text: so it fits into one publication
ANSWER_S = 5.0  # without an answer for this long, a Say goes out again
RESEND_S = 0.05  # first pause before a resend; it doubles up to RESEND_MAX_S
RESEND_MAX_S = 2.0

#: Refusals that every copy of a Say gets.
_OF_THE_TEXT = frozenset({Code.BAD_TEXT, Code.LINE_TOO_LONG, Code.TOO_MANY_HOPS})
#: Refusals that may come before the broker has seen whether it took an earlier copy.
_UNREAD = frozenset({Code.BANNED, Code.REVOKED, Code.STORAGE_FAILED})


class Unsaid(Struct, frozen=True):
    """A line that waits to be packed."""

    ref: int
    text: str
    once: bytes | None = None
    hops: int = 0


class Saying(Struct):
    """A Say on its way. Under the present instance it went out `sent` times, and the broker refused it
    `refused` times; `out` are the numbers of the copies that are not answered yet, oldest first."""

    request: int
    lines: list[Unsaid]
    sent_at: float = 0.0
    sent: int = 0
    refused: int = 0
    out: deque[int] = structs_field(default_factory=deque)


@dataclass(slots=True)
class Outbox:
    """One room's lines. `room` is how the broker is told of it; `accepted` the newest id it took."""

    room: str
    accepted: int = 0
    resend_at: float | None = None
    _queue: deque[Unsaid] = field(default_factory=deque)
    _unanswered: OrderedDict[int, Saying] = field(default_factory=OrderedDict)
    _pause_s: float = RESEND_S
    _copies: int = 0

    def __len__(self) -> int:
        """Lines neither stored nor failed yet."""
        return len(self._queue) + sum(len(saying.lines) for saying in self._unanswered.values())

    @property
    def is_waiting(self) -> bool:
        """Whether a Say of the present session has no answer yet."""
        return any(saying.out for saying in self._unanswered.values())

    def add(self, line: Unsaid) -> None:
        self._queue.append(line)

    def outgoing(
        self, next_request: Callable[[], int], in_flight_max: int, now: float, *, only_again: bool = False
    ) -> list[Saying]:
        """The Says to send now, in order; `message` makes each into a request. With `only_again` no new
        ones are packed."""
        again = [saying for saying in self._unanswered.values() if now >= self._due_at(saying)]
        if again:
            self.resend_at = None
            return [self._sent(saying, now) for saying in again]
        packed: list[Saying] = []
        if self.resend_at is None and not only_again and not self._is_overtaken:
            while self._queue and len(self._unanswered) < min(PIPELINE_MAX, in_flight_max):
                saying = Saying(next_request(), self._pack())
                self._unanswered[saying.request] = saying
                packed.append(self._sent(saying, now))
        return packed

    def message(self, saying: Saying, token: bytes) -> Say:
        """A Say with its `prev`: the newest earlier id that was taken or still may be."""
        prev = max(
            (self.accepted if self.accepted < saying.request else 0),
            max((request for request in self._unanswered if request < saying.request), default=0),
        )
        lines = [line.text for line in saying.lines]
        first = saying.lines[0]
        return Say(saying.request, token, self.room, prev, lines, first.once, first.hops)

    def next_deadline(self) -> float | None:
        """When something goes out again."""
        return min(map(self._due_at, self._unanswered.values()), default=None)

    def said(self, request: int) -> Saying | None:
        """A Say is stored; None if it was answered before."""
        self._pause_s = RESEND_S
        self.accepted = max(self.accepted, request)
        saying = self._unanswered.pop(request, None)
        if saying is not None and saying.out:
            self._lost_before(saying.out[0])
        self._end_pause()
        return saying

    def refused(self, refusal: Refusal, now: float) -> tuple[Saying | None, bool]:
        """A Say was refused: (the Say, whether its outcome is unknown) if that is final, else (None, False)
        and it goes out again by itself."""
        saying = self._unanswered.get(refusal.request)
        if saying is None:
            return None, False
        saying.refused += 1
        copy = saying.out.popleft() if saying.out else 0
        if refusal.code == Code.FORGOTTEN:
            self.resend_at = float("inf")  # until `new_instance`
            return None, False
        if refusal.code == Code.OUT_OF_ORDER and refusal.last < saying.request:
            self.accepted = refusal.last  # the broker's word: it may have taken one that we gave up
            self._lost_before(copy)
            if self.resend_at is None:
                self.resend_at = now + self._pause_s
                self._pause_s = min(RESEND_MAX_S, self._pause_s * 2)
            return None, False
        if refusal.code in RETRY_CODES and refusal.code != Code.OUT_OF_ORDER:
            at = now + max(refusal.retry_ms / 1_000, self._pause_s)
            self.resend_at = max(self.resend_at or 0.0, at)
            return None, False
        del self._unanswered[refusal.request]
        self._end_pause()
        if refusal.code == Code.OUT_OF_ORDER and saying.sent == saying.refused:
            self._queue.extendleft(reversed(saying.lines))  # overtaken, and no copy of it taken: another id
            return None, False
        return saying, self._is_in_doubt(saying, refusal)

    def resend_all(self) -> None:
        """A new session: whatever was not answered goes out again."""
        for saying in self._unanswered.values():
            saying.out.clear()
        self.resend_at = None

    def new_instance(self) -> list[Saying]:
        """The broker knows nothing of what was said under the old instance. Returns the Says whose
        outcome nobody can tell; the others go out again, under the new one."""
        self.accepted = 0
        doubtful = [saying for saying in self._unanswered.values() if saying.sent > saying.refused]
        for saying in doubtful:
            del self._unanswered[saying.request]
        for saying in self._unanswered.values():
            saying.sent = saying.refused = 0
        self.resend_at = None
        return doubtful

    def take_over(self, other: Outbox) -> None:
        """`other` turned out to be of the same room: its lines join these, in the order they were said."""
        self.accepted = max(self.accepted, other.accepted)
        for saying in other._unanswered.values():
            saying.out = deque(self._copies + number for number in saying.out)
        self._copies += other._copies
        sayings = {**self._unanswered, **other._unanswered}
        lines = [*self._queue, *other._queue]
        self._unanswered = OrderedDict()
        for request, saying in sorted(sayings.items()):
            if request < self.accepted and saying.sent == saying.refused:
                lines += saying.lines  # the broker takes no older request any more, and took none of this
            else:
                self._unanswered[request] = saying
        self._queue = deque(sorted(lines, key=lambda line: line.ref))

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

    def _is_in_doubt(self, saying: Saying, refusal: Refusal) -> bool:
        """Whether a Say that is finally refused may be stored nevertheless."""
        if refusal.code in _OF_THE_TEXT:
            return False
        if refusal.code in _UNREAD:
            return saying.sent > saying.refused
        # A copy that is out may be stored yet; one behind the broker's memory may have been.
        return bool(saying.out) or refusal.code == Code.OUT_OF_ORDER

    def _due_at(self, saying: Saying) -> float:
        """When a Say goes out again: at once or after the pause if no copy of it is out, else when the
        answer is overdue."""
        if saying.out:
            return saying.sent_at + ANSWER_S
        return 0.0 if self.resend_at is None else self.resend_at

    @property
    def _is_overtaken(self) -> bool:
        """Whether a Say was taken and one before it is not answered. The broker remembers its answers to
        as many Says as may be in flight, so nothing is added until that one is told."""
        return bool(self._unanswered) and next(iter(self._unanswered)) < self.accepted

    def _lost_before(self, copy: int) -> None:
        """A copy was answered, and answers that wait for the log come in order: those to copies that
        went out before it are lost, or the copies are."""
        for saying in self._unanswered.values():
            while saying.out and saying.out[0] < copy:
                saying.out.popleft()

    def _end_pause(self) -> None:
        if not self._unanswered:
            self.resend_at = None

    def _sent(self, saying: Saying, now: float) -> Saying:
        self._copies += 1
        saying.out.append(self._copies)
        saying.sent_at = now
        saying.sent += 1
        return saying

    def _pack(self) -> list[Unsaid]:
        """Lines for one Say, which all have the same hops; one with a `once` key goes alone."""
        lines = [self._queue.popleft()]
        size = len(lines[0].text.encode())
        while self._queue and lines[0].once is None and self._queue[0].once is None:
            size += len(self._queue[0].text.encode()) + BESIDE_BYTES
            full = len(lines) == SAY_LINES_MAX or size > SAY_BYTES_MAX
            if full or self._queue[0].hops != lines[0].hops:
                break
            lines.append(self._queue.popleft())
        return lines
