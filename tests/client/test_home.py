"""The client's folder: keys that nobody else may read, brokers that do not change their face."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from chat_client.home import Home, check_private
from chat_protocol.address import Address, encode_key, fingerprint
from chat_protocol.errors import SetupError, Unreachable
from chat_protocol.messages import Cursor

BROKER, OTHER_BROKER = b"b" * 32, b"o" * 32
FIRST, SECOND = b"1" * 32, b"2" * 32


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def key_file(home: Home, name: str) -> Path:
    return home.path / "keys" / fingerprint(BROKER) / name


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --------------------------------------------------------------------------- keys


def test_a_key_is_made_once_and_for_its_owner_alone(home: Home) -> None:
    assert home.secret_key(BROKER, "Bob", FIRST) == (FIRST, False)
    assert home.secret_key(BROKER, "bob", SECOND) == (FIRST, False)
    path = key_file(home, "bob.new")
    assert path.read_text() == encode_key(FIRST) + "\n"
    assert (mode(path), mode(path.parent), mode(home.path / "keys")) == (0o600, 0o700, 0o700)


def test_an_enrolled_key_bears_another_name(home: Home) -> None:
    home.secret_key(BROKER, "bob", FIRST)
    for _ in range(2):  # two processes of ours may hear of it
        home.enrolled(BROKER, "Bob")
    assert home.secret_key(BROKER, "bob", SECOND) == (FIRST, True)
    assert sorted(path.name for path in key_file(home, "").iterdir()) == ["bob.key"]


def test_an_enrolled_key_is_never_overwritten(home: Home) -> None:
    home.secret_key(BROKER, "bob", FIRST)
    home.enrolled(BROKER, "bob")
    key_file(home, "bob.new").write_text(encode_key(SECOND))
    home.enrolled(BROKER, "bob")
    assert home.secret_key(BROKER, "bob", SECOND) == (FIRST, True)


def test_each_broker_and_name_has_a_key_of_its_own(home: Home) -> None:
    assert home.secret_key(BROKER, "bob", FIRST)[0] == FIRST
    assert home.secret_key(BROKER, "alice", SECOND)[0] == SECOND
    assert home.secret_key(OTHER_BROKER, "bob", SECOND)[0] == SECOND


def test_a_name_with_dots_keeps_them(home: Home) -> None:
    home.secret_key(BROKER, "bob.smith", FIRST)
    home.enrolled(BROKER, "bob.smith")
    home.save_cursors(BROKER, "bob.smith", {})
    assert sorted(path.name for path in key_file(home, "").iterdir()) == [
        "bob.smith.cursors",
        "bob.smith.key",
    ]


@pytest.mark.parametrize("others", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_not_used(home: Home, others: int) -> None:
    home.secret_key(BROKER, "bob", FIRST)
    key_file(home, "bob.new").chmod(others)
    with pytest.raises(SetupError, match="chmod 600"):
        home.secret_key(BROKER, "bob", FIRST)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff\xfe", encode_key(FIRST).encode()[:-1]])
def test_a_file_that_holds_no_key_is_told_and_kept(home: Home, content: bytes) -> None:
    home.secret_key(BROKER, "bob", FIRST)
    path = key_file(home, "bob.new")
    path.write_bytes(content)
    with pytest.raises(SetupError, match=r"bob\.new holds no key: .* delete it"):
        home.secret_key(BROKER, "bob", FIRST)
    path.rename(path.with_suffix(".key"))
    with pytest.raises(SetupError, match=r"bob\.key holds no key") as caught:
        home.secret_key(BROKER, "bob", FIRST)
    assert "delete" not in str(caught.value)
    assert path.with_suffix(".key").read_bytes() == content


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SetupError, match="CHAT_HOME"):
        Home(tmp_path / "file").secret_key(BROKER, "bob", FIRST)


def test_a_file_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.touch(0o600)
    check_private(path)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(SetupError, match="own it"):
        check_private(path)


# --------------------------------------------------------------------------- known brokers


def test_a_broker_is_known_by_where_it_is(home: Home) -> None:
    address = Address("chat.example", 5555, BROKER)
    assert home.pinned(address.place) is None
    home.check_pin(address)
    home.pin(address)
    home.pin(Address("chat.example", 5555, OTHER_BROKER))  # the first one stays
    home.pin(Address("::1", 5556, OTHER_BROKER))
    home.pin(Address("chat.example", 5557))  # no key, nothing to remember
    assert home.pinned("chat.example:5555") == BROKER
    assert home.pinned("[::1]:5556") == OTHER_BROKER
    assert home.pinned("chat.example:5557") is None
    home.check_pin(address)


def test_a_broker_with_another_key_is_refused_and_both_keys_told(home: Home) -> None:
    home.pin(Address("chat.example", 5555, BROKER))
    with pytest.raises(Unreachable) as caught:
        home.check_pin(Address("chat.example", 5555, OTHER_BROKER))
    told = str(caught.value)
    assert fingerprint(BROKER) in told
    assert fingerprint(OTHER_BROKER) in told
    assert "known_brokers" in told


def test_a_file_that_was_edited_by_hand_is_still_read(home: Home) -> None:
    home.path.mkdir()
    known = home.path / "known_brokers"
    known.write_text(f"\n  a:1   {encode_key(BROKER)}")  # no newline at the end
    home.pin(Address("b", 2, OTHER_BROKER))
    assert (home.pinned("a:1"), home.pinned("b:2")) == (BROKER, OTHER_BROKER)


@pytest.mark.parametrize("content", ["a:1", "a:1 nokey", "a:1 x y"])
def test_a_damaged_list_is_told(home: Home, content: str) -> None:
    home.path.mkdir()
    (home.path / "known_brokers").write_text(content)
    with pytest.raises(SetupError, match="mend or delete"):
        home.pinned("a:1")


# --------------------------------------------------------------------------- cursors


def test_how_far_rooms_were_read_is_kept(home: Home) -> None:
    cursors = {"#lobby": Cursor(b"epoch--1", 42, b"12345678"), "@7:8": Cursor(b"epoch--1", 3)}
    assert home.cursors(BROKER, "bob") == {}
    home.save_cursors(BROKER, "Bob", cursors)
    home.save_cursors(BROKER, "alice", {})
    assert home.cursors(BROKER, "bob") == cursors
    assert home.cursors(OTHER_BROKER, "bob") == {}


@pytest.mark.parametrize(
    "content", [b"", b"\xc1", b"\x81\xa1\xff\x93\xc4\x0812345678\x01\xa0", b"\x81" * 9_999]
)
def test_damaged_cursors_are_no_cursors(home: Home, content: bytes) -> None:
    home.save_cursors(BROKER, "bob", {})
    key_file(home, "bob.cursors").write_bytes(content)
    assert home.cursors(BROKER, "bob") == {}
