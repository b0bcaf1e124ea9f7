"""Which lines `tail` prints."""

from __future__ import annotations

import re

import pytest

from chat_client.events import Line, Notice
from chat_client.tailing import Wanted


def line(sender: str, text: str) -> Line:
    return Line("#lobby", "#lobby", b"e" * 8, 1, 0, sender, 1, text)


ALICE, BOB = line("Alice", "build 12 is green"), line("bob", "thanks, @alice")
NOTICE = Notice("#lobby", "#lobby", b"e" * 8, 1, 0, "alice", 1, "added", "alice let bob in")
UNKNOWN = Notice("#lobby", "#lobby", b"e" * 8, 1, 0, "alice", 1, "unknown", "")


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Wanted(), [ALICE, BOB, NOTICE]),
        (Wanted(re.compile(r"build \d+")), [ALICE]),
        (Wanted(re.compile("BUILD")), []),
        (Wanted(senders=frozenset({"alice"})), [ALICE]),
        (Wanted(senders=frozenset({"alice", "bob"})), [ALICE, BOB]),
        (Wanted(mentioned="alice"), [BOB]),
        (Wanted(re.compile("thanks"), frozenset({"bob"}), "alice"), [BOB]),
        (Wanted(re.compile("thanks"), frozenset({"alice"})), []),
    ],
)
def test_all_that_is_asked_for_holds(wanted: Wanted, taken: list[Line | Notice]) -> None:
    assert [event for event in (ALICE, BOB, NOTICE, UNKNOWN) if wanted.takes(event)] == taken
