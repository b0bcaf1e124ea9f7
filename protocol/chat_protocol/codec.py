"""Frames to messages and back. Bad bytes raise `BadFrame`, and nothing else.

A frame is one version byte and one MessagePack array: a message, or several requests, each an array
(SPEC.md, "Frames").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw

from chat_protocol.errors import BadFrame, Code
from chat_protocol.messages import (
    FRAME_BYTES_MAX,
    REPLY_BYTES_MAX,
    SEVERAL_BYTES_MAX,
    SEVERAL_MAX,
    AnyFeed,
    AnyReply,
    AnyRequest,
    Entry,
    EntryKind,
    Line,
    Message,
    Refusal,
    Request,
)

T = TypeVar("T")


class _Decoder(Generic[T]):
    """A decoder that is built when it is first used: each costs a start some milliseconds, and no process
    needs all of them."""

    decode: Callable[[bytes | memoryview], T]

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self.decode = self._first

    def _first(self, data: bytes | memoryview) -> T:
        self.decode = msgspec.msgpack.Decoder(self._kind).decode
        return self.decode(data)


VERSION = 1
_VERSION_BYTE = bytes([VERSION])
_PUBLICATION = b"\x92\x01"  # an array of two: its kind, and its entries

_encoder = msgspec.msgpack.Encoder()
_requests: _Decoder[AnyRequest] = _Decoder(AnyRequest)
_several: _Decoder[list[AnyRequest]] = _Decoder(list[AnyRequest])
_replies: _Decoder[AnyReply] = _Decoder(AnyReply)
_feed: _Decoder[AnyFeed] = _Decoder(AnyFeed)
_entries: _Decoder[list[Entry]] = _Decoder(list[Entry])
_fields: _Decoder[list[Raw]] = _Decoder(list[Raw])
_number: _Decoder[int] = _Decoder(int)

REQUEST_KINDS = frozenset(kind.__struct_config__.tag for kind in AnyRequest.__args__)
REPLY_KINDS = frozenset(kind.__struct_config__.tag for kind in AnyReply.__args__)

# What msgspec may raise on hostile bytes: its own errors are ValueErrors, as is UnicodeDecodeError;
# RecursionError comes from deep nesting, OverflowError and MemoryError from absurd lengths and dates.
_DECODE_ERRORS = (ValueError, TypeError, RecursionError, OverflowError, MemoryError)


def encode(message: Message) -> bytes:
    """The frame of a request or a reply."""
    return _VERSION_BYTE + _encoder.encode(message)


def encode_requests(requests: Iterable[Request]) -> Iterator[bytes]:
    """Frames with these requests in this order, as few as their limits allow."""
    waiting: list[bytes] = []
    size = 0
    for request in requests:
        data = _encoder.encode(request)
        if waiting and (size + len(data) > SEVERAL_BYTES_MAX or len(waiting) == SEVERAL_MAX):
            yield _frame_of(waiting)
            waiting, size = [], 0
        waiting.append(data)
        size += len(data)
    if waiting:
        yield _frame_of(waiting)


def _frame_of(requests: list[bytes]) -> bytes:
    """One request as it is; several as an array of theirs."""
    if len(requests) == 1:
        return _VERSION_BYTE + requests[0]
    return b"".join((_VERSION_BYTE, _array_head(len(requests)), *requests))


def encode_plain(message: Message) -> bytes:
    """A feed message or an entry body, without the version byte (the envelope carries that)."""
    return _encoder.encode(message)


def decode_request(frame: bytes) -> AnyRequest:
    """The request in a frame. Raises BadFrame with the request id where it could be read."""
    return _decode(frame, FRAME_BYTES_MAX, _requests, REQUEST_KINDS)


def decode_requests(frame: bytes) -> list[AnyRequest | BadFrame]:
    """All requests in a frame, in order. One of several that cannot be read is a BadFrame in its place;
    raises BadFrame if the frame itself cannot be taken apart."""
    if not _holds_several(frame):
        return [decode_request(frame)]
    body = memoryview(frame)[1:]
    if len(frame) > FRAME_BYTES_MAX or frame[0] != VERSION:
        raise _bad_frame(frame, FRAME_BYTES_MAX, body)
    try:
        return [*_several.decode(body)]
    except _DECODE_ERRORS:
        return _one_by_one(body)


def _holds_several(frame: bytes) -> bool:
    """Whether the array in a frame begins with an array."""
    head = frame[1] if len(frame) > 1 else 0
    at = 1 + (1 if 0x90 <= head <= 0x9F else 3 if head == 0xDC else 5 if head == 0xDD else len(frame))
    return at < len(frame) and (0x90 <= frame[at] <= 0x9F or frame[at] in (0xDC, 0xDD))


def _one_by_one(body: memoryview) -> list[AnyRequest | BadFrame]:
    """Several requests, not all of which can be read."""
    try:
        parts = _fields.decode(body)
    except _DECODE_ERRORS as error:
        raise BadFrame(f"not requests: {error}") from error
    found: list[AnyRequest | BadFrame] = []
    for part in parts:
        try:
            found.append(_decode_body(memoryview(part), _requests, REQUEST_KINDS))
        except BadFrame as error:
            found.append(error)
    return found


def decode_reply(frame: bytes) -> AnyReply:
    """The reply in a frame. Raises BadFrame, code `unknown_kind` for kinds of a later version (ignore
    those) and `version` for another protocol version (a Refusal is read in any version)."""
    return _decode(frame, REPLY_BYTES_MAX, _replies, REPLY_KINDS)


def decode_feed(plaintext: bytes) -> AnyFeed:
    """What was inside a seal. Raises BadFrame."""
    try:
        return _feed.decode(plaintext)
    except _DECODE_ERRORS as error:
        raise BadFrame(f"not a feed message: {error}") from error


def encode_entries(entries: list[Entry]) -> bytes:
    return _encoder.encode(entries)


def pack_entries(entries: list[Entry]) -> bytes:
    """Entries one behind the other, without a count: what `entries_array` and `publication` take."""
    return _without_head(_encoder.encode(entries), len(entries))


def pack_lines(first: int, at: int, account: int, sender: str, lines: list[str], hops: int = 0) -> bytes:
    """The same for lines of one sender, from seq `first` on. No object is made for each."""
    kind = EntryKind.LINE.value
    more = (hops,) if hops else ()
    rows = [(seq, at, account, sender, kind, (line, *more)) for seq, line in enumerate(lines, first)]
    return _without_head(_encoder.encode(rows), len(rows))


def entries_array(count: int, packed: Iterable[bytes]) -> bytes:
    """Packed entries, `count` in all, as `decode_entries` reads them."""
    return _array_head(count) + b"".join(packed)


def encode_publication(count: int, packed: Iterable[bytes]) -> bytes:
    """The Publication of packed entries, `count` in all."""
    return _PUBLICATION + _array_head(count) + b"".join(packed)


def _array_head(count: int) -> bytes:
    """How an array of so many begins, in its shortest form."""
    if count < 16:
        return bytes([0x90 | count])
    return b"\xdc" + count.to_bytes(2, "big") if count < 65_536 else b"\xdd" + count.to_bytes(4, "big")


def _without_head(array: bytes, count: int) -> bytes:
    return array[1 if count < 16 else 3 if count < 65_536 else 5 :]


def decode_entries(data: bytes) -> list[Entry]:
    """Entries as `encode_entries` wrote them. Raises BadFrame."""
    try:
        return _entries.decode(data)
    except _DECODE_ERRORS as error:
        raise BadFrame(f"not entries: {error}") from error


def read_line(entry: Entry) -> Line | None:
    """What was said, or None if the entry is no line (or one this version cannot read)."""
    return decode_body(entry, Line) if entry.kind == EntryKind.LINE else None


def line_text(entry: Entry) -> str | None:
    """The text of a line, or None if the entry is none."""
    line = read_line(entry)
    return line.text if line else None


def decode_body(entry: Entry, kind: type[T]) -> T | None:
    """The entry's body as `kind`, or None if it is none."""
    try:
        return msgspec.msgpack.decode(entry.body, type=kind)
    except _DECODE_ERRORS:
        return None


