"""The programs in `examples/` do what they say."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.bench import REPOSITORY, Bench, Broker, Child

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture(scope="module")
def ears(house: Bench, broker: Broker) -> Child:
    """Somebody who writes down what is said from now on."""
    child = house.start("ears", broker, "tail", "--json", "--since", "now")
    house.comes("ears")
    return child


def answers(ears: Child, bot: str) -> list[str]:
    return [row["text"] for row in ears.rows if row["from"] == bot]


def test_the_echo_bot_answers_once(house: Bench, broker: Broker, ears: Child) -> None:
    """Also where it runs twice, is killed, and is started again."""
    command = (sys.executable, EXAMPLES / "echo_bot.py")
    bots = [house.script("echo", broker, *command) for _ in range(2)]
    for bot in bots:
        bot.complains("echo is in #lobby")
    house.say("ann", broker, *(f"!echo {number}" for number in range(20)))
    ears.says('"ann: 19"')
    for bot in bots:
        bot.kill()
    house.say("ann", broker, "!echo missed")
    bots.append(house.script("echo", broker, *command))
    ears.says('"ann: missed"')
    house.say("ann", broker, "!echo last")
    ears.says('"ann: last"')
    assert answers(ears, "echo") == [f"ann: {what}" for what in (*range(20), "missed", "last")]
    bots[2].signal(signal.SIGINT)
    assert bots[2].ends() == 0


def test_the_dice_bot_rolls(house: Bench, broker: Broker, ears: Child) -> None:
    bot = house.script("dice", broker, sys.executable, EXAMPLES / "dice_bot.py")
    bot.complains("dice is in #lobby")
    house.say("ann", broker, "!roll", "!roll 1")
    ears.says("dice have 2 to 1000 sides: !roll 20")
    assert re.fullmatch(r"ann rolled [1-6]", answers(ears, "dice")[0])
    bot.signal(signal.SIGTERM)
    assert bot.ends() == 0


def test_the_shell_one_liner(house: Bench, broker: Broker, ears: Child, tmp_path: Path) -> None:
    df = tmp_path / "df"
    df.write_text(
        "#!/bin/sh\nprintf 'File 1 2 3 Capacity on\\n/dev/a 1 2 3 97%% /var\\n/dev/b 1 2 3 9%% /\\n'\n"
    )
    df.chmod(0o755)
    env = house.env("disk", CHAT_BROKER=broker.url)
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    done = subprocess.run(
        ["sh", EXAMPLES / "watch_disk.sh"], env=env, capture_output=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    ears.says("/var is 97% full")
    assert answers(ears, "disk") == ["/var is 97% full"]


@pytest.mark.timeout(120)
def test_the_demo(bench: Bench) -> None:
    """A broker killed with lines in flight, and its own account of what became of them."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py"], env=bench.env(), capture_output=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    last = done.stdout.decode().splitlines()[-1]
    told = re.fullmatch(r"sent=(\d+) acknowledged=(\d+) seen=(\d+) lost=0 doubled=0", last)
    assert told is not None
    sent, acknowledged, seen = map(int, told.groups())
    assert sent == acknowledged > 0
    assert seen == 2 * sent
