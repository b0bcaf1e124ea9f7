"""SPEC.md says of every message, code and limit what the code does: so that they cannot drift apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec.inspect as mi
import pytest

from chat_protocol import messages as m
from chat_protocol.address import DEFAULT_PORT
from chat_protocol.envelope import HEADER_BYTES, SIGNATURE_BYTES, TAG_BYTES
from chat_protocol.errors import RETRY_CODES, BadText, Code
from chat_protocol.names import RESERVED_NAMES, check_text
from tests.protocol.strategies import FEED, REPLIES, REQUESTS, number

SPEC = (Path(__file__).parents[2] / "protocol" / "SPEC.md").read_text(encoding="utf-8")
KINDS: dict[str, list[type[m.Message]]] = {
    "5.2": [kind for kind in REQUESTS if number(kind) < 32],
    "5.3": [kind for kind in REQUESTS if number(kind) >= 32],
    "5.4": list(REPLIES),
    "5.5": list(FEED),
}
STRUCTURES: list[type[m.Message]] = [
    m.Cursor,
    m.Entry,
    m.Limits,
    m.Stored,
    m.RoomInfo,
    m.RoomHead,
    m.DeviceInfo,
]
BODIES: dict[type[m.Message], str] = {
    m.Line: "entry kind 1",
    m.Created: "entry kind 2",
    m.Membership: "entry kinds 3 and 4",
}
ALL: list[type[m.Message]] = [*REQUESTS, *REPLIES, *FEED, *STRUCTURES, *BODIES]

Row = tuple[str, ...]


# --------------------------------------------------------------------------- reading SPEC.md


def _section(title: str) -> str:
    """The text under a heading, up to the next of its level or a higher one."""
    marks = title.split(" ")[0]
    found = re.search(
        rf"^{re.escape(title)}\b.*?\n(.*?)(?=^#{{1,{len(marks)}}} |\Z)", SPEC, re.MULTILINE | re.DOTALL
    )
    assert found, f"SPEC.md has no {title}"
    return found[1]


def _rows(text: str) -> Iterator[Row]:
    """The rows of a text's tables, without their heads, code marks taken off."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        is_head = at + 1 < len(lines) and lines[at + 1].startswith("|---")
        if line.startswith("| ") and not is_head:
            yield tuple(cell.strip().strip("`") for cell in line.strip("|").split("|"))


