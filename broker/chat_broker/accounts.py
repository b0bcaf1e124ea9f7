"""Core: accounts, invites, bans and the list of rooms, as a fold of the broker's own log.

An account's id is the seq of the entry that made it. Entries are judged before they are proposed;
`apply` takes them as they stand, so that a start and a running broker reach the same state.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec
from msgspec import Struct

from chat_protocol.codec import decode_body, encode_plain
from chat_protocol.messages import Entry, Key32, Message, RoomKind
from chat_protocol.names import skeleton

KEYS_PER_ACCOUNT_MAX = 16
DEVICE_INVITES_MAX = 16  # live ones of one account
OPERATOR = "operator"


class ServerKind(IntEnum):
    """Kinds of entries in the broker's own log; they never travel."""

    ACCOUNT = 1
    KEY_ADDED = 2
    KEY_REVOKED = 3
    ROOM = 4
    INVITE = 5
    INVITE_USED = 6
    BANNED = 7
    UNBANNED = 8
    RATE = 9


class Role(IntEnum):
    MEMBER = 0
    OPERATOR = 1


class AccountMade(Message, frozen=True):
    name: str
    key: Key32
    role: Role = Role.MEMBER


class KeyChange(Message, frozen=True):
    """Body of KEY_ADDED and KEY_REVOKED."""

    account: int
    key: Key32


class RoomMade(Message, frozen=True):
    room: str
    kind: RoomKind


class InviteMade(Message, frozen=True):
    """`account` is 0 for newcomers, else the account a key may be added to."""

    key: Key32
    uses: int
    expires: int  # wall clock, ms
    account: int = 0


class InviteUsed(Message, frozen=True):
    key: Key32


class Ruling(Message, frozen=True):
    """Body of BANNED and UNBANNED."""

    account: int


class RateSet(Message, frozen=True):
    account: int
    lines_per_s: int


BODIES: dict[int, type[Message]] = {
    ServerKind.ACCOUNT: AccountMade,
    ServerKind.KEY_ADDED: KeyChange,
    ServerKind.KEY_REVOKED: KeyChange,
    ServerKind.ROOM: RoomMade,
    ServerKind.INVITE: InviteMade,
    ServerKind.INVITE_USED: InviteUsed,
    ServerKind.BANNED: Ruling,
    ServerKind.UNBANNED: Ruling,
    ServerKind.RATE: RateSet,
}


class Account(Struct):
    id: int
    name: str
    keys: dict[bytes, int]  # public key -> when it was added, ms
    role: Role = Role.MEMBER
    banned: bool = False
    lines_per_s: int = 0  # 0: the broker's default
    rooms_made: int = 0
    directs_made: int = 0


class LiveInvite(Struct):
    """`account` as in `InviteMade`; `by` is the account that made it."""

    uses_left: int
    expires: int
    account: int = 0
    by: int = 0


class _Stored(Struct, array_like=True):
    """What a fold of the broker's log holds."""

    head: int
    accounts: list[Account]
    invites: dict[bytes, LiveInvite]
    rooms: dict[str, int]


class Accounts:
    """Who there is, after all entries so far, stored or on their way. `rooms` maps every room to the
    kind it was made as."""

    def __init__(self) -> None:
        self.head = 0
        self.by_id: dict[int, Account] = {}
        self.by_key: dict[bytes, Account] = {}
        self.invites: dict[bytes, LiveInvite] = {}
        self.rooms: dict[str, RoomKind] = {}
        self._by_skeleton: dict[str, Account] = {}
        self._on_their_way: dict[bytes, int] = {}  # account keys -> the newest unstored entry about them

    def named(self, name: str) -> Account | None:
        """The account of that name, in any spelling of upper and lower case."""
        account = self._by_skeleton.get(skeleton(name))
        return account if account and account.name.lower() == name.lower() else None

    def looks_like(self, name: str) -> Account | None:
        """The account whose name is this one or could be mistaken for it."""
        return self._by_skeleton.get(skeleton(name))

    def live_invite(self, key: bytes, wall: int) -> LiveInvite | None:
        invite = self.invites.get(key)
        return invite if invite and invite.uses_left > 0 and wall < invite.expires else None

    def device_invites(self, account: int, wall: int) -> int:
        """How many live invites an account has for devices of its own."""
        return sum(
            invite.account == account and self.live_invite(key, wall) is not None
            for key, invite in self.invites.items()
        )

    def is_settled(self, key: bytes) -> bool:
        """Whether what is to be said of an account's key is stored."""
        return key not in self._on_their_way

    def settle(self, seq: int) -> None:
        """Entries up to this one are stored."""
        if self._on_their_way:
            self._on_their_way = {key: at for key, at in self._on_their_way.items() if at > seq}

    def apply(self, entry: Entry) -> None:
        self.head = entry.seq
        body = decode_body(entry, BODIES[entry.kind]) if entry.kind in BODIES else None
        match body:
            case AccountMade(name, key, role):
                self._add(Account(entry.seq, name, {key: entry.at}, role))
                self._on_their_way[key] = entry.seq
            case KeyChange(account, key) if entry.kind == ServerKind.KEY_ADDED:
                self.by_id[account].keys[key] = entry.at
                self.by_key[key] = self.by_id[account]
                self._on_their_way[key] = entry.seq
            case KeyChange(account, key):
                self.by_id[account].keys.pop(key, None)
                self.by_key.pop(key, None)
                self._on_their_way[key] = entry.seq
            case RoomMade(room, kind):
                self._made(room, kind, self.by_id.get(entry.account))
            case InviteMade(key, uses, expires, account):
                self._forget_dead_invites(entry.at)
                self.invites[key] = LiveInvite(uses, expires, account, entry.account)
            case InviteUsed(key) if key in self.invites:
                self.invites[key].uses_left -= 1
            case Ruling(account):
                self.by_id[account].banned = entry.kind == ServerKind.BANNED
                self._on_their_way |= dict.fromkeys(self.by_id[account].keys, entry.seq)
            case RateSet(account, lines_per_s):
                self.by_id[account].lines_per_s = lines_per_s

    def fold(self) -> bytes:
        return msgspec.msgpack.encode(
            _Stored(
                self.head, list(self.by_id.values()), self.invites, {r: int(k) for r, k in self.rooms.items()}
            )
        )

    @classmethod
    def unfold(cls, state: bytes) -> Accounts:
        stored = msgspec.msgpack.decode(state, type=_Stored)
        accounts = cls()
        accounts.head = stored.head
        accounts.invites = stored.invites
        accounts.rooms = {room: RoomKind(kind) for room, kind in stored.rooms.items()}
        for account in stored.accounts:
            accounts._add(account)
        return accounts

    def _add(self, account: Account) -> None:
        self.by_id[account.id] = account
        self._by_skeleton[skeleton(account.name)] = account
        for key in account.keys:
            self.by_key[key] = account

    def _made(self, room: str, kind: RoomKind, maker: Account | None) -> None:
        self.rooms[room] = kind
        if maker is None:
            return
        if kind is RoomKind.DIRECT:
            maker.directs_made += 1
        else:
            maker.rooms_made += 1

    def _forget_dead_invites(self, wall: int) -> None:
        self.invites = {
            key: invite
            for key, invite in self.invites.items()
            if invite.uses_left > 0 and wall < invite.expires
        }


def server_body(body: Message) -> msgspec.Raw:
    return msgspec.Raw(encode_plain(body))
