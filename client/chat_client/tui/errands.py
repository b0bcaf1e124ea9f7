"""Typed lines, carried out one after the other: what follows /join is said where that leads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from chat_client.conversation import Conversation, Next


@dataclass(frozen=True, slots=True)
class Errand:
    """`room` is where it was typed, "" if something typed before leads elsewhere; `goes`: this does."""

    typed: str
    room: str
    goes: bool


class Errands:
    """What was typed and is not done. `give_back` gets what is not going to be done, and why."""

    def __init__(
        self, conversation: Conversation, changed: Callable[[], None], give_back: Callable[[str, str], None]
    ) -> None:
        self._conversation = conversation
        self._changed = changed
        self._give_back = give_back
        self._errands: deque[Errand] = deque()  # the first is being carried out
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()  # nothing is being carried out, and nothing is going to be
        self._idle.set()

    @property
    def waiting(self) -> list[str]:
        return [errand.typed for errand in self._errands]

    @property
    def lead_elsewhere(self) -> bool:
        """Whether one may be in another room when they are done."""
        return any(errand.goes for errand in self._errands)

    def add(self, typed: str, here: str, *, goes: bool) -> None:
        self._errands.append(Errand(typed, "" if self.lead_elsewhere else here, goes))
        self._arrived.set()
        self._idle.clear()

    async def until_done(self) -> None:
        """Wait until nothing is being carried out."""
        await self._idle.wait()

    async def run(self) -> None:
        """Carry them out until one is to leave."""
        try:
            await self._carry_out()
        finally:
            self._idle.set()

    async def _carry_out(self) -> None:
        while True:
            while not self._errands:
                self._idle.set()
                self._arrived.clear()
                await self._arrived.wait()
            errand = self._errands[0]
            what = await self._conversation.take(errand.typed, errand.room)
            self._errands.popleft()
            if what is Next.LEAVE:
                return
            if what is Next.STOP:
                self.drop("the command before it failed")
            self._changed()

    def drop(self, why: str) -> None:
        """Do none of what is left."""
        while self._errands:
            self._give_back(self._errands.popleft().typed, why)
