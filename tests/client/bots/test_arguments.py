"""A command's arguments: read as the function declares them, and told of in its usage."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_client.bots.arguments import Arguments, BadArguments


def roll(line: object, sides: int = 6, *labels: str) -> None: ...
def scale(line: object, factor: float, exact: bool = False) -> None: ...
def topic(line: object, *, text: str) -> None: ...
def note(line: object, name: str, *, text: str = "") -> None: ...
def light(line: object, state: Literal["on", "off", "dim"]) -> None: ...
def add(line: object, *numbers: int) -> None: ...
def maybe(line: object, sides: int | None = None, name="x") -> None: ...  # type: ignore[no-untyped-def]
def nothing(line: object) -> None: ...


@pytest.mark.parametrize(
    ("function", "typed", "values", "named"),
    [
        (roll, "", [6], {}),
        (roll, "20", [20], {}),
        (roll, ' -3   "for lunch"  two ', [-3, "for lunch", "two"], {}),
        (scale, "1e3 yes", [1_000.0, True], {}),
        (scale, "0.5 OFF", [0.5, False], {}),
        (scale, "7", [7.0, False], {}),
        (topic, ' say "hi"  to  all ', [], {"text": 'say "hi"  to  all'}),
        (topic, "one\ntwo", [], {"text": "one\ntwo"}),
        (note, "a", ["a"], {"text": ""}),
        (note, '"a b" c  d', ["a b"], {"text": "c  d"}),
        (light, "DIM", ["dim"], {}),
        (add, "", [], {}),
        (add, "1 2 3", [1, 2, 3], {}),
        (maybe, "", [None, "x"], {}),
        (maybe, "3 don't", [3, "don't"], {}),
        (roll, '6 an "unfinished quote', [6, "an", '"unfinished', "quote"], {}),
        (nothing, "  ", [], {}),
    ],
)
def test_words_become_arguments(
    function: Callable[..., Any], typed: str, values: list[object], named: dict[str, object]
) -> None:
    found = Arguments(function).read(typed)
    assert found == (values, named)
    assert [type(one) for one in found[0]] == [type(one) for one in values]


@pytest.mark.parametrize(
    ("function", "typed", "says"),
    [
        (roll, "many", "sides is a whole number, and many is not"),
        (roll, "1.5", "sides is a whole number, and 1.5 is not"),
        (scale, "", "factor is missing"),
        (scale, "nan", "factor is a number, and nan is not"),
        (scale, "inf", "factor is a number, and inf is not"),
        (scale, "1 perhaps", "exact is yes or no, and perhaps is not"),
        (scale, "1 yes more", "more is too much"),
        (topic, "  ", "text is missing"),
        (light, "blue", "state is one of on, off, dim, and blue is not"),
        (add, "1 x", "numbers is a whole number, and x is not"),
        (nothing, "x" * 100, f"{'x' * 39}… is too much"),
        (roll, "9" * 5_000, f"sides is a whole number, and {'9' * 39}… is not"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(function: Callable[..., Any], typed: str, says: str) -> None:
    with pytest.raises(BadArguments) as caught:
        Arguments(function).read(typed)
    assert str(caught.value) == says


@given(st.text(max_size=60))
def test_no_text_does_any_harm(typed: str) -> None:
    for function in (roll, scale, topic, note, light, add, maybe, nothing):
        try:
            values, _ = Arguments(function).read(typed)
        except BadArguments:
            continue
        assert not any(isinstance(value, float) and not math.isfinite(value) for value in values)


@pytest.mark.parametrize(
    ("function", "usage"),
    [
        (roll, "[sides] [labels …]"),
        (scale, "factor [exact]"),
        (topic, "text …"),
        (note, "name [text …]"),
        (light, "on|off|dim"),
        (nothing, ""),
    ],
)
def test_the_usage(function: Callable[..., Any], usage: str) -> None:
    assert Arguments(function).usage == usage


def test_each_argument_is_told_of() -> None:
    told = [one.told for function in (roll, scale, note, light) for one in Arguments(function).parameters]
    assert told == [
        "sides: a whole number, 6 if left out",
        "labels: each a word",
        "factor: a number",
        "exact: yes or no, no if left out",
        "name: a word",
        "text: the rest of the line",
        "state: one of on, off, dim",
    ]


def test_types_that_are_written_as_text_or_known_only_locally() -> None:
    class Local: ...

    def known(line: Local, sides: int = 6) -> None: ...

    assert Arguments(known).read("4") == ([4], {})


def no_line() -> None: ...
def only_named(*, line: object) -> None: ...
def bytes_(line: object, data: bytes) -> None: ...
def twice(line: object, *words: str, text: str) -> None: ...
def any_named(line: object, **rest: str) -> None: ...
def named_number(line: object, *, sides: int) -> None: ...


@pytest.mark.parametrize("function", [no_line, only_named, bytes_, twice, any_named, named_number])
def test_a_function_that_cannot_be_a_command_is_its_authors_mistake(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"line|Literal|all that is left|\*\*rest|rest of the line"):
        Arguments(function)
