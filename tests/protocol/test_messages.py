"""The messages' shape: what lets later versions add to them, and the digest that cursors carry."""

from __future__ import annotations

import hashlib

import msgspec
import msgspec.inspect as mi
import pytest
from hypothesis import given
from msgspec import Raw

from chat_protocol import messages as m
from tests.protocol.strategies import FEED, REPLIES, REQUESTS, messages, number

STRUCTURES = [m.Entry, m.Line, m.Created, m.Membership, m.Cursor, m.Limits, m.Stored, m.RoomInfo, m.RoomHead]
KINDS: list[type[m.Message]] = [*REQUESTS, *REPLIES, *FEED]


def _fields(kind: type[m.Message]) -> tuple[mi.Field, ...]:
    info = mi.type_info(kind)
    assert isinstance(info, mi.StructType)
    return info.fields


def test_kinds_are_distinct_within_a_direction() -> None:
    for kinds in ([*REQUESTS, *REPLIES], FEED):
        tags = [number(kind) for kind in kinds]
        assert len(tags) == len(set(tags))


def test_requests_and_replies_are_told_apart_by_their_kinds() -> None:
    assert all(1 <= number(kind) < 64 for kind in REQUESTS)
    assert all(64 <= number(kind) < 128 for kind in REPLIES)


@pytest.mark.parametrize("kind", [*KINDS, *STRUCTURES], ids=lambda kind: kind.__name__)
def test_fields_with_a_default_come_last(kind: type[m.Message]) -> None:
    required = [field.required for field in _fields(kind)]
    assert required == sorted(required, reverse=True)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_a_request_begins_with_its_id_and_its_token(kind: type[m.Request]) -> None:
    names = [field.name for field in _fields(kind)]
    if issubclass(kind, m.SessionRequest):
        assert names[:2] == ["request", "token"]
    else:
        assert kind in (m.Enroll, m.Hello)
        assert names[0] == "request"


@pytest.mark.parametrize("kind", REPLIES, ids=lambda kind: kind.__name__)
def test_a_reply_begins_with_the_request_it_answers(kind: type[m.Reply]) -> None:
    assert _fields(kind)[0].name == "request"


def test_a_refusal_keeps_its_layout_in_every_version() -> None:
    refusal = m.Refusal(7, "busy", "try again", 200, 5)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(refusal)) == [73, 7, "busy", "try again", 200, 5]


@pytest.mark.parametrize("kind", [*KINDS, *STRUCTURES], ids=lambda kind: kind.__name__)
def test_messages_do_not_change(kind: type[m.Message]) -> None:
    assert kind.__struct_config__.frozen
    assert kind.__struct_config__.array_like


def test_a_digest_covers_seq_time_account_kind_and_body() -> None:
    entry = m.Entry(2, 3, 4, "bob", 1, Raw(b"\x91\xa2hi"))
    head = bytes.fromhex("0000000000000002 0000000000000003 0000000000000004 0001")
    assert m.entry_digest(entry) == hashlib.sha256(head + b"\x91\xa2hi").digest()[:8]


@given(messages(m.Entry), messages(m.Entry))
def test_entries_that_differ_have_other_digests(one: m.Entry, other: m.Entry) -> None:
    same = msgspec.structs.replace(one, sender=other.sender) == other
    assert (m.entry_digest(one) == m.entry_digest(other)) is same


@given(messages(m.Entry))
def test_a_digest_outlives_the_wire(entry: m.Entry) -> None:
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=m.Entry)
    assert m.entry_digest(again) == m.entry_digest(entry)
