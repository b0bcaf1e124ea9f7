"""Announcements: what a broker says of itself, and what is made of what anybody says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.address import encode_key, fingerprint
from chat_protocol.announcement import (
    HOSTS_MAX,
    LABEL_BYTES_MAX,
    SERVICE_TYPE,
    announced_properties,
    read_announcement,
    shown_name,
)

KEY = bytes(range(32))
NAME = f"desk-5555.{SERVICE_TYPE}"


def txt(**changed: str) -> dict[bytes, bytes | None]:
    pairs = announced_properties(KEY, is_open=False) | changed
    return {word.encode(): value.encode() for word, value in pairs.items()}


@pytest.mark.parametrize("is_open", [True, False])
def test_what_is_announced_is_read(is_open: bool) -> None:
    pairs = announced_properties(KEY, is_open=is_open)
    properties: dict[bytes, bytes | None] = {word.encode(): value.encode() for word, value in pairs.items()}
    one = read_announcement(NAME, ["192.168.1.5"], 5_555, properties)
    assert one is not None
    assert (one.name, one.hosts, one.port, one.key) == ("desk-5555", ("192.168.1.5",), 5_555, KEY)
    assert one.is_open is is_open
    assert one.fingerprint == fingerprint(KEY)
    assert str(one.address()) == f"chat://192.168.1.5:5555?key={encode_key(KEY)}"


def test_no_invite_is_ever_announced() -> None:
    assert set(announced_properties(KEY, is_open=True)) == {"v", "key", "fp", "door"}
    assert all(
        len(f"{word}={value}") < 256 for word, value in announced_properties(KEY, is_open=False).items()
    )


def test_the_specification_names_what_is_announced() -> None:
    spec = (Path(__file__).parents[2] / "protocol" / "SPEC.md").read_text(encoding="utf-8")
    section = spec.partition("### 3.4 Announcements\n")[2].partition("\n## ")[0]
    assert f"`{SERVICE_TYPE.removesuffix('.local.')}`, domain `local`" in section
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(
        announced_properties(KEY, is_open=True)
    )
    assert f"at {HOSTS_MAX} addresses of each" in spec


def test_keys_that_are_added_later_are_ignored() -> None:
    assert read_announcement(NAME, ["10.0.0.1"], 1, txt(later="x")) is not None
    assert read_announcement(NAME, ["10.0.0.1"], 1, txt() | {b"flag": None}) is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"v": "2"},
        {"v": ""},
        {"key": ""},
        {"key": "\x1b[31m"},
        {"key": encode_key(KEY)[:-1]},
        {"fp": "0000-0000-0000-0000"},
        {"fp": ""},
        {"key": encode_key(b"o" * 32)},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_no_announcement(changed: dict[str, str]) -> None:
    assert read_announcement(NAME, ["10.0.0.1"], 5_555, txt(**changed)) is None


@pytest.mark.parametrize("port", [None, 0, -1, 65_536])
def test_a_port_that_is_none(port: int | None) -> None:
    assert read_announcement(NAME, ["10.0.0.1"], port, txt()) is None


def test_only_addresses_that_can_be_another_machine_s_are_kept() -> None:
    hosts = ["fd00::1", "127.0.0.1", "::1", "0.0.0.0", "224.0.0.251", "fe80::1", "fe80::1%2", "x", "10.0.0.1"]
    one = read_announcement(NAME, hosts, 1, txt())
    assert one is not None
    assert one.hosts == ("10.0.0.1", "fd00::1")
    assert read_announcement(NAME, ["127.0.0.1", "fe80::1"], 1, txt()) is None
    many = read_announcement(NAME, [f"10.0.0.{number}" for number in range(100)], 1, txt())
    assert many is not None
    assert len(many.hosts) == HOSTS_MAX


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("desk", "desk"),
        ("Büro 2", "Büro 2"),
        ("\x1b[31mred\x07", "[31mred"),
        ("a\r\nb\tc", "a b c"),
        ("\u202eevil\u200b\u2028", "evil"),
        ("\x9b2J", "2J"),
        ("\x00", ""),
        ("n" * 200, "n" * LABEL_BYTES_MAX),
    ],
)
def test_names_are_made_safe_to_show(label: str, shown: str) -> None:
    assert shown_name(f"{label}.{SERVICE_TYPE}") == shown


@given(
    st.text(max_size=80),
    st.lists(st.text(max_size=20), max_size=5),
    st.none() | st.integers(-1, 70_000),
    st.dictionaries(
        st.sampled_from([b"v", b"key", b"fp", b"door"]) | st.binary(max_size=9),
        st.none() | st.binary(max_size=60),
    ),
)
def test_nothing_that_is_announced_raises(
    name: str, hosts: list[str], port: int | None, properties: dict[bytes, bytes | None]
) -> None:
    one = read_announcement(name, hosts, port, properties)
    assert one is None or one.name.isprintable()
