"""Backups of a live broker under load, each restored, served and compared with the original."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from chat_broker.folder import KEY_FILES
from tests.integration.bench import Bench, Broker
from tests.proof.results import Proof
from tests.proof.storage_talk import (
    FAILURES,
    FAST,
    LOBBY,
    OPS,
    Said,
    Talker,
    answered,
    check,
    ended,
    enter,
    stored,
    until,
)


def prove_backups(*, seed: int, backups: int = 1 << 30, seconds: float = 1e9) -> Proof:
    """Back up a broker that people talk to `backups` times, or for `seconds`, and restore each backup."""
    proof = Proof(
        "a backup of a live broker, restored, is the original up to the backup's head",
        "tests/proof/storage_backups.py",
        f"SEED={seed} pytest tests/proof/test_storage.py -k backup",
    )
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name) / "bench")
        try:
            asyncio.run(_House(bench, random.Random(seed), proof).live(backups, time.monotonic() + seconds))
        except FAILURES as error:
            proof.violations.append(f"backup {proof.runs}: {error} (SEED={seed})")
        finally:
            bench.close()
    return proof


class _Reading(NamedTuple):
    epoch: bytes
    rooms: dict[str, list[Said]]


class _House:
    def __init__(self, bench: Bench, rng: random.Random, proof: Proof) -> None:
        self.bench = bench
        self.rng = rng
        self.proof = proof
        self.people = [Talker("ann", (LOBBY, OPS)), Talker("bea"), Talker("cyd", (OPS,))]
        self.entries = 0  # in all backups
        self.took_s: list[float] = []

    @property
    def acknowledged(self) -> int:
        return sum(talker.acknowledged for talker in self.people)

    async def live(self, backups: int, deadline: float) -> None:
        broker = await asyncio.to_thread(self.bench.broker, *FAST)
        async with self.bench.sdk("eve", broker):
            pass  # an account of hers
        await enter(self.bench, broker, self.people[0])
        await self.people[0].create(OPS)
        await enter(self.bench, broker, *self.people[1:])
        while self.proof.runs < backups and time.monotonic() < deadline:
            self.proof.runs += 1
            talking = [asyncio.create_task(talker.talk()) for talker in self.people]
            sure, backup = await self._back_up()
            await ended(*talking)
            await answered(self.people)
            await self._restore(broker, backup, sure)
        for talker in self.people:
            await talker.leave()
        code = await asyncio.to_thread(broker.stop)
        assert code == 0, f"the broker ended with {code}: {broker.err}"
        check(self.proof, await asyncio.to_thread(stored, self.bench.data), self.people)
        self.proof.figures |= {
            "backups": self.proof.runs,
            "lines_compared": self.entries,
            "backup_max_s": round(max(self.took_s), 2),
        }

    async def _back_up(self) -> tuple[dict[str, int], Path]:
        """A backup taken under load, and how far each room had been acknowledged when it began."""
        goal = self.acknowledged + self.rng.randrange(100, 600)
        await until("acknowledgements", lambda: self.acknowledged >= goal)
        sure = {
            room: max(max(one.places.get(room, {}).values(), default=0) for one in self.people)
            for room in (LOBBY, OPS)
        }
        backup = self.bench.folder / f"backup-{self.proof.runs}.db"
        before, begun = self.acknowledged, time.monotonic()
        code, _, err = await asyncio.to_thread(self.bench.operator, "backup", str(backup))
        self.took_s.append(time.monotonic() - begun)
        assert code == 0, f"chat-broker backup ended with {code}: {err}"
        assert self.acknowledged > before, "nobody was served during the backup"
        assert backup.stat().st_mode & 0o777 == 0o600, "others can read the backup, and the keys in it"
        return sure, backup

    async def _restore(self, broker: Broker, backup: Path, sure: dict[str, int]) -> None:
        """Serve the backup from a new folder, and let somebody who has an account read it there."""
        folder = self.bench.folder / f"restored-{self.proof.runs}"
        folder.mkdir(mode=0o700)
        shutil.move(backup, folder / "chat.db")
        restored = await asyncio.to_thread(self.bench.broker, *FAST, data=folder)
        assert restored.address.key == broker.address.key, "the restored broker has another key"
        for name in KEY_FILES:
            same = (folder / name).read_bytes() == (self.bench.data / name).read_bytes()
            assert same, f"{name} is another one after the restore"
        original, back = await self._read(broker.place), await self._read(restored.url)
        assert back.epoch != original.epoch, "the restored history has the epoch of the original"
        for room, head in sure.items():
            lines, there = back.rooms[room], original.rooms[room]
            assert lines == there[: len(lines)], f"{room} is another one after the restore"
            assert lines, f"nothing of {room} came back"
            assert lines[-1].seq >= head, f"{room} ends at {lines[-1].seq}; {head} was acknowledged before"
            self.entries += len(lines)
        code = await asyncio.to_thread(restored.stop)
        assert code == 0, f"the restored broker ended with {code}: {restored.err}"
        shutil.rmtree(folder)

    async def _read(self, place: str) -> _Reading:
        """All that eve can read at a broker; then she says a line there."""
        async with self.bench.sdk("eve", place, rooms=(LOBBY, OPS)) as eve:
            rooms = {}
            for room in (LOBBY, OPS):
                rooms[room] = [
                    Said(one.seq, one.sender, one.text) for one in await eve.history(room, 0, 1 << 30)
                ]
            await eve.say("so far I have read")
            return _Reading(eve.epoch, rooms)
