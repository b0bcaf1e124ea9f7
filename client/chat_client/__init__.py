"""The client: a pure session, the ZeroMQ connection around it, and what people and scripts use.

from chat_client import ChatClient, SyncChatClient
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chat_client.client import ChatClient, SyncChatClient

__all__ = ["ChatClient", "SyncChatClient"]


def __getattr__(name: str) -> object:
    """Load the SDK when it is first asked for: commands that need less start sooner."""
    if name in __all__:
        from chat_client import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
