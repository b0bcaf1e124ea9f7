"""Writes vectors.json: byte-level examples of everything in SPEC.md that has bytes.

Run it after a change of the protocol, and read what changed: a frame that was once right stays right.

    python protocol/make_vectors.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct

from chat_protocol import messages as m
from chat_protocol.address import Address, encode_key, fingerprint
from chat_protocol.codec import VERSION, encode, encode_plain, encode_requests
from chat_protocol.envelope import HEADER_BYTES, SIGNATURE_BYTES, Header
from chat_protocol.errors import Code
from chat_protocol.names import skeleton
from chat_protocol.sealing import SigningSealer

PATH = Path(__file__).with_name("vectors.json")

Json = Any
Parts = str | list[Any]  # bytes in hex or text: one string, or parts of which [PART, TIMES] is repeated

FORMAT = [
    "Every string under a name that ends in _hex, and every value of frame, envelope, body, entry and"
    " plaintext, is bytes in lower-case hex.",
    "Where bytes or a text would be long, a list stands for one string: its items are joined, and an item"
    " [PART, TIMES] is PART repeated TIMES times.",
    "In fields, {'hex': ...} is a bin (or, for an entry's body, its bytes as they stand), an object a"
    " structure, null is nil, a number with a decimal point a float64. Integers go up to 2^63-1: read them"
    " as 64-bit integers.",
    "messages: write fields to get exactly frame, read frame to get fields. kind is the first number of the"
    " array. Frames of a feed message have no version byte, as inside an envelope.",
    "accepted: frames that are written otherwise than a writer of this version writes them, and must be"
    " read as fields.",
    "refused: frames that are no message. direction says who reads them: request the broker, which answers"
    " with code and request; reply the client, which ignores the frame if code is bad_frame or unknown_kind"
    " and gives up with version; feed the client, which drops it.",
    "entries: entry is the entry as in a Page, digest what a cursor on it carries.",
    "envelopes: seal plaintext with these keys to get exactly envelope; open it to get plaintext."
    " bad_envelopes: must not open, and what was in them must not be used.",
    "addresses: url is read as the other members; printed is how that address is written.",
    "names, rooms, directs: as the rules for names say. looks: pairs of names and whether they look alike.",
    "texts: code is what a Say of that text is refused with, null if it is stored. cleaned: what is shown,"
    " or said, in place of a text.",
    "instances, feed_passwords: how those are made.",
]

TOKEN = bytes(range(16))
INSTANCE = (1_760_000_000_000).to_bytes(8, "big") + bytes.fromhex("a1a2a3a4a5a6a7a8")
FEED_TOKEN = bytes.fromhex("00112233445566778899aabbccddeeff")
EPOCH = bytes.fromhex("e0e1e2e3e4e5e6e7")
RUN = bytes.fromhex("f0f1f2f3f4f5f6f7")
TOPIC = bytes.fromhex("b0b1b2b3b4b5b6b7b8b9babbbcbdbebf")
ONCE = bytes.fromhex("0123456789abcdef0123456789abcdef")
PUBLIC_KEY = bytes(range(100, 132))
ROOM_KEY = bytes(range(32))
OTHER_ROOM_KEY = bytes(range(1, 33))
SEED = bytes(range(200, 232))
OTHER_SEED = bytes(range(201, 233))
NOW = 1_760_000_123_456
DIGEST_AT_41 = bytes.fromhex("4142434445464748")

ENTRIES = [
    m.Entry(1, NOW - 5_000, 2, "operator", 2, Raw(encode_plain(m.Created(m.RoomKind.PUBLIC, [])))),
    m.Entry(2, NOW, 7, "bob", 1, Raw(encode_plain(m.Line("hello", 1)))),
    m.Entry(3, NOW + 1, 9, "Ada_L.", 1, Raw(encode_plain(m.Line("grüße 👋\n\tzwei Zeilen")))),
    m.Entry(4, NOW + 2, 7, "bob", 3, Raw(encode_plain(m.Membership(9, "Ada_L.")))),
    m.Entry(5, NOW + 3, 7, "bob", 4, Raw(encode_plain(m.Membership(9, "Ada_L.")))),
    m.Entry(6, NOW + 4, 0, "", 4_711, Raw(msgspec.msgpack.encode({"of": "a later version"}))),
    m.Entry(2**53 - 1, 2**53 - 1, 2**63 - 1, "z", 65_535, Raw(b"\xc0")),
]

REQUESTS: list[m.Request] = [
    m.Enroll(1, "bob", PUBLIC_KEY),
    m.Hello(2, "bob"),
    m.Hello(300, "bob", INSTANCE, "simple-chat"),
    m.Open(3, TOKEN, "#lobby"),
    m.Open(4, TOKEN, "@ada", m.Cursor(EPOCH, 41, DIGEST_AT_41)),
    m.Close(5, TOKEN, "#lobby"),
    m.Say(6, TOKEN, "#lobby", 0, ["hello"]),
    m.Say(7, TOKEN, "@7:9", 6, ["grüße 👋", "two\nrows"], ONCE),
    m.Say(8, TOKEN, "#lobby", 6, ["bob rolled 4"], ONCE, 2),
    m.Fetch(8, TOKEN, "#lobby", m.Cursor(EPOCH, 41)),
    m.Fetch(9, TOKEN, "#lobby", m.Cursor(EPOCH, 41, DIGEST_AT_41), 100),
    m.Who(10, TOKEN),
    m.Who(11, TOKEN, "#lobby", "bob"),
    m.Rooms(12, TOKEN),
    m.Rooms(13, TOKEN, "#lobby"),
    m.Rooms(13, TOKEN, "", True),
    m.Ping(14, TOKEN),
    m.Ping(2**63 - 1, TOKEN),
    m.Bye(15, TOKEN),
    m.Create(16, TOKEN, "#plans", m.RoomKind.PRIVATE),
    m.Add(17, TOKEN, "#plans", "ada"),
    m.Remove(18, TOKEN, "#plans", "ada"),
    m.Leave(19, TOKEN, "#plans"),
    m.Invite(20, TOKEN, PUBLIC_KEY),
    m.Invite(21, TOKEN, PUBLIC_KEY, 5, 3_600, True),
    m.Devices(22, TOKEN),
    m.Revoke(23, TOKEN, PUBLIC_KEY),
    m.Mark(23, TOKEN, "#lobby", 42),
    m.Status(24, TOKEN),
    m.Backup(25, TOKEN, "/var/backups/chat.db"),
    m.Ban(26, TOKEN, "eve"),
    m.Unban(27, TOKEN, "eve"),
    m.Rate(28, TOKEN, "dice", 500),
]

REPLIES: list[m.Reply] = [
    m.Enrolled(1, 7, "bob"),
    m.Welcome(
        2, TOKEN, INSTANCE, 7, "bob", FEED_TOKEN, SigningSealer(SEED).verify_key, RUN, EPOCH, m.Limits(),
        3.0, 15.0, "", 5_556, NOW, "simple-chat",
    ),
    m.Opened(
        3, "#lobby", "#lobby", m.RoomKind.PUBLIC, 43, 1, 40, TOPIC, 1, ROOM_KEY, 5, 2, ["ada", "bob"], 42
    ),
    m.Said(7, EPOCH, [m.Stored(6, "#lobby", 44, 1, NOW), m.Stored(7, "@7:9", 1, 2, NOW)]),
    m.Page(8, "#lobby", 1, 3, ENTRIES[:3]),
    m.Page(9, "#lobby", 44, 43, []),
    m.Users(11, "#lobby", 5, 2, ["ada", "bob"], False),
    m.RoomList(
        12,
        [
            m.RoomInfo("#lobby", "#lobby", m.RoomKind.PUBLIC, 43, 2),
            m.RoomInfo("@7:9", "@ada", m.RoomKind.DIRECT, 2, 0, True),
        ],
        True,
    ),
    m.Pong(14, NOW, [m.RoomHead("#lobby", 43, 1, 5)]),
    m.Key(0, "#plans", 2, OTHER_ROOM_KEY, 12),
    m.Refusal(6, Code.RATE_LIMITED, "you are saying too much", 250),
    m.Refusal(7, Code.OUT_OF_ORDER, "a line is missing", 0, 5),
    m.Goodbye(0, Code.SHUTTING_DOWN, "the broker is stopping"),
    m.Done(16),
    m.Added(0, "#plans", "#plans", m.RoomKind.PRIVATE, "ada"),
    m.Closed(0, "#plans", Code.REMOVED, "ada removed you from #plans"),
    m.Report(24, [("software", "simple-chat"), ("rooms", 3), ("load", 0.5)]),
    m.DeviceList(22, [m.DeviceInfo(PUBLIC_KEY, NOW, True)]),
    m.Marked(0, "#lobby", 43),
]  # fmt: skip

FEED: list[m.AnyFeed] = [
    m.Publication(ENTRIES[1:3]),
    m.Beacon(43, 5),
    m.Presence(6, 3, ["eve"], []),
    m.Presence(7, 400, [], [], False),
]


def build() -> dict[str, Json]:
    """All vectors, as vectors.json holds them."""
    return {
        "format": FORMAT,
        "protocol_version": VERSION,
        "messages": [
            *(_message("request", one) for one in REQUESTS),
            *(_message("reply", one) for one in REPLIES),
            *(_message("feed", one) for one in FEED),
        ],
        "accepted": list(_accepted()),
        "refused": list(_refused()),
        "several": _several(),
        "entries": [
            {
                "entry": encode_plain(one).hex(),
                "fields": _json(one),
                "digest": m.entry_digest(one).hex(),
            }
            for one in ENTRIES
        ],
        **_envelopes(),
        **_addresses(),
        **_names(),
        **_texts(),
        "instances": [
            {"clock_ms": 1_760_000_000_000, "random_hex": INSTANCE[8:].hex(), "instance_hex": INSTANCE.hex()}
        ],
        "feed_passwords": [
            {"user": "feed", "token_hex": FEED_TOKEN.hex(), "password": "00112233445566778899aabbccddeeff"}
        ],
    }


# --------------------------------------------------------------------------- frames


def _message(direction: str, message: m.Message) -> Json:
    frame = encode_plain(message) if direction == "feed" else encode(message)
    return {
        "name": type(message).__name__,
        "direction": direction,
        "kind": message.__struct_config__.tag,
        "frame": frame.hex(),
        "fields": _json(message),
    }


def _json(value: Any) -> Json:
    if isinstance(value, Struct):
        return {name: _json(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, bytes | Raw):
        return {"hex": bytes(value).hex()}
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    return value


def _several() -> list[Json]:
    """Frames with several requests, and the frame each would be alone; none: it cannot be read."""
    says = [m.Say(11, TOKEN, "#lobby", 9, ["one"]), m.Say(12, TOKEN, "#lobby", 11, ["two"])]
    pings = [m.Ping(request, TOKEN) for request in range(1, 18)]
    unknown = bytes([VERSION]) + _pack([[9, 1, TOKEN], [4_711, 2], [9, 3, TOKEN]])
    return [
        *(
            {"frame": next(encode_requests(some)).hex(), "alone": [encode(one).hex() for one in some]}
            for some in (says, pings)
        ),
        {"frame": unknown.hex(), "alone": [encode(pings[0]).hex(), None, encode(pings[2]).hex()]},
    ]


def _accepted() -> list[Json]:
    ping = m.Ping(14, TOKEN)
    welcome = cast(m.Welcome, REPLIES[1])
    short = msgspec.structs.replace(welcome, software="")
    fields = msgspec.msgpack.decode(encode_plain(short))[:-1]
    fields[10] = []  # Limits: every field has a default
    wide = bytes.fromhex("01 dd00000003 d10009 d3000000000000000e c600000010") + TOKEN
    return [
        _reads("fields of a later version at the end", "request", _frame([9, 14, TOKEN, "new", [1]]), ping),
        _reads("wider forms than needed", "request", wide, ping),
        _reads("defaults left out", "request", _frame([6, 8, TOKEN, "#lobby", [EPOCH, 41]]), REQUESTS[9]),
        _reads("defaults left out", "request", _frame([2, 2, "bob"]), REQUESTS[1]),
        _reads("defaults left out, also inside a structure", "reply", b"\x01" + _pack(fields), short),
        _reads(
            "a structure with fields of a later version at its end",
            "reply",
            _frame([71, 14, NOW, [["#lobby", 43, 1, 5, "new"]], None]),
            m.Pong(14, NOW, [m.RoomHead("#lobby", 43, 1, 5)]),
        ),
        _reads(
            "an integer where a float is meant",
            "reply",
            b"\x01" + _pack([*fields[:11], 3, 15, *fields[13:]]),
            short,
        ),
        _reads(
            "an entry of a kind that is not known, its body a map",
            "feed",
            _pack([1, [_plain(ENTRIES[5])]]),
            m.Publication([ENTRIES[5]]),
        ),
        _reads("fields of a later version at the end", "feed", _pack([2, 43, 5, True]), m.Beacon(43, 5)),
    ]


def _reads(why: str, direction: str, frame: bytes, message: m.Message) -> Json:
    return {**_message(direction, message), "why": why, "frame": frame.hex()}


def _refused() -> list[Json]:
    ping = _pack([9, 14, TOKEN])
    return [
        _no("nothing", "", Code.BAD_FRAME),
        _no("only a version", "01", Code.BAD_FRAME),
        _no("no MessagePack", "01c1", Code.BAD_FRAME),
        _no("random bytes behind the version", "01" + bytes(range(255, 223, -1)).hex(), Code.BAD_FRAME),
        _no("an empty array", "0190", Code.BAD_FRAME),
        _no("no array", _frame({"kind": 9}).hex(), Code.BAD_FRAME),
        _no("a kind that is no integer", _frame(["Ping", 14, TOKEN]).hex(), Code.BAD_FRAME),
        _no("a kind that is a float", _frame([9.0, 14, TOKEN]).hex(), Code.BAD_FRAME),
        _no("cut off", (b"\x01" + ping[:-1]).hex(), Code.BAD_FRAME),
        _no("bytes behind the array", (b"\x01" + ping + b"\x00").hex(), Code.BAD_FRAME),
        _no("a declared length beyond the end", "0193090ec6ffffffff", Code.BAD_FRAME),
        _no("a missing field", _frame([9, 14]).hex(), Code.BAD_FRAME, 14),
        _no("request id 0", _frame([9, 0, TOKEN]).hex(), Code.BAD_FRAME),
        _no("a negative request id", _frame([9, -1, TOKEN]).hex(), Code.BAD_FRAME),
        _no("a request id over 2^63-1", _frame([9, 2**63, TOKEN]).hex(), Code.BAD_FRAME),
        _no("a request id that is a float", _frame([9, 14.0, TOKEN]).hex(), Code.BAD_FRAME),
        _no("a token that is a str", _frame([9, 14, "t" * 16]).hex(), Code.BAD_FRAME, 14),
        _no("a token of 15 bytes", _frame([9, 14, TOKEN[:15]]).hex(), Code.BAD_FRAME, 14),
        _no("a name that is a bin", _frame([2, 14, b"bob"]).hex(), Code.BAD_FRAME, 14),
        _no("an empty name", _frame([2, 14, ""]).hex(), Code.BAD_FRAME, 14),
        _no("a name of 65 characters", _frame([2, 14, "n" * 65]).hex(), Code.BAD_FRAME, 14),
        _no("text that is no UTF-8", "0193020ea3fffefd", Code.BAD_FRAME, 14),
        _no("a surrogate in UTF-8", "0193020ea3eda080", Code.BAD_FRAME, 14),
        _no("a cursor that is a map", _frame([3, 14, TOKEN, "#lobby", {"seq": 1}]).hex(), Code.BAD_FRAME, 14),
        _no("a limit over 500", _frame([6, 14, TOKEN, "#l", [EPOCH, 0], 501]).hex(), Code.BAD_FRAME, 14),
        _no("a Say without lines", _frame([5, 14, TOKEN, "#lobby", 0, []]).hex(), Code.BAD_FRAME, 14),
        _no("a Say of 501 lines", _frame([5, 14, TOKEN, "#lobby", 0, ["x"] * 501]).hex(), Code.BAD_FRAME, 14),
        _no("a room kind that is none", _frame([11, 14, TOKEN, "#plans", 4]).hex(), Code.BAD_FRAME, 14),
        _no("1 for true", _frame([15, 14, TOKEN, PUBLIC_KEY, 1, 60, 1]).hex(), Code.BAD_FRAME, 14),
        _no("a kind that is not known", _frame([99, 14, TOKEN]).hex(), Code.UNKNOWN_KIND, 14),
        _no("a kind of the other direction", _frame([75, 14]).hex(), Code.UNKNOWN_KIND, 14),
        _no("a kind that is not known, without an id", _frame([99]).hex(), Code.UNKNOWN_KIND),
        _no("nested without end", ["01920e", ["91", 60_000]], Code.BAD_FRAME),
        _no("65,537 bytes", [_frame([9, 14, TOKEN]).hex()[:-32], ["00", 65_517]], Code.BAD_FRAME),
        _no("another version", "02" + ping.hex(), Code.VERSION, 14),
        _no("version 0", "00" + ping.hex(), Code.VERSION, 14),
        _no("another version, and nothing that can be read", "03c1", Code.VERSION),
        _no("a reply that is cut off", "019248", Code.BAD_FRAME, direction="reply"),
        _no("a missing field", _frame([66, 14, "#lobby"]).hex(), Code.BAD_FRAME, 14, direction="reply"),
        _no("a kind of a later version", _frame([200, 14]).hex(), Code.UNKNOWN_KIND, 14, direction="reply"),
        _no("a request", _frame([9, 14, TOKEN]).hex(), Code.UNKNOWN_KIND, 14, direction="reply"),
        _no(
            "a Refusal of another version",
            (b"\x02" + _pack([73, 14, "version", "speak 2", 0, 0, "new"])).hex(),
            Code.VERSION,
            14,
            direction="reply",
        ),
        _no("a kind of a later version", _pack([9, 1]).hex(), Code.UNKNOWN_KIND, direction="feed"),
        _no("no array", "c0", Code.BAD_FRAME, direction="feed"),
        _no("a missing field", _pack([2, 43]).hex(), Code.BAD_FRAME, direction="feed"),
        _no(
            "an entry without a body", _pack([1, [[1, 1, 1, "a", 1]]]).hex(), Code.BAD_FRAME, direction="feed"
        ),
    ]


def _no(why: str, frame: Parts, code: Code, request: int = 0, *, direction: str = "request") -> Json:
    return {"why": why, "direction": direction, "frame": frame, "code": str(code), "request": request}


def _frame(fields: Json) -> bytes:
    return b"\x01" + _pack(fields)


def _pack(fields: Any) -> bytes:
    return msgspec.msgpack.encode(fields)


def _plain(message: m.Message) -> Json:
    return msgspec.msgpack.decode(encode_plain(message))


# --------------------------------------------------------------------------- envelopes


def _envelopes() -> dict[str, Json]:
    sealer = SigningSealer(SEED)
    sealed = [
        (header, plaintext, sealer.seal(TOPIC, ROOM_KEY, header, plaintext))
        for header, plaintext in (
            (Header(RUN, 1, 1), encode_plain(FEED[0])),
            (Header(RUN, 1, 2), encode_plain(FEED[1])),
            (Header(RUN, 2**32 - 1, 2**64 - 1), encode_plain(FEED[2])),
            (Header(bytes(8), 0, 0), b""),
        )
    ]
    return {
        "envelopes": [
            {
                "signing_seed_hex": SEED.hex(),
                "verify_key_hex": sealer.verify_key.hex(),
                "topic_hex": TOPIC.hex(),
                "room_key_hex": ROOM_KEY.hex(),
                "run_hex": header.run.hex(),
                "generation": header.generation,
                "counter": header.counter,
                "plaintext": plaintext.hex(),
                "envelope": envelope.hex(),
            }
            for header, plaintext, envelope in sealed
        ],
        "bad_envelopes": list(_bad_envelopes(sealed[1][2])),
    }


def _bad_envelopes(good: bytes) -> list[Json]:
    plaintext, header = encode_plain(FEED[1]), Header(RUN, 1, 2)
    forged = SigningSealer(OTHER_SEED).seal(TOPIC, ROOM_KEY, header, plaintext)
    other_key = SigningSealer(SEED).seal(TOPIC, OTHER_ROOM_KEY, header, plaintext)
    another = SigningSealer(SEED).seal(TOPIC, ROOM_KEY, Header(RUN, 1, 3), plaintext)
    end = len(good) - SIGNATURE_BYTES
    return [
        _bad("a bit of the version", _flipped(good, 0)),
        _bad("a bit of the run", _flipped(good, 1)),
        _bad("a bit of the generation", _flipped(good, 12)),
        _bad("a bit of the counter", _flipped(good, HEADER_BYTES - 1)),
        _bad("a bit of the ciphertext", _flipped(good, HEADER_BYTES)),
        _bad("a bit of the tag", _flipped(good, end - 1)),
        _bad("a bit of the signature", _flipped(good, end)),
        _bad("the last bit", _flipped(good, len(good) - 1)),
        _bad("cut off by a byte", good[:-1]),
        _bad("a byte too many", good + b"\x00"),
        _bad("nothing", b""),
        _bad("shorter than any envelope", good[: HEADER_BYTES + 16 + SIGNATURE_BYTES - 1]),
        _bad("sealed with the room's key by somebody who is not the broker", forged),
        _bad("signed by the broker, sealed with another room's key", other_key),
        _bad("taken from another topic", good, topic=bytes(16)),
        _bad("another envelope's signature", another[:end] + good[end:]),
    ]


def _bad(why: str, envelope: bytes, *, topic: bytes = TOPIC) -> Json:
    return {
        "why": why,
        "verify_key_hex": SigningSealer(SEED).verify_key.hex(),
        "topic_hex": topic.hex(),
        "room_key_hex": ROOM_KEY.hex(),
        "envelope": envelope.hex(),
    }


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# --------------------------------------------------------------------------- addresses, names, texts


def _addresses() -> dict[str, Json]:
    key, invite = encode_key(PUBLIC_KEY), encode_key(SEED)
    both = f"chat://chat.example:7000?key={key}&invite={invite}"
    good = [
        ("chat://chat.example", Address("chat.example")),
        ("chat://chat.example:7000", Address("chat.example", 7_000)),
        (both, Address("chat.example", 7_000, PUBLIC_KEY, SEED)),
        (f"  {both}\n", Address("chat.example", 7_000, PUBLIC_KEY, SEED)),
        (f"chat://h?invite={invite}&new=1&key={key}", Address("h", key=PUBLIC_KEY, invite=SEED)),
        ("chat://CHAT.Example:1", Address("chat.example", 1)),
        ("chat://192.0.2.7:65535", Address("192.0.2.7", 65_535)),
        (f"chat://[2001:db8::7]:7000?key={key}", Address("2001:db8::7", 7_000, PUBLIC_KEY)),
    ]
    bad = [
        "",
        "chat.example:7000",
        "http://chat.example:7000",
        "chat://",
        "chat://:7000",
        "chat://chat.example:0",
        "chat://chat.example:65536",
        "chat://chat.example:port",
        f"chat://h?key={key[:-1]}",
        f"chat://h?key={key}AA",
        "chat://h?key=not*a*key*at*all*at*all*at*all*at*all*at*al",
        f"chat://h?key={key}&invite=short",
    ]
    return {
        "addresses": [
            {
                "url": url,
                "host": address.host,
                "port": address.port,
                "key_hex": address.key.hex() if address.key else None,
                "invite_hex": address.invite.hex() if address.invite else None,
                "printed": str(address),
            }
            for url, address in good
        ],
        "bad_addresses": bad,
        "fingerprints": [
            {"key_hex": one.hex(), "fingerprint": fingerprint(one)} for one in (PUBLIC_KEY, ROOM_KEY)
        ],
    }


def _names() -> dict[str, Json]:
    pairs = [
        ("bob", "BOB"),
        ("bob", "b0b"),
        ("bob", "b.o-b"),
        ("bill", "b1ll"),
        ("bill", "BlII"),
        ("modern", "modem"),
        ("vvendy", "wendy"),
        ("clara", "dara"),
        ("c-l-a-r-a", "dara"),
        ("sam5", "sams"),
        ("8en", "Ben"),
        ("bob", "rob"),
        ("bob", "bobb"),
        ("ana", "anna"),
        ("zoe", "z0e2"),
    ]
    return {
        "names": {
            "good": ["b", "bob", "Bob", "ada_l.b-c", "0", "7of9", "a..b", "x" * 32],
            "bad": [
                "", "-bob", "bob-", ".bob", "bob.", "_bob", "bob_", "bo b", "bo/b", "#bob", "@bob", "bob\n",
                "bøb", "боб", "b\u200bob", "x" * 33, "users", "Exit", "all", "here", "everyone", "channel",
                "broker", "server", "system", "OPERATOR",
            ],
            "looks": [
                {"one": one, "other": other, "alike": skeleton(one) == skeleton(other)}
                for one, other in pairs
            ],
        },
        "rooms": {
            "good": [
                {"given": "#lobby", "name": "#lobby"},
                {"given": "#Lobby", "name": "#lobby"},
                {"given": "#a.b-c_d", "name": "#a.b-c_d"},
                {"given": "#" + "x" * 32, "name": "#" + "x" * 32},
            ],
            "bad": ["", "lobby", "#", "##a", "#-a", "#a-", "#a b", "#é", "@bob", "@7:9", "#" + "x" * 33],
        },
        "directs": {
            "good": [
                {"room": "@7:9", "accounts": [7, 9]},
                {"room": "@7:7", "accounts": [7, 7]},
                {"room": "@1:9999999999999999", "accounts": [1, 9_999_999_999_999_999]},
            ],
            "bad": ["@9:7", "@0:7", "@07:9", "@7:", "@7", "7:9", "@7:9 ", "@-7:9", "@7:10000000000000000"],
        },
    }  # fmt: skip


def _texts() -> dict[str, Json]:
    refused = [
        ("", Code.BAD_TEXT),
        (" \t\n\u00a0\u2003\u3000", Code.BAD_TEXT),
        ("a\x00b", Code.BAD_TEXT),
        ("a\rb", Code.BAD_TEXT),
        ("a\x1b[31mred", Code.BAD_TEXT),
        ("a\x7fb", Code.BAD_TEXT),
        ("a\x85b", Code.BAD_TEXT),
        ("a\x9bb", Code.BAD_TEXT),
        ("a\u061cb", Code.BAD_TEXT),
        ("a\u200eb", Code.BAD_TEXT),
        ("a\u2028b", Code.BAD_TEXT),
        ("a\u202eb", Code.BAD_TEXT),
        ("a\u2066b", Code.BAD_TEXT),
        ("a\ufeffb", Code.BAD_TEXT),
        ("a\ufff9b", Code.BAD_TEXT),
        ("a\uffffb", Code.BAD_TEXT),
        ("a\U000e0041b", Code.BAD_TEXT),
    ]
    long: list[tuple[Parts, Code | None]] = [
        ([["x", 16_384]], None),
        ([["x", 16_385]], Code.LINE_TOO_LONG),
        ([["é", 8_192]], None),
        ([["é", 8_192], "x"], Code.LINE_TOO_LONG),
        ([["x\n", 199], "x"], None),
        ([["x\n", 200], "x"], Code.LINE_TOO_LONG),
        ([["x\n", 200]], Code.LINE_TOO_LONG),
    ]
    good = [
        "hello",
        "\ttab and\nnew line",
        " spaces around ",
        "grüße 👋🏽",
        "👩\u200d👩\u200d👧",
        "a\u200bb",
        "שלום",
        "a\u00adb",
        "\U0010ffff",
    ]
    cleaned = [
        ("hello", "hello"),
        ("a\r\nb", "a\nb"),
        ("a\rb", "a\nb"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07shown", "shown"),
        ("\x1b]8;;http://example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdata\x1b\\shown", "shown"),
        ("\x1b]never ended", ""),
        ("\x1b]0;cut\x1b[31m off", "0;cut off"),
        ("\x1b\x1b[31m[31m", "[31m"),
        ("\x1b(Bascii", "ascii"),
        ("\x1bcreset", "reset"),
        ("\x1b", ""),
        ("a\x00\x07\x7f\x85b", "ab"),
        ("a\u202eb\u2066c\ufeffd", "abcd"),
        ("a\U000e0041b", "ab"),
    ]
    return {
        "texts": [
            *({"text": text, "code": str(code)} for text, code in refused),
            *({"text": parts, "code": str(code) if code else None} for parts, code in long),
            *({"text": text, "code": None} for text in good),
        ],
        "cleaned": [{"text": text, "cleaned": shown} for text, shown in cleaned],
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(build(), indent=1) + "\n", encoding="ascii")
    print(f"{PATH} written")
