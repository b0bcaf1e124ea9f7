"""The line client: typed lines in, rows out.

At a terminal `prompt` does it, with an input line that nothing disturbs. This module does it plainly:
in pipes, and on terminals that can't move their cursor (TERM=dumb). There rows go to stdout, one flush
each and no escape codes, and whatever was not done is said on stderr.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import tzinfo
from typing import TextIO

from chat_client.conversation import Conversation, Next
from chat_client.front import Chat
from chat_client.outcome import Outcome, outcome_of, outcome_of_closing
from chat_client.rows import Row, RowKind, plain, reason
from chat_client.typed import typed_lines
from chat_protocol.errors import ChatError

ANSWERED_S = 30.0  # how long the last lines may take to be stored
SHOWN_S = 2.0  # and then to be shown


async def run_line(
    chat: Chat,
    *,
    room: str,
    interactive: bool,
    stdin: TextIO,
    stdout: TextIO,
    stderr: TextIO | None = None,
    clock: Callable[[], float] = time.time,
    tz: tzinfo | None = None,
) -> Outcome:
    """Talk until the person leaves, stdin ends or the session is closed; what comes back is the exit code.

    `chat` is connected, and nobody else reads its events; the caller closes it afterwards. `interactive`:
    a person sits before stdin and stdout. None for stderr is `sys.stderr`, for tz local time; `clock`
    gives seconds since 1970.
    """
    stderr = stderr or sys.stderr
    if interactive and os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
        from chat_client.prompt import run_prompt, terminal  # slow to import, and not needed in a pipe

        screen = terminal(stdin, stdout)
        return await run_prompt(chat, room=room, screen=screen, stderr=stderr, clock=clock, tz=tz)
    paper = _Paper(stdout, stderr)
    conversation = Conversation(chat, paper.show, clock=clock, tz=tz)
    return await _run_plain(conversation, paper, room, stdin, person=interactive)


async def _run_plain(
    conversation: Conversation, paper: _Paper, room: str, stdin: TextIO, *, person: bool
) -> Outcome:
    stop = _Interrupts(paper) if person else None
    talking = asyncio.create_task(_talk(conversation, room, stdin, stop, person=person))
    listening = asyncio.create_task(conversation.listen())
    torn = asyncio.create_task(paper.torn.wait())
    tasks = (listening, talking, torn)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if talking.done():
            talking.result()
        elif listening.done():
            listening.result()
        talking.cancel()
        await conversation.settle(ANSWERED_S, SHOWN_S)
    except ChatError as error:
        paper.complain(str(error))
        return outcome_of(error)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if stop is not None:
            stop.close()
    outcome = Outcome.DONE if person and conversation.outcome < Outcome.UNKNOWN else conversation.outcome
    if conversation.closed is None:
        return outcome
    paper.complain(conversation.closed.reason)
    return max(outcome, outcome_of_closing(conversation.closed))


async def _talk(
    conversation: Conversation, room: str, stdin: TextIO, stop: _Interrupts | None, *, person: bool
) -> None:
    await conversation.start(room, person=person)
    async with aclosing(typed_lines(stdin.fileno())) as lines:
        async for line in lines:
            if stop is not None:
                stop.armed = False
            what = await conversation.take(line)
            if what is Next.LEAVE:
                return
            if what is Next.STOP and not person:
                conversation.stop_reading()
                return


class _Paper:
    """Rows as plain text, flushed one by one. `torn` is set when nobody reads them any more."""

    def __init__(self, stdout: TextIO, stderr: TextIO) -> None:
        self.torn = asyncio.Event()
        self._stdout = stdout
        self._stderr = stderr

    def show(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._write(self._stderr if row.kind is RowKind.PROBLEM else self._stdout, plain(row))

    def complain(self, text: str) -> None:
        """One sentence on stderr; nothing if there is nothing to say."""
        if text:
            self._write(self._stderr, reason(text))

    def _write(self, stream: TextIO, text: str) -> None:
        encoding = stream.encoding or "utf-8"
        try:
            stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
            stream.flush()
        except OSError as error:
            _silence(stream)
            if stream is self._stdout:
                self.torn.set()
                if error.errno != errno.EPIPE:
                    self.complain(f"the transcript can't be written: {error.strerror}")


def _silence(stream: TextIO) -> None:
    """Send what is still buffered nowhere, or the interpreter would fail on it once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class _Interrupts:
    """Ctrl-C on a terminal without a prompt: the terminal clears the line; twice in a row leaves."""

    def __init__(self, paper: _Paper) -> None:
        self.armed = False
        self._paper = paper
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)

    def _interrupt(self) -> None:
        if self.armed:
            self._paper.torn.set()
            return
        self.armed = True
        self._paper.complain("Ctrl-C once more leaves")

    def close(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
