"""What the session wants its connection to do."""

from __future__ import annotations

from msgspec import Struct


class Dial(Struct, frozen=True):
    """Make a new connection in place of any old one, with the invite's key or this client's own."""

    with_invite: bool


class Hangup(Struct, frozen=True):
    """Let the connection and the feed go."""


class JoinFeed(Struct, frozen=True):
    """Open a new feed socket with this token. `host` "" is the host of the connection."""

    host: str
    port: int
    token: bytes


class Subscribe(Struct, frozen=True):
    topic: bytes


class Unsubscribe(Struct, frozen=True):
    topic: bytes


Action = Dial | Hangup | JoinFeed | Subscribe | Unsubscribe
