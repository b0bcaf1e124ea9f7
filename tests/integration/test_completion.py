"""What a shell is offered when somebody presses Tab."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from tests.integration.bench import BIN, Bench, Broker

ASK = """
eval "$({program} completion bash)"
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_{function}_completion {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(bench: Bench, broker: Broker, person: str, *words: str) -> list[str]:
    """What bash is offered behind these words, the last of which is not finished."""
    env = bench.env(person, CHAT_BROKER=broker.url)
    program = words[0]
    script = ASK.format(program=program, words=shlex.join(words), function=program.replace("-", "_"))
    done = subprocess.run(
        ["bash", "-c", script], env=env, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (["chat-client", "se"], {"send"}),
        (["chat-client", "send", "--re"], {"--reply-wait"}),
        (["chat-client", "completion", ""], {"bash", "zsh", "fish"}),
        (["chat-broker", "st"], {"start", "status"}),
        (["chat-broker", "start", "--no-a"], {"--no-announce"}),
    ],
)
def test_commands_and_options(house: Bench, broker: Broker, words: list[str], some: set[str]) -> None:
    assert set(offered(house, broker, "nobody", *words)) == some


def test_rooms(house: Bench, broker: Broker) -> None:
    assert house.client("tess", broker, stdin="/create opera\n/create ops\nexit\n")[0] == 0
    house.say("uma", broker)
    assert house.client("tess", broker, "send", "--to", "uma", "psst")[0] == 0
    asks = ["chat-client", "--name", "tess", "tail", "--room"]
    assert offered(house, broker, "tess", *asks, "op") == ["opera", "ops"]
    assert offered(house, broker, "tess", *asks, "@") == ["@uma"]
    assert offered(house, broker, "tess", "chat-client", "--name", "tess", "--room", "lo") == ["lobby"]


def test_a_name_without_an_account_is_offered_no_room_and_gets_no_account(
    house: Bench, broker: Broker
) -> None:
    assert offered(house, broker, "vic", "chat-client", "--name", "vic", "tail", "--room", "") == []
    assert not list((house.home("vic")).rglob("vic.*"))


def test_a_broker_that_does_not_answer_is_no_error(house: Bench, broker: Broker) -> None:
    house.say("wim", broker)
    env = house.env("wim", CHAT_BROKER=f"chat://127.0.0.1:1?{broker.url.partition('?')[2]}", CHAT_NAME="wim")
    env |= {
        "_CHAT_CLIENT_COMPLETE": "bash_complete",
        "COMP_WORDS": "chat-client tail --room x",
        "COMP_CWORD": "3",
    }
    done = subprocess.run(
        [BIN / "chat-client"], env=env, capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize(("shell", "word"), [("zsh", "#compdef"), ("fish", "complete --no-files")])
def test_other_shells(house: Bench, shell: str, word: str) -> None:
    for program in ("chat-client", "chat-broker"):
        code, out, err = house.run(program, "completion", shell, env=house.env())
        assert (code, err) == (0, "")
        assert word in out
        assert program in out
