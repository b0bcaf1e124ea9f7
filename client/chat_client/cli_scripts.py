"""`chat-client send`, `tail`, `users` and `rooms`: what scripts and people at a shell use."""

from __future__ import annotations

import json
import sys

import click

from chat_client.cli_options import Common, json_option, option, room_option, timeout_option
from chat_client.cli_running import run_command


@click.command()
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

    sys.exit(run_command(run))


def _since(_context: click.Context, _parameter: click.Parameter, value: str) -> str | int:
    if value in ("recent", "now"):
        return value
    if value == "all":
        return 0
    if value.isdigit():
        return int(value)
    raise click.BadParameter("is one of all, now, recent, or the seq of the last line you have seen")


@click.command()
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

    sys.exit(run_command(run))


@click.command()
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

    sys.exit(run_command(run))


@click.command()
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

    sys.exit(run_command(run))
