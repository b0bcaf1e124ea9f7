"""Where the broker is: given, in the environment, or of this user on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat_client.finding import default_home, find_broker
from chat_client.home import Home
from chat_protocol.address import Address
from chat_protocol.errors import BadAddress, SetupError, Unreachable

KEY, OTHER_KEY, INVITE = b"k" * 32, b"o" * 32, b"i" * 32
URL = str(Address("chat.example", 5555, KEY))


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's runtime folder, empty, and nothing in the environment."""
    monkeypatch.delenv("CHAT_BROKER", raising=False)
    monkeypatch.delenv("CHAT_HOME", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    folder = tmp_path / "run" / "simple-chat"
    folder.mkdir(parents=True)
    (tmp_path / "run").chmod(0o700)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def leave(folder: Path, port: int) -> Address:
    """What a broker of this user leaves when it runs."""
    address = Address("127.0.0.1", port, KEY, INVITE)
    path = folder / f"{port}.url"
    path.write_text(f"{address}\n")
    path.chmod(0o600)
    return address


def test_the_address_that_is_given_comes_first(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_BROKER", "chat://elsewhere:1")
    assert find_broker(URL, home) == Address("chat.example", 5555, KEY)


@pytest.mark.parametrize("url", [None, ""])
def test_then_the_environment(home: Home, monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    monkeypatch.setenv("CHAT_BROKER", URL)
    assert find_broker(url, home) == Address("chat.example", 5555, KEY)


def test_then_the_only_broker_of_this_user(home: Home, runtime: Path) -> None:
    only = leave(runtime, 5999)
    assert find_broker(None, home) == only


def test_among_several_the_one_on_the_usual_port(home: Home, runtime: Path) -> None:
    leave(runtime, 5999)
    usual = leave(runtime, 5555)
    assert find_broker(None, home) == usual


def test_among_several_others_one_must_choose(home: Home, runtime: Path) -> None:
    leave(runtime, 5998)
    leave(runtime, 5999)
    with pytest.raises(Unreachable, match=r"5998, 5999.*--broker"):
        find_broker(None, home)


def test_no_broker_is_known(home: Home, runtime: Path) -> None:
    with pytest.raises(Unreachable, match="chat-broker start"):
        find_broker(None, home)
    runtime.rmdir()
    with pytest.raises(Unreachable, match="chat-broker start"):
        find_broker(None, home)


def test_a_connection_file_that_others_may_read_is_not_used(home: Home, runtime: Path) -> None:
    leave(runtime, 5555)
    (runtime / "5555.url").chmod(0o644)
    with pytest.raises(SetupError, match="chmod 600"):
        find_broker(None, home)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xff", b"chat://127.0.0.1:5555?key=short"])
def test_a_connection_file_that_holds_no_address_is_told(home: Home, runtime: Path, content: bytes) -> None:
    leave(runtime, 5555)
    (runtime / "5555.url").write_bytes(content)
    with pytest.raises(SetupError, match=r"5555\.url holds no address"):
        find_broker(None, home)


def test_a_connection_file_that_is_a_folder_is_told(home: Home, runtime: Path) -> None:
    (runtime / "5555.url").mkdir(mode=0o700)
    with pytest.raises(SetupError, match="cannot be read"):
        find_broker(None, home)


def test_an_address_without_a_key_needs_one_that_is_known(home: Home) -> None:
    with pytest.raises(BadAddress, match="names no key"):
        find_broker("chat://chat.example:5555", home)
    home.pin(Address("chat.example", 5555, KEY))
    assert find_broker("chat://chat.example:5555", home) == Address("chat.example", 5555, KEY)
    assert find_broker("chat://chat.example", home).key == KEY


def test_a_broker_that_has_changed_its_key_is_refused(home: Home) -> None:
    home.pin(Address("chat.example", 5555, OTHER_KEY))
    with pytest.raises(Unreachable, match="another key"):
        find_broker(URL, home)


@pytest.mark.parametrize(
    "url", ["chat.example:5555", "http://chat.example", "chat://", f"chat://a:0?key={KEY!r}"]
)
def test_what_is_no_address_is_told(home: Home, url: str) -> None:
    with pytest.raises(BadAddress):
        find_broker(url, home)


def test_the_home_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHAT_HOME", str(tmp_path / "mine"))
    assert default_home() == tmp_path / "mine"
    monkeypatch.setenv("CHAT_HOME", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_home() == tmp_path / "data" / "simple-chat" / "client"
