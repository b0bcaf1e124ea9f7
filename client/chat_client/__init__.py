"""The client: a pure session, the ZeroMQ connection around it, and what people and scripts use.

from chat_client import Bot, ChatClient, SyncChatClient
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chat_client.bot import Bot
    from chat_client.client import ChatClient, SyncChatClient

__all__ = ["Bot", "ChatClient", "SyncChatClient"]


def __getattr__(name: str) -> object:
    """Load the SDK when it is first asked for: commands that need less start sooner."""
    if name == "Bot":
        from chat_client.bot import Bot

        return Bot
    if name in __all__:
        from chat_client import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
