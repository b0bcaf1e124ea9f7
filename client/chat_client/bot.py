"""Bots: programs that listen and answer, and go on where they were.

from chat_client import Bot

bot = Bot("dice")

@bot.command("roll", help="roll one die")
async def roll(line, sides: int = 6):
    await line.reply(f"{line.sender} rolled {random.randint(1, sides)}")

bot.run()
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from chat_client.bots.answering import HeardLine, Joined, Mouth, speak
from chat_client.bots.dispatching import ON_RESTART, Dispatcher, OnRestart
from chat_client.bots.folder import BotFolder
from chat_client.bots.handlers import Handlers, Timer
from chat_client.bots.loading import is_loading
from chat_client.bots.running import Runner
from chat_client.client import ChatClient
from chat_client.events import Position
from chat_client.outcome import Outcome, outcome_of, outcome_of_closing
from chat_protocol.errors import CallerError, ChatError, SetupError, Unreachable
from chat_protocol.messages import LOBBY
from chat_protocol.names import check_name

HANDLER_S = 300.0
USAGE = 2
COME_AGAIN_S = 1.0  # first pause before the bot tries again to come in; it doubles
COME_AGAIN_MAX_S = 30.0

_log = logging.getLogger("chat_client.bot")

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Bot:
    """A bot, its commands and its handlers. Declare those, then `run` it.

    `name` is its account (else CHAT_NAME). `rooms` are where it listens (else CHAT_ROOM, several separated
    by spaces; else the lobby); private rooms it was added to and what is said to it alone come by
    themselves. `broker` and `home` are found as chat-client finds them: CHAT_BROKER, CHAT_HOME.

    `on_restart` says what becomes of what was said while it was away: "answer" it as if it were said now,
    "skip" it, or take only "mentions" of the bot and what was said to it alone. A bot that comes into a room
    for the first time begins with what is said from then on. Commands begin with `prefix`. With `hears_bots`
    False it does not listen to other bots. A handler that takes longer than `handler_timeout_s` is given up.

    Handlers are `async def`, or plain functions, which run on a thread of their own; both may return their
    answer as a str. They get a `HeardLine` (on_join: a `Joined`), and run one after the other for the lines
    of one room. What they say is in answer to that line: stored once, whatever befalls the bot. A handler
    that raises is logged and done with. The bot never hears itself.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        rooms: Iterable[str] | None = None,
        broker: str | None = None,
        home: Path | None = None,
        on_restart: OnRestart = "answer",
        prefix: str = "!",
        hears_bots: bool = True,
        handler_timeout_s: float | None = HANDLER_S,
    ) -> None:
        self.handlers = Handlers(prefix)
        self.on_restart: OnRestart = on_restart
        self.hears_bots = hears_bots
        self.handler_timeout_s = handler_timeout_s
        self._name = name
        self._rooms = None if rooms is None else list(rooms)
        self._broker = broker
        self._home = home
        self._mouth: Mouth | None = None
        self._chat: ChatClient | None = None
        self._folder: BotFolder | None = None

    # ------------------------------------------------------------------ declaring

    def command(self, name: str = "", *, help: str = "", aliases: Iterable[str] = ()) -> Callable[[F], F]:
        """A command: `!name` and its arguments, which are the function's own behind the line. `!help` tells
        of it; `help` is else the function's docstring. Lines that are a command go to no other handler."""

        def declare(function: F) -> F:
            self.handlers.add_command(function, name or function.__name__, help, tuple(aliases))
            return function

        return declare

    def on_line(self, function: F) -> F:
        """Called for every line that somebody else says and that is no command of this bot."""
        self.handlers.add("line", function)
        return function

    def on_mention(self, function: F) -> F:
        """Called for those of them that name the bot."""
        self.handlers.add("mention", function)
        return function

    def on_direct(self, function: F) -> F:
        """Called for those of them that are said to the bot alone."""
        self.handlers.add("direct", function)
        return function

    def on_join(self, function: F) -> F:
        """Called when somebody comes into a room where the bot is."""
        self.handlers.joins.append(function)
        return function

    def every(self, seconds: float) -> Callable[[F], F]:
        """Called without arguments again and again, first when that time has passed; never twice at once."""
        if seconds <= 0:
            raise CallerError(f"a timer needs some time between two calls, not {seconds:g} s")

        def declare(function: F) -> F:
            self.handlers.timers.append(Timer(seconds, function))
            return function

        return declare

    # ------------------------------------------------------------------ for handlers

    @property
    def name(self) -> str:
        """The bot's name, as the broker spells it while it runs. Raises CallerError if it has none."""
        if self._chat is not None:
            return self._chat.name
        name = self._name or os.environ.get("CHAT_NAME")
        if not name:
            raise CallerError('the bot has no name: Bot("dice"), or set CHAT_NAME')
        return name

    @property
    def folder(self) -> Path:
        """The bot's own folder at this broker, for what it keeps between runs; while it runs."""
        return self._running(self._folder).path

    @property
    def chat(self) -> ChatClient:
        """The connection, for everything else that a client can ask; while it runs."""
        return self._running(self._chat)

    async def say(self, text: str, room: str = LOBBY) -> Position | None:
        """Say something in any room (@alice: to her alone). In a handler of a line it is an answer like
        `line.reply`, at other times the bot's own word, which is said as often as this is called."""
        return await speak(self._running(self._mouth), text, room)

    def _running(self, what: T | None) -> T:
        if what is None:
            raise CallerError(f"{self.name} does not run at the moment")
        return what

    # ------------------------------------------------------------------ running

    @contextmanager
    def replaying(self, mouth: Mouth, folder: BotFolder) -> Iterator[Dispatcher]:
        """Let the bot speak through `mouth` instead of a connection, for as long as the block runs; it is
        given lines by the dispatcher."""
        self._mouth, self._folder = mouth, folder
        try:
            yield Dispatcher(self.handlers, self.name, mouth, timeout_s=self.handler_timeout_s)
        finally:
            self._mouth = self._folder = None

    def run(self) -> None:
        """Run until SIGTERM or Ctrl-C, through restarts of the broker and before it is there. What cannot be
        helped by waiting (the name is another's, banned, …) is told in a sentence, and ends the process with
        the exit code that chat-client has for it."""
        if is_loading.get():
            return  # somebody wants the bot, and not to run it
        _show_log()
        try:
            code = asyncio.run(self._run())
        except ChatError as error:
            print(f"{self._name or 'bot'}: {error}", file=sys.stderr)
            is_usage = isinstance(error, CallerError | SetupError)
            code = USAGE if is_usage else int(outcome_of(error))
        if code:
            sys.exit(code)

    @asynccontextmanager
    async def running(self, *, broker: str | None = None, home: Path | None = None) -> AsyncIterator[Bot]:
        """Run the bot while the block does, on the running loop; it is in its rooms when the block begins.
        For programs that do something else as well, and for tests. Raises what entering ChatClient does."""
        async with self._prepared(broker, home) as runner:
            running = asyncio.create_task(runner.run())
            ready = asyncio.create_task(runner.ready.wait())
            try:
                await asyncio.wait((running, ready), return_when=asyncio.FIRST_COMPLETED)
                yield self
            finally:
                ready.cancel()
                runner.stop()
                await running

    async def _run(self) -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        if sys.platform != "win32":
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                    loop.add_signal_handler(number, stop.set)
        stopped = asyncio.create_task(stop.wait())
        serving = asyncio.create_task(self._serve(stop))
        await asyncio.wait((stopped, serving), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not serving.done() and self._chat is None:
            serving.cancel()  # it is still on its way in
            await asyncio.wait((serving,))
            return Outcome.DONE
        return await serving

    async def _serve(self, stop: asyncio.Event) -> int:
        """Come in, as often as it takes, and run."""
        pause_s, told = COME_AGAIN_S, ""
        while True:
            try:
                async with self._prepared(None, None) as runner:
                    ending = asyncio.create_task(_then(stop, runner.stop))
                    try:
                        closed = await runner.run()
                    finally:
                        ending.cancel()
                if closed is None:
                    return Outcome.DONE
                _log.error("%s", closed.reason)
                return int(outcome_of_closing(closed))
            except Unreachable as error:
                if str(error) != told:
                    _log.warning("%s; trying again", error)
                    told = str(error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, COME_AGAIN_MAX_S)

    @asynccontextmanager
    async def _prepared(self, broker: str | None, home: Path | None) -> AsyncIterator[Runner]:
        """A session for the bot, and what runs it there."""
        if self._chat is not None:
            raise CallerError(f"{self.name} runs already")
        if self.on_restart not in ON_RESTART:
            raise CallerError(f"on_restart is one of {', '.join(ON_RESTART)}, not {self.on_restart!r}")
        chat = ChatClient(
            check_name(self.name),
            broker or self._broker,
            rooms=(),
            home=home or self._home,
            timeout_s=_timeout_s(),
        )
        async with chat:
            self._chat, self._mouth = chat, chat
            self._folder = BotFolder.of(chat.home, chat.broker_key, chat.name)
            try:
                yield Runner(chat, self._dispatcher(chat, chat.name), self._folder, self._asked_rooms())
            finally:
                self._chat = self._mouth = self._folder = None

    def _dispatcher(self, mouth: Mouth, name: str) -> Dispatcher:
        return Dispatcher(
            self.handlers, name, mouth, self.on_restart, self.hears_bots, self.handler_timeout_s
        )

    def _asked_rooms(self) -> list[str]:
        rooms = self._rooms
        if rooms is None:
            rooms = os.environ.get("CHAT_ROOM", "").replace(",", " ").split() or [LOBBY]
        return [room if room.startswith(("#", "@")) else f"#{room}" for room in rooms]


async def _then(happened: asyncio.Event, do: Callable[[], None]) -> None:
    await happened.wait()
    do()


def _timeout_s() -> float:
    """CHAT_TIMEOUT, as chat-client has it. Raises SetupError."""
    given = os.environ.get("CHAT_TIMEOUT", "10")
    try:
        return max(0.1, float(given))
    except ValueError as error:
        raise SetupError(f"CHAT_TIMEOUT is {given!r}, and has to be a number of seconds") from error


def _show_log() -> None:
    """What a bot has to tell goes to stderr, unless its author has set up logging otherwise."""
    if not logging.getLogger().handlers:
        logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if _log.level == logging.NOTSET:
        _log.setLevel(logging.INFO)


__all__ = ["Bot", "HeardLine", "Joined"]
