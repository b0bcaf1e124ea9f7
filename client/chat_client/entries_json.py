"""Entries as JSON objects for programs: what `tail --json` prints and `exec` gives to a program."""

from __future__ import annotations

from datetime import UTC, datetime

from chat_client.events import Line, Notice


def entry_fields(event: Line | Notice) -> dict[str, object]:
    """An entry's fields, in the order to be printed."""
    at = datetime.fromtimestamp(event.at / 1_000, UTC).isoformat(timespec="milliseconds")
    return {
        "room": event.title,
        "epoch": event.epoch.hex(),
        "seq": event.seq,
        "at": at.replace("+00:00", "Z"),
        "from": event.sender,
        "kind": "line" if isinstance(event, Line) else event.kind,
        "text": event.text,
    }
