"""A program that is kept running: lines go into its stdin, lines come out of its stdout.

It is started again when it dies, after a pause that grows; that it ends by itself with exit code 0 means
that it has finished.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from chat_client.bots.delivery import Write
from chat_protocol.errors import SetupError

LINE_BYTES_MAX = 1 << 20  # of what it writes in one line
AGAIN_S = 1.0
AGAIN_MAX_S = 60.0
LASTED_S = 60.0  # having run so long, it begins again with the first pause
END_S = 5.0  # for it to end when its input does, and again when it is told to


class Program:
    """`feed` is called for each start with what gives that process a line; it goes on until it is cancelled
    or that raises ConnectionError. `said` is called with each line that comes, `complain` with what people
    should know."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: dict[str, str],
        feed: Callable[[Write], Awaitable[None]],
        said: Callable[[str], Awaitable[None]],
        complain: Callable[[str], None],
    ) -> None:
        self._command = list(command)
        self._env = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            **env,
        }  # a program that keeps its lines says nothing
        self._feed = feed
        self._said = said
        self._complain = complain

    @property
    def name(self) -> str:
        return Path(self._command[0]).name

    async def run(self) -> None:
        """Keep it running until it has finished. Raises SetupError if it cannot be started at all."""
        loop = asyncio.get_running_loop()
        pause_s = AGAIN_S
        while True:
            begun = loop.time()
            process = await self._start()
            feeding = asyncio.create_task(self._give(process))
            try:
                await self._listen(process)
                code = await process.wait()
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
                await self._end(process)
            if code == 0:
                return
            if loop.time() - begun >= LASTED_S:
                pause_s = AGAIN_S
            self._complain(f"{self.name} {_ending(code)}; starting it again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, AGAIN_MAX_S)

    async def _give(self, process: asyncio.subprocess.Process) -> None:
        stdin = process.stdin
        assert stdin is not None

        async def write(line: str) -> None:
            """Waits while the program reads nothing."""
            if process.returncode is not None:
                raise ConnectionResetError
            stdin.write(line.encode() + b"\n")
            await stdin.drain()

        try:
            await self._feed(write)
        except ConnectionError:
            pass  # it is dying: the next one gets the rest

    async def _start(self) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self._command,
                env=self._env,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_BYTES_MAX,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise SetupError(f"{self._command[0]} cannot be started: {reason}") from error

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                self._complain(
                    f"{self.name} wrote a line of more than {LINE_BYTES_MAX} bytes, which is not said"
                )
                continue
            if not line:
                return
            await self._said(line.decode("utf-8", "replace").rstrip("\r\n"))

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """See that it is gone: by the end of its input, else by SIGTERM, else by SIGKILL."""
        if process.stdin is not None:
            process.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                async with asyncio.timeout(END_S):
                    await process.wait()
                    return
            except TimeoutError:
                process.send_signal(number)
        await process.wait()


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
