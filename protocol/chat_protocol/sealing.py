"""Seal and open what goes out on the feed (SPEC.md, "Envelope").

An envelope is a header, AES-256-GCM under the room's key with topic and header as associated data,
then the broker's Ed25519 signature over topic, header and ciphertext: the room key says who may read,
the signature says who wrote. The nonce is four zero bytes and the header's counter, which never
repeats under one key.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chat_protocol.envelope import HEADER_BYTES, SIGNATURE_BYTES, Header, pack_header, read_header
from chat_protocol.errors import BadSeal


class SigningSealer:
    """Seals with real keys. `secret` is the 32-byte Ed25519 seed, fresh for every run."""

    def __init__(self, secret: bytes) -> None:
        self._signer = Ed25519PrivateKey.from_private_bytes(secret)
        self.verify_key = self._signer.public_key().public_bytes_raw()

    def seal(self, topic: bytes, key: bytes, header: Header, plaintext: bytes) -> bytes:
        """The envelope. The caller never uses a counter twice with one key."""
        head = pack_header(header)
        sealed = head + AESGCM(key).encrypt(_nonce(header), plaintext, topic + head)
        return sealed + self._signer.sign(topic + sealed)


class VerifyingOpener:
    """Opens with real keys. `verify_key` came in Welcome."""

    def __init__(self, verify_key: bytes) -> None:
        try:
            self._verifier = Ed25519PublicKey.from_public_bytes(verify_key)
        except ValueError as error:
            raise BadSeal("the broker's verify key is none") from error

    def verify(self, topic: bytes, envelope: bytes) -> None:
        """Raise BadSeal for anything that the broker did not sign for this topic."""
        read_header(envelope)
        try:
            self._verifier.verify(envelope[-SIGNATURE_BYTES:], topic + envelope[:-SIGNATURE_BYTES])
        except InvalidSignature as error:
            raise BadSeal("the signature does not hold") from error

    def open(self, topic: bytes, key: bytes, envelope: bytes) -> bytes:
        """The plaintext. Raises BadSeal for anything that the broker did not seal for this room."""
        self.verify(topic, envelope)
        header = read_header(envelope)
        sealed, head = envelope[HEADER_BYTES:-SIGNATURE_BYTES], envelope[:HEADER_BYTES]
        try:
            return AESGCM(key).decrypt(_nonce(header), sealed, topic + head)
        except InvalidTag as error:
            raise BadSeal("the seal does not hold") from error


def _nonce(header: Header) -> bytes:
    return struct.pack(">IQ", 0, header.counter)
