"""What the shell offers behind --room: asked of the broker, quickly and quietly."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.shell_completion import CompletionItem

from chat_protocol.errors import BadName, ChatError

if TYPE_CHECKING:
    import click

ANSWER_S = 1.0  # a person has pressed Tab and waits


def room_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Rooms that begin so, with or without the #; none if the broker does not answer at once, or does not
    know this name yet: pressing Tab makes no account."""
    given = context.find_root().params
    name, home = given.get("name"), given.get("home")
    if name is None:
        return []
    begin = incomplete.removeprefix("#").lower()
    try:
        titles = asyncio.run(_rooms(name, given.get("broker"), Path(home) if home else None))
    except (ChatError, OSError):
        return []
    named = [
        title for title in titles if _is_name(title) and title.startswith("@") is incomplete.startswith("@")
    ]
    words = [title.removeprefix("#") for title in named]  # behind a bare # a shell sees a comment
    return [CompletionItem(word) for word in words if word.lower().startswith(begin)]


def _is_name(title: str) -> bool:
    """Whether a room has a name by the rules: nothing else may come into somebody's command line."""
    from chat_protocol.names import check_name, check_room

    try:
        return bool(check_name(title[1:]) if title.startswith("@") else check_room(title))
    except BadName:
        return False


async def _rooms(name: str, broker: str | None, home: Path | None) -> list[str]:
    from chat_client.client import ChatClient
    from chat_client.finding import default_home, find_broker
    from chat_client.home import Home

    here = Home(home or default_home())
    if not here.is_enrolled(find_broker(broker, here).key or b"", name):
        return []
    options: dict[str, Any] = {"rooms": (), "home": home, "timeout_s": ANSWER_S}
    async with ChatClient(name, broker, **options) as chat:
        return [info.title for info in await chat.rooms()]
