"""Everything that can go wrong, and the codes a broker refuses with.

ChatError
├── CallerError             the caller's mistake
│   ├── BadName             a name or room name outside the rules
│   ├── BadText             a line that may not be said as it is
│   └── BadAddress          not a chat:// URL
├── PeerError               the other side's doing
│   ├── BadFrame            bytes that are no message
│   ├── BadSeal             a publication that does not verify or open
│   └── Refused             the broker said no, with a code
└── EnvironmentFault        neither side's mistake
    ├── Unreachable         nobody answers, or not the broker that was expected
    ├── OutcomeUnknown      sent, and nobody can say whether it was stored
    ├── StorageError        the log can't be opened, read or written
    └── SetupError          ports, folders, limits of the machine
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Refusal codes: stable words for programs. SPEC.md lists when each is given."""

    BAD_FRAME = "bad_frame"
    UNKNOWN_KIND = "unknown_kind"
    VERSION = "version"
    UNKNOWN_SESSION = "unknown_session"
    NOT_ENROLLED = "not_enrolled"
    INVITE_ONLY = "invite_only"
    INVITE_INVALID = "invite_invalid"
    BAD_NAME = "bad_name"
    NAME_TAKEN = "name_taken"
    WRONG_NAME = "wrong_name"
    BANNED = "banned"
    NOT_ALLOWED = "not_allowed"
    NO_SUCH_ROOM = "no_such_room"
    NO_SUCH_ACCOUNT = "no_such_account"
    ROOM_EXISTS = "room_exists"
    TOO_MANY_ROOMS = "too_many_rooms"
    TOO_MANY_OPEN = "too_many_open"
    TOO_MANY_KEYS = "too_many_keys"
    TOO_MANY_IN_FLIGHT = "too_many_in_flight"
    LINE_TOO_LONG = "line_too_long"
    BAD_TEXT = "bad_text"
    TOO_MANY_HOPS = "too_many_hops"
    RATE_LIMITED = "rate_limited"
    OUT_OF_ORDER = "out_of_order"
    ID_REUSED = "id_reused"
    FORGOTTEN = "forgotten"
    EPOCH_CHANGED = "epoch_changed"
    STORAGE_FULL = "storage_full"
    STORAGE_FAILED = "storage_failed"
    BUSY = "busy"
    # Goodbye and Closed
    REPLACED = "replaced"
    EXPIRED = "expired"
    SHUTTING_DOWN = "shutting_down"
    REMOVED = "removed"
    LEFT = "left"
    REVOKED = "revoked"


#: Refusals after which the same request may be sent again, unchanged, and may then succeed.
RETRY_CODES = frozenset(
    {
        Code.RATE_LIMITED,
        Code.OUT_OF_ORDER,
        Code.BUSY,
        Code.TOO_MANY_IN_FLIGHT,
        Code.UNKNOWN_SESSION,
    }
)


class ChatError(Exception):
    """The root of everything Simple Chat raises on purpose. `str(error)` is a sentence for a person."""


class CallerError(ChatError):
    """The caller asked for something that cannot be."""


class BadName(CallerError):
    """A name or room name that the rules of `names` do not allow."""


class BadText(CallerError):
    """A line that may not be said as it is. `code` is the refusal code a broker would give."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class BadAddress(CallerError):
    """Not a `chat://HOST:PORT?key=…` URL."""


class PeerError(ChatError):
    """The other side sent something it should not have, or said no."""


class BadFrame(PeerError):
    """Bytes that are no message. `request` is the request id where one could be read, else 0."""

    def __init__(self, text: str, *, code: Code = Code.BAD_FRAME, request: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.request = request


class BadSeal(PeerError):
    """A publication whose signature or seal does not hold; drop it and count it."""


class Refused(PeerError):
    """The broker refused: `code` for programs, `str()` for people, `retry_s` if it said when to try again."""

    def __init__(self, code: str, text: str, retry_s: float = 0.0) -> None:
        super().__init__(text)
        self.code = code
        self.retry_s = retry_s


class EnvironmentFault(ChatError):
    """The network, the disk or the machine."""


class Unreachable(EnvironmentFault):
    """No broker answers there, or the one that answers does not hold the expected key."""


class OutcomeUnknown(EnvironmentFault):
    """A line was sent and no answer came: it may be stored or not. `text` names it."""


class StorageError(EnvironmentFault):
    """The log could not be opened, read or written. `code` is what clients are told."""

    def __init__(self, text: str, code: Code = Code.STORAGE_FAILED) -> None:
        super().__init__(text)
        self.code = code


class SetupError(EnvironmentFault):
    """The machine does not give what a start needs: a port, a folder, file descriptors."""
