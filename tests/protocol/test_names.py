"""Names, rooms and the text of a line: what may travel, and what it is made into."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.errors import BadName, BadText, Code
from chat_protocol.messages import LINE_BYTES_MAX, LINE_ROWS_MAX, NAME_CHARS_MAX
from chat_protocol.names import (
    RESERVED_NAMES,
    are_sound,
    check_name,
    check_room,
    check_text,
    clean_text,
    direct_accounts,
    direct_room,
    skeleton,
)

LETTERS = string.ascii_letters + string.digits
names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,30}[A-Za-z0-9])?", fullmatch=True)

#: SPEC.md, "Text": the code points that no text may hold, first and last.
REFUSED = (
    (0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F), (0x061C, 0x061C), (0x200E, 0x200F), (0x2028, 0x202E),
    (0x2066, 0x206F), (0xD800, 0xDFFF), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xFFFE, 0xFFFF),
    (0xE0000, 0xE007F),
)  # fmt: skip


# --------------------------------------------------------------------------- account names


@given(names)
def test_names_of_letters_digits_and_signs_between_them_are_good(name: str) -> None:
    if name.lower() in RESERVED_NAMES:
        return
    assert check_name(name) == name


@given(st.text(max_size=40))
def test_whatever_passes_is_made_of_what_the_rule_says(name: str) -> None:
    try:
        check_name(name)
    except BadName:
        return
    assert 1 <= len(name) <= NAME_CHARS_MAX
    assert set(name) <= set(LETTERS + "_.-")
    assert name[0] in LETTERS
    assert name[-1] in LETTERS
    assert name.lower() not in RESERVED_NAMES


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_reserved_names_are_refused_in_any_case(name: str) -> None:
    for spelling in (name, name.upper(), name.title()):
        with pytest.raises(BadName, match="reserved"):
            check_name(spelling)


@pytest.mark.parametrize("name", ["x" * 33, "bob\n", "bob\0", "ⅷ", "bob१", "bo\u0301b"])
def test_lengths_line_ends_and_digits_of_other_scripts(name: str) -> None:
    with pytest.raises(BadName):
        check_name(name)


@given(names)
def test_a_name_looks_like_itself_in_any_case(name: str) -> None:
    assert skeleton(name) == skeleton(name.upper()) == skeleton(name.lower())


@given(names, st.sampled_from("_.-"), st.integers(1, 31))
def test_signs_do_not_tell_names_apart(name: str, sign: str, at: int) -> None:
    assert skeleton(name[:at] + sign + name[at:]) == skeleton(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("o", "0"),
        ("l", "1"),
        ("i", "1"),
        ("I", "l"),
        ("s", "5"),
        ("b", "8"),
        ("m", "rn"),
        ("w", "vv"),
        ("d", "cl"),
    ],
)
def test_look_alikes(one: str, other: str) -> None:
    assert skeleton(f"x{one}x") == skeleton(f"x{other}x")


def test_other_names_are_told_apart() -> None:
    apart = ["ada", "bob", "bobby", "eve", "ana", "anna", "mike", "nike", "u2", "u3"]
    assert len({skeleton(name) for name in apart}) == len(apart)


# --------------------------------------------------------------------------- rooms


@given(names)
def test_rooms_are_names_behind_a_sign_in_lower_case(name: str) -> None:
    assert check_room(f"#{name}") == f"#{name.lower()}"


@given(st.text(max_size=40))
def test_whatever_passes_as_a_room_is_one(room: str) -> None:
    try:
        name = check_room(room)
    except BadName:
        return
    assert name == name.lower()
    assert name[0] == "#"
    assert set(name[1:]) <= set(string.ascii_lowercase + string.digits + "_.-")
    assert check_room(name) == name


@given(st.integers(1, 2**53 - 1), st.integers(1, 2**53 - 1))
def test_a_direct_room_is_the_same_from_either_side(one: int, other: int) -> None:
    room = direct_room(one, other)
    assert room == direct_room(other, one)
    assert direct_accounts(room) == (min(one, other), max(one, other))


def test_a_direct_room_has_one_id_only() -> None:
    assert direct_accounts("@9:7") is None
    assert direct_accounts("@07:9") is None


@given(st.text(max_size=20))
def test_whatever_is_a_direct_room_is_written_in_the_one_way(room: str) -> None:
    accounts = direct_accounts(room)
    assert accounts is None or direct_room(*accounts) == room


# --------------------------------------------------------------------------- text


def _refused(text: str) -> Code | None:
    try:
        check_text(text)
    except BadText as error:
        return error.code
    return None


def test_exactly_these_code_points_are_refused() -> None:
    refused = []
    for block in range(0, 0x110000, 0x80):
        if _refused("a" + "".join(map(chr, range(block, block + 0x80)))):
            refused += [point for point in range(block, block + 0x80) if _refused("a" + chr(point))]
    expected = [point for first, last in REFUSED for point in range(first, last + 1)]
    assert refused == sorted(expected)


@given(st.text(max_size=200))
def test_what_may_be_said_is_said_and_shown_unchanged(text: str) -> None:
    if _refused(text) is None:
        assert check_text(text) == text
        assert clean_text(text) == text


@given(st.text(st.characters() | st.sampled_from("\x1b[]m;\x07\\\x9b\r\n\u202e"), max_size=60))
def test_what_is_shown_holds_nothing_that_is_refused(text: str) -> None:
    cleaned = clean_text(text)
    assert not any(first <= ord(char) <= last for char in cleaned for first, last in REFUSED)
    assert clean_text(cleaned) == cleaned


@given(st.text(" \t\n\u00a0\u1680\u2000\u200a\u202f\u205f\u3000", max_size=10))
def test_space_alone_is_nothing(text: str) -> None:
    assert _refused(text) is Code.BAD_TEXT


@pytest.mark.parametrize("char", ["x", "é", "€", "👋"])
def test_a_line_is_measured_in_bytes(char: str) -> None:
    most = LINE_BYTES_MAX // len(char.encode())
    assert _refused(char * most) is None
    assert _refused(char * most + char) is Code.LINE_TOO_LONG


def test_a_line_has_a_largest_number_of_rows() -> None:
    assert _refused("x\n" * (LINE_ROWS_MAX - 1) + "x") is None
    assert _refused("x\n" * LINE_ROWS_MAX) is Code.LINE_TOO_LONG


def test_a_broker_may_allow_less_or_more() -> None:
    with pytest.raises(BadText, match="10 bytes"):
        check_text("x" * 11, line_bytes=10)
    with pytest.raises(BadText, match="2 rows"):
        check_text("1\n2\n3", line_rows=2)
    assert check_text("x" * 20_000, line_bytes=20_000)


@given(
    st.lists(
        st.sampled_from(["", " ", "a", "b" * 20, "é✓", "x\ny", "\x1b[m", "\u202e", "\ud800"]),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 60),
    st.integers(1, 4),
    st.integers(1, 80),
)
def test_many_lines_at_once_are_sound_only_if_each_is(
    lines: list[str], line_bytes: int, line_rows: int, bytes_max: int
) -> None:
    def is_sound(line: str) -> bool:
        try:
            return check_text(line, line_bytes=line_bytes, line_rows=line_rows) == line
        except BadText:
            return False

    if are_sound(lines, line_bytes, line_rows, bytes_max):
        assert all(map(is_sound, lines))
        assert sum(len(line.encode()) for line in lines) <= bytes_max


def test_as_much_as_may_be_said_at_once_is_looked_at_at_once() -> None:
    assert are_sound(["x" * 98] * 500, 16_384, 200, 49_000)
    assert not are_sound(["x" * 98] * 500, 16_384, 200, 48_999)
