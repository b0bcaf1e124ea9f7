"""Core: what a program under `exec` writes: a line to say, or a JSON object that says more.

    hello                                           said in the first room
    {"text": "hello", "room": "#ops"}               said there; @alice: to her alone
    {"text": "4", "room": "#ops", "answers": 12}    the answer to line 12 of #ops, stored once however often
                                                    it is said
    {"done": 12, "room": "#ops"}                    lines up to 12 of #ops are dealt with

An object without "text" and "done", and JSON that is no object, is text like any other.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from chat_protocol.errors import CallerError


class Saying(Struct, frozen=True, forbid_unknown_fields=True):
    """`room` "": the first one. `answers`: the seq of a line there; 0: of none."""

    text: str
    room: str = ""
    answers: int = 0


class Done(Struct, frozen=True, forbid_unknown_fields=True):
    done: int
    room: str = ""


def read_directive(line: str) -> Saying | Done:
    """What a line means. Raises CallerError for an object that is nearly right."""
    fields = _object(line)
    if fields is None:
        return Saying(line)
    try:
        return msgspec.convert(fields, Done) if "done" in fields else msgspec.convert(fields, Saying)
    except msgspec.ValidationError as error:
        raise CallerError(f"{line[:80]!r} is no line to say: {error}") from error


def _object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) and ("text" in found or "done" in found) else None
