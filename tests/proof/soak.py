"""Soak: people talk at a steady rate, come and go, and the broker is restarted every few minutes.

Its memory has a ceiling (RLIMIT_DATA). After the first sixth of the time nothing may grow any more:
resident memory, file descriptors, the write-ahead log; of the broker, and of a client that stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import random
import signal
import statistics
import time
from array import array
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from chat_client import ChatClient
from chat_client.events import Line
from chat_protocol.errors import OutcomeUnknown, Refused
from tests.integration.bench import BIN, Bench, Broker, until
from tests.proof.results import Proof

CEILING_BYTES = 512 << 20
PEOPLE = 8  # of whom the first two stay and listen, the others come and go
LINES_PER_S = 2.0  # of each
STAY_S = (5.0, 60.0)
RESTART_S = 180.0
SAMPLES = 600
GROWTH = 1.15  # by which the last sixth may exceed the second
SLACK = {"broker_resident_mib": 12.0, "client_resident_mib": 12.0, "descriptors": 8.0, "wal_mib": 8.0}


class Lines:
    """Lines by their seqs, in 16 bytes each."""

    def __init__(self) -> None:
        self.seqs = array("Q")
        self._digests = array("Q")

    def add(self, seq: int, text: str) -> None:
        self.seqs.append(seq)
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        self._digests.append(int.from_bytes(digest, "big"))

    def by_seq(self) -> dict[int, int]:
        return dict(zip(self.seqs, self._digests, strict=True))


class Soak:
    """One run. `said` are the lines acknowledged by seq, `heard` what those who stay were shown, in order.
    Of each text there is a digest: an hour's lines are not to look like a client that grows."""

    def __init__(self, bench: Bench, seconds: float, seed: int) -> None:
        self._bench = bench
        self._ends = time.monotonic() + seconds
        self._seconds = seconds
        self._random = random.Random(seed)
        self._restart_s = min(RESTART_S, seconds / 6)
        self.said = Lines()
        self.unknown = 0
        self.heard = [Lines(), Lines()]
        self.samples: dict[str, list[float]] = {name: [] for name in SLACK}
        self.restarts = 0
        # Both who stay hear all that is said: nothing is before they listen, or after they look.
        self._all_listen = asyncio.Barrier(PEOPLE)
        self._all_are_silent = asyncio.Barrier(PEOPLE)
        self._broker = self._start(None)

    async def run(self) -> None:
        people = [self._stays(index) for index in range(2)]
        people += [self._comes_and_goes(f"guest{index}") for index in range(PEOPLE - 2)]
        await asyncio.gather(self._restarts(), self._watches(), *people)

    @property
    def url(self) -> str:
        return self._broker.url

    def _start(self, like: Broker | None) -> Broker:
        ports = ["--port", str(like.port), "--feed-port", str(like.feed_port)] if like else ["--port", "0"]
        command: list[str | Path] = [
            "prlimit",
            f"--data={CEILING_BYTES}",
            BIN / "chat-broker",
            "start",
            *ports,
        ]
        return self._bench.broker_of(command, self._bench.env())

    async def _restarts(self) -> None:
        while time.monotonic() + self._restart_s < self._ends:
            await asyncio.sleep(self._restart_s)
            self._broker.signal(self._random.choice((signal.SIGKILL, signal.SIGTERM)))
            await asyncio.to_thread(self._broker.ends)
            self._broker = await asyncio.to_thread(self._start, self._broker)
            self.restarts += 1

    async def _watches(self) -> None:
        while time.monotonic() < self._ends:
            await asyncio.sleep(self._seconds / SAMPLES)
            try:
                pid = self._broker.process.pid
                self.samples["broker_resident_mib"].append(resident_mib(pid))
                self.samples["descriptors"].append(len(os.listdir(f"/proc/{pid}/fd")))
                wal = self._bench.data / "chat.db-wal"
                self.samples["wal_mib"].append(wal.stat().st_size / 2**20 if wal.exists() else 0.0)
                self.samples["client_resident_mib"].append(resident_mib(os.getpid()))
            except (FileNotFoundError, ProcessLookupError):
                pass  # between two brokers there is nothing to measure

    async def _stays(self, index: int) -> None:
        """Listens to everything from before the first line on, and talks."""
        async with self._chat(f"stays{index}", start="now") as chat:
            listening = asyncio.create_task(self._listen(chat, self.heard[index]))
            await self._all_listen.wait()
            await self._talk(chat, self._ends)
            await self._all_are_silent.wait()
            await self._level(self.heard[index])
            listening.cancel()

    async def _listen(self, chat: ChatClient, heard: Lines) -> None:
        async for event in chat.events():
            if isinstance(event, Line):
                heard.add(event.seq, event.text)

    async def _level(self, heard: Lines) -> None:
        """Wait until the last acknowledged line has come; what is missing then is lost."""
        newest = max(self.said.seqs, default=0)
        with contextlib.suppress(AssertionError):
            await until("the last line", lambda: heard.seqs and heard.seqs[-1] >= newest, 30)

    async def _comes_and_goes(self, name: str) -> None:
        await self._all_listen.wait()
        while time.monotonic() < self._ends:
            async with self._chat(name) as chat:
                stays = self._random.uniform(*STAY_S) * min(1.0, self._seconds / 600)
                await self._talk(chat, min(self._ends, time.monotonic() + stays))
        await self._all_are_silent.wait()

    async def _talk(self, chat: ChatClient, ends: float) -> None:
        number = 0
        while time.monotonic() < ends:
            text = f"{chat.name} {id(chat)} {number}"
            try:
                self.said.add((await chat.say(text)).seq, text)
            except (OutcomeUnknown, Refused):
                self.unknown += 1
            number += 1
            await asyncio.sleep(self._random.expovariate(LINES_PER_S))

    def _chat(self, name: str, start: str = "recent") -> ChatClient:
        home = self._bench.home(name)
        return ChatClient(name, self.url, home=home, start=start, timeout_s=60)


