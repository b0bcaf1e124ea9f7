"""Two people and a bot talk; in the middle the broker is killed and started again. Nothing is lost.

Real processes on a temporary folder: chat-broker, two chat-client in pipes, the dice bot. Prints what
each side saw and a last line of figures; exits 0 only if no acknowledged line is lost or doubled.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO

LINES = 40  # from each of the two, half of them before the broker is killed
ROLLS = 4
PATIENCE_S = 40.0

BIN = Path(sys.executable).parent
EXAMPLES = Path(__file__).parent


class Process:
    """A child process whose stdout is collected line by line."""

    def __init__(self, *command: str | Path, env: dict[str, str], stderr: IO[str] | None = None) -> None:
        self.lines: list[str] = []
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, env=env, text=True, bufsize=1, stdin=pipe, stdout=pipe, stderr=stderr
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def end(self, how: signal.Signals | None = None) -> int:
        """End the process by a signal, or by the end of its input; its exit code."""
        assert self._process.stdin is not None
        if how is not None:
            self._process.send_signal(how)
        self._process.stdin.close()
        code = self._process.wait(PATIENCE_S)
        self._reader.join()
        return code

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        if not self.has_ended():
            self._process.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))


def wait_for(what: str, condition: Callable[[], object]) -> None:
    """Wait until `condition` holds; stop the demo if it does not in time."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"demo: waited {PATIENCE_S:g} s in vain for {what}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def has_seen(who: Process, sent: Counter[str]) -> bool:
    return not sent - Counter(shown(line) for line in who.lines)


def shown(line: str) -> str:
    """What was said in a line of the transcript: `09:41 #lobby bob: hello` without time and room."""
    return line.split(" ", 2)[-1]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="simple-chat-demo-") as folder:
        env = dict(os.environ, XDG_RUNTIME_DIR=folder, CHAT_HOME=f"{folder}/home", PYTHONUNBUFFERED="1")
        for name in ("CHAT_BROKER", "CHAT_NAME", "CHAT_ROOM", "CHAT_DATA"):
            env.pop(name, None)
        running: list[Process] = []
        try:
            return talk(Path(folder), env, running)
        finally:
            for process in running:
                process.kill()


def talk(folder: Path, env: dict[str, str], running: list[Process]) -> int:
    ports = ["--port", str(free_port()), "--feed-port", str(free_port())]

    def start_broker() -> Process:
        with open(folder / "broker.log", "a") as log:
            broker = Process(
                BIN / "chat-broker", "start", "--data", folder / "data", *ports, env=env, stderr=log
            )
        running.append(broker)
        wait_for("the broker", lambda: broker.lines or broker.has_ended())
        if not broker.lines:
            raise SystemExit(f"demo: the broker did not start: {(folder / 'broker.log').read_text()}")
        env["CHAT_BROKER"] = broker.lines[0].removeprefix("ready ")
        return broker

    def start(*command: str | Path) -> Process:
        process = Process(*command, env=env)
        running.append(process)
        wait_for(f"{command[-1]} to come in", lambda: process.lines)
        return process

    sent: Counter[str] = Counter()

    def some_lines(numbers: range) -> None:
        for number in numbers:
            say(alice, "alice", f"a{number}")
            say(bob, "bob", f"b{number}")
            if number % (LINES // ROLLS) == 1:
                say(bob, "bob", "!roll")

    def say(who: Process, name: str, text: str) -> None:
        who.say(text)
        sent[f"{name}: {text}"] += 1

    def wait_for_all() -> None:
        for name, who in (("alice", alice), ("bob", bob)):
            seen = functools.partial(has_seen, who, sent)
            wait_for(f"{name} to see every line", seen)

    broker = start_broker()
    alice = start(BIN / "chat-client", "--name", "alice")
    bob = start(BIN / "chat-client", "--name", "bob")
    bot = Process(sys.executable, EXAMPLES / "dice_bot.py", env=env)
    running.append(bot)
    wait_for("the bot", lambda: any("dice joined" in line for line in alice.lines))

    some_lines(range(LINES // 4))
    wait_for_all()
    some_lines(range(LINES // 4, LINES // 2))
    wait_for("the first of them", lambda: any(f": a{LINES // 4}" in line for line in bob.lines))
    broker.end(signal.SIGKILL)
    print("demo: the broker was killed while lines were on their way", flush=True)
    some_lines(range(LINES // 2, LINES * 3 // 4))
    broker = start_broker()
    some_lines(range(LINES * 3 // 4, LINES))
    wait_for_all()
    wait_for("the dice", lambda: min(rolls(alice.lines), rolls(bob.lines)) >= ROLLS)

    codes = [alice.end(), bob.end()]
    bot.end(signal.SIGINT)
    env["CHAT_NAME"] = "auditor"
    tail = [str(BIN / "chat-client"), "tail", "--since", "all", "--no-follow", "--json"]
    log = [json.loads(line) for line in subprocess.check_output(tail, env=env, text=True).splitlines()]
    broker.end(signal.SIGTERM)
    return report(sent, codes, log, {"alice": alice.lines, "bob": bob.lines})


def rolls(lines: list[str]) -> int:
    return sum(" dice: " in line for line in lines)


def report(
    expected: Counter[str], codes: list[int], log: list[dict[str, object]], seen: dict[str, list[str]]
) -> int:
    for name, lines in seen.items():
        print(f"\n--- what {name} saw ---")
        print("\n".join(lines))
    stored = Counter(f"{entry['from']}: {entry['text']}" for entry in log if entry["kind"] == "line")
    answers = Counter({text: times for text, times in stored.items() if text.startswith("dice: ")})
    lost = doubled = seen_in_all = 0
    acknowledged = expected.total() if codes == [0, 0] else 0
    views = [Counter(map(shown, lines)) for lines in seen.values()]
    for view in views:
        lost += (expected - view).total()
        doubled += sum(max(0, view[text] - times) for text, times in expected.items())
        seen_in_all += sum(view[text] for text in expected)
    lost += (expected - stored).total() + max(0, ROLLS - answers.total())
    doubled += (stored - answers - expected).total() + max(0, answers.total() - ROLLS)
    print(
        f"\nsent={expected.total()} acknowledged={acknowledged} seen={seen_in_all} "
        f"lost={lost} doubled={doubled}"
    )
    if codes != [0, 0]:
        print(f"demo: the clients ended with {codes}: not everything was acknowledged", file=sys.stderr)
    return 0 if lost == doubled == 0 and codes == [0, 0] else 1


if __name__ == "__main__":
    sys.exit(main())