def _headings(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^#### (\w+)(?: \((.*)\))?$", text, re.MULTILINE)


# --------------------------------------------------------------------------- what the code says


def _notation(kind: mi.Type) -> str:
    """A type as SPEC.md writes it (section "Types")."""
    match kind:
        case mi.IntType(ge=low, le=high):
            known = {(1, 2**63 - 1): "id", (0, 2**63 - 1): "id0", (0, 2**53 - 1): "uint", (None, None): "int"}
            return known.get((low, high), f"int {low}..{high}")
        case mi.BytesType(min_length=low, max_length=high):
            return f"bin {high}" if low == high else f"bin {low or 0}..{high}"
        case mi.StrType(min_length=low, max_length=high):
            return "str" if high is None else f"str {low or 0}..{high}"
        case mi.ListType(item_type=item, min_length=low, max_length=high):
            return f"list{'' if high is None else f' {low}..{high}'} of {_notation(item)}"
        case mi.TupleType(item_types=items):
            return f"[{', '.join(map(_notation, items))}]"
        case mi.UnionType(types=types):
            return " or ".join(map(_notation, types))
        case mi.StructType(cls=cls) | mi.EnumType(cls=cls):
            return cls.__name__
        case mi.FloatType():
            return "float"
        case mi.BoolType():
            return "bool"
        case mi.NoneType():
            return "nil"
        case mi.RawType():
            return "any"
    raise AssertionError(kind)


def _default(field: mi.Field) -> str:
    if field.required:
        return "—"
    named = {"": "empty", b"": "empty", None: "nil", True: "true", False: "false"}
    is_number = isinstance(field.default, int) and not isinstance(field.default, bool)
    return str(field.default) if is_number else named[field.default]


def _expected(kind: type[m.Message]) -> list[Row]:
    """The rows of a message's table, without the fields that all of its direction begin with."""
    info = mi.type_info(kind)
    assert isinstance(info, mi.StructType)
    first = 0 if kind in STRUCTURES or kind in BODIES else 1
    rows: list[Row] = [
        (str(at), field.name, _notation(field.type), _default(field))
        for at, field in enumerate(info.fields, first)
    ]
    if issubclass(kind, m.SessionRequest):
        return rows[2:]
    if issubclass(kind, m.Request | m.Reply) and kind is not m.Refusal:
        return rows[1:]
    return rows


# --------------------------------------------------------------------------- messages


@pytest.mark.parametrize("section", KINDS)
def test_every_kind_has_its_number(section: str) -> None:
    expected = [(kind.__name__, str(number(kind))) for kind in KINDS[section]]
    assert _headings(_section(f"### {section}")) == expected


def test_structures_and_bodies_are_all_there() -> None:
    assert _headings(_section("### 5.1")) == [(kind.__name__, "") for kind in STRUCTURES]
    assert _headings(_section("### 6.2")) == [(kind.__name__, told) for kind, told in BODIES.items()]
    assert {int(kind) for kind in m.EntryKind} == {1, 2, 3, 4}
    assert "1 public, 2 private, 3 direct" in SPEC
    assert {kind.name.lower(): int(kind) for kind in m.RoomKind} == {"public": 1, "private": 2, "direct": 3}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_message_has_its_fields(kind: type[m.Message]) -> None:
    text = _section(f"#### {kind.__name__}")
    rows = list(_rows(text))
    assert [row[:4] for row in rows] == _expected(kind)
    if not rows:
        assert "No further fields" in text


def test_what_all_messages_begin_with() -> None:
    assert "Field 1 of each is `request`, an id" in _section("### 5.2")
    assert "Field 2 of all but Enroll and Hello is `token` (bin 16)" in _section("### 5.2")
    assert "Field 1 of each is `request` (id0)" in _section("### 5.4")
    assert _notation(mi.type_info(m.Id)) == "id"
    assert _notation(mi.type_info(m.Id0)) == "id0"


# --------------------------------------------------------------------------- codes, limits, names, bytes


def test_every_code_is_told_and_whether_to_try_again() -> None:
    rows = list(_rows(_section("## 17")))
    assert [row[0] for row in rows] == [str(code) for code in Code]
    assert {row[0] for row in rows if row[3] == "yes"} == RETRY_CODES
    assert {row[3] for row in rows} == {"yes", "no"}


def test_codes_that_are_mentioned_exist() -> None:
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", SPEC))
    fields = {field for kind in ALL for field in kind.__struct_fields__}
    parts = {"bad_envelopes", "bad_addresses", "feed_passwords"}
    assert words - fields - parts <= set(Code)


@pytest.mark.parametrize(
    ("what", "figure"),
    [
        ("bytes of a request frame", m.FRAME_BYTES_MAX),
        ("bytes of a reply frame", m.REPLY_BYTES_MAX),
        ("bytes that a client sends on the feed socket in one message", m.FEED_INBOUND_BYTES_MAX),
        ("bytes of entries in a Publication or Page, beyond the first", m.ENTRIES_BYTES_MAX),
        ("entries in a Page", m.PAGE_ENTRIES_MAX),
        ("names in Opened, Users, Presence", m.NAMES_PER_MESSAGE_MAX),
        ("rooms in a RoomList", m.ROOMS_PER_PAGE),
        ("lines in a Say", m.SAY_LINES_MAX),
        ("bytes of all lines of a Say", m.SAY_BYTES_MAX),
        ("hops of a line", m.HOPS_MAX),
        ("characters of a name", m.NAME_CHARS_MAX),
        ("characters of a room reference", m.ROOM_REF_CHARS_MAX),
    ],
)
def test_limits(what: str, figure: int) -> None:
    [row] = [row for row in _rows(_section("## 16")) if row[0] == what]
    assert row[1] == f"{figure:,}"


@pytest.mark.parametrize("field", m.Limits.__struct_fields__)
def test_limits_of_welcome(field: str) -> None:
    [row] = [row for row in _rows(_section("## 16")) if row[0].endswith(f": `{field}")]
    assert row[1] == f"{getattr(m.Limits(), field):,}"


def test_reserved_names() -> None:
    words = set(re.findall(r"`([a-z]+)`", _section("### 8.1")))
    assert words - {"bad_name"} == RESERVED_NAMES


def test_refused_code_points() -> None:
    rows = [row for row in _rows(_section("### 8.4")) if row[0].startswith("U+")]
    for row in rows:
        first, last = (int(point[2:], 16) for point in row[:2])
        assert _is_refused(first)
        assert _is_refused(last)
        assert not _is_refused(first - 1)
        assert not _is_refused(last + 1)


def _is_refused(point: int) -> bool:
    try:
        check_text(f"a{chr(point)}" if point >= 0 else "a")
    except BadText as error:
        return error.code is Code.BAD_TEXT
    return False


def test_white_space() -> None:
    [told] = re.findall(r"White space is (.*?)\.", _section("### 8.4"))
    points = set()
    for part in re.split(r", | and ", told):
        first, _, last = part.partition(" to ")
        points |= set(range(int(first[2:], 16), int((last or first)[2:], 16) + 1))
    assert points == {point for point in range(0x110000) if not chr(point).strip()}


def test_the_envelope_is_measured() -> None:
    rows = {row[2]: row for row in _rows(_section("## 7"))}
    assert rows["ciphertext"][0] == str(HEADER_BYTES)
    assert rows["tag"][1] == str(TAG_BYTES)
    assert rows["signature"][:2] == (f"{HEADER_BYTES + TAG_BYTES} + n", str(SIGNATURE_BYTES))
    assert f"No envelope is shorter than {HEADER_BYTES + TAG_BYTES + SIGNATURE_BYTES} bytes" in SPEC
    assert f"{DEFAULT_PORT} if there is none" in SPEC
    assert f"with CURVE that is {m.CURVE_BYTES} bytes" in SPEC


def test_sections_that_are_referred_to_exist() -> None:
    headings = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)", SPEC, re.MULTILINE))
    referred = re.findall(r"[Ss]ections? (\d+(?:\.\d+)?)(?: (?:and|to) (\d+(?:\.\d+)?))?", SPEC)
    assert {one for pair in referred for one in pair if one} <= headings
