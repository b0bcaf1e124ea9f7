"""What a bot keeps: how far it has handled each room, through crashes and bad disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat_client.bots.folder import CURSORS, BotFolder, Handled
from chat_protocol.errors import SetupError

EPOCH, OTHER = b"epoch--1", b"epoch--2"


def test_what_was_saved_is_there_again(tmp_path: Path) -> None:
    folder = BotFolder.of(tmp_path, b"k" * 32, "Dice")
    folder.move("#lobby", EPOCH, 7)
    folder.move("@1:2", OTHER, 1)
    folder.save()
    assert sorted(path.name for path in folder.path.iterdir()) == [CURSORS]
    again = BotFolder.of(tmp_path, b"k" * 32, "dice")
    assert again.handled("#lobby") == Handled(EPOCH.hex(), 7)
    assert again.handled("@1:2") == Handled(OTHER.hex(), 1)
    assert again.handled("#other") is None
    assert BotFolder.of(tmp_path, b"o" * 32, "dice").handled("#lobby") is None


def test_what_was_not_saved_is_not(tmp_path: Path) -> None:
    folder = BotFolder(tmp_path)
    folder.move("#lobby", EPOCH, 7)
    assert BotFolder(tmp_path).handled("#lobby") is None


def test_nothing_is_written_that_is_saved_already(tmp_path: Path) -> None:
    folder = BotFolder(tmp_path)
    folder.move("#lobby", EPOCH, 7)
    folder.save()
    before = (tmp_path / CURSORS).stat().st_ino
    folder.move("#lobby", EPOCH, 7)
    folder.save()
    assert (tmp_path / CURSORS).stat().st_ino == before


@pytest.mark.parametrize("content", [b"", b"{", b'{"#lobby": 7}', b"\xff\x00"])
def test_a_file_that_cannot_be_read_is_told_of(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CURSORS).write_bytes(content)
    with pytest.raises(SetupError, match="delete it"):
        BotFolder(tmp_path)


def test_a_folder_that_cannot_be_used_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot be used"):
        BotFolder(tmp_path / "file" / "dice")
