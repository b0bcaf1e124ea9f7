"""What a program writes: text to say, or an object that says more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_client.bots.directives import Done, Saying, read_directive
from chat_protocol.errors import CallerError


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("hello", Saying("hello")),
        ('{"text": "hi"}', Saying("hi")),
        ('{"text": "4", "room": "#ops", "answers": 12}', Saying("4", "#ops", 12)),
        ('{"done": 12, "room": "@alice"}', Done(12, "@alice")),
        ('{"a": 1}', Saying('{"a": 1}')),
        ("{}", Saying("{}")),
        ("{not json", Saying("{not json")),
        ('["text"]', Saying('["text"]')),
        ("12", Saying("12")),
        ('{"text": "' + "[" * 100_000, Saying('{"text": "' + "[" * 100_000)),
    ],
)
def test_lines_and_objects(line: str, meant: object) -> None:
    assert read_directive(line) == meant


@pytest.mark.parametrize(
    "line",
    [
        '{"text": 4}',
        '{"text": "x", "answers": "12"}',
        '{"text": "x", "rooom": "#ops"}',
        '{"done": "x"}',
        '{"done": 12, "text": "x"}',
        '{"text": null}',
    ],
)
def test_what_is_nearly_right_is_not_said(line: str) -> None:
    with pytest.raises(CallerError, match="is no line to say"):
        read_directive(line)


@given(st.text())
def test_nothing_else_is_raised(line: str) -> None:
    for one in (line, "{" + line, '{"text": ' + line):
        try:
            read_directive(one)
        except CallerError:
            pass
