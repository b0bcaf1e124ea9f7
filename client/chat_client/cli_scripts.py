"""`chat-client send`, `tail`, `users` and `rooms`: what scripts and people at a shell use."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime

import click

from chat_client.cli_options import Common, json_option, option, room_option, timeout_option
from chat_client.cli_running import run_command
from chat_client.since import Ago, parse_moment

TITLE_CHARS_MAX = 200


@click.command()
@room_option
@option("--to", "to", envvar="CHAT_TO", metavar="NAME", default=None, help="Say it to NAME alone.")
@option("--paste", envvar="CHAT_PASTE", is_flag=True, help="Say all of stdin as one message in a code fence.")
@option("--title", envvar="CHAT_TITLE", default="", help="A row above what is pasted; implies --paste.")
@option(
    "--reply-wait",
    envvar="CHAT_REPLY_WAIT",
    type=click.FloatRange(min=0.1),
    default=None,
    metavar="SECONDS",
    help="Wait so long for the first answer, and print it.",
)
@timeout_option
@click.argument("text", nargs=-1)
@click.pass_obj
def send(
    common: Common,
    room: str | None,
    to: str | None,
    paste: bool,
    title: str,
    reply_wait: float | None,
    text: tuple[str, ...],
) -> None:
    """Say TEXT, or each line of stdin as a message of its own.

    Exits 0 only when every line is stored; waits through a restart of the broker. Empty lines are
    skipped. What is pasted and too long for one message becomes several, numbered and whole.

    The answer is the first line that somebody else says in that room after the last one said here. Exits 6
    if none comes in time.

    \b
    Examples:
      chat-client --name ci send "build 812 is green"
      df -h / | chat-client --name ci send --paste --title "disk of $(hostname)"
      make --version 2>&1 | chat-client --name ci send --paste --room ops
      chat-client --name bob send --to alice "psst"
      chat-client --name bob send --reply-wait 5 '!roll'
    """
    if room and to:
        raise click.UsageError("say either --room or --to")
    if len(title) > TITLE_CHARS_MAX:
        raise click.UsageError(f"a title has at most {TITLE_CHARS_MAX} characters")
    where = f"@{to.removeprefix('@')}" if to else room or common.room

    fenced = paste or bool(title)

    async def run() -> int:
        from chat_client.shell import Sender, progress_of_stdin, what_to_say

        progress = None if text or fenced else progress_of_stdin()
        async with common.chat(rooms=(where,) if reply_wait else (), start="now") as chat:
            sender = Sender(chat, where, common.timeout_s, progress)
            said = " ".join(text) if text else None
            lines = what_to_say(said, fenced=fenced, title=title, limits=chat.limits)
            outcome = await sender.send(lines, answer_s=reply_wait or 0.0)
        if sender.answer is not None:
            click.echo(sender.answer.text)
        return outcome

    sys.exit(run_command(run))


def _since(_context: click.Context, _parameter: click.Parameter, value: str) -> str | int | Ago | datetime:
    if value in ("recent", "now"):
        return value
    if value == "all":
        return 0
    if value.isdecimal():
        return int(value)
    try:
        return parse_moment(value, datetime.now())
    except ValueError as error:
        raise click.BadParameter(
            f"{error}; or one of all, now, recent, or the seq of the last line you have seen"
        ) from None


def _pattern(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> re.Pattern[str] | None:
    try:
        return None if value is None else re.compile(value)
    except re.error as error:
        raise click.BadParameter(f"{value!r} is no regular expression: {error}") from None


@click.command()
@room_option
@json_option
@option(
    "--since",
    envvar="CHAT_SINCE",
    default="recent",
    show_default=True,
    callback=_since,
    metavar="all|SEQ|now|recent|WHEN",
    help="Begin with the first line, after the line SEQ, with what comes now, with the recent lines, or "
    "WHEN: 2h, 1h30m, 7d, 9:00, yesterday, 2026-03-31, 2026-03-31T18:00.",
)
@option(
    "--grep", envvar="CHAT_GREP", callback=_pattern, metavar="REGEX", help="Only lines with REGEX in them."
)
@option(
    "--from",
    "senders",
    envvar="CHAT_FROM",
    multiple=True,
    metavar="NAME",
    help="Only lines by NAME; may be given several times.",
)
@option("--mentions", envvar="CHAT_MENTIONS", is_flag=True, help="Only lines with your own name in them.")
@option(
    "--no-follow", envvar="CHAT_NO_FOLLOW", is_flag=True, help="End when everything that exists was printed."
)
@timeout_option
@click.pass_obj
def tail(
    common: Common,
    room: str | None,
    as_json: bool,
    since: str | int | Ago | datetime,
    grep: re.Pattern[str] | None,
    senders: tuple[str, ...],
    mentions: bool,
    no_follow: bool,
) -> None:
    """Print what is said in a room, each line once and in order.

    While the broker is away it waits and goes on where it was. Of --grep, --from and --mentions, all that
    are given have to hold.

    \b
    Examples:
      chat-client --name bob tail --no-follow
      chat-client --name bob tail --since 2h --no-follow --json
      chat-client --name bob tail --since all --grep 'build \\d+' --from ci --no-follow
      chat-client --name bob tail --since yesterday --mentions --room ops --no-follow
      chat-client --name bob tail --since now | head -n 1
    """
    where = room or common.room

    async def run() -> int:
        from chat_client.tailing import Wanted, seq_at, tail

        senders_wanted = frozenset(one.removeprefix("@").lower() for one in senders)
        begins_now = isinstance(since, str | int)
        async with common.chat(rooms=(where,) if begins_now else (), start=since) as chat:
            if not isinstance(since, str | int):
                await chat.open(where, await seq_at(chat, where, since))
            wanted = Wanted(grep, senders_wanted, chat.name if mentions else "")
            return await tail(chat, wanted, as_json=as_json, follow=not no_follow)

    sys.exit(run_command(run))


@click.command()
@room_option
@json_option
@timeout_option
@click.pass_obj
def users(common: Common, room: str | None, as_json: bool) -> None:
    """Who is connected, or (with --room) who follows a room.

    \b
    Examples:
      chat-client --name bob users
      chat-client --name bob users --room ops --json
    """

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
    """The rooms you may open.

    \b
    Examples:
      chat-client --name bob rooms
      chat-client --name bob rooms --json
    """

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
