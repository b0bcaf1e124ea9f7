"""kill -9 of a real broker under load: what was acknowledged is stored once, where it was said to be."""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
import time
from pathlib import Path

from tests.integration.bench import Bench, Broker, Child
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
    tail,
    until,
)

PIPED_LINES = 1_000
PIPE_EVERY = 4  # kills


def prove_kills(*, seed: int, kills: int = 1 << 30, seconds: float = 1e9) -> Proof:
    """Kill a broker `kills` times, or for `seconds`, on one data folder; clients go on by themselves.

    Ann, bea and cyd keep their clients through all of it, which say again what is unanswered. The bot's
    client dies with the broker each time; the next one says again what had no answer, with the same `once`
    keys. Now and then a pipe of lines runs into a kill. Some brokers are killed before they are ready.
    """
    proof = Proof(
        "every line acknowledged before kill -9 is stored once, in its sender's order",
        "tests/proof/storage_kills.py",
        f"SEED={seed} pytest tests/proof/test_storage.py -k kill",
    )
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name) / "bench")
        try:
            asyncio.run(_House(bench, random.Random(seed), proof).live(kills, time.monotonic() + seconds))
        except FAILURES as error:
            proof.violations.append(f"after {proof.runs} kills: {error} (SEED={seed})")
        finally:
            bench.close()
        tracebacks = sum("Traceback" in file.read_text() for file in (bench.folder / "files").glob("*.err"))
        if tracebacks:
            proof.violations.append(f"{tracebacks} processes wrote a traceback (SEED={seed})")
    return proof


class _House:
    def __init__(self, bench: Bench, rng: random.Random, proof: Proof) -> None:
        self.bench = bench
        self.rng = rng
        self.proof = proof
        self.bot = Talker("bot", once=True)
        self.people = [Talker("ann", (LOBBY, OPS)), Talker("bea"), Talker("cyd", (OPS,))]
        self.pipes: list[Child] = []
        self.piped: list[str] = []
        self.down_s: list[float] = []  # from the kill to the next acknowledgement
        self.early = 0

    @property
    def acknowledged(self) -> int:
        return sum(talker.acknowledged for talker in (self.bot, *self.people))

    async def live(self, kills: int, deadline: float) -> None:
        first = broker = await asyncio.to_thread(self.bench.broker, *FAST)
        self.bench.client("pip", broker, "send", "pip is here")
        await enter(self.bench, broker, self.people[0])
        await self.people[0].create(OPS)
        await enter(self.bench, broker, *self.people[1:], self.bot)
        talking = [asyncio.create_task(talker.talk()) for talker in self.people]
        while self.proof.runs < kills and time.monotonic() < deadline:
            broker = await self._kill(broker, first)
        await ended(*talking)
        await answered([self.bot, *self.people])
        for pipe in self.pipes:
            code = await asyncio.to_thread(pipe.ends, 120)
            assert code == 0, f"chat-client send ended with {code}: {pipe.err}"
        await self._look(broker)

    async def _kill(self, broker: Broker, first: Broker) -> Broker:
        talking = asyncio.create_task(self.bot.talk())
        if self.proof.runs % PIPE_EVERY == 0:
            self._pipe(broker)
        goal = self.acknowledged + self.rng.randrange(1, 800)
        await until("acknowledgements", lambda: self.acknowledged >= goal)
        broker.signal(signal.SIGKILL)
        killed = time.monotonic()
        broker.kill()
        self.proof.runs += 1
        await ended(talking)
        await self.bot.leave()
        if self.rng.random() < 0.1:
            await self._kill_early(first)
        broker = await asyncio.to_thread(self.bench.broker, *FAST, like=first)
        before = self.acknowledged
        await until("acknowledgements", lambda: self.acknowledged > before)
        self.down_s.append(time.monotonic() - killed)
        await enter(self.bench, broker, self.bot)
        return broker

    async def _kill_early(self, first: Broker) -> None:
        """Start a broker and kill it on its way."""
        ports = ("--port", str(first.port), "--feed-port", str(first.feed_port))
        files = self.bench.folder / "files" / f"early{self.early}"
        early = Child([*first.process.args[:2], *ports], self.bench.env(), files)  # type: ignore[index]
        await asyncio.sleep(self.rng.uniform(0, 0.6))
        early.kill()
        self.early += 1
        self.proof.runs += 1

    def _pipe(self, broker: Broker) -> None:
        """One more `send` with a pipe, after the one before has ended."""
        if self.pipes and self.pipes[-1].runs:
            return
        lines = [f"{len(self.pipes)} {number}" for number in range(PIPED_LINES)]
        pipe = self.bench.start("pip", broker, "--timeout", "60", "send")
        pipe.write("".join(f"{line}\n" for line in lines))
        pipe.end_of_input()
        self.pipes.append(pipe)
        self.piped += lines

    async def _look(self, broker: Broker) -> None:
        """What the rooms hold, as clients read it and as it lies in the log."""
        read: dict[str, list[Said]] = {
            room: await tail(self.bench, broker, "pip", room) for room in (LOBBY, OPS)
        }
        for talker in (*self.people, self.bot):
            await talker.leave()
        code = await asyncio.to_thread(broker.stop)
        assert code == 0, f"the broker ended with {code}: {broker.err}"
        there = await asyncio.to_thread(stored, self.bench.data)
        assert all(there[room] == lines for room, lines in read.items()), (
            "tail shows another log than there is"
        )
        proof = self.proof
        check(proof, there, (*self.people, self.bot))
        for talker in (*self.people, self.bot):
            assert not talker.failures, f"a line of {talker.name} failed: {talker.failures[0]}"
        piped = [said.text for said in there[LOBBY] if said.sender == "pip"][1:]
        proof.acknowledged += len(self.piped)
        proof.lost += len(set(self.piped) - set(piped))
        proof.doubled += len(piped) - len(set(piped))
        assert piped == self.piped, "what came through pipes is not there in order"
        proof.figures |= {
            "kills": proof.runs,
            "killed_before_ready": self.early,
            "lines_stored": sum(map(len, there.values())),
            "pipes": len(self.pipes),
            "back_p50_s": round(sorted(self.down_s)[len(self.down_s) // 2], 2),
            "back_max_s": round(max(self.down_s), 2),
        }
