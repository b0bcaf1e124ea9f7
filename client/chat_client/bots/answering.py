"""What a bot says: in answer to the line it is handling, or of itself.

An answer has a `once` key that follows from the line it answers, from which handler it comes and which of
that handler's answers it is. So it is stored once, even if the bot died between saying it and knowing, and
handles the line again. It carries one hop more than the line, so that bots that answer each other end.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from chat_client.events import Line, Position
from chat_protocol.errors import Code, OutcomeUnknown, Refused
from chat_protocol.messages import HOPS_MAX

SAY_AGAIN_S = 1.0  # first pause before an answer that was not stored is said again; it doubles
SAY_AGAIN_MAX_S = 30.0
SAY_TRIES = 10
OWN_HOPS = 1  # of what a bot says of itself

_log = logging.getLogger("chat_client.bot")


class Mouth(Protocol):
    """What a bot speaks through: a ChatClient, or what stands in its place."""

    async def say(
        self, text: str, room: str, *, once: bytes | None = None, hops: int = 0
    ) -> Position | None: ...


@dataclass(slots=True)
class Answering:
    """A handler at work on a line. `count` are the answers so far."""

    line: Line
    handler: str
    count: int = 0

    def next_key(self) -> bytes:
        self.count += 1
        return self.line.answer_key(f"{self.handler} {self.count}")


#: What the present task is handling; tasks that a handler begins inherit it.
answering: ContextVar[Answering | None] = ContextVar("answering", default=None)


async def speak(mouth: Mouth, text: str, room: str) -> Position | None:
    """Say a line, as an answer if one is being given; None if it was one too many between bots.

    An answer that a full disk or a broken link kept from being stored is said again for a while: its key
    makes that safe. Raises BadText, Refused, or OutcomeUnknown as `ChatClient.say` does.
    """
    work = answering.get()
    if work is None:
        return await mouth.say(text, room, hops=OWN_HOPS)
    hops = work.line.hops + 1
    if hops > HOPS_MAX:
        _log.info("not answered: bots have answered each other %d times in a row", HOPS_MAX)
        return None
    once, pause_s = work.next_key(), SAY_AGAIN_S
    for tries_left in range(SAY_TRIES, -1, -1):
        try:
            return await mouth.say(text, room, once=once, hops=hops)
        except (Refused, OutcomeUnknown) as error:
            if not tries_left or not _may_pass(error):
                raise
            _log.warning("an answer is said again in %g s: %s", pause_s, error)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, SAY_AGAIN_MAX_S)
    raise AssertionError("the last try returns or raises")


def _may_pass(error: Refused | OutcomeUnknown) -> bool:
    return isinstance(error, OutcomeUnknown) or error.code in (Code.STORAGE_FULL, Code.STORAGE_FAILED)


@dataclass(frozen=True, slots=True)
class HeardLine:
    """A line as a bot's handlers get it. `is_direct`: it was said to the bot alone. `replayed`: it was said
    while the bot was away, which catches up; else it is live. `arguments` is what stands behind a command,
    as it was typed."""

    event: Line
    mouth: Mouth = field(repr=False)
    is_direct: bool = False
    replayed: bool = False
    arguments: str = ""

    @property
    def sender(self) -> str:
        return self.event.sender

    @property
    def text(self) -> str:
        return self.event.text

    @property
    def room(self) -> str:
        """Where it was said, as people call it: #lobby, or @alice if she said it to the bot alone."""
        return self.event.title

    @property
    def seq(self) -> int:
        return self.event.seq

    @property
    def at(self) -> int:
        """When, in milliseconds since 1970 by the broker's clock."""
        return self.event.at

    @property
    def hops(self) -> int:
        return self.event.hops

    @property
    def by_bot(self) -> bool:
        return self.event.by_bot

    async def reply(self, text: str) -> Position | None:
        """Answer in the same room; returns where it is stored. See `speak` for what it raises."""
        return await speak(self.mouth, text, self.event.room)


@dataclass(frozen=True, slots=True)
class Joined:
    """Somebody came into a room where the bot is; its handlers get this."""

    name: str
    room: str
    mouth: Mouth = field(repr=False)

    async def reply(self, text: str) -> Position | None:
        """Say something in that room."""
        return await speak(self.mouth, text, self.room)
