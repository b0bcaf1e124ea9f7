"""`chat-client`: a person at a terminal, or one of the commands for scripts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chat_protocol.errors import BadAddress, BadName, ChatError, Refused

if TYPE_CHECKING:
    from chat_client.client import ChatClient

USAGE = 2
NAME_CODES = frozenset({"name_taken", "bad_name", "wrong_name"})


@dataclass
class Common:
    """The options that every command shares."""

    name: str | None
    broker: str | None
    room: str
    home: Path | None
    timeout_s: float

    def chat(self, *, rooms: tuple[str, ...] = (), **options: Any) -> ChatClient:
        from chat_client.client import ChatClient

        if self.name is None:
            raise click.UsageError("who are you? say --name NAME, or set CHAT_NAME")
        return ChatClient(
            self.name, self.broker, rooms=rooms, home=self.home, timeout_s=self.timeout_s, **options
        )


def _room(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """A room as people write it: ops is #ops."""
    return value if value is None or value.startswith(("#", "@")) else f"#{value}"


def _keep_timeout(context: click.Context, _parameter: click.Parameter, value: float | None) -> None:
    if value is not None:
        context.find_object(Common).timeout_s = value  # type: ignore[union-attr]  # the group made one


room_option = click.option(
    "--room", default=None, callback=_room, help="A room, such as #ops or @alice; else the lobby."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    callback=_keep_timeout,
    expose_value=False,
    help="Seconds to wait with nothing happening before giving up.  [default: 10]",
)


@click.group(invoke_without_command=True)
@click.version_option(package_name="simple-chat")
@click.option("--name", envvar="CHAT_NAME", default=None, help="Who you are; asked for at a terminal.")
@click.option(
    "--broker",
    envvar="CHAT_BROKER",
    default=None,
    help="The broker's chat:// URL; else the one on this machine.",
)
@click.option("--room", envvar="CHAT_ROOM", default="#lobby", show_default=True, help="The room to begin in.")
@click.option(
    "--plain", envvar="CHAT_PLAIN", is_flag=True, help="The line client, also where a screen could be."
)
@click.option(
    "--home",
    envvar="CHAT_HOME",
    default=None,
    type=click.Path(file_okay=False),
    help="Folder for keys and known brokers.",
)
@click.option(
    "--timeout",
    envvar="CHAT_TIMEOUT",
    type=click.FloatRange(min=0.1),
    default=10.0,
    show_default=True,
    help="Seconds to wait for the broker.",
)
@click.pass_context
def main(
    context: click.Context,
    name: str | None,
    broker: str | None,
    room: str,
    plain: bool,
    home: str | None,
    timeout: float,
) -> None:
    """Talk: at a terminal, or from scripts with the commands below.

    Exit codes: 0 done (send: stored), 2 usage, 3 refused, 4 unreachable, 5 outcome unknown.
    """
    context.obj = Common(name, broker, room, Path(home) if home else None, timeout)
    if context.invoked_subcommand is None:
        sys.exit(_talk(context.obj))


@main.command()
@room_option
@click.option("--to", "to", metavar="NAME", default=None, help="Say it to NAME alone.")
@timeout_option
@click.argument("text", nargs=-1)
@click.pass_obj
def send(common: Common, room: str | None, to: str | None, text: tuple[str, ...]) -> None:
    """Say TEXT, or each line of stdin as a message of its own.

    Exits 0 only when every line is stored; waits through a restart of the broker. Empty lines are
    skipped.
    """
    if room and to:
        raise click.UsageError("say either --room or --to")
    where = f"@{to.removeprefix('@')}" if to else room or common.room

    async def run() -> int:
        from chat_client.shell import Sender, one_line, stdin_lines

        async with common.chat() as chat:
            lines = one_line(" ".join(text)) if text else stdin_lines()
            return await Sender(chat, where, common.timeout_s).send(lines)

    sys.exit(_run(run))


def _since(_context: click.Context, _parameter: click.Parameter, value: str) -> str | int:
    if value in ("recent", "now"):
        return value
    if value == "all":
        return 0
    if value.isdigit():
        return int(value)
    raise click.BadParameter("is one of all, now, recent, or the seq of the last line you have seen")


