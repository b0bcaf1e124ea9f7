"""A full disk: new lines are refused, reads go on, nothing is lost, and all is well when there is room again.

The disk is a small tmpfs, which only root can mount.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.integration.bench import Bench, Broker, Child
from tests.proof.results import Proof
from tests.proof.storage_talk import (
    FAILURES,
    FAST,
    LOBBY,
    Talker,
    answered,
    check,
    ended,
    enter,
    stored,
    tail,
    until,
)

DISK_BYTES = 24 << 20
ROOM_LEFT_BYTES = 1 << 20  # when the ballast is in
REFUSED_MIN = 50
RECOVERY_MAX_S = 20.0  # a broker tries again after 1 s; clients that lost it may take longer


class NotAllowed(Exception):
    """This machine lets us mount nothing."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of DISK_BYTES at `folder`. Raises NotAllowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NotAllowed(str(error)) from error
    if done.returncode:
        raise NotAllowed(done.stderr.strip())
    try:
        yield folder
    finally:
        if subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def prove_full_disk(*, seed: int, rounds: int = 1 << 30, seconds: float = 1e9) -> Proof:
    """Fill the disk under a broker that people talk to, and make room again, `rounds` times or for `seconds`.

    In every second round the broker is also killed while the disk is full, and started on it. Where
    nothing may be mounted the figure `not_run` says why, which is a violation if CI=true.
    """
    proof = Proof(
        "a full disk refuses new lines, serves what there is, and corrupts nothing",
        "tests/proof/storage_full.py",
        f"SEED={seed} pytest tests/proof/test_storage.py -k full",
    )
    deadline = time.monotonic() + seconds
    rng = random.Random(seed)
    found = _Found()
    try:
        while proof.runs < rounds and time.monotonic() < deadline and proof.holds:
            with tempfile.TemporaryDirectory() as name, small_disk(Path(name) / "disk") as disk:
                bench = Bench(Path(name) / "bench")
                bench.data = disk / "data"
                try:
                    asyncio.run(_House(bench, disk / "ballast", rng, proof, found).live(rounds, deadline))
                except FAILURES as error:
                    proof.violations.append(f"in round {proof.runs}: {error} (SEED={seed})")
                finally:
                    bench.close()
        proof.figures |= {"times_full": proof.runs, **asdict(found)}
    except NotAllowed as error:
        proof.figures["not_run"] = f"needs root, to mount a small disk: {error}"
        if os.environ.get("CI") == "true":
            proof.violations.append(str(proof.figures["not_run"]))
    return proof


@dataclass
class _Found:
    refused_lines: int = 0
    recovery_max_s: float = 0.0
    starts_on_a_full_disk_served: int = 0
    starts_on_a_full_disk_refused: int = 0


