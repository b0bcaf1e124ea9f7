"""What a person typed, understood: at most one command a line.

A line is said as it stands unless it is just `users` or `exit`, or begins with a slash. What begins
with a slash is never said by accident: it is a command of `VERBS`, or `Invalid` with a sentence that
helps; `//` says a line that begins with one slash, and `/say` whatever follows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum

from chat_protocol.errors import BadName
from chat_protocol.messages import PAGE_ENTRIES_MAX
from chat_protocol.names import check_name, check_room

HISTORY_DEFAULT = 50
COMPLETIONS_MAX = 20

# --------------------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class Say:
    text: str


@dataclass(frozen=True, slots=True)
class Users:
    """Who is connected, or (with a room) who is there."""

    room: str | None = None


@dataclass(frozen=True, slots=True)
class Rooms:
    pass


@dataclass(frozen=True, slots=True)
class Join:
    """`target` is #room, @name, or a bare word that may be either."""

    target: str


@dataclass(frozen=True, slots=True)
class Leave:
    pass


@dataclass(frozen=True, slots=True)
class Msg:
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Create:
    room: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class InviteMember:
    name: str


@dataclass(frozen=True, slots=True)
class Remove:
    name: str


@dataclass(frozen=True, slots=True)
class History:
    count: int = HISTORY_DEFAULT


@dataclass(frozen=True, slots=True)
class Help:
    pass


@dataclass(frozen=True, slots=True)
class Exit:
    pass


@dataclass(frozen=True, slots=True)
class Invalid:
    """Not understood; `sentence` says why and what would be."""

    sentence: str


# Of the full screen only:


@dataclass(frozen=True, slots=True)
class Mute:
    """No alerts from a room (None: the current one); its lines are counted all the same."""

    room: str | None = None
    muted: bool = True


@dataclass(frozen=True, slots=True)
class QuietHours:
    """`hours` as they are typed, "" to hear which they are."""

    hours: str = ""


@dataclass(frozen=True, slots=True)
class Theme:
    """`name` is dark, light, or "" for the other one."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    """The addresses in this room, to open or copy."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Say again what failed here, or (`again` False) give it up."""

    again: bool = True


ScreenCommand = Mute | QuietHours | Theme | Links | Retry

#: Those after which one may be in another room.
Going = Join | Create | Leave

Command = (
    Say
    | Users
    | Rooms
    | Join
    | Leave
    | Msg
    | Create
    | InviteMember
    | Remove
    | History
    | Help
    | Exit
    | Invalid
    | ScreenCommand
)

# --------------------------------------------------------------------------- arguments


def room_name(word: str) -> str:
    """`ops`, `#Ops` and `@bob` as a chat opens them: #ops, @bob. Raises BadName."""
    if word.startswith("@"):
        return f"@{check_name(word[1:])}"
    return check_room(word if word.startswith("#") else f"#{word}")


def _person(word: str) -> str:
    return check_name(word.removeprefix("@"))


def _users(rest: str) -> Command | None:
    match rest.split():
        case []:
            return Users()
        case [word]:
            return Users(room_name(word))
    return None


def _join(rest: str) -> Command | None:
    match rest.split():
        case [word] if word[0] in "#@":
            return Join(room_name(word))
        case [word]:
            check_room(f"#{word}")  # the looser of the two rules a bare word may meet
            return Join(word)
    return None


def _msg(rest: str) -> Command | None:
    match rest.split(maxsplit=1):
        case [word, text]:
            return Msg(_person(word), text)
    return None


def _create(rest: str) -> Command | None:
    words = rest.split()
    names = [word for word in words if word != "--private"]
    if len(names) != 1 or len(words) > 2:
        return None
    if names[0].startswith("@"):
        return Invalid(f"A direct conversation needs no creating: /join {names[0]}")
    return Create(room_name(names[0]), private=len(words) == 2)


