"""Who is named in a text."""

from __future__ import annotations

import pytest

from chat_client.mentions import mention_spans, mentions


@pytest.mark.parametrize(
    "text",
    [
        "bob",
        "Bob!",
        "hi @bob",
        "ask bob's dog",
        "bob.",
        "bob: yes",
        "(bob)",
        "BOB-",
        "alice/bob",
        "bob, bob-2",
        "は bob は",
    ],
)
def test_a_name_that_is_a_word_of_its_own_is_a_mention(text: str) -> None:
    assert mentions(text, "bob")
    assert mentions(text, "Bob")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bobby",
        "kebob",
        "bob2",
        "bob_",
        "bob-2",
        "bob.jones",
        "me@bob",
        "bob@example.org",
        "jim.bob",
        "b0b",
    ],
)
def test_other_words_are_not(text: str) -> None:
    assert not mentions(text, "bob")


def test_a_name_with_signs_in_it() -> None:
    assert mentions("ask mr.x-1 now", "mr.x-1")
    assert not mentions("ask mrax-1 now", "mr.x-1")


def test_where_a_name_stands() -> None:
    text = "@Bob and bob, not bobby"
    assert [text[start:end] for start, end in mention_spans(text, "bob")] == ["@Bob", "bob"]
