"""What rings, and when."""

from __future__ import annotations

from datetime import time

import pytest

from chat_client.rows import Row, RowKind
from chat_client.tui.attention import RING_AGAIN_S, Alert, Attention, quiet_hours
from chat_protocol.errors import CallerError

NOON = time(12, 0)


def line(
    *, mention: bool = True, kind: RowKind = RowKind.LINE, replayed: bool = False, text: str = "hi bob"
) -> Row:
    return Row(kind, "12:00", "#lobby", "alice", text, where="#lobby", mention=mention, replayed=replayed)


def test_mentions_and_direct_lines_alert() -> None:
    attention = Attention(None, set())
    told = attention.alert(line(), direct=False, looking=False, now=0, at=NOON)
    assert told == Alert("alice in #lobby", "hi bob")
    direct = attention.alert(line(mention=False), direct=True, looking=False, now=10, at=NOON)
    assert direct == Alert("alice", "hi bob")
    assert attention.alert(line(mention=False), direct=False, looking=False, now=20, at=NOON) is None


@pytest.mark.parametrize("row", [line(replayed=True), line(kind=RowKind.OWN), line(kind=RowKind.NOTICE)])
def test_what_is_old_or_no_line_of_others_does_not(row: Row) -> None:
    assert Attention(None, set()).alert(row, direct=True, looking=False, now=0, at=NOON) is None


def test_nothing_rings_that_is_looked_at_or_muted_or_in_quiet_hours() -> None:
    assert Attention(None, set()).alert(line(), direct=False, looking=True, now=0, at=NOON) is None
    assert Attention(None, {"#lobby"}).alert(line(), direct=False, looking=False, now=0, at=NOON) is None
    quiet = Attention(quiet_hours("11-13"), set())
    assert quiet.alert(line(), direct=False, looking=False, now=0, at=NOON) is None
    assert quiet.alert(line(), direct=False, looking=False, now=0, at=time(13, 0)) is not None


def test_a_burst_rings_once() -> None:
    attention = Attention(None, set())
    rang = [
        attention.alert(line(), direct=False, looking=False, now=now, at=NOON) for now in (0, 1, RING_AGAIN_S)
    ]
    assert [one is not None for one in rang] == [True, False, True]


def test_an_alert_is_of_one_row_and_bounded() -> None:
    told = Attention(None, set()).alert(line(text="a\nb " * 500), direct=True, looking=False, now=0, at=NOON)
    assert told is not None
    assert "\n" not in told.text
    assert len(told.text) <= 201


@pytest.mark.parametrize(
    ("hours", "shown", "inside", "outside"),
    [
        ("22:00-7:30", "22:00-07:30", time(3), time(12)),
        ("22-7", "22:00-07:00", time(22), time(7)),
        ("9:15 - 17:00", "09:15-17:00", time(9, 15), time(17)),
    ],
)
def test_quiet_hours(hours: str, shown: str, inside: time, outside: time) -> None:
    quiet = quiet_hours(hours)
    assert str(quiet) == shown
    assert quiet.holds(inside)
    assert not quiet.holds(outside)


@pytest.mark.parametrize("hours", ["", "soon", "25-3", "22:60-7", "7-7", "22"])
def test_hours_that_are_none(hours: str) -> None:
    with pytest.raises(CallerError):
        quiet_hours(hours)