@main.command()
@room_option
@json_option
@click.option(
    "--since",
    default="recent",
    show_default=True,
    callback=_since,
    metavar="all|SEQ|now|recent",
    help="Begin with the first line, after the line SEQ, with what comes now, or with the recent lines.",
)
@click.option("--no-follow", is_flag=True, help="End when everything that exists was printed.")
@timeout_option
@click.pass_obj
def tail(common: Common, room: str | None, as_json: bool, since: str | int, no_follow: bool) -> None:
    """Print what is said in a room, each line once and in order."""
    where = room or common.room

    async def run() -> int:
        from chat_client.shell import tail

        async with common.chat(rooms=(where,), start=since) as chat:
            return await tail(chat, where, as_json=as_json, follow=not no_follow)

    sys.exit(_run(run))


@main.command()
@room_option
@json_option
@timeout_option
@click.pass_obj
def users(common: Common, room: str | None, as_json: bool) -> None:
    """Who is connected, or (with --room) who follows a room."""

    async def run() -> int:
        async with common.chat() as chat:
            names = await chat.users(room or "")
        click.echo(json.dumps(names) if as_json else "\n".join(names))
        return 0

    sys.exit(_run(run))


@main.command()
@json_option
@timeout_option
@click.pass_obj
def rooms(common: Common, as_json: bool) -> None:
    """The rooms you may open."""

    async def run() -> int:
        async with common.chat() as chat:
            infos = await chat.rooms()
        if as_json:
            found = [
                {"room": i.title, "kind": i.kind.name.lower(), "head": i.head, "present": i.count}
                for i in infos
            ]
            click.echo(json.dumps(found))
        else:
            for info in infos:
                click.echo(f"{info.title:<34} {info.kind.name.lower():<8} {info.count:>5} here")
        return 0

    sys.exit(_run(run))


@main.command()
@click.option("--device", is_flag=True, help="For a second device of your own.")
@click.option("--uses", type=click.IntRange(1, 1_000_000), default=1, show_default=True)
@click.option("--expires-s", type=click.IntRange(1, 31_536_000), default=604_800, show_default=True)
@click.pass_obj
def invite(common: Common, device: bool, uses: int, expires_s: int) -> None:
    """Print a chat:// URL that adds a device of yours (--device); start there with the same --name."""

    async def run() -> int:
        async with common.chat() as chat:
            click.echo(await chat.invite(uses=uses, expires_s=expires_s, device=device))
        return 0

    sys.exit(_run(run))


@main.command()
@click.pass_obj
def devices(common: Common) -> None:
    """The keys of your account; each device has its own."""

    async def run() -> int:
        from datetime import datetime

        from chat_protocol.address import encode_key

        async with common.chat() as chat:
            for device in await chat.devices():
                added = datetime.fromtimestamp(device.added / 1_000).strftime("%Y-%m-%d %H:%M")
                click.echo(f"{encode_key(device.key)}  {added}{'  this one' if device.current else ''}")
        return 0

    sys.exit(_run(run))


@main.command()
@click.argument("key")
@click.pass_obj
def revoke(common: Common, key: str) -> None:
    """Shut a device of yours out; KEY is as `devices` prints it."""

    async def run() -> int:
        from chat_protocol.address import decode_key

        async with common.chat() as chat:
            await chat.revoke(decode_key(key))
        return 0

    sys.exit(_run(run))


def _talk(common: Common) -> int:
    """A person, or a pipe in a person's place."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    asks = interactive and common.name is None
    while True:
        if asks:
            common.name = click.prompt("Your name").strip()

        async def run() -> int:
            from chat_client.line import run_line

            async with common.chat(rooms=(common.room,), remember=True) as chat:
                return await run_line(
                    chat, room=common.room, interactive=interactive, stdin=sys.stdin, stdout=sys.stdout
                )

        try:
            return _run(run, explained=not interactive)
        except (Refused, BadName) as error:
            if not interactive or (isinstance(error, Refused) and error.code not in NAME_CODES):
                return _explain(error)
            click.echo(f"{error}.".replace("..", "."), err=True)
            asks = True
        except ChatError as error:
            return _explain(error)


def _run(work: Callable[[], Coroutine[Any, Any, int]], *, explained: bool = True) -> int:
    """Run a command to its exit code; errors become one sentence on stderr."""
    try:
        return int(asyncio.run(work()))
    except ChatError as error:
        if not explained:
            raise
        return _explain(error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # As any Unix tool: whoever read us is gone, and that ends us.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
        return 128 + signal.SIGPIPE


def _explain(error: ChatError) -> int:
    from chat_client.shell import explain

    outcome = int(explain(error))
    return USAGE if isinstance(error, BadName | BadAddress) else outcome
