"""The examples of each `--help` are run as they are written, against a real broker."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from chat_broker.cli import main as broker_main
from chat_client.cli import main as client_main
from tests.integration.bench import BIN, REPOSITORY, Bench, Broker, Child, wait_until

PROGRAMS = {"chat-broker": broker_main, "chat-client": client_main}
WITHOUT_EXAMPLES = {"chat-client replay"}  # its would need a bot of one's own
SHELLS = {"zsh": "autoload -Uz compinit; compinit -u; ", "fish": "", "bash": ""}  # and what they need before


def helps() -> Iterator[tuple[str, str]]:
    """Each command, and what its --help says."""
    for program, main in PROGRAMS.items():
        for words in ([], *([name] for name in main.list_commands(click.Context(main)))):
            done = CliRunner().invoke(main, [*words, "--help"], prog_name=program)
            assert done.exit_code == 0
            yield " ".join([program, *words]), done.output


def examples_in(text: str) -> list[str]:
    _, _, rest = text.partition("  Examples")
    return [line.strip() for line in rest.partition("\n\n")[0].splitlines()[1:]]


EXAMPLES = [(command, line) for command, text in helps() for line in examples_in(text)]


@pytest.fixture(scope="module")
def household(house: Bench, broker: Broker) -> Bench:
    """People, rooms and a bot, as the examples speak of them: bob has two devices."""
    for person in ("alice", "bob", "ci", "mallory"):
        assert house.client("all", broker, "--name", person, "send", "hello")[0] == 0
    bot = house.script("all", broker, sys.executable, REPOSITORY / "examples" / "dice_bot.py")
    wait_until("the bot to come", lambda: "dice" in house.connected("#lobby"))
    assert bot.runs
    assert house.client("all", broker, "--name", "bob", stdin="/create ops\nexit\n")[0] == 0
    code, url, _ = house.client("all", broker, "--name", "bob", "invite", "--device")
    assert code == 0
    assert house.client("second", url.strip(), "--name", "bob", "users")[0] == 0
    return house


@pytest.mark.parametrize("command", [command for command, _ in helps()])
def test_every_command_shows_how_it_is_used(command: str) -> None:
    assert command in WITHOUT_EXAMPLES or [one for one, _ in EXAMPLES if one == command]


@pytest.mark.parametrize(
    "line", [line for command, line in EXAMPLES if command not in ("chat-broker start", "chat-broker")]
)
def test_an_example_does_what_it_says(household: Bench, broker: Broker, line: str) -> None:
    shell = next((shell for shell in SHELLS if f"completion {shell}" in line), "bash")
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    folder = household.folder / "here"
    folder.mkdir(exist_ok=True)
    env = household.env("all", CHAT_BROKER=broker.url, HOME=str(folder))
    waits = line.endswith("| head -n 1")  # for what is said next
    files = household.folder / "files" / "example"
    running = Child([shell, "-c", f"{SHELLS[shell]}cd {folder}; {line}"], env, files)
    try:
        if waits:
            household.comes("bob")
            household.say("eve", broker, "said just now")
        running.end_of_input()
        code = running.ends()
    finally:
        running.kill()
    assert code == 0, running.err
    assert not running.err or line.startswith("chat-broker backup"), running.err
    assert not waits or "said just now" in running.out


@pytest.mark.parametrize("line", [line for command, line in EXAMPLES if command == "chat-broker start"])
def test_a_broker_starts_as_in_the_examples(bench: Bench, line: str) -> None:
    """In a network namespace of its own: the ports are those of the examples."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        if os.environ.get("CI") == "true":
            pytest.fail("a network of its own needs root and unshare")
        pytest.skip("a network of its own needs root and unshare")
    files = bench.folder / "files" / "start"
    inner = f"ip link set lo up; exec {line}"
    child = Child(
        ["unshare", "--net", "bash", "-c", inner], bench.env("", PATH=f"{BIN}:{os.environ['PATH']}"), files
    )
    try:
        child.says("ready chat://")
        child.signal(signal.SIGTERM)
        assert child.ends() == 0
    finally:
        child.kill()


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) > 25
    assert all(isinstance(main, click.Group) for main in PROGRAMS.values())
