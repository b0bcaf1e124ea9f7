"""Core: rooms as folds of their logs, and which accounts may read them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from chat_protocol.codec import decode_body
from chat_protocol.messages import Created, Entry, EntryKind, Membership, RoomKind
from chat_protocol.names import direct_accounts


class _Stored(Struct, array_like=True):
    """What a room's fold holds."""

    head: int
    kind: RoomKind
    members: list[tuple[int, str]]
    recent: list[int]


class Room:
    """One room after all its entries so far, stored or on their way.

    `stored` is the newest stored seq: what clients may be told. `members` is in the order in which
    they came; the first is the keeper, who may remove others. Public rooms have none.
    """

    def __init__(self, name: str, recent_max: int) -> None:
        self.name = name
        self.kind = RoomKind.PUBLIC
        self.head = 0
        self.stored = 0
        self.folded = 0  # the seq of the newest stored fold
        self.members: dict[int, str] = {}
        self._recent: deque[int] = deque(maxlen=recent_max)

    def may_read(self, account: int) -> bool:
        return self.kind is RoomKind.PUBLIC or account in self.members

    @property
    def keeper(self) -> int:
        """The account that may remove members; 0 if there is none."""
        return next(iter(self.members), 0)

    def since(self, first: int) -> int:
        """Where somebody without a cursor begins: before the most recent lines that are kept."""
        oldest = self._recent[0] if self._recent else self.head + 1
        return min(self.stored, max(oldest, first) - 1)

    def title(self, account: int) -> str:
        """What the room is called by `account`: a direct room bears the other one's name."""
        pair = direct_accounts(self.name)
        if pair is None:
            return self.name
        other = pair[0] if pair[1] == account else pair[1]
        return "@" + self.members.get(other, "?")

    def apply(self, entry: Entry) -> None:
        self.head = entry.seq
        if entry.kind == EntryKind.LINE:
            self._recent.append(entry.seq)
        elif entry.kind == EntryKind.CREATED:
            created = decode_body(entry, Created)
            if created is not None:
                self.kind = created.kind
                self.members = dict(created.members)
        elif entry.kind == EntryKind.ADDED:
            added = decode_body(entry, Membership)
            if added is not None:
                self.members[added.account] = added.name
        elif entry.kind == EntryKind.REMOVED:
            removed = decode_body(entry, Membership)
            if removed is not None:
                self.members.pop(removed.account, None)

    def fold(self) -> bytes:
        return msgspec.msgpack.encode(
            _Stored(self.head, self.kind, list(self.members.items()), list(self._recent))
        )

    def unfold(self, state: bytes) -> None:
        stored = msgspec.msgpack.decode(state, type=_Stored)
        self.head = self.folded = stored.head
        self.kind = stored.kind
        self.members = dict(stored.members)
        self._recent.extend(stored.recent)


class Rooms:
    """All rooms, and for each account the private and direct ones it belongs to."""

    def __init__(self, recent_max: int) -> None:
        self._recent_max = recent_max
        self._rooms: dict[str, Room] = {}
        self._of_account: dict[int, set[str]] = {}

    def get(self, name: str) -> Room | None:
        return self._rooms.get(name)

    def __getitem__(self, name: str) -> Room:
        return self._rooms[name]

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def __len__(self) -> int:
        return len(self._rooms)

    def of_account(self, account: int) -> set[str]:
        """The private and direct rooms an account is a member of."""
        return self._of_account.get(account, set())

    def restore(self, name: str, state: bytes | None) -> Room:
        """A room as its newest stored fold has it; entries after the fold are applied next."""
        room = self._rooms[name] = Room(name, self._recent_max)
        if state is not None:
            room.unfold(state)
        self._index(room, set())
        return room

    def forget(self, name: str) -> None:
        """Let go of a room's state: it is loaded again from the log, or never was stored."""
        room = self._rooms.pop(name, None)
        for account in room.members if room else ():
            self._of_account[account].discard(name)

    def apply(self, name: str, entry: Entry) -> Room:
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self._recent_max)
        before = set() if entry.kind == EntryKind.LINE else set(room.members)
        room.apply(entry)
        if entry.kind != EntryKind.LINE:
            self._index(room, before)
        return room

    def _index(self, room: Room, before: set[int]) -> None:
        for account in room.members.keys() - before:
            self._of_account.setdefault(account, set()).add(room.name)
        for account in before - room.members.keys():
            self._of_account[account].discard(room.name)
