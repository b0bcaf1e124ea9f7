"""A bot's folder: what it keeps between runs, and how far it has handled each room.

    HOME/bots/FINGERPRINT/dice/cursors.json   room -> epoch and seq of the newest line that was handled
    HOME/bots/FINGERPRINT/dice/…              the bot's own files

FINGERPRINT is the broker's.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from chat_protocol.address import fingerprint
from chat_protocol.errors import SetupError

CURSORS = "cursors.json"


class Handled(Struct, frozen=True):
    """The newest line of a room that was handled. `epoch` in hexadecimal."""

    epoch: str
    seq: int


class BotFolder:
    """Made when it is first used. Raises SetupError for what the disk or the permissions do not allow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        self._handled = self._read()
        self._is_saved = True

    @classmethod
    def of(cls, home: Path, broker: bytes, name: str) -> BotFolder:
        """The folder of the bot `name` at a broker."""
        return cls(home / "bots" / fingerprint(broker) / name.lower())

    @property
    def has_handled(self) -> bool:
        """Whether anything was ever handled."""
        return bool(self._handled)

    def handled(self, room: str) -> Handled | None:
        """How far a room was handled; None if it never was."""
        return self._handled.get(room)

    def move(self, room: str, epoch: bytes, seq: int) -> None:
        """A room was handled up to `seq`; `save` makes it last."""
        now = Handled(epoch.hex(), seq)
        if self._handled.get(room) != now:
            self._handled[room] = now
            self._is_saved = False

    def save(self) -> None:
        """Write how far rooms were handled, so that a crash leaves the old file or the new one."""
        if self._is_saved:
            return
        draft = self.path / f"{CURSORS}.{os.getpid()}"
        try:
            with open(draft, "wb") as file:
                file.write(json.dumps(msgspec.to_builtins(self._handled), indent=1).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path / CURSORS)
        except OSError as error:
            raise self._unusable(error) from error
        self._is_saved = True

    def _read(self) -> dict[str, Handled]:
        path = self.path / CURSORS
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Handled])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unusable(error) from error
        except msgspec.DecodeError as error:
            raise SetupError(
                f"{path} cannot be read ({error}); without it the bot begins with what is said from now on:"
                " delete it if that will do"
            ) from error

    def _unusable(self, error: OSError) -> SetupError:
        return SetupError(f"the bot's folder {self.path} cannot be used: {error.strerror}")
