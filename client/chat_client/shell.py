"""For scripts: say what comes on stdin, wait until it is stored, and for an answer."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from chat_client import events as ev
from chat_client.client import ChatClient, failure
from chat_client.events import Line, Link
from chat_client.outcome import Outcome, outcome_of, outcome_of_closing
from chat_client.paste import pasted
from chat_client.progress import Progress, share_of_file
from chat_client.typed import typed_lines, typed_text
from chat_protocol.errors import BadText, ChatError, Code
from chat_protocol.messages import Limits

OUTSTANDING_MAX = 5_000  # lines said and not stored yet
COMPLAINTS_MAX = 10  # of one kind; the rest are counted
HEARD_MAX = 1_000  # lines of others that may be the answer, until it is known where one's own stand
PASTE_BYTES_MAX = 4 << 20


class Sender:
    """Says lines and waits for their answers; `timeout_s` is how long nothing may move.

    Where the room is followed, `answer` is, after `send` with `answer_s`, the first line that somebody else
    said there after the last one said here.
    """

    def __init__(
        self, chat: ChatClient, room: str, timeout_s: float, progress: Progress | None = None
    ) -> None:
        self._chat = chat
        self._room = room
        self._timeout_s = timeout_s
        self._progress = progress
        self._moved = asyncio.Event()
        self._outcome = Outcome.DONE
        self._said = self._failed = 0
        self._last_seq = 0
        self._heard: deque[Line] = deque(maxlen=HEARD_MAX)
        self.answer: Line | None = None

    async def send(self, lines: AsyncIterator[str], *, answer_s: float = 0.0) -> Outcome:
        """Say all lines, skipping empty ones, wait until each is stored or failed, and then up to
        `answer_s` for an answer."""
        listening = asyncio.create_task(self._listen())
        try:
            async for line in lines:
                if line.strip():
                    self._post(line)
                while self._chat.unanswered() >= OUTSTANDING_MAX and await self._wait():
                    pass
                if self._chat.closed:
                    break
            while self._chat.unanswered() and await self._wait():
                pass
            if answer_s and self._outcome is Outcome.DONE:
                await self._wait_for_answer(answer_s)
        finally:
            listening.cancel()
            if self._progress is not None:
                self._progress.end(self._stored)
        if self._failed > COMPLAINTS_MAX:
            complain(f"and {self._failed - COMPLAINTS_MAX} more lines")
        return self._outcome

    @property
    def _stored(self) -> int:
        return self._said - self._failed - self._chat.unanswered()

    def _post(self, line: str) -> None:
        self._said += 1
        try:
            self._chat.post(line, self._room)
        except BadText as error:
            self._fail(f"{error.code}: {error}", Outcome.REFUSED)
        self._draw()

    async def _wait(self) -> bool:
        """Wait for something to move; False if nothing did, and everything is given up."""
        self._moved.clear()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._moved.wait()
        except TimeoutError:
            self._chat.give_up(f"no answer for {self._timeout_s:g} s")
            await asyncio.sleep(0)
            self._drain()
            return False
        self._draw()
        return self._chat.closed is None

    async def _wait_for_answer(self, seconds: float) -> None:
        if not self._said:
            complain("nothing was said, so nobody answers")
            self._outcome = Outcome.NO_ANSWER
            return
        try:
            async with asyncio.timeout(seconds):
                while self._chat.closed is None:
                    self.answer = next((line for line in self._heard if line.seq > self._last_seq), None)
                    if self.answer is not None:
                        return
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            complain(f"stored, but nobody answered within {seconds:g} s")
            self._outcome = Outcome.NO_ANSWER

    async def _listen(self) -> None:
        async for event in self._chat.events():
            self._take(event)

    def _drain(self) -> None:
        for event in self._chat.take_events():
            self._take(event)

    def _take(self, event: ev.Event) -> None:
        match event:
            case ev.Line():
                if not event.own:
                    self._heard.append(event)
                    self._moved.set()
            case ev.Stored(position=position):
                self._last_seq = max(self._last_seq, position.seq)
                self._moved.set()
            case ev.Failed():
                self._moved.set()
                error = failure(event)
                code = "" if event.unknown else f"{event.code}: "
                if event.unknown:
                    self._fail(str(error), Outcome.UNKNOWN)
                elif event.code == "closed":
                    self._fail(f"not sent, the broker is not reachable: {event.text}", Outcome.UNREACHABLE)
                else:
                    self._fail(f"{code}{error}", Outcome.REFUSED)
            case ev.LinkChanged(link=Link.CLOSED):
                self._moved.set()
                self._outcome = max(self._outcome, outcome_of_closing(event))

    def _fail(self, text: str, outcome: Outcome) -> None:
        self._outcome = max(self._outcome, outcome)
        self._failed += 1
        if self._failed <= COMPLAINTS_MAX:
            if self._progress is not None:
                self._progress.clear()
            complain(text)

    def _draw(self) -> None:
        if self._progress is not None:
            self._progress.moved(self._said, self._stored)


async def what_to_say(
    text: str | None, *, fenced: bool, title: str, limits: Limits
) -> AsyncGenerator[str, None]:
    """The text, or else what comes on stdin: each line by itself, or `fenced` as few lines as hold it all.

    Raises BadText if what is to be fenced is too much.
    """
    if not fenced and text is None:
        async with aclosing(typed_lines(sys.stdin.fileno())) as lines:
            async for line in lines:
                yield line
        return
    if text is None:
        text = await typed_text(sys.stdin.fileno(), PASTE_BYTES_MAX)
    if text is None:
        raise BadText(
            Code.LINE_TOO_LONG,
            f"more than {PASTE_BYTES_MAX >> 20} MiB came on stdin, and nothing was said; say less of it "
            "(| tail -n 1000)",
        )
    if not fenced:
        yield text
        return
    for line in pasted(text, title, line_bytes=limits.line_bytes, line_rows=limits.line_rows):
        yield line


def progress_of_stdin() -> Progress | None:
    """For a person who looks on; scripts, log files and dumb terminals are spared."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return None
    return Progress(sys.stderr, share_of_file(sys.stdin.fileno()))


def complain(text: str) -> None:
    """One sentence on stderr."""
    print(f"chat-client: {text}", file=sys.stderr, flush=True)


def explain(error: ChatError) -> Outcome:
    """A ChatError as a sentence on stderr, with its code if it has one, and as an exit code."""
    code = getattr(error, "code", "")
    complain(f"{code}: {error}" if code else str(error))
    return outcome_of(error)
