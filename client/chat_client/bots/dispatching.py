"""One line through a bot: which handlers it concerns, and running them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from dataclasses import dataclass
from typing import Any, Literal, get_args

from chat_client.bots.answering import Answering, HeardLine, Joined, Mouth, answering, speak
from chat_client.bots.arguments import BadArguments
from chat_client.bots.handlers import HELP, Command, Function, Handlers
from chat_client.events import Line
from chat_client.mentions import mentions
from chat_protocol.errors import ChatError
from chat_protocol.messages import HOPS_MAX
from chat_protocol.names import direct_accounts

#: What becomes of lines that were said while the bot was away.
OnRestart = Literal["answer", "skip", "mentions"]
ON_RESTART = get_args(OnRestart)

_log = logging.getLogger("chat_client.bot")


@dataclass(slots=True)
class Dispatcher:
    """Runs the handlers of the bot `name` on lines. `ran` and `failed` count handlers."""

    handlers: Handlers
    name: str
    mouth: Mouth
    on_restart: OnRestart = "answer"
    hears_bots: bool = True
    timeout_s: float | None = None
    ran: int = 0
    failed: int = 0

    async def line(self, line: Line, *, own: bool, missed: bool) -> bool:
        """Let all handlers that a line concerns run to their end, one after the other; True if none failed.
        What they raise is logged. `missed`: it was said while the bot was away."""
        is_direct = direct_accounts(line.room) is not None
        if own or line.hops >= HOPS_MAX or (line.by_bot and not self.hears_bots):
            return True
        if missed and not self._takes_missed(line, is_direct):
            return True
        failed = self.failed
        typed = self.handlers.typed(line.text)
        command = self.handlers.find(typed[0]) if typed else None
        heard = HeardLine(line, self.mouth, is_direct, missed, typed[1] if typed else "")
        if command is not None:
            await self._run(heard, f"!{command.name}", self._command, command, heard)
        elif typed and self._is_for_us(typed[0], is_direct):
            await self._run(heard, f"!{HELP}", self._help_or_not, typed, heard)
        else:
            for function in self.handlers.fitting(line, self.name, is_direct=is_direct):
                await self._run(heard, function.__name__, function, heard)
        return self.failed == failed

    async def joined(self, joined: Joined) -> None:
        """Somebody came; what handlers raise is logged."""
        for function in self.handlers.joins:
            await self._guard(
                function.__name__, f"{joined.name} coming in", self._say_result(function, joined)
            )

    async def timer(self, function: Function) -> None:
        """It is time; what the handler raises is logged."""
        await self._guard(function.__name__, "its time", _call(function))

    def _takes_missed(self, line: Line, is_direct: bool) -> bool:
        if self.on_restart == "mentions":
            return is_direct or mentions(line.text, self.name)
        return self.on_restart == "answer"

    def _is_for_us(self, name: str, is_direct: bool) -> bool:
        """A command that is none of ours: help is everybody's, and in a room of two there is nobody else."""
        return bool(self.handlers.commands) and (name.lower() == HELP or is_direct)

    async def _help_or_not(self, typed: tuple[str, str], heard: HeardLine) -> None:
        name, rest = typed
        if name.lower() == HELP:
            text = self.handlers.help(rest.strip())
        else:
            prefix = self.handlers.prefix
            text = f"there is no {prefix}{name[:40]} here; {prefix}{HELP} tells what there is"
        if text:
            await heard.reply(text)

    async def _command(self, command: Command, heard: HeardLine) -> object:
        try:
            values, named = command.arguments.read(heard.arguments)
        except BadArguments as error:
            await heard.reply(f"{error}. Usage: {command.usage}")
            return None
        return await _call(command.function, heard, *values, **named)

    async def _run(self, heard: HeardLine, name: str, function: Function, *arguments: object) -> None:
        token = answering.set(Answering(heard.event, name))
        try:
            what = f"line {heard.seq} of {heard.room}"
            await self._guard(name, what, self._say_result(function, *arguments, room=heard.event.room))
        finally:
            answering.reset(token)

    async def _say_result(self, function: Function, *arguments: object, room: str = "") -> None:
        """A handler may return its answer."""
        result = await _call(function, *arguments)
        if isinstance(result, str) and result.strip():
            joined = arguments[-1]
            await speak(self.mouth, result, room or getattr(joined, "room", room))

    async def _guard(self, name: str, what: str, work: Any) -> None:
        """Run a handler; whatever it raises is logged, and ends nothing but itself."""
        self.ran += 1
        try:
            async with asyncio.timeout(self.timeout_s) as limit:
                await work
        except Exception as error:
            self.failed += 1
            if limit.expired():
                _log.error("%s was given up on %s: it took longer than %g s", name, what, self.timeout_s)
            elif isinstance(error, ChatError):
                _log.error("%s failed on %s: %s", name, what, error)
            else:
                _log.exception("%s failed on %s", name, what)


async def _call(function: Function, *arguments: object, **named: object) -> object:
    """Call a handler: a coroutine function here, a plain one on a thread, for it may take its time."""
    if inspect.iscoroutinefunction(function):
        return await function(*arguments, **named)
    result = await asyncio.to_thread(function, *arguments, **named)
    return await result if inspect.isawaitable(result) else result
