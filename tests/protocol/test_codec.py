"""Frames: what is written is read again, what a later version adds is ignored, and nothing that comes
over a wire raises anything but BadFrame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from chat_protocol import messages as m
from chat_protocol.codec import (
    VERSION,
    decode_body,
    decode_entries,
    decode_feed,
    decode_reply,
    decode_request,
    decode_requests,
    encode,
    encode_entries,
    encode_plain,
    encode_publication,
    encode_requests,
    entries_array,
    line_text,
    pack_entries,
    pack_lines,
)
from chat_protocol.errors import BadFrame, Code
from tests.protocol.strategies import FEED, REPLIES, REQUESTS, messages, number, packed

TOKEN = bytes(16)


def _name(kind: type[m.Message]) -> str:
    return kind.__name__


def _frame(*fields: Any, version: int = VERSION) -> bytes:
    return bytes([version]) + msgspec.msgpack.encode(fields)


def _refused(frame: bytes) -> BadFrame:
    with pytest.raises(BadFrame) as caught:
        decode_request(frame)
    return caught.value


any_request = st.one_of(*(messages(kind) for kind in REQUESTS))
any_reply = st.one_of(*(messages(kind) for kind in REPLIES))
any_feed = st.one_of(*(messages(kind) for kind in FEED))


# --------------------------------------------------------------------------- what is written is read


@pytest.mark.parametrize("kind", REQUESTS, ids=_name)
def test_requests_come_back_as_they_were(kind: type[m.Request]) -> None:
    @settings(max_examples=20)
    @given(messages(kind))
    def check(message: m.AnyRequest) -> None:
        assert decode_request(encode(message)) == message

    check()


@pytest.mark.parametrize("kind", REPLIES, ids=_name)
def test_replies_come_back_as_they_were(kind: type[m.Reply]) -> None:
    @settings(max_examples=20)
    @given(messages(kind))
    def check(message: m.AnyReply) -> None:
        assert decode_reply(encode(message)) == message

    check()


@given(any_feed)
def test_feed_messages_come_back_as_they_were(message: m.AnyFeed) -> None:
    assert decode_feed(encode_plain(message)) == message


@given(st.lists(messages(m.Entry), max_size=5))
def test_entries_come_back_as_they_were(entries: list[m.Entry]) -> None:
    assert decode_entries(encode_entries(entries)) == entries


@given(st.lists(any_request, max_size=40))
def test_several_requests_share_frames_and_come_back_in_order(requests: list[m.AnyRequest]) -> None:
    frames = list(encode_requests(requests))
    assert [request for frame in frames for request in decode_requests(frame)] == requests
    assert len(frames) <= 1 or all(len(frame) <= m.FRAME_BYTES_MAX for frame in frames)


def test_requests_share_a_frame_as_far_as_its_limits_allow() -> None:
    small = [m.Ping(number, TOKEN) for number in range(1, 601)]
    assert [len(decode_requests(frame)) for frame in encode_requests(small)] == [256, 256, 88]
    big = [m.Say(number, TOKEN, m.LOBBY, 0, ["x" * 16_000]) for number in range(1, 6)]
    assert [len(decode_requests(frame)) for frame in encode_requests(big)] == [3, 2]
    (alone,) = encode_requests(small[:1])
    assert alone == encode(small[0])


def test_one_of_several_requests_that_cannot_be_read_is_refused_by_itself() -> None:
    later, broken = [4_711, 8, "of a later version"], [5, 9, "no token"]
    frame = _frame([9, 7, TOKEN], later, broken, 3, [9, 10, TOKEN])
    ping, unknown, bad, none, pong = decode_requests(frame)
    assert (ping, pong) == (m.Ping(7, TOKEN), m.Ping(10, TOKEN))
    refused = [(error.code, error.request) for error in (unknown, bad, none) if isinstance(error, BadFrame)]
    assert refused == [(Code.UNKNOWN_KIND, 8), (Code.BAD_FRAME, 9), (Code.BAD_FRAME, 0)]


def test_several_requests_are_written_in_any_form_and_not_nested() -> None:
    ping = msgspec.msgpack.encode([9, 7, TOKEN])
    for head in (b"\x91", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01"):
        assert decode_requests(bytes([VERSION]) + head + ping) == [m.Ping(7, TOKEN)]
    (nested,) = decode_requests(_frame([[9, 7, TOKEN]]))
    assert isinstance(nested, BadFrame)
    for frame in (_frame([9, 7, TOKEN], version=2), _frame(*[[9, 7, TOKEN]] * 4_000)):
        with pytest.raises(BadFrame):
            decode_requests(frame)


@given(st.lists(messages(m.Entry), min_size=1, max_size=40), st.integers(0, 40))
def test_packed_entries_are_joined_without_being_looked_into(entries: list[m.Entry], cut: int) -> None:
    parts = [pack_entries(part) for part in (entries[:cut], entries[cut:]) if part]
    assert decode_entries(entries_array(len(entries), parts)) == entries
    assert entries_array(len(entries), parts) == encode_entries(entries)
    assert encode_publication(len(entries), parts) == encode_plain(m.Publication(entries))


@given(st.lists(st.text(), min_size=1, max_size=20), st.integers(0, m.HOPS_MAX))
def test_lines_are_packed_as_the_entries_they_become(lines: list[str], hops: int) -> None:
    found = decode_entries(entries_array(len(lines), [pack_lines(9, 5, 7, "bob", lines, hops)]))
    heads = [(entry.seq, entry.at, entry.account, entry.sender, entry.kind) for entry in found]
    assert heads == [(9 + number, 5, 7, "bob", m.EntryKind.LINE) for number in range(len(lines))]
    assert [decode_body(entry, m.Line) for entry in found] == [m.Line(line, hops) for line in lines]


def test_any_number_of_entries_can_be_packed() -> None:
    for count in (1, 15, 16, 65_535, 65_536):
        packed_lines = pack_lines(1, 5, 7, "b", [""] * count)
        assert len(decode_entries(entries_array(count, [packed_lines]))) == count


def test_a_frame_is_a_version_and_an_array() -> None:
    assert encode(m.Ping(14, TOKEN)) == b"\x01\x93\x09\x0e\xc4\x10" + TOKEN


# --------------------------------------------------------------------------- what a later version adds


@given(any_request, st.lists(packed.map(Raw), min_size=1, max_size=3))
def test_fields_of_a_later_version_are_ignored(message: m.AnyRequest, extra: list[Raw]) -> None:
    assert decode_request(_extended(encode(message), extra)) == message


@given(any_reply, st.lists(packed.map(Raw), min_size=1, max_size=3))
def test_fields_of_a_later_broker_are_ignored(message: m.AnyReply, extra: list[Raw]) -> None:
    assert decode_reply(_extended(encode(message), extra)) == message


@given(any_feed, st.lists(packed.map(Raw), min_size=1, max_size=3))
def test_fields_of_a_later_feed_are_ignored(message: m.AnyFeed, extra: list[Raw]) -> None:
    assert decode_feed(_extended(b"\x01" + encode_plain(message), extra)[1:]) == message


def _extended(frame: bytes, extra: list[Raw]) -> bytes:
    fields = msgspec.msgpack.decode(frame[1:], type=list[Raw])
    return frame[:1] + msgspec.msgpack.encode([*fields, *extra])


def test_fields_of_a_later_version_are_ignored_inside_structures() -> None:
    cursor = m.Cursor(b"e" * 8, 4, b"d" * 8)
    frame = _frame(6, 1, TOKEN, "#lobby", [b"e" * 8, 4, b"d" * 8, "new"], 100)
    assert decode_request(frame) == m.Fetch(1, TOKEN, "#lobby", cursor, 100)


def test_fields_with_a_default_may_be_left_out() -> None:
    assert decode_request(_frame(2, 1, "bob")) == m.Hello(1, "bob", None, "")
    assert decode_request(_frame(7, 1, TOKEN)) == m.Who(1, TOKEN, "", "")


@pytest.mark.parametrize(
    "kind",
    [kind for kind in range(200) if kind not in {number(one) for one in REQUESTS}],
)
def test_unknown_kinds_of_request_are_told_apart_from_broken_ones(kind: int) -> None:
    error = _refused(_frame(kind, 7, TOKEN))
    assert (error.code, error.request) == (Code.UNKNOWN_KIND, 7)


@given(st.integers(128, 2**63 - 1), st.lists(packed.map(Raw), max_size=3))
def test_unknown_kinds_of_reply_are_told_apart_from_broken_ones(kind: int, fields: list[Raw]) -> None:
    with pytest.raises(BadFrame) as caught:
        decode_reply(b"\x01" + msgspec.msgpack.encode([kind, 7, *fields]))
    assert (caught.value.code, caught.value.request) == (Code.UNKNOWN_KIND, 7)


def test_an_entry_of_an_unknown_kind_is_an_entry_all_the_same() -> None:
    entry = m.Entry(7, 1, 2, "bob", 999, Raw(msgspec.msgpack.encode({"new": [1, 2]})))
    publication = decode_feed(encode_plain(m.Publication([entry])))
    assert publication == m.Publication([entry])
    assert line_text(entry) is None


# --------------------------------------------------------------------------- other versions


@given(st.integers(0, 255).filter(lambda version: version != VERSION), any_request)
def test_another_version_is_told(version: int, message: m.AnyRequest) -> None:
    error = _refused(bytes([version]) + encode(message)[1:])
    assert (error.code, error.request) == (Code.VERSION, message.request)


@given(st.integers(0, 255).filter(lambda version: version != VERSION), st.binary(min_size=1, max_size=64))
def test_another_version_may_look_like_anything(version: int, body: bytes) -> None:
    assert _refused(bytes([version]) + body).code is Code.VERSION


def test_a_refusal_is_read_in_any_version() -> None:
    with pytest.raises(BadFrame, match="get a newer client") as caught:
        decode_reply(_frame(73, 7, "version", "get a newer client", 0, 0, "new", version=2))
    assert (caught.value.code, caught.value.request) == (Code.VERSION, 7)


# --------------------------------------------------------------------------- broken frames


@pytest.mark.parametrize("kind", REQUESTS, ids=_name)
def test_every_required_field_is_required(kind: type[m.Request]) -> None:
    @settings(max_examples=5)
    @given(messages(kind))
    def check(message: m.AnyRequest) -> None:
        fields = msgspec.msgpack.decode(encode(message)[1:], type=list[Raw])
        required = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
        for count in range(1, required + 1):
            error = _refused(b"\x01" + msgspec.msgpack.encode(fields[:count]))
            assert (error.code, error.request) == (Code.BAD_FRAME, message.request if count > 1 else 0)

    check()


@pytest.mark.parametrize("kind", REQUESTS, ids=_name)
def test_every_field_has_its_type(kind: type[m.Request]) -> None:
    @settings(max_examples=5)
    @given(messages(kind))
    def check(message: m.AnyRequest) -> None:
        fields = msgspec.msgpack.decode(encode(message)[1:], type=list[Raw])
        for at in range(1, len(fields)):
            wrong = [*fields[:at], {"a": "map"}, *fields[at + 1 :]]
            error = _refused(b"\x01" + msgspec.msgpack.encode(wrong))
            assert (error.code, error.request) == (Code.BAD_FRAME, message.request if at > 1 else 0)

    check()


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x01",
        b"\x01\xc1",
        b"\x01\x90",
        b"\x01" + b"\x91" * 60_000,
        b"\x01\x94\x09\x01\xc4\x10" + TOKEN + b"\x91" * 60_000,
        b"\x01\xdd\xff\xff\xff\xff\x09",
        b"\x01\x98\x05\x01\xc4\x10" + TOKEN + b"\xa2#a\x00\xdd\x7f\xff\xff\xff",
        b"\x01\xdf\xff\xff\xff\xff",
        b"\x01\x92\x09\xc6\xff\xff\xff\xff",
        b"\x01\x92\x09\xd6\xff\x00\x00\x00\x00",
        b"\x01\x92\x09\xd7\xff" + b"\xff" * 8,
        b"\x01\x92\x09\xc7\x0c\xff" + b"\xff" * 12,
    ],
    ids=lambda frame: frame[:12].hex(),
)
def test_hostile_frames_are_bad_frames(frame: bytes) -> None:
    assert _refused(frame).code is Code.BAD_FRAME
    with pytest.raises(BadFrame):
        decode_reply(frame)
    with pytest.raises(BadFrame):
        decode_feed(frame[1:])


def test_frames_have_a_largest_size() -> None:
    text = "x" * (m.FRAME_BYTES_MAX - len(encode(m.Say(1, TOKEN, "#a", 0, ["x" * 65_000]))) + 65_000)
    largest = encode(m.Say(1, TOKEN, "#a", 0, [text]))
    assert len(largest) == m.FRAME_BYTES_MAX
    assert isinstance(decode_request(largest), m.Say)
    assert _refused(encode(m.Say(1, TOKEN, "#a", 0, [text + "x"]))).code is Code.BAD_FRAME
    with pytest.raises(BadFrame):
        decode_reply(encode(m.Refusal(1, "busy", "x" * m.REPLY_BYTES_MAX)))


def test_the_request_is_named_though_its_fields_make_no_sense() -> None:
    assert _refused(b"\x01\x93\x02\x07\xa3\xff\xfe\xfd").request == 7  # a name that is no UTF-8
    assert _refused(b"\x01\x93\x09\x07\xd4\xff\x00").request == 7  # an extension type
    assert _refused(_frame(9, 7, {(1, 2): 3})).request == 7  # a map with an array as its key
    assert _refused(_frame(9, True, TOKEN)).request == 0
    assert _refused(_frame(9, 2**63, TOKEN)).request == 0


@given(st.binary(max_size=300))
def test_random_bytes_raise_only_bad_frame(data: bytes) -> None:
    _read_all(data)
    _read_all(b"\x01" + data)


@given(packed)
def test_any_messagepack_raises_only_bad_frame(data: bytes) -> None:
    _read_all(b"\x01" + data)


@given(st.lists(packed.map(Raw), max_size=8))
def test_several_of_anything_raise_only_bad_frame(parts: list[Raw]) -> None:
    _read_all(b"\x01" + msgspec.msgpack.encode([[1], *parts]))


@given(st.integers(0, 130), st.lists(packed.map(Raw), max_size=8))
def test_arrays_of_anything_raise_only_bad_frame(kind: int, fields: list[Raw]) -> None:
    _read_all(b"\x01" + msgspec.msgpack.encode([kind, *fields]))


@settings(max_examples=300)
@given(any_request | any_reply | any_feed, st.data())
def test_changed_frames_raise_only_bad_frame(message: Any, data: st.DataObject) -> None:
    frame = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame)))
        some = data.draw(st.binary(max_size=4))
        frame[at : at + data.draw(st.integers(0, 4))] = some
    _read_all(bytes(frame))


def _read_all(data: bytes) -> None:
    """Whatever reads bytes of the other side reads these, or raises BadFrame."""
    for read in (decode_request, decode_requests, decode_reply, decode_feed, decode_entries):
        found, error = _read(read, data)
        if error is not None:
            assert error.code in (Code.BAD_FRAME, Code.UNKNOWN_KIND, Code.VERSION)
            assert 0 <= error.request < 2**63
        for entry in found if read is decode_entries and found else getattr(found, "entries", []):
            line_text(entry)
            decode_body(entry, m.Created)


def _read(read: Callable[[bytes], Any], data: bytes) -> tuple[Any, BadFrame | None]:
    try:
        return read(data), None
    except BadFrame as error:
        return None, error


# --------------------------------------------------------------------------- bodies


@given(st.text())
def test_a_line_is_read_from_its_entry(text: str) -> None:
    entry = m.Entry(1, 2, 3, "bob", m.EntryKind.LINE, Raw(encode_plain(m.Line(text))))
    assert line_text(entry) == text


@given(packed | st.binary(max_size=20))
def test_a_body_that_is_none_is_none(body: bytes) -> None:
    entry = m.Entry(1, 2, 3, "bob", m.EntryKind.LINE, Raw(body))
    text = line_text(entry)
    assert text is None or isinstance(text, str)
    assert decode_body(entry, m.Membership) is None or body[:1] >= b"\x90"


def test_only_lines_have_a_text() -> None:
    entry = m.Entry(1, 2, 3, "bob", m.EntryKind.ADDED, Raw(encode_plain(m.Line("hello"))))
    assert line_text(entry) is None
