"""`chat-client invite`, `devices` and `revoke`: the devices of one's account."""

from __future__ import annotations

import sys

import click

from chat_client.cli_options import Common, option
from chat_client.cli_running import run_command


@click.command()
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

    \b
    Examples:
      chat-client --name bob invite --device
      chat-client --name bob invite --device --expires-s 3600
    """

    async def run() -> int:
        async with common.chat() as chat:
            click.echo(await chat.invite(uses=uses, expires_s=expires_s, device=device))
        return 0

    sys.exit(run_command(run))


@click.command()
@click.pass_obj
def devices(common: Common) -> None:
    """The keys of your account; each device has its own.

    \b
    Examples:
      chat-client --name bob devices
    """

    async def run() -> int:
        from datetime import datetime

        from chat_protocol.address import encode_key

        async with common.chat() as chat:
            for device in await chat.devices():
                added = datetime.fromtimestamp(device.added / 1_000).strftime("%Y-%m-%d %H:%M")
                click.echo(f"{encode_key(device.key)}  {added}{'  this one' if device.current else ''}")
        return 0

    sys.exit(run_command(run))


@click.command(context_settings={"ignore_unknown_options": True})  # a key may begin with a dash
@click.argument("key")
@click.pass_obj
def revoke(common: Common, key: str) -> None:
    """Shut a device of yours out; KEY is as `devices` prints it.

    \b
    Examples:
      chat-client --name bob revoke "$(chat-client --name bob devices | grep -v 'this one' | cut -d' ' -f1)"
    """

    async def run() -> int:
        from chat_protocol.address import decode_key

        async with common.chat() as chat:
            await chat.revoke(decode_key(key))
        return 0

    sys.exit(run_command(run))
