"""What the session wants its connection to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dial:
    """Make a new connection in place of any old one, with the invite's key or this client's own."""

    with_invite: bool


@dataclass(frozen=True, slots=True)
class Hangup:
    """Let the connection and the feed go."""


@dataclass(frozen=True, slots=True)
class JoinFeed:
    """Open a new feed socket with this token. `host` "" is the host of the connection."""

    host: str
    port: int
    token: bytes


@dataclass(frozen=True, slots=True)
class Subscribe:
    topic: bytes


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    topic: bytes


Action = Dial | Hangup | JoinFeed | Subscribe | Unsubscribe
