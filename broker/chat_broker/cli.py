"""`chat-broker`: start a broker, and ask a running one."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chat_protocol.errors import ChatError, Unreachable

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def _sentence_on_failure(command: Callable[..., None]) -> Callable[..., None]:
    """A ChatError ends a command with its one sentence and exit code 1 (4 if nobody answers)."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except ChatError as error:
            click.echo(f"chat-broker: {error}", err=True)
            sys.exit(4 if isinstance(error, Unreachable) else 1)

    return run


def _default_data() -> str:
    import platformdirs

    return str(Path(platformdirs.user_data_dir("simple-chat")) / "broker")


option = functools.partial(click.option, show_envvar=True)
data_option = option(
    "--data",
    envvar="CHAT_DATA",
    default=_default_data,
    show_default="the user's data folder",
    type=click.Path(file_okay=False),
    help="The broker's data folder.",
)
json_option = option("--json", "as_json", envvar="CHAT_JSON", is_flag=True, help="Print JSON, for programs.")


@click.group()
@click.version_option(package_name="simple-chat")
def main() -> None:
    """Host a chat: one process, one data folder, encrypted, and no acknowledged line is ever lost.

    \b
    Examples:
      chat-broker start
    """


class _Advertise(click.ParamType[tuple[str, int | None, int | None]]):
    """HOST[:PORT[:FEEDPORT]]; IPv6 hosts in brackets."""

    name = "HOST[:PORT[:FEEDPORT]]"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, int | None, int | None]:
        if isinstance(value, tuple):
            return value
        host, _, rest = value[1:].partition("]") if value.startswith("[") else value.partition(":")
        ports = [part for part in rest.split(":") if part]
        if not host or len(ports) > 2 or not all(p.isdigit() and 0 < int(p) < 65_536 for p in ports):
            self.fail(f"{value!r} is not HOST[:PORT[:FEEDPORT]]", param, ctx)
        numbers = [int(port) for port in ports] + [None, None]
        return host, numbers[0], numbers[1]


