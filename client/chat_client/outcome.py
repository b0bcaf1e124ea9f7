"""How a command ended, as its exit code tells scripts."""

from __future__ import annotations

from enum import IntEnum

from chat_client.events import LinkChanged
from chat_protocol.errors import ChatError, OutcomeUnknown, Unreachable

_UNREACHABLE_CODES = {"unreachable", "wrong_key"}
_OWN_CLOSING_CODES = {"", "closed"}


class Outcome(IntEnum):
    """What a script is told by the exit code; of several, the highest."""

    DONE = 0
    REFUSED = 3
    UNREACHABLE = 4
    UNKNOWN = 5
    NO_ANSWER = 6  # stored, and nobody has answered


def outcome_of(error: ChatError) -> Outcome:
    match error:
        case OutcomeUnknown():
            return Outcome.UNKNOWN
        case Unreachable():
            return Outcome.UNREACHABLE
    return Outcome.REFUSED


def outcome_of_closing(closed: LinkChanged) -> Outcome:
    """What the end of a session means."""
    if closed.code in _UNREACHABLE_CODES:
        return Outcome.UNREACHABLE
    return Outcome.DONE if closed.code in _OWN_CLOSING_CODES else Outcome.REFUSED
