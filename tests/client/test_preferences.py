"""What a person wants of a screen, and the file that remembers it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat_client.home import Home
from chat_client.preferences import Keeper, Preferences


def test_preferences_are_kept_for_each_broker_and_name(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = home.preferences(b"k" * 32, "Bob")
    Keeper(path).save(Preferences(["#ops"], "22:00-07:00", "light"))
    assert Keeper(path).load() == Preferences(["#ops"], "22:00-07:00", "light")
    assert Keeper(home.preferences(b"k" * 32, "alice")).load() == Preferences()
    assert Keeper(home.preferences(b"x" * 32, "bob")).load() == Preferences()


@pytest.mark.parametrize("content", [b"", b"{", b'{"muted": 3}', b"\xff\xfe", b"[]"])
def test_a_file_that_nobody_can_read_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bob.screen").write_bytes(content)
    assert Keeper(tmp_path / "bob.screen").load() == Preferences()


def test_without_a_file_they_last_for_this_run() -> None:
    keeper = Keeper()
    keeper.save(Preferences(["#ops"]))
    assert keeper.load() == Preferences()


def test_a_folder_that_went_away_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Keeper(tmp_path / "gone" / "bob.screen").save(Preferences())