class Duration(click.ParamType[int]):
    """A length of time such as 90s, 15m, 12h, 7d; in seconds."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        number, unit = value[:-1], value[-1:]
        if unit not in UNITS_S or not number.isdigit() or not 0 < int(number) * UNITS_S[unit] <= 31_536_000:
            self.fail(f"{value!r} is no length of time up to a year, such as 90s, 15m, 12h or 7d", param, ctx)
        return int(number) * UNITS_S[unit]


@main.command()
@option("--host", envvar="CHAT_HOST", default="127.0.0.1", show_default=True, help="Address to listen on.")
@option(
    "--port",
    envvar="CHAT_PORT",
    default=5555,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="Command port; 0 takes any free ones.",
)
@option(
    "--feed-port",
    envvar="CHAT_FEED_PORT",
    default=None,
    type=click.IntRange(0, 65_535),
    show_default="PORT+1",
    help="Feed port.",
)
@option(
    "--advertise",
    envvar="CHAT_ADVERTISE",
    default=None,
    type=_Advertise(),
    help="What clients elsewhere connect to, where that differs from --host and the ports (NAT).",
)
@data_option
@option("--open", "open_door", envvar="CHAT_OPEN", is_flag=True, help="Let anybody in without an invite.")
@option(
    "--no-announce",
    envvar="CHAT_NO_ANNOUNCE",
    is_flag=True,
    help="Do not let clients on the local network find this broker by themselves.",
)
@option("--no-invite", envvar="CHAT_NO_INVITE", is_flag=True, help="Leave the invite out of the ready line.")
@option(
    "--log-format",
    envvar="CHAT_LOG_FORMAT",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of the broker's own log, on stderr.",
)
@option(
    "--lines-per-s",
    envvar="CHAT_LINES_PER_S",
    type=click.IntRange(1, 1_000_000),
    default=100,
    show_default=True,
    help="Lines a session may say each second, after a burst of 5,000.",
)
@option(
    "--newcomer-lines",
    envvar="CHAT_NEWCOMER_LINES",
    type=click.IntRange(0, 10_000),
    default=50,
    show_default=True,
    help="Recent lines shown to somebody who opens a room for the first time.",
)
@option(
    "--keep-entries",
    envvar="CHAT_KEEP_ENTRIES",
    type=click.IntRange(0),
    default=0,
    show_default="all",
    help="Entries kept in each room; older ones are dropped from time to time.",
)
@_sentence_on_failure
def start(
    host: str,
    port: int,
    feed_port: int | None,
    advertise: tuple[str, int | None, int | None] | None,
    data: str,
    open_door: bool,
    no_announce: bool,
    no_invite: bool,
    log_format: str,
    lines_per_s: int,
    newcomer_lines: int,
    keep_entries: int,
) -> None:
    """Run a broker until Ctrl-C or SIGTERM.

    Prints one line when it is ready: a chat:// URL that lets newcomers in as long as this broker runs,
    and works as an address ever after.

    \b
    Examples:
      chat-broker start
      chat-broker start --host 0.0.0.0 --port 7000 --no-announce
      chat-broker start --host 0.0.0.0 --port 7000 --advertise chat.example.org
    """
    from importlib.metadata import version

    from chat_broker.folder import DataFolder
    from chat_broker.settings import Settings
    from chat_broker.start import Place, serve
    from chat_protocol.messages import Limits

    if feed_port is None:
        feed_port = port + 1 if port else 0
    if feed_port > 65_535 or (port and feed_port == port):
        raise click.UsageError("--feed-port must be another port than --port, at most 65535")
    settings = Settings(
        limits=Limits(lines_per_s=lines_per_s),
        open=open_door,
        newcomer_lines=newcomer_lines,
        keep_entries=keep_entries,
        software=f"simple-chat {version('simple-chat')}",
    )
    if open_door:
        click.echo("chat-broker: the door is open: anybody who reaches this port may come in", err=True)
    place = Place(host, port, feed_port, advertise, announce=not no_announce)
    serve(DataFolder(Path(data)), place, settings, print_invite=not no_invite, log_format=log_format)


@main.command()
@data_option
@json_option
@_sentence_on_failure
def status(data: str, as_json: bool) -> None:
    """Figures about the running broker.

    \b
    Examples:
      chat-broker status
      chat-broker status --json
    """
    from chat_protocol.address import fingerprint
    from chat_protocol.messages import Report, Status

    with _operator(data) as operator:
        figures = operator.ask(Status, Report).figures
        address = operator.address
        figures = [("address", address.place), ("fingerprint", fingerprint(address.key or b"")), *figures]
    if as_json:
        click.echo(json.dumps(dict(figures)))
        return
    for name, figure in figures:
        click.echo(f"{name.replace('_', ' '):<18} {figure}")


@main.command()
@data_option
@json_option
@_sentence_on_failure
def users(data: str, as_json: bool) -> None:
    """Who is connected.

    \b
    Examples:
      chat-broker users
    """
    with _operator(data) as operator:
        names = list(operator.users())
    if as_json:
        click.echo(json.dumps(names))
    elif names:
        click.echo("\n".join(names))
    else:
        click.echo("nobody is connected", err=True)


@main.command()
@data_option
@json_option
@_sentence_on_failure
def rooms(data: str, as_json: bool) -> None:
    """Public and private rooms: how many entries, how many people.

    \b
    Examples:
      chat-broker rooms --json
    """
    with _operator(data) as operator:
        infos = list(operator.rooms())
    if as_json:
        click.echo(
            json.dumps(
                [
                    {"room": i.room, "kind": i.kind.name.lower(), "entries": i.head, "present": i.count}
                    for i in infos
                ]
            )
        )
        return
    for info in infos:
        kind = info.kind.name.lower()
        click.echo(f"{info.room:<34} {kind:<8} {info.head:>9} entries  {info.count:>5} here")


@main.command()
@data_option
@option(
    "--uses",
    envvar="CHAT_USES",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    metavar="N",
    help="How many may use it.",
)
@option(
    "--expires",
    envvar="CHAT_EXPIRES",
    type=Duration(),
    default="7d",
    show_default=True,
    help="For how long it is good, such as 90s, 15m, 12h or 7d.",
)
@_sentence_on_failure
def invite(data: str, uses: int, expires: int) -> None:
    """Print a chat:// URL that lets newcomers in.

    \b
    Examples:
      chat-broker invite
      chat-broker invite --uses 5 --expires 2d
    """
    from chat_broker.auth import new_keys
    from chat_protocol.address import Address
    from chat_protocol.messages import Done, Invite

    keys = new_keys()
    with _operator(data) as operator:
        operator.ask(lambda request, token: Invite(request, token, keys.public, uses, expires), Done)
        public = operator.public_address
    click.echo(Address(public.host, public.port, public.key, keys.secret))


@main.command()
@data_option
@click.argument("file", type=click.Path(dir_okay=False))
@_sentence_on_failure
def backup(data: str, file: str) -> None:
    """Write a backup to FILE, also while the broker runs.

    To restore, put FILE as chat.db into an empty folder and start a broker there with --data.

    \b
    Examples:
      chat-broker backup "chat-$(date +%F).db"
    """
    from chat_broker.folder import DataFolder
    from chat_broker.start import backup_stopped
    from chat_protocol.errors import SetupError
    from chat_protocol.messages import Backup, Done

    path = str(Path(file).absolute())
    folder = DataFolder(Path(data))
    if folder.is_served():
        with _operator(data) as operator:
            operator.ask(lambda request, token: Backup(request, token, path), Done, 3_600)
    elif (folder.path / "chat.db").exists():
        backup_stopped(folder, path)
    else:
        raise SetupError(f"there is no broker's data in {data}; name the folder with --data")
    click.echo(f"backed up to {file}", err=True)


@main.command()
@data_option
@click.argument("name")
@_sentence_on_failure
def ban(data: str, name: str) -> None:
    """Shut NAME out; it reads nothing more.

    \b
    Examples:
      chat-broker ban mallory
    """
    from chat_protocol.messages import Ban, Done

    with _operator(data) as operator:
        operator.ask(lambda request, token: Ban(request, token, name), Done)


@main.command()
@data_option
@click.argument("name")
@_sentence_on_failure
def unban(data: str, name: str) -> None:
    """Let NAME in again.

    \b
    Examples:
      chat-broker unban mallory
    """
    from chat_protocol.messages import Done, Unban

    with _operator(data) as operator:
        operator.ask(lambda request, token: Unban(request, token, name), Done)


@main.command()
@data_option
@click.argument("name")
@click.argument("lines_per_s", type=click.IntRange(0, 1_000_000))
@_sentence_on_failure
def rate(data: str, name: str, lines_per_s: int) -> None:
    """Set how many lines a second NAME may say.

    For bots that say more than people do; 0 returns to the default.

    \b
    Examples:
      chat-broker rate ci 1000
      chat-broker rate ci 0
    """
    from chat_protocol.messages import Done, Rate

    with _operator(data) as operator:
        operator.ask(lambda request, token: Rate(request, token, name, lines_per_s), Done)


@main.command()
@data_option
def doctor(data: str) -> None:
    """Look for what is wrong, and say what to do about it.

    Looks at the machine, the data folder and, if one runs, the broker. Exits 1 if something is wrong.

    \b
    Examples:
      chat-broker doctor
    """
    from chat_broker.doctor import examine
    from chat_broker.folder import DataFolder

    failed = False
    for finding in examine(DataFolder(Path(data))):
        failed |= not finding.good
        click.echo(f"{'ok  ' if finding.good else 'FAIL'}  {finding.text}")
    sys.exit(1 if failed else 0)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what SHELL has to read to complete chat-broker's commands and options.

    \b
    Examples, for ~/.bashrc, ~/.zshrc (after compinit) and ~/.config/fish/config.fish:
      eval "$(chat-broker completion bash)"
      eval "$(chat-broker completion zsh)"
      chat-broker completion fish | source
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None, "click knows these shells"
    click.echo(made(context.find_root().command, {}, "chat-broker", "_CHAT_BROKER_COMPLETE").source())


def _operator(data: str) -> Any:
    from chat_broker.folder import DataFolder
    from chat_broker.operator import Operator

    return Operator(DataFolder(Path(data)))
