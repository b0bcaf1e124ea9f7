"""Core: one room that a session follows: its keys, what it could not open yet, its cursor, who is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import NamedTuple

from chat_client.sequencer import Sequencer
from chat_protocol.messages import Cursor, Entry, Opened, RoomKind, entry_digest

HELD_ENVELOPES_MAX = 64
KEYS_KEPT = 3  # generations, the newest included: what was published before a turn may still come
EXPECTED_S = 10.0  # after a new session, for this long people seen before may come back unannounced

#: Where to begin in a room: its recent lines, only what comes from now on, or after a seq or cursor.
Start = str | int | Cursor
RECENT = "recent"
NOW = "now"


class Stage(Enum):
    WANTED = "not asked for yet"
    OPENING = "asked, not answered"
    OPEN = "open"


class Moves(NamedTuple):
    """Names of those who came and of those who went. `back` are here again after a break of the link, before
    anybody was told that they had gone."""

    joined: AbstractSet[str] = frozenset()
    left: AbstractSet[str] = frozenset()
    back: AbstractSet[str] = frozenset()


class Following:
    """A room as this session has it. `asked` is the name it was opened by."""

    def __init__(self, asked: str, start: Start) -> None:
        self.asked = asked
        self.start = start
        self.room = ""  # its id, known once opened
        self.title = asked
        self.kind = RoomKind.PUBLIC
        self.stage = Stage.WANTED
        self.open_request = 0
        self.reopen_at: float | None = None
        self.sequencer: Sequencer | None = None
        self.first_head = 0  # the room's head when it was opened first
        self.level = False  # everything that existed at the last look was shown
        self.topic = b""
        self.keys: dict[int, bytes] = {}
        self.presence = 0
        self.count = 0
        self.names: set[str] = set()
        self.whole = True  # `names` are all who are here
        self.expected: set[str] = set()  # seen before the new session, not seen again yet
        self.expected_until: float | None = None
        self.fetch_request = 0
        self.fetch_at: float | None = None
        self.who_request = 0
        self.who_at: float | None = None
        self.who_names: list[str] = []
        self._held: deque[bytes] = deque(maxlen=HELD_ENVELOPES_MAX)
        self._last: Entry | None = None
        self._epoch = b""

    @property
    def generation(self) -> int:
        return max(self.keys, default=0)

    def cursor(self) -> Cursor | None:
        """How far this room has been shown, for the next Open; None to begin as `start` says."""
        if self.sequencer is None:
            return self.start if isinstance(self.start, Cursor) else None
        digest = b""
        if self._last is not None and self._last.seq == self.sequencer.cursor:
            digest = entry_digest(self._last)
        return Cursor(self._epoch, self.sequencer.cursor, digest)

    def opened(self, opened: Opened, epoch: bytes) -> None:
        """The broker's picture of the room, new or renewed."""
        self.room, self.title, self.kind = opened.room, opened.title, opened.kind
        self.topic = opened.topic
        self.add_key(opened.generation, opened.key)
        self.stage = Stage.OPEN
        self.reopen_at = None
        if self.sequencer is None:
            self.sequencer = Sequencer(self._first_cursor(opened), opened.head)
            self.first_head = opened.head
        self.sequencer.saw_head(opened.head)
        self._epoch = epoch

    def _first_cursor(self, opened: Opened) -> int:
        if isinstance(self.start, Cursor):
            return min(self.start.seq, opened.head)
        if isinstance(self.start, int):
            return min(self.start, opened.head)
        return opened.head if self.start == NOW else opened.since

    def forget_session(self) -> None:
        """The session is over: its topic, its keys and what was asked in it are void."""
        self.stage = Stage.WANTED
        self.topic = b""
        self.keys.clear()
        self._held.clear()
        self.level = False
        self.fetch_request = self.who_request = 0
        self.reopen_at = self.fetch_at = self.who_at = None

    def begin_afresh(self) -> None:
        """The history is another one: forget the cursor, show the recent lines."""
        self.sequencer = None
        self.start = RECENT
        self._last = None

    def add_key(self, generation: int, key: bytes) -> None:
        self.keys[generation] = key
        for old in sorted(self.keys)[:-KEYS_KEPT]:
            del self.keys[old]

    def hold(self, envelope: bytes) -> None:
        """Keep an envelope of a newer key until that key is here."""
        self._held.append(envelope)

    def take_held(self) -> list[bytes]:
        held = list(self._held)
        self._held.clear()
        return held

    def shown(self, entries: list[Entry]) -> None:
        if entries:
            self._last = entries[-1]

    # ------------------------------------------------------------------ who is there

    def set_names(self, names: set[str], count: int, *, whole: bool) -> Moves:
        """The people here, anew; what has changed since the last picture."""
        joined, left = names - self.names, self.names - names
        before = self.whole
        self.names, self.count, self.whole = names, count, whole
        return self._moves(joined, left) if whole and before else Moves()

    def see_names(
        self, names: set[str], count: int, *, whole: bool, first: bool, resumed: bool, now: float
    ) -> Moves:
        """The people here as an Opened has them; what has changed since this client last knew.

        When a room is opened for the first time nobody has come. When it is opened again in a new
        session, those seen before are expected back and not announced.
        """
        if first:
            self.names, self.count, self.whole = names, count, whole
            return Moves()
        if not resumed:
            return self.set_names(names, count, whole=whole)
        known = self.names | self.expected
        joined = names - known if whole and self.whole and known else set()
        self.expected = known - names
        self.expected_until = now + EXPECTED_S if self.expected else None
        self.names, self.count, self.whole = names, count, whole
        return Moves(joined)

    def count_only(self, count: int) -> None:
        """Too many are here to know them all by name."""
        self.names, self.count, self.whole = set(), count, False

    def come_and_go(self, joined: set[str], left: set[str], count: int) -> Moves:
        """People came and went."""
        joined, left = joined - self.names, left & self.names
        self.names = (self.names | joined) - left
        self.count = count
        return self._moves(joined, left)

    def give_up_expecting(self) -> Moves:
        """Those who did not come back have gone."""
        gone, self.expected, self.expected_until = self.expected, set(), None
        return Moves(left=gone)

    def _moves(self, joined: set[str], left: set[str]) -> Moves:
        back = joined & self.expected
        self.expected -= back
        return Moves(joined - back, left, back)
