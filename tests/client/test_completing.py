"""Which rooms a shell is offered."""

from __future__ import annotations

import click
import pytest

from chat_client import completing

TITLES = ["#lobby", "#ops", "@alice", "#$(rm -rf x)", "#a b", "@\x1b[31m", "plain", "@operator", "#Ops"]


def offered(monkeypatch: pytest.MonkeyPatch, incomplete: str, name: str | None = "bob") -> list[str]:
    async def rooms(*_: object) -> list[str]:
        return TITLES

    monkeypatch.setattr(completing, "_rooms", rooms)
    context = click.Context(click.Command("x"))
    context.params = {"name": name, "broker": None, "home": None}
    items = completing.room_names(context, click.Option(["--room"]), incomplete)
    return [item.value for item in items]


@pytest.mark.parametrize(
    ("incomplete", "words"),
    [
        ("", ["lobby", "ops", "Ops"]),
        ("o", ["ops", "Ops"]),
        ("#o", ["ops", "Ops"]),
        ("@", ["@alice"]),
        ("@b", []),
        ("x", []),
    ],
)
def test_only_what_is_a_name_is_offered(
    monkeypatch: pytest.MonkeyPatch, incomplete: str, words: list[str]
) -> None:
    """A hostile broker cannot put a command into somebody's command line."""
    assert offered(monkeypatch, incomplete) == words


def test_nobody_in_particular_is_offered_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(monkeypatch, "", name=None) == []
