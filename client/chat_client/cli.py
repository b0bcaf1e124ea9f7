"""`chat-client`: a person at a terminal, or one of the commands for scripts."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chat_protocol.errors import BadAddress, BadName, ChatError, Refused, SetupError

if TYPE_CHECKING:
    from chat_client.client import ChatClient

USAGE = 2
HINT_S = 1.5  # of waiting for the broker, after which a person is told
DUMB_TERMINALS = frozenset({"", "dumb", "unknown"})
NAME_CODES = frozenset({"name_taken", "bad_name", "wrong_name"})


@dataclass
class Common:
    """The options that every command shares."""

    name: str | None
    broker: str | None
    room: str
    home: Path | None
    timeout_s: float
    plain: bool = False

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


option = functools.partial(click.option, show_envvar=True)
room_option = option(
    "--room",
    default=None,
    callback=_room,
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


@click.group(invoke_without_command=True)
@click.version_option(package_name="simple-chat")
@option(
    "--name", envvar="CHAT_NAME", default=None, metavar="NAME", help="Who you are; asked for at a terminal."
)
@option(
    "--broker",
    envvar="CHAT_BROKER",
    default=None,
    metavar="URL",
    help="The broker's chat:// URL; else the one on this machine.",
)
@option(
    "--room",
    envvar="CHAT_ROOM",
    default="#lobby",
    show_default=True,
    callback=_room,
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
    room: str,
    plain: bool,
    home: str | None,
    timeout: float,
) -> None:
    """Talk: at a terminal, or from scripts with the commands below.

    Exit codes: 0 done (send: stored), 2 usage, 3 refused, 4 unreachable, 5 outcome unknown.
    """
    context.obj = Common(name, broker, room, Path(home) if home else None, timeout, plain)
    if context.invoked_subcommand is None:
        sys.exit(_talk(context.obj))


@main.command()
@room_option
@option("--to", "to", envvar="CHAT_TO", metavar="NAME", default=None, help="Say it to NAME alone.")
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
@option(
    "--since",
    envvar="CHAT_SINCE",
    default="recent",
    show_default=True,
    callback=_since,
    metavar="all|SEQ|now|recent",
    help="Begin with the first line, after the line SEQ, with what comes now, or with the recent lines.",
)
@option(
    "--no-follow", envvar="CHAT_NO_FOLLOW", is_flag=True, help="End when everything that exists was printed."
)
@timeout_option
@click.pass_obj
def tail(common: Common, room: str | None, as_json: bool, since: str | int, no_follow: bool) -> None:
    """Print what is said in a room, each line once and in order.

    While the broker is away it waits and goes on where it was.
    """
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
@option("--device", envvar="CHAT_DEVICE", is_flag=True, help="For a second device of your own.")
@option(
    "--uses",
    envvar="CHAT_USES",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    metavar="N",
    help="How many devices may use it.",
)
@option(
    "--expires-s",
    envvar="CHAT_EXPIRES_S",
    type=click.IntRange(1, 31_536_000),
    default=604_800,
    show_default=True,
    metavar="SECONDS",
    help="For how many seconds it is good.",
)
@click.pass_obj
def invite(common: Common, device: bool, uses: int, expires_s: int) -> None:
    """Print a chat:// URL for a second device (--device).

    Start chat-client there with that URL as --broker and with the same --name.
    """

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


@main.command(context_settings={"ignore_unknown_options": True})  # a key may begin with a dash
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
        try:
            if asks:
                common.name = _asked_name()
            return _run(lambda: _converse(common, interactive), explained=not interactive)
        except EOFError:  # Ctrl-D in place of a name
            click.echo()
            return 0
        except KeyboardInterrupt:  # Ctrl-C in place of a name
            click.echo()
            return _die_of(signal.SIGINT)
        except (Refused, BadName) as error:
            if not interactive or (isinstance(error, Refused) and error.code not in NAME_CODES):
                return _explain(error)
            click.echo(f"{error}.".replace("..", "."), err=True)
            asks = True
        except ChatError as error:
            return _explain(error)


async def _converse(common: Common, interactive: bool) -> int:
    from chat_client.line import run_line

    loop = asyncio.get_running_loop()
    hint = loop.call_later(HINT_S, click.echo, "No answer yet; Ctrl-C leaves.") if interactive else None
    async with common.chat(rooms=(common.room,), remember=True) as chat:
        if hint is not None:
            hint.cancel()
        if interactive and not common.plain and os.environ.get("TERM", "").lower() not in DUMB_TERMINALS:
            return await _on_screen(chat, common.room)
        return await run_line(
            chat, room=common.room, interactive=interactive, stdin=sys.stdin, stdout=sys.stdout
        )


async def _on_screen(chat: ChatClient, room: str) -> int:
    from chat_client.preferences import Keeper
    from chat_client.tui import run_screen  # slow to import, and not needed by scripts

    keeper = Keeper(chat.home.preferences(chat.address.key or b"", chat.name))
    return await run_screen(chat, room=room, keeper=keeper)


def _asked_name() -> str:
    """The name that a person types. Raises EOFError or KeyboardInterrupt if they would rather leave."""
    while not (name := input("Your name: ").strip()):
        pass
    return name


def _run(work: Callable[[], Coroutine[Any, Any, int]], *, explained: bool = True) -> int:
    """Run a command to its exit code; errors become one sentence on stderr."""
    ended_by: list[signal.Signals] = []
    try:
        return int(asyncio.run(_with_goodbye(work, ended_by)))
    except ChatError as error:
        if not explained:
            raise
        return _explain(error)
    except asyncio.CancelledError:
        return _die_of(ended_by[0])
    except KeyboardInterrupt:
        return _die_of(signal.SIGINT)
    except BrokenPipeError:  # whoever read us is gone
        return _die_of(signal.SIGPIPE)
    except OSError:
        if not ended_by:
            raise
        return _die_of(ended_by[0])  # the terminal is gone, and there was something left to write


async def _with_goodbye(work: Callable[[], Coroutine[Any, Any, int]], ended_by: list[signal.Signals]) -> int:
    """Let SIGTERM and a closed terminal end a command as Ctrl-C does: others see it go at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def end(number: signal.Signals) -> None:
        ended_by.append(number)
        if task is not None:
            task.cancel()

    if sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, end, number)
    return await work()


def _die_of(number: signal.Signals) -> int:
    """End as any Unix tool does, so that a shell's loop or pipeline sees why."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def _explain(error: ChatError) -> int:
    from chat_client.shell import explain

    outcome = int(explain(error))
    return USAGE if isinstance(error, BadName | BadAddress | SetupError) else outcome
