"""`chat-client`: a person at a terminal, or one of the commands for scripts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chat_client.cli_options import Common, as_room, option
from chat_client.cli_running import die_of, explain_error, run_command
from chat_client.completing import room_names
from chat_protocol.errors import BadName, ChatError, Refused

if TYPE_CHECKING:
    from chat_client.client import ChatClient

HINT_S = 1.5  # of waiting for the broker, after which a person is told
DUMB_TERMINALS = frozenset({"", "dumb", "unknown"})
NAME_CODES = frozenset({"name_taken", "bad_name", "wrong_name"})
#: Where each command is: one is imported only when it is asked for, so that none makes another start late.
COMMANDS = {
    "send": "cli_scripts:send",
    "tail": "cli_scripts:tail",
    "users": "cli_scripts:users",
    "rooms": "cli_scripts:rooms",
    "exec": "cli_bots:execute",
    "replay": "cli_bots:replay",
    "invite": "cli_account:invite",
    "devices": "cli_account:devices",
    "revoke": "cli_account:revoke",
    "completion": "cli_completion:completion",
    "doctor": "cli_doctor:doctor",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"chat_client.{module}"), name)
        return command


@click.group(cls=_Commands, invoke_without_command=True)
@click.version_option(package_name="simple-chat")
@option(
    "--name", envvar="CHAT_NAME", default=None, metavar="NAME", help="Who you are; asked for at a terminal."
)
@option(
    "--broker",
    envvar="CHAT_BROKER",
    default=None,
    metavar="URL",
    help="The broker's chat:// URL; else the one on this machine, else one on the local network.",
)
@option("--no-search", envvar="CHAT_NO_SEARCH", is_flag=True, help="Do not look on the local network.")
@option(
    "--room",
    envvar="CHAT_ROOM",
    default="#lobby",
    show_default=True,
    callback=as_room,
    shell_complete=room_names,
    metavar="ROOM",
    help="The room to begin in.",
)
@option("--plain", envvar="CHAT_PLAIN", is_flag=True, help="The line client, also where a screen could be.")
@option(
    "--home",
    envvar="CHAT_HOME",
    default=None,
    type=click.Path(file_okay=False),
    help="Folder for keys and known brokers.",
)
@option(
    "--timeout",
    envvar="CHAT_TIMEOUT",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the broker.",
)
@click.pass_context
def main(
    context: click.Context,
    name: str | None,
    broker: str | None,
    no_search: bool,
    room: str,
    plain: bool,
    home: str | None,
    timeout: float,
) -> None:
    """Talk: at a terminal, or from scripts with the commands below.

    Exit codes: 0 done (send: stored), 2 usage, 3 refused, 4 unreachable, 5 outcome unknown, 6 no answer
    (send --reply-wait).

    \b
    Examples:
      chat-client --name bob
      chat-client --name bob --room ops
      echo "build 812 is green" | chat-client --name ci send
    """
    context.obj = Common(
        name, broker, room, Path(home) if home else None, timeout, plain=plain, searches=not no_search
    )
    if context.invoked_subcommand is None:
        sys.exit(_talk(context.obj))


def _talk(common: Common) -> int:
    """A person, or a pipe in a person's place."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    asks = interactive and common.name is None
    while True:
        try:
            if asks:
                common.name = _asked_name()
            return run_command(lambda: _converse(common, interactive), explained=not interactive)
        except EOFError:  # Ctrl-D in place of a name
            click.echo()
            return 0
        except KeyboardInterrupt:  # Ctrl-C in place of a name
            click.echo()
            return die_of(signal.SIGINT)
        except (Refused, BadName) as error:
            if not interactive or (isinstance(error, Refused) and error.code not in NAME_CODES):
                return explain_error(error)
            click.echo(f"{error}.".replace("..", "."), err=True)
            asks = True
        except ChatError as error:
            return explain_error(error)


async def _converse(common: Common, interactive: bool) -> int:
    from chat_client.line import run_line

    loop = asyncio.get_running_loop()
    hint = loop.call_later(HINT_S, click.echo, "No answer yet; Ctrl-C leaves.") if interactive else None
    async with common.chat(rooms=(common.room,), remember=True) as chat:
        if hint is not None:
            hint.cancel()
        if interactive and not common.plain and _can_show_a_screen():
            return await _on_screen(chat, common.room)
        return await run_line(
            chat, room=common.room, interactive=interactive, stdin=sys.stdin, stdout=sys.stdout
        )


def _can_show_a_screen() -> bool:
    return sys.platform == "win32" or os.environ.get("TERM", "").lower() not in DUMB_TERMINALS


async def _on_screen(chat: ChatClient, room: str) -> int:
    from chat_client.home import Home
    from chat_client.preferences import Keeper
    from chat_client.tui import run_screen  # slow to import, and not needed by scripts

    keeper = Keeper(Home(chat.home).preferences(chat.address.key or b"", chat.name))
    return await run_screen(chat, room=room, keeper=keeper)


def _asked_name() -> str:
    """The name that a person types. Raises EOFError or KeyboardInterrupt if they would rather leave."""
    while not (name := input("Your name: ").strip()):
        pass
    return name