def run(minutes: float, seed: int) -> list[Proof]:
    """Soak for that long."""
    proof = Proof(
        promise="no growth after the first sixth: memory, descriptors, write-ahead log",
        test="soak",
        repeat=f"make prove ONLY=soak MINUTES={minutes:g} SEED={seed}",
        runs=1,
    )
    with TemporaryDirectory(prefix="simple-chat-soak-") as folder:
        bench = Bench(Path(folder) / "bench")
        try:
            soak = Soak(bench, minutes * 60, seed)
            asyncio.run(soak.run())
        finally:
            bench.close()
    judge_lines(soak, proof)
    judge_growth(soak, proof)
    proof.figures |= {"minutes": minutes, "restarts": soak.restarts, "outcome_unknown": soak.unknown}
    return [proof]


def judge_lines(soak: Soak, proof: Proof) -> None:
    proof.acknowledged = len(soak.said.seqs)
    for heard in soak.heard:
        times = Counter(heard.seqs)
        missing = [seq for seq in soak.said.seqs if not times[seq]]
        proof.lost += len(missing)
        if missing:
            proof.violations.append(f"lost: {missing[:10]}, the first heard is {min(times, default=0)}")
        proof.doubled += sum(count - 1 for count in times.values())
        proof.disordered += sum(one > other for one, other in itertools.pairwise(heard.seqs))
        texts = heard.by_seq()
        wrong = sum(texts.get(seq, text) != text for seq, text in soak.said.by_seq().items())
        if wrong:
            proof.violations.append(f"{wrong} lines stand where another was acknowledged")


def judge_growth(soak: Soak, proof: Proof) -> None:
    for name, samples in soak.samples.items():
        sixth = max(1, len(samples) // 6)
        early = statistics.median(samples[sixth : 2 * sixth] or samples)
        late = statistics.median(samples[-sixth:])
        proof.figures[f"{name}_early"] = round(early, 1)
        proof.figures[f"{name}_late"] = round(late, 1)
        proof.figures[f"{name}_most"] = round(max(samples), 1)
        if late > early * GROWTH + SLACK[name]:
            proof.violations.append(f"{name} grew from {early:.1f} to {late:.1f}")


def resident_mib(pid: int) -> float:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGESIZE") / 2**20
