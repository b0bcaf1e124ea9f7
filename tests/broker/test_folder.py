"""The data folder: whose it is, its keys, and where others find the broker that serves it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chat_broker.folder import KEY_FILES, DataFolder
from chat_broker.sqlite_file import claim
from chat_protocol.address import Address
from chat_protocol.errors import SetupError

LOCAL = Address("127.0.0.1", 5555, b"k" * 32, b"i" * 32)
PUBLIC = Address("chat.example.org", 443, b"k" * 32)


@contextmanager
def served(folder: DataFolder) -> Iterator[None]:
    """A broker has the log of the folder open."""
    descriptor = claim(folder.path)
    try:
        yield
    finally:
        os.close(descriptor)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "a" / "folder")
    folder.prepare()
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_made_for_its_owner_alone(folder: DataFolder) -> None:
    assert mode(folder.path) == 0o700
    folder.prepare()


def test_where_no_folder_can_be_there_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SetupError, match="cannot be made"):
            DataFolder(path).prepare()


def test_broker_and_operator_have_keys_of_their_own(folder: DataFolder) -> None:
    broker, operator = folder.broker_keys(), folder.operator_keys()
    assert broker != operator
    assert (folder.broker_keys(), folder.operator_keys()) == (broker, operator)
    assert [mode(folder.path / name) for name in KEY_FILES] == [0o600, 0o600]


def test_keys_go_with_a_backup_to_another_folder(folder: DataFolder, tmp_path: Path) -> None:
    broker, operator = folder.broker_keys(), folder.operator_keys()
    other = DataFolder(tmp_path / "other")
    other.prepare()
    other.restore_secrets(folder.secrets())
    assert (other.broker_keys(), other.operator_keys()) == (broker, operator)
    assert [mode(other.path / name) for name in KEY_FILES] == [0o600, 0o600]


def test_a_backup_replaces_no_key_and_writes_nothing_else(folder: DataFolder) -> None:
    broker = folder.broker_keys()
    secrets = {"broker.key": b"other", "operator.key": b"theirs", "../outside": b"x", "chat.db": b"x"}
    folder.restore_secrets(secrets)
    assert folder.broker_keys() == broker
    assert sorted(path.name for path in folder.path.iterdir()) == ["broker.key", "operator.key"]
    assert [path.name for path in folder.path.parent.iterdir()] == ["folder"]


def test_a_folder_without_keys_has_none_to_back_up(folder: DataFolder) -> None:
    assert folder.secrets() == {}


def test_others_find_the_broker_that_serves_a_folder(folder: DataFolder) -> None:
    with served(folder):
        folder.announce(LOCAL, PUBLIC)
        assert folder.is_served()
        assert folder.whereabouts() == (LOCAL.without_invite(), PUBLIC)
    assert mode(folder.path / "broker.json") == 0o600
    assert "invite" not in (folder.path / "broker.json").read_text()


def test_what_a_killed_broker_left_is_nobodys_address(folder: DataFolder) -> None:
    with served(folder):
        folder.announce(LOCAL, PUBLIC)
    assert not folder.is_served()
    with pytest.raises(SetupError, match="no broker is running"):
        folder.whereabouts()
    assert folder.left_behind() == LOCAL.port


def test_a_broker_that_stops_says_so(folder: DataFolder) -> None:
    folder.announce(LOCAL, PUBLIC)
    folder.withdraw()
    folder.withdraw()
    assert folder.left_behind() == 0


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b"\xff", b'{"host": 1}'])
def test_whereabouts_that_cannot_be_read_are_one_sentence(folder: DataFolder, content: bytes) -> None:
    (folder.path / "broker.json").write_bytes(content)
    with served(folder), pytest.raises(SetupError, match="cannot be read"):
        folder.whereabouts()
    assert folder.left_behind() == 0


def test_a_folder_that_is_not_there_is_not_served(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "nowhere")
    assert not folder.is_served()
    with pytest.raises(SetupError, match="no broker is running"):
        folder.whereabouts()


def test_what_cannot_be_written_is_one_sentence(folder: DataFolder) -> None:
    (folder.path / "broker.json").mkdir()
    with pytest.raises(SetupError, match="cannot be written"):
        folder.announce(LOCAL, PUBLIC)
