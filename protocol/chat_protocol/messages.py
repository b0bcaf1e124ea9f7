"""Every message, one frozen struct each, with its limits.

A message is a MessagePack array: its kind, then its fields in the order written here. Fields are
only ever added at the end, with a default; readers ignore what they do not know (SPEC.md, section
"Versioning"). Times are milliseconds since 1970-01-01 UTC by the broker's clock.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Raw, Struct

LOBBY = "#lobby"

# Limits that belong to the format; those a broker may set are in `Limits`.
FRAME_BYTES_MAX = 65_536  # client to broker
REPLY_BYTES_MAX = 131_072  # broker to client
SEVERAL_MAX = 256  # requests that a client puts into one frame
SEVERAL_BYTES_MAX = 49_152  # of such requests
CURVE_BYTES = 33  # what CURVE adds to a frame, which libzmq's own limit counts
FEED_INBOUND_BYTES_MAX = 1_024
ENTRIES_BYTES_MAX = 65_536
LINE_BYTES_MAX = 16_384
LINE_ROWS_MAX = 200
SAY_LINES_MAX = 500
SAY_BYTES_MAX = 49_152
NAME_CHARS_MAX = 32
ROOM_REF_CHARS_MAX = 64
NAMES_PER_MESSAGE_MAX = 100
PAGE_ENTRIES_MAX = 500
ROOMS_PER_PAGE = 100
REFUSAL_CHARS_MAX = 500
HOPS_MAX = 8  # answers of bots to bots, in a row

Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Id0 = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seq = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Millis = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Bytes8 = Annotated[bytes, Meta(min_length=8, max_length=8)]
Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Key32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
NameField = Annotated[str, Meta(min_length=1, max_length=64)]
RoomRef = Annotated[str, Meta(min_length=1, max_length=ROOM_REF_CHARS_MAX)]
Sentence = Annotated[str, Meta(max_length=REFUSAL_CHARS_MAX)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Hops = Annotated[int, Meta(ge=0, le=255)]


class RoomKind(IntEnum):
    PUBLIC = 1
    PRIVATE = 2
    DIRECT = 3


class EntryKind(IntEnum):
    """What an entry of a room is. A reader that does not know a kind still counts its seq."""

    LINE = 1
    CREATED = 2
    ADDED = 3
    REMOVED = 4


class Message(Struct, frozen=True, array_like=True, gc=False):
    """The root of all messages. `frozen` stands at every subclass because type checkers want it there.
    None can be part of a cycle, so the garbage collector need not look at them."""


class Entry(Message, frozen=True):
    """One item of a room's log. `body` stays encoded until somebody knows the kind."""

    seq: Seq
    at: Millis
    account: Id0
    sender: str
    kind: Annotated[int, Meta(ge=0, le=65_535)]
    body: Raw


class Line(Message, frozen=True):
    """Body of `EntryKind.LINE`: what somebody said. `hops` is 0 for a person; for a bot 1, and in answer
    to a line with hops n it is n + 1."""

    text: str
    hops: Count = 0


class Created(Message, frozen=True):
    """Body of `EntryKind.CREATED`: seq 1 of every room. `members` is empty for public rooms."""

    kind: RoomKind
    members: list[tuple[Id, str]]


class Membership(Message, frozen=True):
    """Body of `EntryKind.ADDED` and `EntryKind.REMOVED`; removed by themselves means left."""

    account: Id
    name: str


class Cursor(Message, frozen=True):
    """How far a client has shown a room. An empty digest means: take `seq` as it is."""

    epoch: Bytes8
    seq: Seq
    digest: Annotated[bytes, Meta(max_length=8)] = b""


def entry_digest(entry: Entry) -> bytes:
    """The 8-byte digest of an entry that cursors carry (SPEC.md, "Cursor").

    SHA-256, first 8 bytes, over seq, at, account as big-endian 64-bit integers, kind as 16-bit, then
    the body's bytes.
    """
    import hashlib  # slow to load, and only those who read rooms need it

    head = struct.pack(">QQQH", entry.seq, entry.at, entry.account, entry.kind)
    return hashlib.sha256(head + bytes(entry.body)).digest()[:8]


class Limits(Message, frozen=True):
    """What this broker allows, told in Welcome. Rates are per session."""

    line_bytes: Count = LINE_BYTES_MAX
    line_rows: Count = LINE_ROWS_MAX
    says_in_flight: Count = 64
    requests_in_flight: Count = 256
    open_rooms: Count = 256
    rooms_per_account: Count = 50
    lines_per_s: Count = 100
    lines_burst: Count = 5_000


# --------------------------------------------------------------------------- client -> broker


class Request(Message, frozen=True):
    """Client to broker. `request` is chosen by the client and comes back in the answer."""

    request: Id


