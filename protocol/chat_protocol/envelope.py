"""The envelope's outside: its header, and the ports for sealing and opening (SPEC.md, "Envelope").

Kept apart from `sealing`, which needs a cryptography library: whoever only sends lines never opens one.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Protocol

from chat_protocol.errors import BadSeal

ENVELOPE_VERSION = 1
SIGNATURE_BYTES = 64
TAG_BYTES = 16
HEADER_BYTES = 21
_HEADER = struct.Struct(">B8sIQ")
_SMALLEST = HEADER_BYTES + TAG_BYTES + SIGNATURE_BYTES


class Header(NamedTuple):
    """What can be read of an envelope without any key."""

    run: bytes
    generation: int
    counter: int


class Sealer(Protocol):
    """The broker's side: one signing key a run."""

    verify_key: bytes

    def seal(self, topic: bytes, key: bytes, header: Header, plaintext: bytes) -> bytes: ...


class Opener(Protocol):
    """A client's side: knows whose signature to expect."""

    def verify(self, topic: bytes, envelope: bytes) -> None:
        """Raise BadSeal unless the broker has signed this for the topic."""

    def open(self, topic: bytes, key: bytes, envelope: bytes) -> bytes:
        """What is inside. Raises BadSeal for anything that the broker did not seal for this room."""


def pack_header(header: Header) -> bytes:
    return _HEADER.pack(ENVELOPE_VERSION, *header)


def read_header(envelope: bytes) -> Header:
    """The header of an envelope, not yet verified. Raises BadSeal."""
    if len(envelope) < _SMALLEST:
        raise BadSeal(f"an envelope has at least {_SMALLEST} bytes, this one {len(envelope)}")
    version, run, generation, counter = _HEADER.unpack_from(envelope)
    if version != ENVELOPE_VERSION:
        raise BadSeal(f"envelope version {version}")
    return Header(run, generation, counter)
