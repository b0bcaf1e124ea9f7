"""`chat-client doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

import sys

import click

from chat_client.cli_options import Common, timeout_option
from chat_client.cli_running import run_command
from chat_protocol.errors import Unreachable


@click.command()
@timeout_option
@click.pass_obj
def doctor(common: Common) -> None:
    """Look for what is wrong, and say what to do about it.

    Looks for the broker, its key, both of its ports, the clocks and the versions. Exits 1 if something is
    wrong. Makes no account.

    \b
    Examples:
      chat-client --name bob doctor
    """
    from chat_client.cli_locating import locate

    name, named = common.checked_name(), common.broker

    async def run() -> int:
        from chat_client.doctor import examine
        from chat_client.finding import default_home

        is_well, home = True, common.home or default_home()
        searched = common.broker != named
        async for finding in examine(name, common.broker, home, common.timeout_s, searched=searched):
            is_well &= finding.good
            _verdict(finding.good, finding.text)
        return 0 if is_well else 1

    try:
        locate(common)
    except Unreachable as error:
        _verdict(False, str(error))
        sys.exit(1)
    sys.exit(run_command(run))


def _verdict(good: bool, text: str) -> None:
    click.echo(f"{'ok  ' if good else 'FAIL'}  {text}")
