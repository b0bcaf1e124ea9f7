"""chat:// addresses, and keys as text."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.address import Address, decode_key, encode_key, fingerprint, parse_address
from chat_protocol.errors import BadAddress

KEY = bytes(range(32))
keys = st.binary(min_size=32, max_size=32)
names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{2,5})?", fullmatch=True)
hosts = names | st.ip_addresses().map(str)


@given(hosts, st.integers(1, 65_535), keys | st.none(), keys | st.none())
def test_addresses_come_back_as_they_were(
    host: str, port: int, key: bytes | None, invite: bytes | None
) -> None:
    address = Address(host, port, key, invite)
    assert parse_address(str(address)) == address
    assert parse_address(f" {address}\n") == address


@given(st.text(max_size=60) | st.text(max_size=40).map(lambda rest: f"chat://{rest}"))
def test_anything_else_is_a_bad_address(url: str) -> None:
    try:
        address = parse_address(url)
    except BadAddress:
        return
    assert address.host
    assert 1 <= address.port <= 65_535


def test_the_parts_of_an_address() -> None:
    address = Address("2001:db8::7", 7_000, KEY, KEY)
    assert address.place == "[2001:db8::7]:7000"
    assert address.endpoint == "tcp://[2001:db8::7]:7000"
    assert address.without_invite() == Address("2001:db8::7", 7_000, KEY)
    assert "invite" not in str(address.without_invite())
    assert parse_address("chat://h") == Address("h", 5_555)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://h:1", "looks like chat://"),
        ("chat://", "looks like chat://"),
        ("chat://h:0", "port 0"),
        ("chat://h:65536", "not an address"),
        ("chat://h:x", "not an address"),
        ("chat://[::1", "not an address"),
        (f"chat://h?key={encode_key(KEY)[:-4]}", "cut short"),
        ("chat://h?key=%ff", "is not a key"),
        ("chat://h?invite=a", "is not a key"),
    ],
)
def test_what_is_wrong_is_said(url: str, why: str) -> None:
    with pytest.raises(BadAddress, match=why):
        parse_address(url)


@given(keys)
def test_keys_travel_as_unpadded_base64url(key: bytes) -> None:
    text = encode_key(key)
    assert len(text) == 43
    assert text == base64.urlsafe_b64encode(key).decode().rstrip("=")
    assert decode_key(text) == key


@given(st.text(max_size=50))
def test_any_other_text_is_no_key(text: str) -> None:
    try:
        key = decode_key(text)
    except BadAddress:
        return
    assert len(key) == 32


@given(keys, keys)
def test_fingerprints_are_short_and_differ(one: bytes, other: bytes) -> None:
    assert len(fingerprint(one)) == 19
    assert (fingerprint(one) == fingerprint(other)) is (one == other)
