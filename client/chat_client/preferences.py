"""What a person wants of a screen, remembered on this computer from one run to the next."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Preferences(msgspec.Struct):
    """`muted` are ids of rooms; `quiet` hours as they are typed, "" for none; `theme` a name, "" where none
    was chosen; `rooms` titles of the public rooms that were followed at last."""

    muted: list[str] = []
    quiet: str = ""
    theme: str = ""
    rooms: list[str] = []


class Keeper:
    """Keeps them in a file; `None` keeps them for this run alone."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def load(self) -> Preferences:
        """What was saved; what nobody can read counts as nothing saved."""
        try:
            return (
                msgspec.json.decode(self._path.read_bytes(), type=Preferences)
                if self._path
                else Preferences()
            )
        except (OSError, ValueError):
            return Preferences()

    def save(self, preferences: Preferences) -> None:
        """Raises OSError."""
        if self._path is None:
            return
        draft = self._path.with_suffix(".draft")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(preferences), indent=2) + b"\n")
        draft.replace(self._path)
