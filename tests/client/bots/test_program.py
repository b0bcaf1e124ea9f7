"""A program that is kept running."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from chat_client.bots import program
from chat_client.bots.program import Program
from chat_protocol.errors import SetupError


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "AGAIN_S", 0.01)
    monkeypatch.setattr(program, "END_S", 0.3)


class Play:
    """A program under test; `lines` goes to each of its processes."""

    def __init__(self, script: str, *lines: str) -> None:
        self.lines = lines
        self.said: list[str] = []
        self.complaints: list[str] = []
        self.starts = 0
        self.program = Program(
            [sys.executable, "-c", script],
            env={"GREETING": "hello"},
            feed=self.feed,
            said=self.take,
            complain=self.complaints.append,
        )

    async def feed(self, write: Callable[[str], Awaitable[None]]) -> None:
        self.starts += 1
        for line in self.lines:
            await write(line)
        await asyncio.Event().wait()

    async def take(self, line: str) -> None:
        self.said.append(line)

    def run(self) -> Play:
        async def play() -> None:
            async with asyncio.timeout(20):
                await self.program.run()

        asyncio.run(play())
        return self


def test_it_reads_and_writes_lines() -> None:
    play = Play("import os; print(os.environ['GREETING'], input(), input())", "one", "zwei ü").run()
    assert (play.said, play.complaints, play.starts) == (["hello one zwei ü"], [], 1)


def test_what_it_writes_comes_at_once_though_it_goes_on() -> None:
    """Python keeps what it writes to a pipe; a bot that waits for a question would never answer one."""
    play = Play("print('ready')\nimport time\ntime.sleep(60)")

    async def run() -> None:
        running = asyncio.create_task(play.program.run())
        async with asyncio.timeout(10):
            while not play.said:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
    assert play.said == ["ready"]


def test_when_it_dies_it_is_started_again(tmp_path: Path) -> None:
    script = f"""
import os, signal, sys
from pathlib import Path
count = Path({str(tmp_path / "count")!r})
number = len(count.read_text()) if count.exists() else 0
count.write_text("x" * (number + 1))
print(number)
if number == 0: sys.exit(3)
if number == 1: os.kill(os.getpid(), signal.SIGKILL)
"""
    play = Play(script).run()
    assert play.said == ["0", "1", "2"]
    assert [text.split(" ", 1)[1] for text in play.complaints] == [
        "ended with exit code 3; starting it again in 0.01 s",
        "was killed by SIGKILL; starting it again in 0.02 s",
    ]


def test_a_program_that_reads_nothing_is_no_obstacle() -> None:
    play = Play("print('done')", *["x" * 10_000] * 100).run()
    assert play.said == ["done"]


def test_a_line_without_end_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "LINE_BYTES_MAX", 1_000)
    play = Play("print('x' * 5_000); print('fine'); print(b'\\xff'.decode('latin-1'))").run()
    assert play.said[-2:] == ["fine", "ÿ"]
    assert "more than 1000 bytes" in play.complaints[0]


@pytest.mark.parametrize("command", ["/nowhere/at/all", "/", "nul\0"])
def test_one_that_cannot_be_started_is_told_of(command: str) -> None:
    async def run() -> None:
        play = Play("")
        await Program([command], env={}, feed=play.feed, said=play.take, complain=print).run()

    with pytest.raises(SetupError, match="cannot be started"):
        asyncio.run(run())


@pytest.mark.parametrize(
    "script",
    [
        "import sys; print('up'); sys.stdin.read()",
        "import time; print('up'); time.sleep(60)",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)",
    ],
    ids=["at the end of its input", "by SIGTERM", "by SIGKILL"],
)
def test_it_ends_with_us(script: str) -> None:
    play = Play(script)

    async def run() -> None:
        running = asyncio.create_task(play.program.run())
        async with asyncio.timeout(10):
            while not play.said:
                await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
    assert play.complaints == []
