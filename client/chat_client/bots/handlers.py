"""Core: what a bot does about what: its commands, and its handlers for lines, joins and times."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chat_client.bots.arguments import Arguments
from chat_client.events import Line
from chat_client.mentions import mentions
from chat_protocol.errors import CallerError

Function = Callable[..., Any]

_NAME = re.compile(r"[^\s\"]+")
HELP = "help"


@dataclass(frozen=True, slots=True)
class Command:
    """Something that people ask of a bot by its name."""

    name: str
    function: Function
    arguments: Arguments
    help: str
    prefix: str

    @property
    def usage(self) -> str:
        return f"{self.prefix}{self.name} {self.arguments.usage}".rstrip()

    @property
    def summary(self) -> str:
        """One row of the list that !help gives."""
        return f"{self.usage}: {self.help}" if self.help else self.usage

    @property
    def details(self) -> str:
        """What !help COMMAND gives."""
        return "\n".join([self.summary, *(one.told for one in self.arguments.parameters)])


@dataclass(frozen=True, slots=True)
class Timer:
    every_s: float
    function: Function


@dataclass(slots=True)
class Handlers:
    """All handlers of one bot, in the order in which they were declared."""

    prefix: str = "!"
    commands: dict[str, Command] = field(default_factory=dict)  # by every name, in lower case
    heard: list[tuple[str, Function]] = field(default_factory=list)  # "line", "mention" or "direct"
    joins: list[Function] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)

    def add_command(self, function: Function, name: str, help: str, aliases: tuple[str, ...] = ()) -> None:
        """Raises CallerError for a name that is none or taken, TypeError for arguments that cannot be."""
        help = help or inspect.getdoc(function) or ""
        command = Command(name, function, Arguments(function), help, self.prefix)
        for one in (name, *aliases):
            if not _NAME.fullmatch(one):
                raise CallerError(f"{one!r} is no name for a command: it is one word")
            if one.lower() in self.commands:
                raise CallerError(f"two commands are called {one}")
            self.commands[one.lower()] = command

    def add(self, kind: str, function: Function) -> None:
        self.heard.append((kind, function))

    def typed(self, text: str) -> tuple[str, str] | None:
        """What looks like a command: its name and what stands behind it."""
        if not text.startswith(self.prefix):
            return None
        name, _, rest = text.removeprefix(self.prefix).partition(" ")
        if "\n" in name:
            name, _, rest = text.removeprefix(self.prefix).partition("\n")
        return (name, rest) if _NAME.fullmatch(name) else None

    def find(self, name: str) -> Command | None:
        return self.commands.get(name.lower().removeprefix(self.prefix))

    def fitting(self, line: Line, name: str, *, is_direct: bool) -> list[Function]:
        """The handlers for a line that is no command of this bot; `name` is the bot's."""
        fits = {"line": True, "mention": mentions(line.text, name), "direct": is_direct}
        return [function for kind, function in self.heard if fits[kind]]

    def help(self, asked: str) -> str:
        """The answer to !help, "" for a command that is another bot's."""
        if asked:
            command = self.find(asked)
            return command.details if command else ""
        return "\n".join(command.summary for command in dict.fromkeys(self.commands.values()))
