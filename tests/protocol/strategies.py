"""Hypothesis strategies made from the messages themselves: whatever their types and limits allow."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import msgspec.inspect as mi
from hypothesis import strategies as st
from msgspec import Raw

from chat_protocol import messages as m

REQUESTS: tuple[type[m.Request], ...] = m.AnyRequest.__args__
REPLIES: tuple[type[m.Reply], ...] = m.AnyReply.__args__
FEED: tuple[type[m.Message], ...] = m.AnyFeed.__args__

_SOME = 4  # items of a list, bytes of an unbounded field: enough to be more than one

_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(max_size=_SOME)
    | st.binary(max_size=_SOME),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=_SOME,
)

#: Any MessagePack value, encoded.
packed = _anything.map(msgspec.msgpack.encode)


def number(kind: type[m.Message]) -> int:
    """The kind's number on the wire."""
    tag = kind.__struct_config__.tag
    assert isinstance(tag, int)
    return tag


@cache
def messages(kind: type[m.Message]) -> st.SearchStrategy[Any]:
    """Messages of a kind, with every field."""
    info = mi.type_info(kind)
    assert isinstance(info, mi.StructType)
    return st.builds(kind, **{field.name: _values(field.type) for field in info.fields})


def _values(kind: mi.Type) -> st.SearchStrategy[Any]:
    match kind:
        case mi.IntType(ge=low, le=high):
            return st.integers(-(2**63) if low is None else low, 2**64 - 1 if high is None else high)
        case mi.BytesType(min_length=low, max_length=high):
            return st.binary(min_size=low or 0, max_size=_SOME if high is None else high)
        case mi.StrType(min_length=low, max_length=high):
            return st.text(min_size=low or 0, max_size=_SOME if high is None else min(high, 8))
        case mi.ListType(item_type=item, min_length=low):
            return st.lists(_values(item), min_size=low or 0, max_size=_SOME)
        case mi.TupleType(item_types=items):
            return st.tuples(*map(_values, items))
        case mi.UnionType(types=types):
            return st.one_of(*map(_values, types))
        case mi.StructType(cls=cls):
            return messages(cls)
        case mi.EnumType(cls=cls):
            return st.sampled_from(cls)
        case mi.FloatType():
            return st.floats(allow_nan=False)
        case mi.BoolType():
            return st.booleans()
        case mi.NoneType():
            return st.none()
        case mi.RawType():
            return packed.map(Raw)
    raise AssertionError(f"a strategy for {kind}")
