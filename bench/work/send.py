"""`chat-client send hi`, the whole process, beside `redis-cli PUBLISH` and a Python that does nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from bench.figures import ratio
from bench.machine import free_port
from bench.peers import redis
from bench.peers.peer import find, found
from bench.peers.simple_chat import Broker
from bench.run import Run
from bench.server import BenchError, Server

WORK = "send"
PAIRS = 21
QUICK_PAIRS = 5
LIMIT_S = 30.0


def run(run: Run) -> None:
    """All of them in turn, again and again; medians, and the median of what each pair says."""
    folder = run.place.fresh("send")
    servers: list[Server] = []
    try:
        broker = Broker(folder, run.place.core)
        servers.append(broker)
        home = folder / "home"
        chat_env = {"CHAT_NAME": "sender", "CHAT_BROKER": broker.url, "CHAT_HOME": str(home)}
        commands = {
            "python": [sys.executable, "-c", "pass"],
            "simple_chat": [found("chat-client"), "send", "hi"],
        }
        if find("redis-server") and find("redis-cli"):
            port = free_port()
            options = ("--port", str(port))
            servers.append(redis.start("redis", run.place.fresh("redis"), run.place.core, port, *options))
            commands["redis_cli"] = [found("redis-cli"), "-p", str(port), "PUBLISH", "room", "hi"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")} | chat_env
        walls = _measure(commands, env, folder, QUICK_PAIRS if run.quick else PAIRS)
    finally:
        for server in servers:
            server.stop()
    figures = {key: median(some) * 1_000 for key, some in walls.items()}
    run.note(WORK, "wall_ms", figures)
    run.say(", ".join(f"{key} {value:.0f} ms" for key, value in figures.items()))
    run.result("send_wall_ms", figures["simple_chat"])
    run.result("send_wall_vs_python", ratio(walls["simple_chat"], walls["python"]))


def _measure(
    commands: dict[str, list[str]], env: dict[str, str], folder: Path, pairs: int
) -> dict[str, list[float]]:
    for command in commands.values():
        _time(command, env, folder)  # the first time an account is made, and files are read from the disk
    walls: dict[str, list[float]] = {key: [] for key in commands}
    for _ in range(pairs):
        for key, command in commands.items():
            walls[key].append(_time(command, env, folder))
    return walls


def _time(command: list[str], env: dict[str, str], folder: Path) -> float:
    begun = time.monotonic()
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, timeout=LIMIT_S, check=False)
    wall = time.monotonic() - begun
    if done.returncode != 0:
        raise BenchError(f"{command[0]} exits with {done.returncode}: {done.stderr.decode()[-500:]}")
    return wall
