"""Core: a command's arguments, as its function declares them.

    async def roll(line, sides: int = 6, *labels: str): ...

reads `!roll`, `!roll 20` and `!roll 20 "for lunch"`. Types are int, float, str, bool, and Literal for a
choice of words; a default makes an argument optional, `*rest` takes all that are left, and a keyword-only
str takes what is left as it was typed, quotes and spaces included.
"""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chat_protocol.errors import CallerError

_WORD = re.compile(r'"([^"]*)"(?=\s|$)|\S+')  # an apostrophe is no quote: people write don't
_BOOLS = {
    "yes": True,
    "true": True,
    "on": True,
    "1": True,
    "no": False,
    "false": False,
    "off": False,
    "0": False,
}
_KINDS = {"int": int, "float": float, "str": str, "bool": bool}
_CALLED = {int: "a whole number", float: "a number", str: "a word", bool: "yes or no"}


class BadArguments(CallerError):
    """What somebody typed behind a command is not what it takes. `str()` says why."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument: `kind` is its type, or the words to choose from."""

    name: str
    kind: type | tuple[str, ...]
    is_optional: bool = False
    default: object = None
    is_rest: bool = False  # takes all words that are left
    is_text: bool = False  # takes what is left as it was typed

    @property
    def shown(self) -> str:
        """As it stands in the usage: sides, [sides], [words …], text …"""
        name = "|".join(self.kind) if isinstance(self.kind, tuple) else self.name
        name += " …" if self.is_rest or self.is_text else ""
        return f"[{name}]" if self.is_optional or self.is_rest else name

    @property
    def told(self) -> str:
        """What it has to be: "sides: a whole number, 6 if left out"."""
        kind = f"one of {', '.join(self.kind)}" if isinstance(self.kind, tuple) else _CALLED[self.kind]
        kind = "the rest of the line" if self.is_text else f"each {kind}" if self.is_rest else kind
        has_default = self.is_optional and self.default not in (None, "")
        return f"{self.name}: {kind}{f', {_shown_value(self.default)} if left out' if has_default else ''}"

    def read(self, word: str) -> object:
        """The value of a word. Raises BadArguments."""
        if isinstance(self.kind, tuple):
            for choice in self.kind:
                if choice.casefold() == word.casefold():
                    return choice
        elif self.kind is bool:
            if word.casefold() in _BOOLS:
                return _BOOLS[word.casefold()]
        else:
            try:
                value = self.kind(word)
                if not isinstance(value, float) or math.isfinite(value):
                    return typing.cast(object, value)
            except ValueError:
                pass
        kind = f"one of {', '.join(self.kind)}" if isinstance(self.kind, tuple) else _CALLED[self.kind]
        raise BadArguments(f"{self.name} is {kind}, and {_brief(word)} is not")


class Arguments:
    """What a command's function takes behind the line. Raises TypeError for a function that cannot be one:
    that is its author's mistake, and shows when the bot is loaded."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.parameters: list[Parameter] = []
        signature = _signature(function)
        declared = list(signature.parameters.values())
        if not declared or declared[0].kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            raise TypeError(
                f"{function.__name__} takes the line as its first argument, and does not declare it"
            )
        for one in declared[1:]:
            self.parameters.append(_parameter(function.__name__, one))
        if sum(one.is_rest or one.is_text for one in self.parameters) > 1:
            raise TypeError(f"{function.__name__} has two arguments that each take all that is left")

    @property
    def usage(self) -> str:
        return " ".join(one.shown for one in self.parameters)

    def read(self, typed: str) -> tuple[list[object], dict[str, object]]:
        """Arguments and keyword arguments for the function. Raises BadArguments."""
        words = list(_WORD.finditer(typed))
        values: list[object] = []
        named: dict[str, object] = {}
        for one in self.parameters:
            if one.is_text:
                text = typed[words[0].start() :].rstrip() if words else ""
                if not text and not one.is_optional:
                    raise BadArguments(f"{one.name} is missing")
                named[one.name] = text or one.default
                words = []
            elif one.is_rest:
                values += [one.read(_text(word)) for word in words]
                words = []
            elif words:
                values.append(one.read(_text(words.pop(0))))
            elif one.is_optional:
                values.append(one.default)
            else:
                raise BadArguments(f"{one.name} is missing")
        if words:
            raise BadArguments(f"{_brief(_text(words[0]))} is too much")
        return values, named


def _text(word: re.Match[str]) -> str:
    return word[0] if word[1] is None else word[1]


def _brief(word: str) -> str:
    return word if len(word) <= 40 else f"{word[:39]}…"


def _shown_value(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError:  # a type that is known only where the function was written
        return inspect.signature(function)


def _parameter(command: str, one: inspect.Parameter) -> Parameter:
    is_optional = one.default is not inspect.Parameter.empty
    default = one.default if is_optional else None
    kind = _kind(command, one.name, one.annotation, default)
    match one.kind:
        case inspect.Parameter.VAR_KEYWORD:
            raise TypeError(f"{command}: a command has no **{one.name}")
        case inspect.Parameter.VAR_POSITIONAL:
            return Parameter(one.name, kind, is_rest=True)
        case inspect.Parameter.KEYWORD_ONLY:
            if kind is not str:
                raise TypeError(f"{command}: {one.name} takes the rest of the line, and is not a str")
            return Parameter(one.name, kind, is_optional, default, is_text=True)
    return Parameter(one.name, kind, is_optional, default)


def _kind(command: str, name: str, annotation: Any, default: object) -> type | tuple[str, ...]:
    if annotation is inspect.Parameter.empty:
        annotation = str if default is None else type(default)
    if isinstance(annotation, str):
        annotation = _KINDS.get(annotation, annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        annotation = kinds[0] if len(kinds) == 1 else annotation
    if typing.get_origin(annotation) is typing.Literal and all(
        isinstance(choice, str) for choice in typing.get_args(annotation)
    ):
        return typing.get_args(annotation)
    if annotation in _CALLED:
        return typing.cast(type, annotation)
    raise TypeError(f"{command}: {name} is none of int, float, str, bool and Literal of words")