def _decode(frame: bytes, bytes_max: int, decoder: _Decoder[T], kinds: frozenset[Any]) -> T:
    body = memoryview(frame)[1:]
    if not 2 <= len(frame) <= bytes_max or frame[0] != VERSION:
        raise _bad_frame(frame, bytes_max, body)
    return _decode_body(body, decoder, kinds)


def _decode_body(body: memoryview, decoder: _Decoder[T], kinds: frozenset[Any]) -> T:
    try:
        return decoder.decode(body)
    except _DECODE_ERRORS as error:
        kind, request = _peek(body)
        if kind is not None and kind not in kinds:
            raise BadFrame(f"unknown kind {kind}", code=Code.UNKNOWN_KIND, request=request) from error
        raise BadFrame(f"not a message: {error}", request=request) from error


def _bad_frame(frame: bytes, bytes_max: int, body: memoryview) -> BadFrame:
    """Why a frame is not even looked into."""
    if not 2 <= len(frame) <= bytes_max:
        return BadFrame(f"a frame has 2 to {bytes_max} bytes, this one {len(frame)}")
    return _other_version(frame[0], body)


def _other_version(version: int, body: memoryview) -> BadFrame:
    _, request = _peek(body)
    text = f"this end speaks protocol version {VERSION}, the other version {version}"
    try:
        refusal = msgspec.msgpack.decode(body, type=Refusal)
        text = f"{text}: {refusal.text}"
    except _DECODE_ERRORS:
        pass  # not a Refusal: the sentence above is all there is to say
    return BadFrame(text, code=Code.VERSION, request=request)


def _peek(body: memoryview) -> tuple[int | None, int]:
    """Kind and request id of a message that does not decode, as far as they can be read: what follows
    them may be anything that is MessagePack."""
    try:
        fields = _fields.decode(body)
        kind = _number.decode(fields[0])
    except (*_DECODE_ERRORS, IndexError):
        return None, 0
    try:
        request = _number.decode(fields[1])
    except (*_DECODE_ERRORS, IndexError):
        return kind, 0
    return kind, request if 0 < request < 2**63 else 0
