"""What is announced for which address, and that no failure of it reaches the broker."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from chat_broker.announcer import Announcer, where_it_listens
from chat_broker.announcing import Announced
from chat_protocol.address import encode_key

NOBODY = Announced("desk-1", ["192.0.2.1"], False, 1, encode_key(b"k" * 32), False)  # no address of ours


class Notes:
    """Takes notes from any thread."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, object]]] = []
        self._came = threading.Event()

    def __call__(self, event: str, what: dict[str, object]) -> None:
        self.taken.append((event, what))
        self._came.set()

    def first(self) -> tuple[str, dict[str, object]]:
        assert self._came.wait(20), "waited 20 s in vain for a note"
        return self.taken[0]


@pytest.mark.parametrize(
    ("host", "listens"),
    [
        ("0.0.0.0", []),
        ("::", []),
        ("127.0.0.1", None),
        ("127.0.0.2", None),
        ("::1", None),
        ("localhost", None),
        ("192.0.2.7", ["192.0.2.7"]),
        ("2001:db8::7", ["2001:db8::7"]),
        ("no-such-interface.invalid", []),
    ],
)
def test_where_it_listens(host: str, listens: list[str] | None) -> None:
    assert where_it_listens(host) == listens


def test_on_no_network_it_is_noted_and_ends_when_told() -> None:
    notes = Notes()
    announcer = Announcer(NOBODY, notes)
    announcer.start()
    event, what = notes.first()
    assert event == "not_announced"
    assert "this machine is on no network" in str(what["reason"])
    announcer.stop()
    announcer.wait()
    assert len(notes.taken) == 1


def test_a_child_that_cannot_be_started_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    notes = Notes()
    announcer = Announcer(NOBODY, notes)
    announcer.start()
    assert notes.first()[0] == "not_announced"
    assert "No such file" in str(notes.first()[1]["reason"])
    announcer.stop()
    announcer.wait()


@pytest.mark.parametrize("script", ["exit 3", "echo nonsense; exit 3", "read line; exit 3"])
def test_a_child_that_dies_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    child = tmp_path / "child"
    child.write_text(f"#!/bin/sh\n{script}\n")
    child.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(child))
    notes = Notes()
    announcer = Announcer(NOBODY, notes)
    announcer.start()
    event, what = notes.first()
    assert event == "not_announced"
    assert "clients elsewhere need the chat:// URL" in str(what["reason"])
    announcer.stop()
    announcer.wait()


def test_a_child_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child = tmp_path / "child"
    child.write_text("#!/bin/sh\nexec sleep 600\n")
    child.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(child))
    monkeypatch.setattr("chat_broker.announcer.GOODBYE_S", 0.1)
    notes = Notes()
    announcer = Announcer(NOBODY, notes)
    announcer.start()
    announcer.stop()
    announcer.wait()
    assert notes.taken == []