class SessionRequest(Request, frozen=True):
    """A request that only a session may make; `token` came in its Welcome."""

    token: Bytes16


class Enroll(Request, tag=1, frozen=True):
    """Make the account `name` with public key `key`; or, by an account's own invite, add the key to it."""

    name: NameField
    key: Key32


class Hello(Request, tag=2, frozen=True):
    """Begin a session for the account that owns this connection's key."""

    name: NameField
    instance: Bytes16 | None = None
    software: Annotated[str, Meta(max_length=64)] = ""


class Open(SessionRequest, tag=3, frozen=True):
    """Follow a room: its key, topic and presence from now on. `@name` opens the direct room with them."""

    room: RoomRef
    cursor: Cursor | None = None


class Close(SessionRequest, tag=4, frozen=True):
    """Stop following a room; membership stays."""

    room: RoomRef


class Say(SessionRequest, tag=5, frozen=True):
    """Say `lines` in one room: all are stored, or none is. See SPEC.md, "Exactly once"."""

    room: RoomRef
    prev: Id0
    lines: Annotated[list[str], Meta(min_length=1, max_length=SAY_LINES_MAX)]
    once: Bytes16 | None = None
    hops: Hops = 0


class Fetch(SessionRequest, tag=6, frozen=True):
    """A page of a room's entries after `cursor`."""

    room: RoomRef
    cursor: Cursor
    limit: Annotated[int, Meta(ge=1, le=PAGE_ENTRIES_MAX)] = PAGE_ENTRIES_MAX


class Who(SessionRequest, tag=7, frozen=True):
    """Who is here: in a room, or (room "") on the broker; names after `after`, in order."""

    room: Annotated[str, Meta(max_length=ROOM_REF_CHARS_MAX)] = ""
    after: Annotated[str, Meta(max_length=64)] = ""


class Rooms(SessionRequest, tag=8, frozen=True):
    """Rooms this account may open, ids after `after`, in order; with `mine` those it is a member of."""

    after: Annotated[str, Meta(max_length=ROOM_REF_CHARS_MAX)] = ""
    mine: bool = False


class Ping(SessionRequest, tag=9, frozen=True):
    """Keeps the session's lease; Pong names the head of each open room."""


class Bye(SessionRequest, tag=10, frozen=True):
    """End the session."""


class Create(SessionRequest, tag=11, frozen=True):
    """Make a room."""

    room: RoomRef
    kind: RoomKind


class Add(SessionRequest, tag=12, frozen=True):
    """Make an account a member of a private room."""

    room: RoomRef
    name: NameField


class Remove(SessionRequest, tag=13, frozen=True):
    """End an account's membership; turns the room's key."""

    room: RoomRef
    name: NameField


class Leave(SessionRequest, tag=14, frozen=True):
    """End one's own membership; turns the room's key."""

    room: RoomRef


class Invite(SessionRequest, tag=15, frozen=True):
    """Make an invite from a public key whose secret only the requester holds.

    `device` binds it to the requester's own account: it adds a key instead of making an account.
    """

    key: Key32
    uses: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    expires_s: Annotated[int, Meta(ge=1, le=31_536_000)] = 604_800
    device: bool = False


class Devices(SessionRequest, tag=16, frozen=True):
    """The keys of the requester's account."""


class Revoke(SessionRequest, tag=17, frozen=True):
    """Revoke a key of the requester's account (the operator: of any)."""

    key: Key32


class Mark(SessionRequest, tag=18, frozen=True):
    """The account has read a room up to and with `seq`; its marker there moves on, and never back."""

    room: RoomRef
    seq: Seq


class Status(SessionRequest, tag=32, frozen=True):
    """Operator: figures about the running broker."""


class Backup(SessionRequest, tag=33, frozen=True):
    """Operator: write a backup to an absolute path on the broker's machine."""

    path: Annotated[str, Meta(min_length=1, max_length=4_096)]


class Ban(SessionRequest, tag=34, frozen=True):
    """Operator: an account may no longer come in."""

    name: NameField


class Unban(SessionRequest, tag=35, frozen=True):
    """Operator: undo a ban."""

    name: NameField


class Rate(SessionRequest, tag=36, frozen=True):
    """Operator: the lines a second an account may say; 0 returns to the default."""

    name: NameField
    lines_per_s: Annotated[int, Meta(ge=0, le=1_000_000)]


AnyRequest = (
    Enroll | Hello | Open | Close | Say | Fetch | Who | Rooms | Ping | Bye | Create | Add | Remove | Leave
    | Invite | Devices | Revoke | Mark | Status | Backup | Ban | Unban | Rate
)  # fmt: skip

# --------------------------------------------------------------------------- broker -> client


class Reply(Message, frozen=True):
    """Broker to client. `request` is 0 for what the broker says unasked."""

    request: Id0