def _history(rest: str) -> Command | None:
    match rest.split():
        case []:
            return History()
        case [word] if word.isascii() and word.isdigit() and 1 <= int(word[:6]) <= PAGE_ENTRIES_MAX:
            return History(int(word))
    return None


def _mute(muted: bool) -> Callable[[str], Command | None]:
    def understand(rest: str) -> Command | None:
        match rest.split():
            case []:
                return Mute(None, muted)
            case [word]:
                return Mute(room_name(word), muted)
        return None

    return understand


def _theme(rest: str) -> Command | None:
    return Theme(rest) if rest in ("", "dark", "light") else None


def _one_person(command: Callable[[str], Command]) -> Callable[[str], Command | None]:
    def understand(rest: str) -> Command | None:
        words = rest.split()
        return command(_person(words[0])) if len(words) == 1 else None

    return understand


def _alone(command: Callable[[], Command]) -> Callable[[str], Command | None]:
    return lambda rest: None if rest else command()


# --------------------------------------------------------------------------- the table


class Takes(Enum):
    """What a verb's first argument names, for completion."""

    NOTHING = 0
    PEOPLE = 1
    ROOMS = 2
    BOTH = 3


@dataclass(frozen=True, slots=True)
class Verb:
    """`understand` gets what follows the name: a command, None for a usage sentence, or BadName."""

    name: str
    arguments: str
    meaning: str
    understand: Callable[[str], Command | None]
    takes: Takes = Takes.NOTHING

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.arguments}".rstrip()


_TABLE = (
    Verb("users", "[ROOM]", "who is connected, or in a room; also: users", _users, Takes.ROOMS),
    Verb("rooms", "", "the rooms you may join", _alone(Rooms)),
    Verb("join", "ROOM or @NAME", "go to a room, or to one person alone", _join, Takes.BOTH),
    Verb("leave", "", "leave this room; if private, until invited", _alone(Leave)),
    Verb("msg", "NAME TEXT", "say something to one person alone", _msg, Takes.PEOPLE),
    Verb("create", "[--private] ROOM", "make a room, for all or for those you invite", _create),
    Verb(
        "invite", "NAME", "let somebody into this private room", _one_person(InviteMember), Takes.PEOPLE
    ),
    Verb("remove", "NAME", "remove somebody from this private room", _one_person(Remove), Takes.PEOPLE),
    Verb("history", "[N]", f"the last N lines here, at most {PAGE_ENTRIES_MAX}", _history),
    Verb("say", "TEXT", "say TEXT, whatever it is", lambda rest: Say(rest) if rest else None),
    Verb("help", "", "this list", _alone(Help)),
    Verb("exit", "", "leave the chat; also: exit", _alone(Exit)),
)  # fmt: skip
_SCREEN_TABLE = (
    Verb("mute", "[ROOM]", "no bell and no notification from a room", _mute(True), Takes.BOTH),
    Verb("unmute", "[ROOM]", "bell and notifications again", _mute(False), Takes.BOTH),
    Verb("quiet", "[FROM-TO or off]", "no alerts at these hours: /quiet 22:00-7:30", QuietHours),
    Verb("theme", "[dark or light]", "the colours of the screen", _theme),
    Verb("links", "", "the addresses in this room, to open or copy", _alone(Links)),
    Verb("retry", "", "say again what failed in this room", _alone(Retry)),
    Verb("discard", "", "give up what failed in this room", _alone(lambda: Retry(again=False))),
)  # fmt: skip
VERBS = {verb.name: verb for verb in _TABLE}
SCREEN_VERBS = VERBS | {verb.name: verb for verb in _SCREEN_TABLE}


def parse(typed: str, verbs: Mapping[str, Verb] = VERBS) -> Command | None:
    """The command in `typed` (one entry: a pasted text with newlines is one); None if it is blank."""
    line = typed.strip()
    if not line:
        return None
    if line == "users":
        return Users()
    if line == "exit":
        return Exit()
    if not line.startswith("/"):
        return Say(typed.rstrip().lstrip("\r\n"))
    if line.startswith("//"):
        return Say(line[1:])
    return _command(line, verbs)


