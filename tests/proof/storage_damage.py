"""Damage to a stopped log: the broker names it and does not serve, or nothing of what is read is changed."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from chat_broker.log import entries_after
from chat_broker.sqlite_log import SqliteLog
from chat_protocol.codec import encode_entries
from tests.integration.bench import BIN, Bench, Child, wait_until
from tests.proof.results import Proof
from tests.proof.storage_talk import FAILURES, FAST, LOBBY, Talker, answered, enter

LINES = 1_000
Damage = Callable[[bytearray, random.Random], str]


def prove_damage(*, seed: int, damages: int = 1 << 30, seconds: float = 1e9) -> Proof:
    """Damage a log `damages` times, or for `seconds`, each time starting a broker on it."""
    rng = random.Random(seed)
    proof = Proof(
        "a damaged log is named at start and not served, or reads back equal",
        "tests/proof/storage_damage.py",
        f"SEED={seed} pytest tests/proof/test_storage.py -k damage",
    )
    until = time.monotonic() + seconds
    found = {"named": 0, "harmless": 0}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name) / "bench")
        try:
            right = _fill(bench)
            while proof.runs < damages and time.monotonic() < until:
                proof.runs += 1
                damage = _DAMAGES[proof.runs % len(_DAMAGES)]
                outcome = _try(bench, damage, rng, right, proof)
                if outcome:
                    found[outcome] += 1
        except FAILURES as error:
            proof.violations.append(f"in run {proof.runs}: {error} (SEED={seed})")
        finally:
            bench.close()
    proof.figures |= {"damages": proof.runs, **found}
    return proof


def _flip(data: bytearray, rng: random.Random) -> str:
    place, bit = rng.randrange(len(data)), rng.randrange(8)
    data[place] ^= 1 << bit
    return f"bit {bit} of byte {place} flipped"


def _flip_in_the_header(data: bytearray, rng: random.Random) -> str:
    place, bit = rng.randrange(100), rng.randrange(8)
    data[place] ^= 1 << bit
    return f"bit {bit} of byte {place} flipped"


def _truncate(data: bytearray, rng: random.Random) -> str:
    size = rng.randrange(len(data))
    del data[size:]
    return f"truncated to {size} bytes"


def _zero(data: bytearray, rng: random.Random) -> str:
    sector = 512 * rng.randrange(len(data) // 512)
    data[sector : sector + 512] = bytes(512)
    return f"the sector at {sector} zeroed"


def _swap(data: bytearray, rng: random.Random) -> str:
    """Two whole pages, each sound in itself."""
    one, other = (8_192 * page for page in rng.sample(range(1, len(data) // 8_192), 2))
    data[one : one + 8_192], data[other : other + 8_192] = (
        data[other : other + 8_192],
        data[one : one + 8_192],
    )
    return f"the pages at {one} and {other} swapped"


_DAMAGES: tuple[Damage, ...] = (_flip, _truncate, _zero, _flip, _swap, _flip_in_the_header)


def _fill(bench: Bench) -> dict[str, object]:
    """A stopped broker's folder with some of everything in it, and what it holds."""
    broker = bench.broker(*FAST)

    async def talk() -> None:
        bea = Talker("bea")
        ann = Talker("ann", (LOBBY, "@bea"))
        await enter(bench, broker, bea, ann)
        for talker in (ann, bea):
            talker.say(LINES)
        await answered([ann, bea])
        for talker in (ann, bea):
            await talker.leave()

    asyncio.run(talk())
    assert broker.stop() == 0, broker.err
    return _everything(bench.data)


def _everything(folder: Path) -> dict[str, object]:
    with closing(SqliteLog(folder)) as log:
        rooms = sorted(log.rooms())
        entries = {room: encode_entries(list(entries_after(log, room, 0))) for room in rooms}
        return {"epoch": log.epoch, "entries": entries, "folds": [log.fold(room) for room in rooms]}


def _try(bench: Bench, damage: Damage, rng: random.Random, right: dict[str, object], proof: Proof) -> str:
    """Damage a copy and start a broker on it; what came of it, "" after a violation."""
    folder = bench.folder / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bench.data, folder)
    data = bytearray((folder / "chat.db").read_bytes())
    what = damage(data, rng)
    (folder / "chat.db").write_bytes(data)
    files = bench.folder / "files" / f"damaged{proof.runs}"
    command: list[str | Path] = [BIN / "chat-broker", "start", "--port", "0"]
    broker = Child(command, bench.env(CHAT_DATA=str(folder)), files)
    try:
        wait_until("a decision", lambda: "ready chat://" in broker.out or not broker.runs)
    finally:
        if broker.runs:
            broker.signal(signal.SIGTERM)
        code = broker.ends()
    if "ready chat://" not in broker.out:
        said = broker.err.strip()
        if code != 1 or not said.startswith("chat-broker: ") or "\n" in said or "is damaged (" not in said:
            proof.violations.append(f"{what}: the broker ended with {code}, saying {said!r}")
            return ""
        if (folder / "chat.db").read_bytes() != data:
            proof.violations.append(f"{what}: it was refused, and changed")
        return "named"
    left = _everything(folder) if code == 0 else {}
    same = {name: left.get(name) for name in ("epoch", "folds")} == {n: right[n] for n in ("epoch", "folds")}
    if not same or not _grown(left["entries"], right["entries"]):
        proof.violations.append(f"{what}: it was served, and holds something else")
        return ""
    return "harmless"


def _grown(there: object, before: object) -> bool:
    """Whether all rooms are as before; the broker's own log may have new entries, such as its invite."""
    assert isinstance(there, dict)
    assert isinstance(before, dict)
    return there.keys() == before.keys() and all(
        there[room] == content or room.startswith("$") for room, content in before.items()
    )
