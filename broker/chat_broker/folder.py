"""The broker's data folder: its keys, and what tells others where a running broker is.

chat.db        the log
broker.key     the broker's secret key, whose public half clients pin
operator.key   the operator's, for the chat-broker commands
broker.json    where the running broker listens; gone when it stopped cleanly
lock           held by the running broker
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from chat_broker.auth import KeyPair, load_keys, write_private
from chat_broker.sqlite_file import is_claimed
from chat_protocol.address import Address, decode_key, encode_key, parse_address
from chat_protocol.errors import BadAddress, SetupError

KEY_FILES = ("broker.key", "operator.key")


class Whereabouts(Struct):
    """Contents of broker.json: where it listens, its key, and the address others are told."""

    host: str
    port: int
    key: str
    public: str
    pid: int


class DataFolder:
    """A broker's folder. Who opens the log in it (`SqliteLog`) holds it against others."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the folder, for its owner alone. Raises SetupError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"the data folder {self.path} cannot be made: {error.strerror}") from error

    def is_served(self) -> bool:
        """Whether somebody has the log of this folder open."""
        return is_claimed(self.path)

    def broker_keys(self) -> KeyPair:
        return load_keys(self.path / "broker.key")

    def operator_keys(self) -> KeyPair:
        return load_keys(self.path / "operator.key")

    def secrets(self) -> dict[str, bytes]:
        """The key files, for a backup."""
        return {name: (self.path / name).read_bytes() for name in KEY_FILES if (self.path / name).exists()}

    def restore_secrets(self, secrets: dict[str, bytes]) -> None:
        """Write the key files of a restored backup; those of the folder stay. Raises SetupError."""
        for name in KEY_FILES:
            if name in secrets and not (self.path / name).exists():
                self._write(name, secrets[name])

    def announce(self, local: Address, public: Address) -> None:
        """Say where this broker listens on its own machine, and what it is called elsewhere. Raises
        SetupError."""
        key = encode_key(local.key or b"")
        what = Whereabouts(local.host, local.port, key, str(public), os.getpid())
        self._write("broker.json", msgspec.json.encode(what) + b"\n")

    def left_behind(self) -> int:
        """The port of an earlier run that was killed before it could withdraw; 0 if there was none."""
        try:
            return msgspec.json.decode((self.path / "broker.json").read_bytes(), type=Whereabouts).port
        except (OSError, msgspec.DecodeError):
            return 0

    def withdraw(self) -> None:
        (self.path / "broker.json").unlink(missing_ok=True)

    def whereabouts(self) -> tuple[Address, Address]:
        """Where the broker of this folder listens, here and for others. Raises SetupError if none runs."""
        if not self.is_served():
            raise SetupError(f"no broker is running on {self.path}; start one, or name its --data")
        try:
            what = msgspec.json.decode((self.path / "broker.json").read_bytes(), type=Whereabouts)
            return Address(what.host, what.port, decode_key(what.key)), parse_address(what.public)
        except (OSError, msgspec.DecodeError, BadAddress) as error:
            raise SetupError(f"{self.path / 'broker.json'} cannot be read: {error}") from error

    def _write(self, name: str, content: bytes) -> None:
        try:
            write_private(self.path / name, content)
        except OSError as error:
            raise SetupError(f"{self.path / name} cannot be written: {error.strerror}") from error
