"""For scripts: say what comes on stdin, print what is said."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime

from chat_client import events as ev
from chat_client.client import ChatClient, failure
from chat_client.entries_json import entry_fields
from chat_client.events import Line, Link, Notice
from chat_client.outcome import Outcome, outcome_of, outcome_of_closing
from chat_client.typed import typed_lines
from chat_protocol.errors import BadText, ChatError

OUTSTANDING_MAX = 5_000  # lines said and not stored yet
COMPLAINTS_MAX = 10  # of one kind; the rest are counted


class Sender:
    """Says lines and waits for their answers; `timeout_s` is how long nothing may move."""

    def __init__(self, chat: ChatClient, room: str, timeout_s: float) -> None:
        self._chat = chat
        self._room = room
        self._timeout_s = timeout_s
        self._moved = asyncio.Event()
        self._outcome = Outcome.DONE
        self._failed = 0

    async def send(self, lines: AsyncIterator[str]) -> Outcome:
        """Say all lines, skipping empty ones, and wait until each is stored or failed."""
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
        finally:
            listening.cancel()
        if self._failed > COMPLAINTS_MAX:
            complain(f"and {self._failed - COMPLAINTS_MAX} more lines")
        return self._outcome

    def _post(self, line: str) -> None:
        try:
            self._chat.post(line, self._room)
        except BadText as error:
            self._fail(f"{error.code}: {error}", Outcome.REFUSED)

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
        return self._chat.closed is None

    async def _listen(self) -> None:
        async for event in self._chat.events():
            self._take(event)

    def _drain(self) -> None:
        for event in self._chat.take_events():
            self._take(event)

    def _take(self, event: ev.Event) -> None:
        match event:
            case ev.Stored():
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
            complain(text)


async def stdin_lines() -> AsyncIterator[str]:
    async with aclosing(typed_lines(sys.stdin.fileno())) as lines:
        async for line in lines:
            yield line


async def one_line(text: str) -> AsyncIterator[str]:
    yield text


async def tail(chat: ChatClient, room: str, *, as_json: bool, follow: bool) -> Outcome:
    """Print a room's lines as they come; without `follow`, until all that exist were printed."""
    async for event in chat.events():
        match event:
            case Line() | Notice():
                if not (isinstance(event, Notice) and not event.text):
                    print(_json(event) if as_json else _plain(event), flush=True)
            case ev.Lost(title=title, first=first, last=last):
                complain(f"entries {first} to {last} of {title} are no longer kept")
            case ev.EpochChanged(title=title):
                complain(f"the broker's history was reset or restored; {title} is shown afresh")
            case ev.RoomClosed(title=title, code=code, text=text):
                complain(f"{code}: {text}")
                return Outcome.REFUSED
            case ev.CatchingUp(behind=0) if not follow:
                return Outcome.DONE
            case ev.LinkChanged(link=Link.OFFLINE, reason=reason):
                complain(f"offline ({reason}); trying again")
            case ev.LinkChanged(link=Link.CLOSED, reason=reason):
                complain(reason)
                return outcome_of_closing(event)
    return Outcome.DONE


def complain(text: str) -> None:
    """One sentence on stderr."""
    print(f"chat-client: {text}", file=sys.stderr, flush=True)


def explain(error: ChatError) -> Outcome:
    """A ChatError as a sentence on stderr, with its code if it has one, and as an exit code."""
    code = getattr(error, "code", "")
    complain(f"{code}: {error}" if code else str(error))
    return outcome_of(error)


def _json(event: Line | Notice) -> str:
    return json.dumps(entry_fields(event), ensure_ascii=False)


def _plain(event: Line | Notice) -> str:
    at = datetime.fromtimestamp(event.at / 1_000).strftime("%H:%M")
    if isinstance(event, Notice):
        return f"{at} * {event.text}"
    return f"{at} {event.sender}: " + event.text.replace("\n", "\n      ")
