"""Envelopes: what the broker sealed opens under the room's key, and nothing else does."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_protocol.envelope import (
    HEADER_BYTES,
    SIGNATURE_BYTES,
    TAG_BYTES,
    Header,
    pack_header,
    read_header,
)
from chat_protocol.errors import BadSeal
from chat_protocol.sealing import SigningSealer, VerifyingOpener

SEED, KEY, TOPIC = bytes(range(32)), bytes(range(1, 33)), bytes(range(16))
SEALER = SigningSealer(SEED)
OPENER = VerifyingOpener(SEALER.verify_key)
HEADER = Header(b"run....1", 3, 9)

headers = st.builds(
    Header, st.binary(min_size=8, max_size=8), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
)


@settings(max_examples=50)
@given(headers, st.binary(max_size=200))
def test_what_was_sealed_opens(header: Header, plaintext: bytes) -> None:
    envelope = SEALER.seal(TOPIC, KEY, header, plaintext)
    assert read_header(envelope) == header
    assert OPENER.open(TOPIC, KEY, envelope) == plaintext
    assert len(envelope) == HEADER_BYTES + len(plaintext) + TAG_BYTES + SIGNATURE_BYTES


@given(headers)
def test_a_header_is_21_bytes_in_network_order(header: Header) -> None:
    packed = pack_header(header)
    assert packed == (
        b"\x01" + header.run + header.generation.to_bytes(4, "big") + header.counter.to_bytes(8, "big")
    )
    assert len(packed) == HEADER_BYTES == 21


def test_an_envelope_is_what_the_specification_says_it_is() -> None:
    head = pack_header(HEADER)
    sealed = head + AESGCM(KEY).encrypt(bytes(4) + head[13:], b"hello", TOPIC + head)
    signature = Ed25519PrivateKey.from_private_bytes(SEED).sign(TOPIC + sealed)
    assert SEALER.seal(TOPIC, KEY, HEADER, b"hello") == sealed + signature


@settings(max_examples=50)
@given(st.data())
def test_a_changed_envelope_does_not_open(data: st.DataObject) -> None:
    envelope = bytearray(SEALER.seal(TOPIC, KEY, HEADER, b"hello"))
    at = data.draw(st.integers(0, len(envelope) - 1))
    envelope[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BadSeal):
        OPENER.open(TOPIC, KEY, bytes(envelope))


@given(st.binary(max_size=200))
def test_random_bytes_do_not_open(data: bytes) -> None:
    with pytest.raises(BadSeal):
        OPENER.open(TOPIC, KEY, data)


@pytest.mark.parametrize("cut", [1, SIGNATURE_BYTES, SIGNATURE_BYTES + TAG_BYTES, 10_000])
def test_a_shortened_envelope_does_not_open(cut: int) -> None:
    envelope = SEALER.seal(TOPIC, KEY, HEADER, b"hello")
    with pytest.raises(BadSeal):
        OPENER.open(TOPIC, KEY, envelope[: max(0, len(envelope) - cut)])


def test_it_takes_the_right_topic_key_and_signer() -> None:
    envelope = SEALER.seal(TOPIC, KEY, HEADER, b"hello")
    with pytest.raises(BadSeal):
        OPENER.open(bytes(16), KEY, envelope)
    with pytest.raises(BadSeal):
        OPENER.open(TOPIC, bytes(32), envelope)
    with pytest.raises(BadSeal):
        VerifyingOpener(SigningSealer(bytes(32)).verify_key).open(TOPIC, KEY, envelope)


def test_a_member_cannot_forge_what_the_broker_signs() -> None:
    forged = SigningSealer(bytes(32)).seal(TOPIC, KEY, HEADER, b"hello")
    with pytest.raises(BadSeal):
        OPENER.open(TOPIC, KEY, forged)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_a_verify_key_that_is_none(key: bytes) -> None:
    with pytest.raises(BadSeal):
        VerifyingOpener(key)


def test_the_header_is_read_before_anything_is_verified() -> None:
    envelope = bytes([1]) + b"run....1" + bytes([0, 0, 0, 3]) + bytes(7) + b"\x09" + bytes(80)
    assert read_header(envelope) == HEADER
    with pytest.raises(BadSeal, match="version 2"):
        read_header(b"\x02" + envelope[1:])
    with pytest.raises(BadSeal, match="at least 101"):
        read_header(envelope[:-1])
