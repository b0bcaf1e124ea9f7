"""Which of the brokers that are announced may be used."""

from __future__ import annotations

import pytest

from chat_client.choice import LISTED_MAX, listing, sort_out
from chat_protocol.announcement import Announcement


def broker(name: str, key: bytes = b"k", *, is_open: bool = False) -> Announcement:
    return Announcement(name, ("10.0.0.1",), 5_555, key * 32, is_open)


DESK, SHED = broker("desk"), broker("shed", b"s", is_open=True)


@pytest.mark.parametrize(
    ("knows", "pinned", "known", "strangers", "impostors"),
    [
        (set(), {}, [], [DESK, SHED], []),
        ({DESK.key}, {}, [DESK], [SHED], []),
        ({DESK.key}, {"desk": DESK.key}, [DESK], [SHED], []),
        ({DESK.key}, {"shed": DESK.key}, [DESK], [], [(SHED, DESK.key)]),
        (set(), {"desk": b"x" * 32, "shed": b"x" * 32}, [], [], [(DESK, b"x" * 32), (SHED, b"x" * 32)]),
        # A key that is known elsewhere does not make up for a name that had another.
        ({SHED.key}, {"shed": b"x" * 32}, [], [DESK], [(SHED, b"x" * 32)]),
    ],
)
def test_sorted_by_what_is_known_of_them(
    knows: set[bytes],
    pinned: dict[str, bytes],
    known: list[Announcement],
    strangers: list[Announcement],
    impostors: list[tuple[Announcement, bytes]],
) -> None:
    choice = sort_out([DESK, SHED], knows.__contains__, lambda one: pinned.get(one.name))
    assert (choice.known, choice.strangers, choice.impostors) == (known, strangers, impostors)
    assert choice.candidates == (known or strangers)


def test_announcements_with_one_key_are_one_broker() -> None:
    """After a restart the old name may still be announced beside the new one."""
    again = broker("desk-2")
    choice = sort_out([DESK, again, SHED], set[bytes]().__contains__, lambda _: None)
    assert choice.candidates == [DESK, SHED]
    assert choice.twins(DESK) == choice.twins(again) == [DESK, again]


def test_a_listing_is_aligned_and_bounded() -> None:
    rows = listing([DESK, broker("a longer name"), SHED])
    assert rows[0] == f"   1  desk           10.0.0.1:5555  {DESK.fingerprint}  needs an invite"
    assert rows[2].endswith("open to anybody")
    many = listing([broker(f"b{number}", bytes([number])) for number in range(100)])
    assert len(many) == LISTED_MAX + 1
    assert many[-1].strip() == f"and {100 - LISTED_MAX} more; --broker names one by its chat:// URL"
