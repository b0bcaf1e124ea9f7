"""Which handlers a line concerns, and what !help tells."""

from __future__ import annotations

import pytest

from chat_client.bots.handlers import Handlers
from chat_client.events import Line
from chat_protocol.errors import CallerError


def roll(line: object, sides: int = 6) -> None:
    """Roll one die."""


def heard(text: str) -> Line:
    return Line("#lobby", "#lobby", b"epoch--1", 2, 0, "alice", 3, text)


def with_roll(prefix: str = "!") -> Handlers:
    handlers = Handlers(prefix)
    handlers.add_command(roll, "roll", "", ("r",))
    return handlers


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("!roll", ("roll", "")),
        ("!roll 20 a", ("roll", "20 a")),
        ("!note one\ntwo three", ("note", "one\ntwo three")),
        ("!note\none two", ("note", "one two")),
        ("! roll", None),
        ("!", None),
        ("say !roll", None),
        ("roll", None),
        ('!"roll"', None),
    ],
)
def test_a_command_begins_the_line(text: str, typed: tuple[str, str] | None) -> None:
    assert with_roll().typed(text) == typed


def test_a_command_has_all_its_names_in_any_case() -> None:
    handlers = with_roll("/")
    assert [command and command.name for command in map(handlers.find, ("roll", "ROLL", "r", "/r", "x"))] == [
        "roll", "roll", "roll", "roll", None,
    ]  # fmt: skip


def test_names_are_words_and_taken_once() -> None:
    handlers = with_roll()
    for name in ("roll", "R"):
        with pytest.raises(CallerError, match="two commands"):
            handlers.add_command(roll, name, "")
    for name in ("", "two words", 'qu"ote'):
        with pytest.raises(CallerError, match="one word"):
            handlers.add_command(roll, name, "")


def test_help_is_made_from_the_function() -> None:
    handlers = with_roll()
    assert handlers.help("") == "!roll [sides]: Roll one die."
    assert handlers.help("r") == "!roll [sides]: Roll one die.\nsides: a whole number, 6 if left out"
    assert handlers.help("!roll") == handlers.help("r")
    assert handlers.help("deploy") == ""


def test_every_handler_whose_kind_fits_hears_a_line() -> None:
    def one(line: object) -> None: ...
    def two(line: object) -> None: ...
    def three(line: object) -> None: ...

    handlers = Handlers()
    for kind, function in (("mention", one), ("line", two), ("direct", three)):
        handlers.add(kind, function)
    for text, is_direct, expected in [
        ("hello", False, [two]),
        ("hello @dice!", False, [one, two]),
        ("hello dice-2", False, [two]),
        ("hello", True, [two, three]),
        ("dice?", True, [one, two, three]),
    ]:
        assert handlers.fitting(heard(text), "dice", is_direct=is_direct) == expected
