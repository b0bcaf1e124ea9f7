"""The options that the commands of `chat-client` share, and the client that they describe."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chat_client.completing import room_names

if TYPE_CHECKING:
    from chat_client.client import ChatClient


@dataclass
class Common:
    """The options that every command shares."""

    name: str | None
    broker: str | None
    room: str
    home: Path | None
    timeout_s: float
    plain: bool = False
    searches: bool = True  # the local network, where no broker is known

    def checked_name(self) -> str:
        """Who it is. Raises UsageError if nobody said."""
        if self.name is None:
            raise click.UsageError("who are you? say --name NAME, or set CHAT_NAME")
        from chat_protocol.names import check_name

        return check_name(self.name)

    def chat(self, *, rooms: tuple[str, ...] = (), **options: Any) -> ChatClient:
        from chat_client.client import ChatClient

        return ChatClient(
            self.checked_name(), self.broker, rooms=rooms, home=self.home, timeout_s=self.timeout_s, **options
        )


def as_room(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """A room as people write it: ops is #ops."""
    return value if value is None or value.startswith(("#", "@")) else f"#{value}"


def _keep_timeout(context: click.Context, _parameter: click.Parameter, value: float | None) -> None:
    if value is not None:
        context.find_object(Common).timeout_s = value  # type: ignore[union-attr]  # the group made one


option = functools.partial(click.option, show_envvar=True)
room_option = option(
    "--room",
    default=None,
    callback=as_room,
    shell_complete=room_names,
    metavar="ROOM",
    help="#ops, or @alice for her alone; else CHAT_ROOM or the lobby.",
)
json_option = option("--json", "as_json", envvar="CHAT_JSON", is_flag=True, help="Print JSON, for programs.")
timeout_option = option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    callback=_keep_timeout,
    expose_value=False,
    metavar="SECONDS",
    help="How long to wait for the broker; else CHAT_TIMEOUT or 10.",
)
