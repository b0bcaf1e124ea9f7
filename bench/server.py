"""A server under measurement: a process on the servers' core, in a folder of its own, ended by its id."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench import machine

START_S = 30.0
STOP_S = 20.0


class BenchError(Exception):
    """Something that was to be measured did not work; the sentence says what."""


class Server:
    """A running server. `command` may print to its log, which `log` reads; `stop` ends it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        folder: Path,
        core: int,
        env: dict[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._log = folder / "output.txt"
        with open(self._log, "wb") as out:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def cpu_s(self) -> float:
        return machine.cpu_s(self.pid)

    @property
    def peak_kib(self) -> int:
        return machine.peak_kib(self.pid)

    def listens(self, port: int) -> Server:
        """Wait until something accepts connections on a port; the server itself."""
        self.until(lambda: _accepts(port), f"listens on port {port}")
        return self

    def says(self, text: str) -> str:
        """Wait until it has printed `text`; all that it printed."""
        self.until(lambda: text in self.log, f"says {text!r}")
        return self.log

    def until(self, condition: Callable[[], bool], what: str, limit_s: float = START_S) -> None:
        give_up = time.monotonic() + limit_s
        while not condition():
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended with {self._process.returncode}: {self.log[-2000:]}")
            if time.monotonic() > give_up:
                raise BenchError(f"waited {limit_s:g} s in vain until {self.name} {what}: {self.log[-2000:]}")
            time.sleep(0.005)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()


def _accepts(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
