"""Rows of a screen, and the words in them.

Whatever came from the network is cleaned again here: no control character reaches a screen, a name is
one word, and only what somebody said may have several rows, which stand indented under the first.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from chat_client.events import Lost, PresenceChanged, RoomAdded, RoomClosed
from chat_protocol.errors import Code
from chat_protocol.messages import RoomKind
from chat_protocol.names import clean_text

INDENT = " " * len("14:02 ")
NAMES_IN_A_CHANGE_MAX = 5
NAME_CHARS_SHOWN_MAX = 64

#: Colours of names: at least 3.6 : 1 against black and against white, and none that means trouble.
PALETTE = (
    "#d75f00",
    "#878700",
    "#008700",
    "#008787",
    "#0087d7",
    "#5f5fff",
    "#af5fd7",
    "#d70087",
    "#af5f5f",
    "#5f8700",
)


class RowKind(StrEnum):
    LINE = "line"
    OWN = "own"  # a line said by this account
    NOTICE = "notice"  # something happened in a room
    PRESENCE = "presence"
    LINK = "link"
    ANSWER = "answer"  # to a command
    PROBLEM = "problem"  # something that was asked for was not done
    DAY = "day"
    PLACE = "place"  # where one is now, and who else


@dataclass(frozen=True, slots=True)
class Row:
    """`time` is local, "" for a day; `room` a title, "" where no room is meant; `elsewhere`: not the
    current room. `style` is the colour of the sender's name, "#rrggbb". `text` may hold newlines.

    For screens that keep rows, each in its room: `where` is the room's id, `epoch` and `seq` are those of
    the entry, 0 where the row is none; `day` is the day of `time`. `bot`: said by one; `mention`: it names
    this account; `replayed`: said before the room was opened. `ref` is that of a line that failed.
    `came` and `went` are the people of a presence row; `aside`: none of them spoke lately.
    """

    kind: RowKind
    time: str
    room: str
    sender: str
    text: str
    style: str = ""
    elsewhere: bool = False
    where: str = ""
    epoch: bytes = b""
    seq: int = 0
    day: date | None = None
    bot: bool = False
    mention: bool = False
    replayed: bool = False
    ref: int = 0
    came: tuple[str, ...] = ()
    went: tuple[str, ...] = ()
    aside: bool = False

    @property
    def said(self) -> bool:
        """Whether somebody said it."""
        return self.kind in (RowKind.LINE, RowKind.OWN)

    @property
    def mark(self) -> str:
        """What stands before the text: who said it, or a mark that no name can look like."""
        if self.sender:
            return f"{self.sender}:"
        return "!!" if self.kind is RowKind.PROBLEM else "--"


def plain(row: Row) -> str:
    """The row without any style: `14:02 #lobby bob: text`."""
    if row.kind is RowKind.DAY:
        return f"----- {row.text}"
    head = " ".join(part for part in (row.time, row.room, row.mark) if part)
    return f"{head} {row.text}".replace("\n", f"\n{INDENT}")


# --------------------------------------------------------------------------- what came from outside


def clean_name(name: str) -> str:
    """A name or title as one word, never empty, so that it can't pass for something else."""
    return "_".join(clean_text(name).split())[:NAME_CHARS_SHOWN_MAX] or "?"


def clean_names(names: Iterable[str]) -> list[str]:
    return [clean_name(name) for name in names]


def body(text: str) -> str:
    """What somebody said, of one or more rows."""
    return clean_text(text).expandtabs(4).rstrip() or "(nothing that can be shown)"


def sentence(text: str) -> str:
    """One row that ends as a sentence does."""
    words = " ".join(clean_text(text).split())
    return words if not words or words.endswith((".", "!", "?", ":")) else f"{words}."


def reason(text: str) -> str:
    """A sentence that begins as one, too: the words of an error."""
    words = sentence(text)
    return words[:1].upper() + words[1:]


def color(name: str) -> str:
    """The colour of a name: the same in every room, on every day, for everybody."""
    return PALETTE[crc32(name.lower().encode("utf-8", "replace")) % len(PALETTE)]


# --------------------------------------------------------------------------- sentences


def day_title(day: date) -> str:
    return f"{day:%A}, {day.day} {day:%B %Y}"


def plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def who_is(where: str, names: Sequence[str], count: int) -> str:
    """`3 here: alice, bob and carol`; `count` may be more than there are names."""
    if not names:
        return f"{count} {where}"
    rest = count - len(names)
    listed = f"{', '.join(names)} and {rest} more" if rest > 0 else _listed(names)
    return f"{count} {where}: {listed}"


def came_and_went(joined: Sequence[str], left: Sequence[str], event: PresenceChanged) -> str:
    """Who came and went, in one sentence; "" if there is nobody to name."""
    if not event.whole:
        return f"Many joined or left; {event.count} here now"
    groups = [(names, verb) for names, verb in ((joined, "joined"), (left, "left")) if names]
    if len(joined) + len(left) > NAMES_IN_A_CHANGE_MAX:
        parts = [f"{plural(len(names), 'person', 'people')} {verb}" for names, verb in groups]
        return f"{'; '.join(parts)}; {event.count} here now"
    return "; ".join(f"{_listed(names)} {verb}" for names, verb in groups)


def lost(event: Lost) -> str:
    title = clean_name(event.title)
    if event.first == event.last:
        return f"Line {event.first} of {title} is no longer kept"
    return f"Lines {event.first} to {event.last} of {title} are no longer kept"


def closed(event: RoomClosed) -> str:
    title = clean_name(event.title)
    if event.code == Code.LEFT:
        return f"You left {title}"
    if event.code == Code.REMOVED:
        return f"You were removed from {title}"
    return f"You no longer follow {title}: {event.text}"


def added(event: RoomAdded, *, own: bool) -> str:
    """Why a room appeared, and how to answer there."""
    title, by = clean_name(event.title), clean_name(event.by)
    if own:
        return f"{title} is open here too. To go there: /join {title}"
    if event.kind is RoomKind.DIRECT:
        return f"{by or title[1:]} writes to you alone. To answer: /join {title}"
    if not by:
        return f"You were let into {title} meanwhile. To go there: /join {title}"
    return f"{by} let you into {title}. To go there: /join {title}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
