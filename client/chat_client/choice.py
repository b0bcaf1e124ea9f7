"""Core: which of the brokers that announce themselves may be used, and what a person is told of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chat_protocol.announcement import Announcement

LISTED_MAX = 20  # brokers shown to choose from


@dataclass
class Choice:
    """What was found, sorted: `known` brokers were confirmed before; `strangers` were not; of
    `impostors` another key was seen before, and they are not to be used."""

    known: list[Announcement] = field(default_factory=list)
    strangers: list[Announcement] = field(default_factory=list)
    impostors: list[tuple[Announcement, bytes]] = field(default_factory=list)

    @property
    def candidates(self) -> list[Announcement]:
        """Among which to choose: those that are known, or if there are none all the others; one of those
        with the same key, which are one broker."""
        return list({one.key: one for one in reversed(self.known or self.strangers)}.values())[::-1]

    def twins(self, chosen: Announcement) -> list[Announcement]:
        """Everything that was announced of the broker with this key."""
        return [one for one in (*self.known, *self.strangers) if one.key == chosen.key]


def sort_out(
    found: Sequence[Announcement],
    knows: Callable[[bytes], bool],
    pinned: Callable[[Announcement], bytes | None],
) -> Choice:
    """`knows` says whether a key was confirmed before; `pinned` is the key that was seen under the name,
    or at the place, of an announcement."""
    choice = Choice()
    for one in found:
        before = pinned(one)
        if before is not None and before != one.key:
            choice.impostors.append((one, before))
        elif knows(one.key):
            choice.known.append(one)
        else:
            choice.strangers.append(one)
    return choice


def in_words(one: Announcement) -> str:
    """A broker in a sentence."""
    return f"{one.name} at {one.address().place}"


def door(one: Announcement) -> str:
    return "open to anybody" if one.is_open else "needs an invite"


def listing(candidates: Sequence[Announcement]) -> list[str]:
    """Rows to choose from, numbered from 1."""
    shown = candidates[:LISTED_MAX]
    width = max(len(one.name) for one in shown)
    places = max(len(one.address().place) for one in shown)
    rows = [
        f"{number:>4}  {one.name:<{width}}  {one.address().place:<{places}}  {one.fingerprint}  {door(one)}"
        for number, one in enumerate(shown, 1)
    ]
    if len(candidates) > LISTED_MAX:
        rows.append(f"      and {len(candidates) - LISTED_MAX} more; --broker names one by its chat:// URL")
    return rows
