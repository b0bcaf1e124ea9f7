"""Keys on disk, and the answers to ZAP."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from chat_broker.auth import (
    COMMAND_DOMAIN,
    FEED_DOMAIN,
    FEED_USER,
    answer_zap,
    keys_of,
    load_keys,
    new_keys,
    write_private,
)
from chat_protocol.address import encode_key
from chat_protocol.errors import SetupError
from chat_protocol.messages import Ban, Bye, Done
from tests.broker.bench import PROCESS_INVITE, Bench

STRANGER = b"s" * 32
USER = FEED_USER.encode()


# ---------------------------------------------------------------------- key files


def test_keys_are_made_once_and_belong_together(tmp_path: Path) -> None:
    first = load_keys(tmp_path / "broker.key")
    assert load_keys(tmp_path / "broker.key") == first == keys_of(first.secret)
    assert (len(first.public), len(first.secret)) == (32, 32)
    assert new_keys() != new_keys()


def test_only_the_owner_may_read_a_key_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_keys(tmp_path / "broker.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "broker.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["broker.key"], "no draft is left"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o610])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "broker.key"
    load_keys(path)
    path.chmod(mode)
    with pytest.raises(SetupError, match="chmod 600"):
        load_keys(path)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"not a key", b"\xff\xfe", encode_key(b"k" * 31).encode(), b"A" * 4_000]
)
def test_a_file_that_holds_no_key_is_no_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broker.key"
    write_private(path, content)
    with pytest.raises(SetupError, match="holds no key"):
        load_keys(path)


def test_a_key_file_where_none_can_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "broker.key", tmp_path / "nowhere" / "broker.key"):
        with pytest.raises(SetupError, match="cannot be used"):
            load_keys(path)


def test_a_private_file_replaces_what_was_there_whole(tmp_path: Path) -> None:
    path = tmp_path / "broker.json"
    path.write_text("old and long")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_private_file_that_cannot_be_put_in_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_private(tmp_path / "taken", b"secret")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_private_file_goes_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch(0o644)
    (tmp_path / "broker.json").symlink_to(tmp_path / "elsewhere")
    write_private(tmp_path / "broker.json", b"secret")
    assert (tmp_path / "elsewhere").read_bytes() == b""
    assert not (tmp_path / "broker.json").is_symlink()


# ---------------------------------------------------------------------- who gets past the handshake


def zap(bench: Bench | None, domain: bytes, mechanism: bytes, *credentials: bytes) -> tuple[bytes, bytes]:
    """Status and user id of the answer to a well-formed request."""
    request = [b"1.0", b"17", domain, b"127.0.0.1", b"routing id", mechanism, *credentials]
    now = (bench or Bench()).now
    version, number, status, _, user, metadata = answer_zap(request, bench.hub if bench else None, now)
    assert (version, number, metadata) == (b"1.0", b"17", b"")
    return status, user


def test_accounts_and_live_invites_are_let_in_under_their_key() -> None:
    bench = Bench()
    for key in (bench.enroll("alice"), PROCESS_INVITE):
        assert zap(bench, COMMAND_DOMAIN, b"CURVE", key) == (b"200", key.hex().encode())


@pytest.mark.parametrize(
    ("domain", "mechanism", "credentials"),
    [
        (COMMAND_DOMAIN, b"CURVE", [STRANGER]),
        (COMMAND_DOMAIN, b"CURVE", [b""]),
        (COMMAND_DOMAIN, b"CURVE", []),
        (COMMAND_DOMAIN, b"CURVE", [PROCESS_INVITE, b"more"]),
        (COMMAND_DOMAIN, b"NULL", []),
        (COMMAND_DOMAIN, b"NULL", [PROCESS_INVITE]),
        (COMMAND_DOMAIN, b"PLAIN", [USER, PROCESS_INVITE]),
        (b"", b"CURVE", [PROCESS_INVITE]),
        (b"other", b"CURVE", [PROCESS_INVITE]),
        (FEED_DOMAIN, b"CURVE", [PROCESS_INVITE]),
        (FEED_DOMAIN, b"NULL", []),
        (FEED_DOMAIN, b"PLAIN", []),
        (FEED_DOMAIN, b"PLAIN", [USER]),
        (FEED_DOMAIN, b"PLAIN", [USER, b""]),
        (FEED_DOMAIN, b"PLAIN", [USER, b"00" * 16]),
        (FEED_DOMAIN, b"PLAIN", [USER, b"not hex"]),
        (FEED_DOMAIN, b"PLAIN", [USER, b"\xff\xfe"]),
    ],
)
def test_everybody_else_is_told_no(domain: bytes, mechanism: bytes, credentials: list[bytes]) -> None:
    assert zap(Bench(), domain, mechanism, *credentials) == (b"400", b"")


def test_the_feed_lets_sessions_in_by_their_token() -> None:
    bench = Bench()
    alice = bench.join("alice")
    assert alice.welcome
    ticket = alice.welcome.feed_token.hex().encode()
    assert zap(bench, FEED_DOMAIN, b"PLAIN", USER, ticket) == (b"200", b"")
    assert zap(bench, FEED_DOMAIN, b"PLAIN", b"somebody", ticket)[0] == b"400"
    assert zap(bench, FEED_DOMAIN, b"PLAIN", USER, ticket, b"more")[0] == b"400"
    assert zap(bench, COMMAND_DOMAIN, b"PLAIN", USER, ticket)[0] == b"400"
    alice.ask(Done, Bye)
    assert zap(bench, FEED_DOMAIN, b"PLAIN", USER, ticket)[0] == b"400"


def test_the_banned_are_told_no() -> None:
    bench = Bench()
    key = bench.enroll("mallory")
    bench.operator().ask(Done, Ban, "mallory")
    assert zap(bench, COMMAND_DOMAIN, b"CURVE", key) == (b"400", b"")


@pytest.mark.parametrize("domain", [COMMAND_DOMAIN, FEED_DOMAIN, b"other"])
def test_before_there_is_a_hub_everybody_may_try_again(domain: bytes) -> None:
    assert zap(None, domain, b"CURVE", PROCESS_INVITE) == (b"300", b"")


@pytest.mark.parametrize(
    "request_frames",
    [[], [b"1.0"], [b"2.0", b"17", FEED_DOMAIN, b"", b"", b"NULL"], [b"1.0", b"17", FEED_DOMAIN, b"", b""]],
)
def test_what_is_no_zap_request_is_an_error_of_the_askers(request_frames: list[bytes]) -> None:
    bench = Bench()
    answer = answer_zap(request_frames, bench.hub, bench.now)
    assert (answer[0], answer[2], len(answer)) == (b"1.0", b"500", 6)
    assert answer[1] == (request_frames[1] if len(request_frames) > 1 else b"")
