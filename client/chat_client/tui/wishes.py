"""What a person wants of the screen: what rings and when, and how it looks; remembered by a keeper."""

from __future__ import annotations

from datetime import time

from chat_client.preferences import Keeper
from chat_client.rows import Row
from chat_client.tui.attention import Alert, Attention, Quiet, quiet_hours
from chat_protocol.errors import CallerError


class Wishes:
    """Each change is saved at once. What cannot be saved holds for this run, and raises CallerError to say
    so."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._kept = keeper.load()
        self._attention = Attention(_hours(self._kept.quiet), set(self._kept.muted))

    @property
    def rooms(self) -> list[str]:
        """Titles of the public rooms that are to be followed again next time."""
        return self._kept.rooms

    @property
    def muted(self) -> set[str]:
        """Ids of rooms."""
        return self._attention.muted

    @property
    def theme(self) -> str:
        """A name, "" where none was chosen."""
        return self._kept.theme

    @property
    def quiet(self) -> Quiet | None:
        return self._attention.quiet

    def is_quiet(self, at: time) -> bool:
        return self.quiet is not None and self.quiet.holds(at)

    def alert(self, row: Row, *, direct: bool, looking: bool, now: float, at: time) -> Alert | None:
        """As `Attention.alert`."""
        return self._attention.alert(row, direct=direct, looking=looking, now=now, at=at)

    def keep_rooms(self, titles: list[str]) -> None:
        if titles != self._kept.rooms:
            self._kept.rooms = titles
            self._save()

    def mute(self, room: str, muted: bool) -> None:
        (self.muted.add if muted else self.muted.discard)(room)
        self._kept.muted = sorted(self.muted)
        self._save()

    def set_quiet(self, hours: str) -> None:
        """`hours` as they are typed; "off" for none."""
        self._attention.quiet = None if hours == "off" else quiet_hours(hours)
        self._kept.quiet = str(self._attention.quiet or "")
        self._save()

    def set_theme(self, name: str) -> None:
        self._kept.theme = name
        self._save()

    def _save(self) -> None:
        try:
            self._keeper.save(self._kept)
        except OSError as error:
            raise CallerError(f"this holds for now, but cannot be remembered: {error.strerror}") from error


def _hours(kept: str) -> Quiet | None:
    try:
        return quiet_hours(kept) if kept else None
    except CallerError:
        return None  # somebody edited the file
