"""How many lines a second the Python client itself verifies, opens and shows, having one core to itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from bench import machine
from bench.driver import Driver
from bench.peers.chat_load import COALESCED, PIPELINE, OpenChatLoad
from bench.peers.simple_chat import SINGLE_SAYS, Broker
from bench.run import Run
from bench.server import BenchError
from bench.sink import Spawn
from chat_client import ChatClient
from chat_client.client import NOW
from chat_client.events import Line

WORK = "client"
SESSIONS = 4
SAY_S = 1.5
QUICK_SAY_S = 0.7
LIMIT_S = 60.0


@dataclass(frozen=True)
class Shown:
    lines: int
    wall_s: float
    cpu_s: float


def run(run: Run) -> None:
    """With many lines a publication, and with one line a request. What counts is the client's own CPU: the
    broker may be the slower one."""
    for name, per_say, says in (("coalesced", COALESCED, PIPELINE), ("single", 1, SINGLE_SAYS)):
        shown = _measure(run, per_say, says)
        came, per_core = shown.lines / shown.wall_s, shown.lines / shown.cpu_s
        run.note(WORK, name, {"per_core_s": per_core, "came_per_s": came, "busy": shown.cpu_s / shown.wall_s})
        run.say(
            f"the client shows {per_core / 1e3:.1f} k lines/s of a core ({name}); {came / 1e3:.1f} k came, "
            f"its core was {shown.cpu_s / shown.wall_s:.0%} busy"
        )
        if name == "coalesced":
            run.result("client_lines_per_s", per_core)


def _measure(run: Run, per_say: int, says: int) -> Shown:
    """The publisher shares the broker's core, so that the client has the other alone."""
    folder = run.place.fresh("client")
    with Broker(folder, run.place.core) as broker:
        pipe, other = Spawn.Pipe()
        watcher = Spawn.Process(
            target=_watch, args=(broker.url, folder / "home", run.place.load_core, other), daemon=True
        )
        watcher.start()
        other.close()
        try:
            _expect(pipe)
            opening = OpenChatLoad(broker.access, ("#lobby",), SESSIONS, per_say, says)
            driver = Driver(opening, run.place.core)
            try:
                done = driver.round(QUICK_SAY_S if run.quick else SAY_S, SESSIONS * says * per_say)
            finally:
                driver.close()
            pipe.send(done.lines)
            shown = _expect(pipe)
            assert isinstance(shown, Shown)
            return shown
        finally:
            watcher.kill()
            watcher.join()


def _expect(pipe: Connection) -> object:
    if not pipe.poll(LIMIT_S):
        raise BenchError(f"the client showed nothing for {LIMIT_S:g} s")
    got = pipe.recv()
    if isinstance(got, BaseException):
        raise BenchError(str(got))
    return got


def _watch(url: str, home: Path, core: int, pipe: Connection) -> None:
    machine.pin(core)
    try:
        asyncio.run(_show(url, home, pipe))
    except Exception as error:
        pipe.send(BenchError(f"{type(error).__name__}: {error}"))


async def _show(url: str, home: Path, pipe: Connection) -> None:
    """Take every event, as a front end does, until as many lines have come as were said."""
    lines = 0
    begun = ended = cpu_begun = cpu = 0.0

    async def take(chat: ChatClient) -> None:
        nonlocal lines, begun, ended, cpu_begun, cpu
        async for event in chat.events():
            if isinstance(event, Line):
                lines += 1
                ended, cpu = time.monotonic(), time.process_time()
                if lines == 1:
                    begun, cpu_begun = ended, cpu

    async with ChatClient("watcher", url, home=home, start=NOW) as chat:
        taking = asyncio.create_task(take(chat))
        pipe.send("open")
        while not pipe.poll():
            await asyncio.sleep(0.01)
        wanted = pipe.recv()
        while lines < wanted and not taking.done():
            await asyncio.sleep(0.01)
        taking.cancel()
        pipe.send(Shown(lines, ended - begun, cpu - cpu_begun))
