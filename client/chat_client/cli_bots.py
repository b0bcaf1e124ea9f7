"""`chat-client exec` and `replay`: programs as bots, and bots on a room's past."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from chat_client.cli_options import Common, as_room, json_option, option, room_option, timeout_option
from chat_client.cli_running import run_command
from chat_client.since import Ago, parse_moment

HANDLER_FAILED = 1


def _as_rooms(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str | None, ...]:
    return tuple(as_room(context, parameter, room) for room in value)


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@option(
    "--room",
    "room",
    multiple=True,
    callback=_as_rooms,
    metavar="ROOM",
    help="Where to listen; may be given several times. Else CHAT_ROOM or the lobby.",
)
@option(
    "--since",
    envvar="CHAT_SINCE",
    type=click.Choice(["resume", "now", "recent", "all"]),
    default="resume",
    show_default=True,
    help="Begin after what the program was done with, with what comes now, with the recent lines, or with "
    "the first.",
)
@timeout_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def execute(common: Common, room: tuple[str, ...], since: str, command: tuple[str, ...]) -> None:
    """Run COMMAND as a bot: what happens goes to its stdin, what it writes is said.

    It reads one JSON object a line, as `tail --json` prints them, with bot, hops and replayed besides, and
    kind joined or left for who comes and goes. Each line it writes is said in the first room. A JSON object
    says more: {"text": "4", "room": "#ops", "answers": 12} is the answer to line 12 of #ops, stored once
    however often it is written; {"done": 12, "room": "#ops"} makes 12 the line after which it goes on when
    it is started again.

    It is started again when it dies; exit code 0 means that it has finished. Its stderr is left as it is.

    \b
    Examples:
      chat-client --name ci exec sh -c 'echo "a bot says hello"'
    """

    async def run() -> int:
        from chat_client.bots.executing import Executor
        from chat_client.shell import complain

        async with common.chat() as chat:
            executor = Executor(
                chat,
                command,
                room or (common.room,),
                since=0 if since == "all" else since,
                timeout_s=common.timeout_s,
                complain=complain,
            )
            return await executor.run()

    sys.exit(run_command(run))


def _since(_context: click.Context, _parameter: click.Parameter, value: str) -> int | Ago | datetime:
    if value == "all":
        return 0
    if value.isdecimal():
        return int(value)
    try:
        return parse_moment(value, datetime.now())
    except ValueError as error:
        raise click.BadParameter(f"{error}; or all, or the seq of a line") from None


@click.command()
@room_option
@json_option
@option(
    "--since",
    envvar="CHAT_SINCE",
    default="all",
    show_default=True,
    callback=_since,
    metavar="all|SEQ|MOMENT",
    help="Begin with the first line, after the line SEQ, or with a moment: 2h, 9:00, yesterday, 2026-03-31.",
)
@timeout_option
@click.argument("bot")
@click.pass_obj
def replay(common: Common, room: str | None, as_json: bool, since: int | Ago | datetime, bot: str) -> None:
    """Run BOT over what was said in a room, and print what it would have said. Nothing is sent.

    BOT is module:name or a file, as in examples/dice_bot.py. It gets the lines one after the other, with
    its own left out, and a folder that is empty and goes away. Exits 1 if one of its handlers failed.
    """
    where = room or common.room

    async def run() -> int:
        from chat_client import replaying
        from chat_client.rows import plural
        from chat_client.shell import complain
        from chat_client.tailing import seq_at

        one = replaying.find_bot(bot)
        async with common.chat() as chat:
            after = since if isinstance(since, int) else await seq_at(chat, where, since)
            replay = replaying.Replay(chat, one, where, after)
            await replay.run(
                lambda line, said: click.echo(
                    replaying.as_json(line, said) if as_json else replaying.as_text(one.name, line, said)
                )
            )
        complain(
            f"{one.name} heard {replay.heard} lines of {where} and would have answered {replay.answered}"
            + (f"; {plural(replay.failed, 'handler', 'handlers')} failed" if replay.failed else "")
        )
        return HANDLER_FAILED if replay.failed else 0

    sys.exit(run_command(run))
