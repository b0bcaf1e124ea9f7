"""Core: rooms as folds of their logs, and which accounts may read them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Set

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
    maker: int = 0


class Room:
    """One room after all its entries so far, stored or on their way.

    `stored` is the newest stored seq, and `readers` are the members as of there: what clients may be
    told. `members` is in the order in which they came; the first is the keeper, who may remove others.
    Public rooms have none.
    """

    def __init__(self, name: str, recent_max: int) -> None:
        self.name = name
        self.kind = RoomKind.PUBLIC
        self.maker = 0
        self.head = 0
        self.stored = 0
        self.folded = 0  # the seq of the newest fold
        self.members: dict[int, str] = {}
        self.readers: dict[int, str] = {}
        self._recent: deque[int] = deque(maxlen=recent_max)

    def may_say(self, account: int) -> bool:
        """Whether a line of this account may follow what is in the room so far."""
        return self.kind is RoomKind.PUBLIC or account in self.members

    def may_read(self, account: int) -> bool:
        """Whether what is stored lets this account read the room."""
        return self.stored > 0 and (self.kind is RoomKind.PUBLIC or account in self.readers)

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
            return
        if entry.kind == EntryKind.CREATED:
            self.maker = entry.account
            created = decode_body(entry, Created)
            self.kind = created.kind if created else self.kind
        _change_members(self.members, entry)

    def apply_lines(self, first: int, count: int) -> None:
        """So many lines, from seq `first` on."""
        self.head = first + count - 1
        self._recent.extend(range(first, first + count))

    def settle(self, seq: int, events: list[Entry]) -> list[int]:
        """The entries up to `seq`, applied before, are stored now; `events` are those that are no lines.
        Returns the accounts that came or went by them."""
        self.stored = seq
        return [account for entry in events for account in _change_members(self.readers, entry)]

    def fold(self) -> bytes:
        """The state after all entries so far."""
        members, recent = list(self.members.items()), list(self._recent)
        return msgspec.msgpack.encode(_Stored(self.head, self.kind, members, recent, self.maker))

    def unfold(self, state: bytes) -> None:
        stored = msgspec.msgpack.decode(state, type=_Stored)
        self.head = self.folded = stored.head
        self.kind = stored.kind
        self.maker = stored.maker
        self.members = dict(stored.members)
        self._recent.extend(stored.recent)


class Rooms:
    """All rooms. What it lists is stored: the public and the private ones, and for each account the
    private and direct ones it may read."""

    def __init__(self, recent_max: int) -> None:
        self._recent_max = recent_max
        self._rooms: dict[str, Room] = {}
        self._of_kind: dict[RoomKind, set[str]] = {kind: set() for kind in RoomKind}
        self._of_account: dict[int, set[str]] = {}

    def get(self, name: str) -> Room | None:
        return self._rooms.get(name)

    def __getitem__(self, name: str) -> Room:
        return self._rooms[name]

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def __len__(self) -> int:
        return len(self._rooms)

    def of_kind(self, kind: RoomKind) -> Set[str]:
        return self._of_kind[kind]

    def of_account(self, account: int) -> Set[str]:
        """The private and direct rooms an account is a member of."""
        return self._of_account.get(account, frozenset())

    def apply(self, name: str, entry: Entry) -> None:
        """An entry of a room, on its way; the first makes the room."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self._recent_max)
        room.apply(entry)

    def settle(self, name: str, seq: int, events: list[Entry]) -> None:
        """A room's entries up to `seq`, applied before, are stored now; `events` are no lines."""
        room = self._rooms[name]
        self._index(room, room.settle(seq, events))

    def load(self, name: str, fold: bytes | None, entries: Iterable[Entry]) -> None:
        """A room as it is stored: its newest fold, and the entries after it."""
        room = self._rooms[name] = Room(name, self._recent_max)
        if fold is not None:
            room.unfold(fold)
        for entry in entries:
            room.apply(entry)
        room.stored = room.head
        room.readers = dict(room.members)
        self._index(room, room.readers)

    def forget(self, name: str) -> None:
        """Let go of a room's state: it is loaded again from the log, or never was stored."""
        room = self._rooms.pop(name)
        self._of_kind[room.kind].discard(name)
        for account in room.readers:
            self._of_account[account].discard(name)

    def _index(self, room: Room, accounts: Iterable[int]) -> None:
        """List the room, and for these accounts whether it is one of theirs."""
        self._of_kind[room.kind].add(room.name)
        for account in accounts:
            names = self._of_account.setdefault(account, set())
            if account in room.readers:
                names.add(room.name)
            else:
                names.discard(room.name)


def _change_members(members: dict[int, str], entry: Entry) -> Iterable[int]:
    """Let an entry change who belongs to a room. Returns the accounts it is about."""
    if entry.kind == EntryKind.CREATED:
        created = decode_body(entry, Created)
        members |= created.members if created else ()
        return members
    if entry.kind in (EntryKind.ADDED, EntryKind.REMOVED):
        change = decode_body(entry, Membership)
        if change is None:
            return ()
        if entry.kind == EntryKind.ADDED:
            members[change.account] = change.name
        else:
            members.pop(change.account, None)
        return (change.account,)
    return ()
