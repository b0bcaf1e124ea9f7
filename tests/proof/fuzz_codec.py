"""Fuzz the codec for a fixed number of runs; a program of its own.

    python fuzz_codec.py RUNS SEED

With mutations of a seeded generator; then as often by atheris, where that is to be had (Linux).
Anything but a message or BadFrame ends it with a traceback and the bytes that did it.
"""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
from pathlib import Path

from chat_protocol.codec import decode_entries, decode_feed, decode_reply, decode_request, encode
from chat_protocol.errors import BadFrame
from chat_protocol.messages import (
    Create,
    Cursor,
    Enroll,
    Fetch,
    Hello,
    Invite,
    Message,
    Open,
    Page,
    Ping,
    Refusal,
    RoomKind,
    Say,
    Who,
)

TOKEN = bytes(16)
MESSAGES: list[Message] = [
    Enroll(1, "mallory", bytes(32)),
    Hello(2, "mallory", bytes(16), "software"),
    Open(3, TOKEN, "#lobby", Cursor(bytes(8), 7, bytes(8))),
    Say(4, TOKEN, "#lobby", 0, ["one", "two\nrows"], bytes(16)),
    Fetch(5, TOKEN, "#lobby", Cursor(bytes(8), 0), 10),
    Who(6, TOKEN, "#lobby", "ann"),
    Ping(7, TOKEN),
    Create(8, TOKEN, "#room", RoomKind.PRIVATE),
    Invite(9, TOKEN, bytes(32), 3, 60, True),
    Refusal(10, "bad_frame", "a sentence", 100, 3),
    Page(11, "#lobby", 1, 9, []),
]
CORPUS = [encode(message) for message in MESSAGES]


def one_input(data: bytes) -> None:
    """Each way in from the network: a value or BadFrame."""
    for decode in (decode_request, decode_reply, decode_feed, decode_entries):
        try:
            decode(data)
        except BadFrame as error:
            str(error)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to four changes: bytes set, cut, doubled, put in, or taken from another message."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0 if at < len(changed):
                changed[at] = rng.randrange(256)
            case 1:
                del changed[at : at + rng.randint(1, 8)]
            case 2:
                changed[at:at] = changed[at : at + rng.randint(1, 16)]
            case 3:
                changed[at:at] = rng.choice(
                    [b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\x91" * 2_000]
                )
            case _:
                other = rng.choice(CORPUS)
                changed[at:] = other[rng.randrange(len(other)) :]
    return bytes(changed)


def main(runs: int, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(runs):
        one_input(mutate(rng.choice(CORPUS), rng))
    print(f"mutations of its own: {runs} runs", flush=True)
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        return
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(CORPUS):
            (Path(folder) / str(number)).write_bytes(data)
        print(f"atheris: {runs} runs", flush=True)
        options = [f"-runs={runs}", f"-seed={seed % 2**31 + 1}", "-verbosity=0", folder]
        atheris.Setup([sys.argv[0], *options], atheris.instrument_func(one_input))
        atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
