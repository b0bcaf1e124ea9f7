"""Run a command of `chat-client` to its exit code: errors are one sentence, signals end it as any tool."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click

from chat_client.cli_options import Common
from chat_protocol.errors import BadAddress, BadName, ChatError, SetupError

USAGE = 2

Work = Callable[[], Coroutine[Any, Any, int]]


def run_command(work: Work, *, explained: bool = True) -> int:
    """Find the broker, and run a command to its exit code; errors become one sentence on stderr, or (not
    `explained`) are raised as they are."""
    from chat_client.cli_locating import locate

    ended_by: list[signal.Signals] = []
    try:
        locate(click.get_current_context().ensure_object(Common))
        return int(asyncio.run(_with_goodbye(work, ended_by)))
    except ChatError as error:
        if not explained:
            raise
        return explain_error(error)
    except asyncio.CancelledError:
        return die_of(ended_by[0])
    except KeyboardInterrupt:
        return die_of(signal.SIGINT)
    except BrokenPipeError:  # whoever read us is gone
        return die_of(signal.SIGPIPE)
    except OSError:
        if not ended_by:
            raise
        return die_of(ended_by[0])  # the terminal is gone, and there was something left to write


async def _with_goodbye(work: Work, ended_by: list[signal.Signals]) -> int:
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


def die_of(number: signal.Signals) -> int:
    """End as any Unix tool does, so that a shell's loop or pipeline sees why."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def explain_error(error: ChatError) -> int:
    """Say what went wrong in one sentence on stderr; the exit code."""
    from chat_client.shell import explain

    outcome = int(explain(error))
    return USAGE if isinstance(error, BadName | BadAddress | SetupError) else outcome
