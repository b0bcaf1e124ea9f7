"""Print what is said in a room, all of it or what somebody looks for."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from chat_client import events as ev
from chat_client.client import ChatClient
from chat_client.entries_json import entry_fields
from chat_client.events import Line, Link, Notice
from chat_client.mentions import mentions
from chat_client.outcome import Outcome, outcome_of_closing
from chat_client.shell import complain
from chat_client.since import Ago, seq_before

Shown = Callable[[Line | Notice], str]


@dataclass(frozen=True)
class Wanted:
    """Which lines to print: those that everything given here holds for. Nothing given: all, and notices."""

    pattern: re.Pattern[str] | None = None
    senders: frozenset[str] = frozenset()  # in lower case
    mentioned: str = ""

    def takes(self, event: Line | Notice) -> bool:
        if isinstance(event, Notice):
            return bool(event.text) and self == Wanted()
        if self.pattern is not None and not self.pattern.search(event.text):
            return False
        if self.senders and event.sender.lower() not in self.senders:
            return False
        return not self.mentioned or mentions(event.text, self.mentioned)


async def tail(chat: ChatClient, wanted: Wanted, *, as_json: bool, follow: bool) -> Outcome:
    """Print a room's lines as they come; without `follow`, until all that exist were printed. Raises
    BrokenPipeError as soon as nobody reads them any more, not only when the next one comes."""
    printing = asyncio.create_task(_print_lines(chat, wanted, as_json=as_json, follow=follow))
    unread = asyncio.create_task(_nobody_reads())
    try:
        await asyncio.wait([printing, unread], return_when=asyncio.FIRST_COMPLETED)
        if printing.done():
            return printing.result()
        raise BrokenPipeError
    finally:
        for task in (printing, unread):
            task.cancel()
        await asyncio.gather(printing, unread, return_exceptions=True)


async def _nobody_reads() -> None:
    """Wait until the reader of stdout has closed it; for ever if stdout is no pipe."""
    loop, closed = asyncio.get_running_loop(), asyncio.Event()
    try:
        fd = sys.stdout.fileno()
        is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        is_pipe = False  # not even a file
    if not is_pipe:
        await closed.wait()
    loop.add_reader(fd, closed.set)  # nothing can be read there: what is reported is its end
    try:
        await closed.wait()
    finally:
        loop.remove_reader(fd)


async def _print_lines(chat: ChatClient, wanted: Wanted, *, as_json: bool, follow: bool) -> Outcome:
    shown: Shown = _json if as_json else _plain
    async for event in chat.events():
        match event:
            case Line() | Notice():
                if wanted.takes(event):
                    print(shown(event), flush=True)
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


async def seq_at(chat: ChatClient, room: str, moment: Ago | datetime) -> int:
    """The seq of the last entry of a room before a moment, by the broker's clock. Raises Refused."""
    if isinstance(moment, Ago):
        at = chat.broker_time() - moment.seconds * 1_000
    else:
        at = round(moment.timestamp() * 1_000)

    async def first_after(seq: int) -> tuple[int, int] | None:
        entries = await chat.history(room, seq, 1)
        return (entries[0].seq, entries[0].at) if entries else None

    return await seq_before(first_after, await chat.head(room), at)


def _json(event: Line | Notice) -> str:
    return json.dumps(entry_fields(event), ensure_ascii=False)


def _plain(event: Line | Notice) -> str:
    at = datetime.fromtimestamp(event.at / 1_000).strftime("%H:%M")
    if isinstance(event, Notice):
        return f"{at} * {event.text}"
    return f"{at} {event.sender}: " + event.text.replace("\n", "\n      ")
