"""Seals without ciphers: an envelope names the key it was sealed with, and opens with no other.

The layout is `chat_protocol.envelope`'s, so that sessions read headers as they always do.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from chat_protocol.envelope import HEADER_BYTES, Header, pack_header, read_header
from chat_protocol.errors import BadSeal

_TOPIC_END = HEADER_BYTES + 16
_KEY_END = _TOPIC_END + 32
_SIGNER_END = _KEY_END + 32


class Inside(NamedTuple):
    """What an envelope holds, for whoever looks on."""

    topic: bytes
    key: bytes
    plaintext: bytes


class SymbolicSealer:
    def __init__(self, verify_key: bytes) -> None:
        self.verify_key = verify_key

    def seal(self, topic: bytes, key: bytes, header: Header, plaintext: bytes) -> bytes:
        sealed = pack_header(header) + topic + key + self.verify_key + plaintext
        return sealed + zlib.crc32(sealed).to_bytes(4, "big")


class SymbolicOpener:
    def __init__(self, verify_key: bytes) -> None:
        self._verify_key = verify_key

    def verify(self, topic: bytes, envelope: bytes) -> None:
        read_header(envelope)
        signer = envelope[_KEY_END:_SIGNER_END]
        is_whole = zlib.crc32(envelope[:-4]).to_bytes(4, "big") == envelope[-4:]
        if not is_whole or signer != self._verify_key or look_inside(envelope).topic != topic:
            raise BadSeal("the signature does not hold")

    def open(self, topic: bytes, key: bytes, envelope: bytes) -> bytes:
        self.verify(topic, envelope)
        inside = look_inside(envelope)
        if (inside.topic, inside.key) != (topic, key):
            raise BadSeal("the seal does not open with this key")
        return inside.plaintext


def look_inside(envelope: bytes) -> Inside:
    return Inside(envelope[HEADER_BYTES:_TOPIC_END], envelope[_TOPIC_END:_KEY_END], envelope[_SIGNER_END:-4])