class Enrolled(Reply, tag=64, frozen=True):
    account: Id
    name: str


class Welcome(Reply, tag=65, frozen=True):
    """A session has begun. Everything of an earlier one (token, topics, room keys) is void."""

    token: Bytes16
    instance: Bytes16
    account: Id
    name: str
    feed_token: Bytes16
    verify_key: Key32
    run: Bytes8
    epoch: Bytes8
    limits: Limits
    ping_s: float
    lease_s: float
    feed_host: str
    feed_port: Port
    now: Millis
    software: str = ""


class Opened(Reply, tag=66, frozen=True):
    """A room as it stands. `since` is where somebody without a cursor begins, `read` how far the account
    has read it."""

    room: RoomRef
    title: str
    kind: RoomKind
    head: Seq
    first: Seq
    since: Seq
    topic: Bytes16
    generation: Count
    key: Key32
    presence: Count
    count: Count
    names: list[str]
    read: Seq = 0


class Stored(Message, frozen=True):
    """One Say's answer: its lines are `first` … `first + count - 1` in `room`."""

    request: Id
    room: RoomRef
    first: Seq
    count: Count
    at: Millis


class Said(Reply, tag=67, frozen=True):
    """Answers to one or more Says, in order; `request` repeats the last one's id."""

    epoch: Bytes8
    stored: list[Stored]


class Page(Reply, tag=68, frozen=True):
    """Consecutive entries after the cursor that was asked for; earlier than `first` nothing is kept."""

    room: RoomRef
    first: Seq
    head: Seq
    entries: list[Entry]


class Users(Reply, tag=69, frozen=True):
    """Names in order; `more` says that a further Who with `after` = the last one brings more."""

    room: str
    presence: Count
    count: Count
    names: list[str]
    more: bool


class RoomInfo(Message, frozen=True):
    room: RoomRef
    title: str
    kind: RoomKind
    head: Seq
    count: Count
    member: bool = False


class RoomList(Reply, tag=70, frozen=True):
    rooms: list[RoomInfo]
    more: bool


class RoomHead(Message, frozen=True):
    room: RoomRef
    head: Seq
    generation: Count
    presence: Count = 0


class Pong(Reply, tag=71, frozen=True):
    now: Millis
    rooms: list[RoomHead]


class Key(Reply, tag=72, frozen=True):
    """A room's key has turned; what follows on the feed is sealed with this one."""

    room: RoomRef
    generation: Count
    key: Key32
    head: Seq


class Refusal(Reply, tag=73, frozen=True):
    """No, and why. The one message whose layout is the same in every protocol version."""

    code: Annotated[str, Meta(max_length=64)]
    text: str
    retry_ms: Millis = 0
    last: Id0 = 0


class Goodbye(Reply, tag=74, frozen=True):
    """The session is over; `code` says why."""

    code: Annotated[str, Meta(max_length=64)]
    text: str


class Done(Reply, tag=75, frozen=True):
    """A command was carried out; what it changed is stored."""


class Added(Reply, tag=76, frozen=True):
    """Unasked: this account may now open `room`."""

    room: RoomRef
    title: str
    kind: RoomKind
    by: str


class Closed(Reply, tag=77, frozen=True):
    """Unasked: this session no longer follows `room`, and why."""

    room: RoomRef
    code: Annotated[str, Meta(max_length=64)]
    text: str


class Report(Reply, tag=78, frozen=True):
    """The operator's Status: name and figure, in the order to be shown."""

    figures: list[tuple[str, str | int | float]]


class DeviceInfo(Message, frozen=True):
    key: Key32
    added: Millis
    current: bool


class DeviceList(Reply, tag=79, frozen=True):
    devices: list[DeviceInfo]


class Marked(Reply, tag=80, frozen=True):
    """Unasked: another session of this account has read `room` up to `seq`."""

    room: RoomRef
    seq: Seq


AnyReply = (
    Enrolled | Welcome | Opened | Said | Page | Users | RoomList | Pong | Key | Refusal | Goodbye | Done
    | Added | Closed | Report | DeviceList | Marked
)  # fmt: skip

# --------------------------------------------------------------------------- broker -> feed


class Publication(Message, tag=1, frozen=True):
    """Consecutive entries of one room."""

    entries: list[Entry]


class Beacon(Message, tag=2, frozen=True):
    """The room's newest seq and presence version, so that a lost last message is noticed."""

    head: Seq
    presence: Count


class Presence(Message, tag=3, frozen=True):
    """Who came and went between presence versions `version - 1` and `version`.

    `whole` is False when the names were too many to list: ask Who.
    """

    version: Count
    count: Count
    joined: list[str]
    left: list[str]
    whole: bool = True


AnyFeed = Publication | Beacon | Presence