class _House:
    """A broker and its people on one disk, until their lines fill it."""

    def __init__(self, bench: Bench, ballast: Path, rng: random.Random, proof: Proof, found: _Found) -> None:
        self.bench = bench
        self.ballast = ballast
        self.rng = rng
        self.proof = proof
        self.people = [Talker("ann"), Talker("bea")]
        self.found = found

    @property
    def refused(self) -> int:
        return sum(len(talker.failures) for talker in self.people)

    @property
    def acknowledged(self) -> int:
        return sum(talker.acknowledged for talker in self.people)

    async def live(self, rounds: int, deadline: float) -> None:
        first = broker = await asyncio.to_thread(self.bench.broker, *FAST)
        self.bench.client("eve", broker, "send", "eve is here")
        await enter(self.bench, broker, *self.people)
        while self.proof.runs < rounds and time.monotonic() < deadline and self._has_space():
            self.proof.runs += 1
            broker = await self._round(broker, first)
        for talker in self.people:
            await talker.leave()
        code = await asyncio.to_thread(broker.stop)
        assert code == 0, f"the broker ended with {code}: {broker.err}"
        check(self.proof, await asyncio.to_thread(stored, self.bench.data), self.people)
        self.found.refused_lines += self.refused

    def _has_space(self) -> bool:
        """Whether the log has grown so little that the next round fits in."""
        free = os.statvfs(self.ballast.parent)
        return free.f_bavail * free.f_frsize > 8 * ROOM_LEFT_BYTES

    async def _round(self, broker: Broker, first: Broker) -> Broker:
        talking = [asyncio.create_task(talker.talk(lines=20)) for talker in self.people]
        acknowledged, refused = self.acknowledged, self.refused
        await until("acknowledgements", lambda: self.acknowledged > acknowledged)
        self._fill(self.rng.randrange(ROOM_LEFT_BYTES))
        await until("refusals", lambda: self.refused >= refused + REFUSED_MIN)
        await ended(*talking)
        self._fill(0)
        await answered(self.people)
        await self._look(broker)
        if self.proof.runs % 2 == 0:
            broker = await self._restart(broker, first)
        else:
            self.ballast.unlink()
        await self._recover()
        return broker

    def _fill(self, leave: int) -> None:
        """Write ballast until so much of the disk is free."""
        free = os.statvfs(self.ballast.parent)
        size = free.f_bavail * free.f_frsize - leave
        with open(self.ballast, "ab", buffering=0) as file, contextlib.suppress(OSError):
            while size > 0:
                size -= file.write(bytes(min(size, 4_096)))

    async def _look(self, broker: Broker) -> None:
        """On the full disk, all that was acknowledged can be read, and each refusal says why."""
        assert broker.runs, f"the broker ended: {broker.err}"
        read = await tail(self.bench, broker, "eve", LOBBY)
        look = Proof("", "", "")
        check(look, {LOBBY: read}, self.people)
        assert look.holds, (
            f"on the full disk {look.lost} lines are lost, {look.doubled} doubled: {look.violations}"
        )
        codes = {failure.code for talker in self.people for failure in talker.failures}
        assert codes == {"storage_full"}, f"lines were refused with {codes}"
        assert not any(failure.unknown for talker in self.people for failure in talker.failures)

    async def _restart(self, broker: Broker, first: Broker) -> Broker:
        """Kill the broker on its full disk and start it there. It serves, or says in a sentence why not."""
        await asyncio.to_thread(broker.kill)
        ports = ("--port", str(first.port), "--feed-port", str(first.feed_port), *FAST)
        files = self.bench.folder / "files" / f"full{self.proof.runs}"
        second = Child([*first.process.args[:2], *ports], self.bench.env(), files)  # type: ignore[index]
        await until("a decision to start or not", lambda: "ready chat://" in second.out or not second.runs)
        if second.runs:
            self.found.starts_on_a_full_disk_served += 1
            await asyncio.to_thread(second.kill)
        else:
            self.found.starts_on_a_full_disk_refused += 1
            code, said = second.ends(), second.err.strip()
            assert code == 1, f"the broker ended with {code} on a full disk: {said}"
            assert said.startswith("chat-broker: "), f"it said: {said}"
            assert "\n" not in said, f"it said: {said}"
        self.ballast.unlink()
        return await asyncio.to_thread(self.bench.broker, *FAST, like=first)

    async def _recover(self) -> None:
        """With room again, everybody's lines are stored, soon, and nobody has to do anything for it."""
        begun = time.monotonic()
        acknowledged = self.acknowledged
        while self.acknowledged == acknowledged:
            self.people[0].say()
            await answered(self.people)
            waited = time.monotonic() - begun
            assert waited < RECOVERY_MAX_S, f"refused {waited:.1f} s after there was room again"
        recovery_s = round(time.monotonic() - begun, 2)
        self.found.recovery_max_s = max(self.found.recovery_max_s, recovery_s)
        refused = self.refused
        for talker in self.people:
            talker.say(20)
        await answered(self.people)
        assert self.refused == refused, "a line was refused with room again"
