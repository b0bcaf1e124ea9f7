"""Rules for account and room names, and for the text of a line.

Names are ASCII, so that what a person reads is what they compare; two names that look alike are one
name to the broker (`skeleton`). Text is data: what could move a cursor, colour a screen or reorder
what is read never travels.
"""

from __future__ import annotations

import re

from chat_protocol.errors import BadName, BadText, Code
from chat_protocol.messages import LINE_BYTES_MAX, LINE_ROWS_MAX, NAME_CHARS_MAX

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?", re.ASCII)
_ROOM = re.compile(r"#[a-z0-9](?:[a-z0-9_.-]*[a-z0-9])?", re.ASCII)
_DIRECT = re.compile(r"@([1-9][0-9]{0,15}):([1-9][0-9]{0,15})", re.ASCII)

#: Words that would be mistaken for a command, for everybody, or for the system.
RESERVED_NAMES = frozenset(
    {"users", "exit", "all", "here", "everyone", "channel", "broker", "server", "system", "operator"}
)

# C0 except tab and newline, DEL, C1; line and paragraph separators; bidi embeddings, overrides,
# isolates and marks; interlinear annotations; byte order mark; tag characters; noncharacters U+FFFE/F.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
_PLAIN_ASCII = bytes([*range(0x20, 0x7F)]) + b"\t\n"
# What terminals read as a sequence: CSI, OSC/DCS/PM/APC/SOS up to their end, and two-byte escapes.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]"
)
_LOOKS = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "8": "b", "_": "", ".": "", "-": ""})


def check_name(name: str) -> str:
    """The account name itself. Raises BadName with a sentence that says the rule."""
    if len(name) > NAME_CHARS_MAX:
        raise BadName(f"a name has at most {NAME_CHARS_MAX} characters")
    if not _NAME.fullmatch(name):
        raise BadName("a name is made of letters, digits, and . _ - between them")
    if name.lower() in RESERVED_NAMES:
        raise BadName(f"the name {name} is reserved")
    return name


def check_room(room: str) -> str:
    """The name of a public or private room, in lower case. Raises BadName."""
    name = room.lower()
    if len(name) > NAME_CHARS_MAX + 1:
        raise BadName(f"a room name has at most {NAME_CHARS_MAX} characters after its #")
    if not _ROOM.fullmatch(name):
        raise BadName("a room name is # and then letters, digits, and . _ - between them")
    return name


def skeleton(name: str) -> str:
    """What a name looks like at a glance; names with the same skeleton are refused as look-alikes."""
    return name.lower().translate(_LOOKS).replace("rn", "m").replace("vv", "w").replace("cl", "d")


def direct_room(one: int, other: int) -> str:
    """The id of the direct room of two account ids, the same from either side."""
    return f"@{min(one, other)}:{max(one, other)}"


def direct_accounts(room: str) -> tuple[int, int] | None:
    """The two account ids of a direct room's id, the lower first, or None if it is none."""
    match = _DIRECT.fullmatch(room)
    if match is None or int(match[1]) > int(match[2]):
        return None
    return int(match[1]), int(match[2])


def is_unsafe(text: str) -> bool:
    """Whether text holds a character that never travels. Quick for most, for every line comes by here."""
    if text.isascii():
        return bool(text.encode().translate(None, _PLAIN_ASCII))
    return _UNSAFE.search(text) is not None


def are_sound(lines: list[str], line_bytes: int, line_rows: int, bytes_max: int) -> bool:
    """Whether many lines at once, of at most `bytes_max` together, may surely be stored. If not,
    `check_text` says of each what it is."""
    text = lines[0] if len(lines) == 1 else " ".join(lines)
    size = (len(text) if text.isascii() else len(text.encode("utf-8", "replace"))) - (len(lines) - 1)
    return (
        size <= bytes_max
        and (size <= line_bytes or max(map(len, lines)) * 4 <= line_bytes)
        and ("\n" not in text or text.count("\n") < line_rows)
        and all(map(str.strip, lines))
        and not is_unsafe(text)
    )


def check_text(text: str, *, line_bytes: int = LINE_BYTES_MAX, line_rows: int = LINE_ROWS_MAX) -> str:
    """A line as it may be stored. Raises BadText with the refusal code."""
    if not text.strip():
        raise BadText(Code.BAD_TEXT, "there is nothing in this line")
    if text.count("\n") >= line_rows:
        raise BadText(Code.LINE_TOO_LONG, f"a line has at most {line_rows} rows of text")
    if len(text) * 4 > line_bytes and len(text.encode("utf-8", "replace")) > line_bytes:
        raise BadText(Code.LINE_TOO_LONG, f"a line has at most {line_bytes} bytes of text")
    if is_unsafe(text):
        raise BadText(Code.BAD_TEXT, "this line holds control, escape or text-direction characters")
    return text


def clean_text(text: str) -> str:
    """Text made safe to say and to show: escape sequences and unsafe characters are taken out."""
    text = text.replace("\r\n", "\n")
    if not is_unsafe(text):
        return text
    return _UNSAFE.sub("", _ESCAPE.sub("", text).replace("\r", "\n"))