def _command(line: str, verbs: Mapping[str, Verb]) -> Command:
    words = line[1:].split(maxsplit=1)
    if not words or line[1].isspace():
        return Invalid("A command follows its slash directly; /help lists them all")
    name, rest = words[0].lower(), "".join(words[1:])
    verb = verbs.get(name)
    if verb is None:
        return Invalid(_unknown(words[0], verbs))
    try:
        command = verb.understand(rest)
    except BadName as error:
        return Invalid(str(error))
    return command or Invalid(f"Usage: {verb.usage} ({verb.meaning})")


def _unknown(word: str, verbs: Mapping[str, Verb]) -> str:
    if word.lower() in SCREEN_VERBS:
        return f"/{word} is for the full screen, which this is not"
    near = get_close_matches(word.lower(), verbs, n=1)
    hint = f"did you mean /{near[0]}?" if near else "/help lists them all."
    return f"There is no command /{word}; {hint} To say a line that begins with a slash, begin it with //"


def help_text(verbs: Mapping[str, Verb] = VERBS) -> str:
    """What /help shows: one command a row."""
    width = max(len(verb.usage) for verb in verbs.values())
    rows = [f"{verb.usage:{width}}  {verb.meaning}" for verb in verbs.values()]
    return "\n".join(
        [
            "Enter says a line; Up brings earlier ones back, Tab completes names.",
            *rows,
            f"{'//TEXT':{width}}  say a line that begins with a slash",
        ]
    )


# --------------------------------------------------------------------------- completion


def complete(
    typed: str, people: Collection[str], rooms: Collection[str], verbs: Mapping[str, Verb] = VERBS
) -> list[str]:
    """What the last word of `typed` may become, in order, at most `COMPLETIONS_MAX`; "" has no completion.

    `rooms` are titles (#lobby, @bob); each result replaces the last word.
    """
    word = last_word(typed)
    command = typed.removesuffix(word).strip()
    if not command and word.startswith("/"):
        return _starting(word, [f"/{name} " for name in verbs])
    if command.startswith("/"):
        verb = verbs.get(command[1:].lower())
        if verb is not None:
            return _starting(word, _arguments(verb.takes, people, rooms))
    if not word:
        return []
    if word.startswith("@"):
        return _starting(word, [f"@{name} " for name in sorted(people, key=str.lower)])
    if word.startswith("#"):
        return _starting(word, [f"{room} " for room in sorted(rooms) if room.startswith("#")])
    return _starting(word, [f"{name}: " if not command else f"{name} " for name in sorted(people)])


def last_word(typed: str) -> str:
    """What stands after the last blank, "" if that is all there is."""
    return re.split(r"\s", typed)[-1]


def common_start(words: Sequence[str]) -> str:
    """What all of one or more words begin with."""
    first, last = min(words), max(words)
    return next((first[:index] for index, letter in enumerate(first) if letter != last[index]), first)


def _arguments(takes: Takes, people: Collection[str], rooms: Collection[str]) -> list[str]:
    titles = {title for title in rooms if takes is Takes.BOTH or title.startswith("#")}
    match takes:
        case Takes.PEOPLE:
            found = set(people)
        case Takes.ROOMS:
            found = titles
        case Takes.BOTH:
            found = titles | {f"@{name}" for name in people}
        case Takes.NOTHING:
            found = set()
    return [f"{word} " for word in sorted(found, key=str.lower)]


def _starting(word: str, candidates: list[str]) -> list[str]:
    """Candidates that begin with `word`; its # or @ may be left out."""
    start = word.lower()
    bare = start[:1] not in ("#", "@")
    return [
        candidate
        for candidate in candidates
        if (candidate.lstrip("#@") if bare else candidate).lower().startswith(start)
    ][:COMPLETIONS_MAX]
