"""`chat-client send`: what is stored when, and what the exit code says about it."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from chat_broker.cli import main as broker_main
from chat_client.cli import main as client_main
from tests.integration.bench import BIN, REPOSITORY, Bench, Broker, Child, Terminal, wait_until

LINES = 5_000


def waits_in_the_kernel(port: int) -> int:
    """Bytes that came for a port of this machine and that nobody has read yet."""
    connections = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].split(":")[1], 16) for row in connections if row[1].endswith(f":{port:04X}"))


def test_arguments_are_one_line(house: Bench, broker: Broker) -> None:
    assert house.client("alice", broker, "send", "hello", "world") == (0, "", "")
    assert house.client("alice", broker, "send", "--room", "#lobby", "once  more") == (0, "", "")
    assert house.lines(broker)[-2:] == ["hello world", "once  more"]


def test_each_line_of_stdin_is_a_line(house: Bench, broker: Broker) -> None:
    assert house.client("lara", broker, "send", stdin="one\n\n  two\n \nthree") == (0, "", "")
    assert house.lines(broker)[-3:] == ["one", "  two", "three"]


def test_nothing_to_say_is_no_failure(house: Bench, broker: Broker) -> None:
    assert house.client("alice", broker, "send", stdin="\n\n") == (0, "", "")


def test_to_one_person_also_while_away(house: Bench, broker: Broker) -> None:
    house.say("noah", broker)
    assert house.client("mia", broker, "send", "--to", "noah", "psst") == (0, "", "")
    assert house.lines(broker, "@mia", person="noah") == ["psst"]
    assert house.lines(broker, "@noah", person="mia") == ["psst"]


def test_options_from_the_environment(house: Bench, broker: Broker) -> None:
    house.say("olga", broker)
    env = house.env(
        CHAT_BROKER=broker.url,
        CHAT_NAME="pia",
        CHAT_HOME=str(house.home("pia")),
        CHAT_ROOM="lobby",
        CHAT_TIMEOUT="9",
    )
    assert house.run("chat-client", "send", "from the environment", env=env) == (0, "", "")
    assert house.run("chat-client", "send", "to olga", env=env | {"CHAT_TO": "olga"}) == (0, "", "")
    read = env | {"CHAT_JSON": "1", "CHAT_SINCE": "all", "CHAT_NO_FOLLOW": "1", "CHAT_ROOM": "@olga"}
    code, out, err = house.run("chat-client", "tail", env=read)
    assert (code, err) == (0, "")
    assert '"text": "to olga"' in out
    assert house.lines(broker)[-1] == "from the environment"


@pytest.mark.parametrize("program", [client_main, broker_main], ids=["chat-client", "chat-broker"])
def test_every_option_has_a_variable(program: click.Group) -> None:
    of_the_group = {option.name for option in program.params}
    for command in (program, *program.commands.values()):
        for option in command.params:
            if isinstance(option, click.Option) and option.name not in ("version", "help"):
                given = option.envvar or (command is not program and option.name in of_the_group)
                assert given, f"{command.name} {option.opts}"


# --------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["--timeout", "0", "users"], "Invalid value for '--timeout'"),
        (["send", "--room", "#a", "--to", "b", "x"], "say either --room or --to"),
        (["tail", "--since", "tuesday"], "one of all, now, recent, or the seq"),
        (["sned"], "No such command 'sned'"),
        (["--name", "b b", "users"], "a name is made of letters, digits, and . _ - between them"),
        (["--name", "all", "users"], "the name all is reserved"),
        (["--broker", "http://x", "users"], "is not an address; one looks like chat://HOST:PORT?key="),
        (["--broker", "chat://localhost:1?key=abc", "users"], "a key has 43 characters, this one 3"),
        (["--broker", "chat://nowhere.example:1", "users"], "names no key"),
    ],
)
def test_usage_is_exit_code_2(house: Bench, broker: Broker, command: list[str], sentence: str) -> None:
    code, out, err = house.read("alice", broker, *command)
    assert (code, out) == (2, "")
    assert sentence in err


def test_no_name_is_exit_code_2(house: Bench, broker: Broker) -> None:
    code, out, err = house.run("chat-client", "send", "x", env=house.env(CHAT_BROKER=broker.url))
    assert (code, out) == (2, "")
    assert "say --name NAME, or set CHAT_NAME" in err


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["send", "--room", "#nowhere", "x"], "no_such_room: there is no room #nowhere"),
        (["send", "--to", "nobody", "x"], "no_such_account: nobody is called nobody here"),
        (["send", "x" * 16_385], "line_too_long: a line has at most 16384 bytes of text"),
        (["tail", "--room", "#nowhere"], "no_such_room: there is no room #nowhere"),
        (["invite"], "not_allowed: only the operator invites newcomers"),
    ],
)
def test_refused_is_exit_code_3(house: Bench, broker: Broker, command: list[str], sentence: str) -> None:
    code, out, err = house.read("alice", broker, *command)
    assert (code, out) == (3, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_a_taken_name_is_exit_code_3(house: Bench, broker: Broker) -> None:
    house.say("quinn", broker)
    stranger = house.env("stranger", CHAT_NAME="Quinn", CHAT_BROKER=broker.url)
    code, out, err = house.run("chat-client", "send", "x", env=stranger)
    assert (code, out) == (3, "")
    assert err == "chat-client: name_taken: the name Quinn is taken; choose another\n"


def test_lines_that_may_not_be_said_spoil_the_exit_code_only(house: Bench, broker: Broker) -> None:
    code, out, err = house.client("alice", broker, "send", stdin=f"good\n{'x' * 20_000}\nalso good\n")
    assert (code, out) == (3, "")
    assert "line_too_long: a line has at most 16384 bytes of text" in err
    assert house.lines(broker)[-2:] == ["good", "also good"]


def test_nobody_there_is_exit_code_4(house: Bench, broker: Broker) -> None:
    nowhere = f"chat://127.0.0.1:1?{broker.url.partition('?')[2]}"
    begun = time.monotonic()
    code, out, err = house.client("alice", nowhere, "--timeout", "1", "send", "x")
    assert (code, out) == (4, "")
    assert "nothing answers at 127.0.0.1:1" in err
    assert "is the broker running, and is its port open to you?" in err
    assert time.monotonic() - begun < 8


def test_a_broker_that_goes_for_good_is_exit_code_5(bench: Bench) -> None:
    """The broker has the bytes and is killed before it answers: nobody can tell what became of them."""
    broker = bench.broker()
    watch = bench.start("watcher", broker, "tail", "--json")
    talker = bench.start("talker", broker, "send", "--timeout", "1")
    talker.write("first\n")
    watch.says('"text": "first"')
    broker.signal(signal.SIGSTOP)
    talker.write("x" * 10_000 + "\n")
    wait_until("the line to reach the broker", lambda: waits_in_the_kernel(broker.port) > 10_000)
    broker.kill()
    talker.end_of_input()
    assert talker.ends() == 5
    assert talker.err.startswith(
        "chat-client: nobody can tell whether this line was stored (no answer for 1 s"
    )


# --------------------------------------------------------------------------- answers


@pytest.fixture(scope="module")
def dice(house: Bench, broker: Broker) -> Child:
    """A bot that answers."""
    bot = house.script("dice", broker, sys.executable, REPOSITORY / "examples" / "dice_bot.py")
    house.comes("dice")
    return bot


def test_the_first_answer_is_printed(house: Bench, broker: Broker, dice: Child) -> None:
    code, out, err = house.client("tom", broker, "send", "--reply-wait", "15", "!roll 20")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"tom rolled \d+\n", out)
    assert dice.runs


def test_the_answer_comes_after_the_last_line(house: Bench, broker: Broker, dice: Child) -> None:
    """What is answered before is no answer to what was said last."""
    code, out, err = house.client("tom", broker, "send", "--reply-wait", "1.5", stdin="!roll\nnever mind\n")
    rolled = [line for line in house.lines(broker) if line.startswith("tom rolled")]
    assert code in (0, 6), err
    assert out in ("", f"{rolled[-1]}\n")
    assert dice.runs


def test_an_answer_of_one_person_alone(house: Bench, broker: Broker) -> None:
    house.say("una", broker)
    house.say("vera", broker, "hello", room="@una")
    asking = house.start("vera", broker, "send", "--to", "una", "--reply-wait", "15", "lunch?")
    wait_until("the question", lambda: house.lines(broker, "@vera", person="una")[-1] == "lunch?")
    house.say("una", broker, "not here", room="#lobby")
    house.say("una", broker, "at one\nat the gate", room="@vera")
    assert asking.ends() == 0
    assert (asking.out, asking.err) == ("at one\nat the gate\n", "")


def test_no_answer_is_exit_code_6(house: Bench, broker: Broker) -> None:
    code, out, err = house.client("wes", broker, "send", "--reply-wait", "0.3", "anybody?")
    assert (code, out) == (6, "")
    assert err == "chat-client: stored, but nobody answered within 0.3 s\n"
    assert house.lines(broker)[-1] == "anybody?"
    code, _, err = house.client("wes", broker, "send", "--reply-wait", "0.3", stdin="\n")
    assert (code, err) == (6, "chat-client: nothing was said, so nobody answers\n")
    code, _, err = house.client("wes", broker, "send", "--reply-wait", "0.3", "x" * 20_000)
    assert code == 3
    assert "nobody answered" not in err


# --------------------------------------------------------------------------- output of commands


def test_what_is_pasted_is_one_message(house: Bench, broker: Broker) -> None:
    output = "one\n\n\x1b[31mtwo\x1b[0m\r\n  three\n"
    assert house.client("xia", broker, "send", "--paste", stdin=output) == (0, "", "")
    assert house.client("xia", broker, "send", "--title", "make  all", stdin=output) == (0, "", "")
    assert house.client("xia", broker, "send", "--paste", "two", "words") == (0, "", "")
    fenced = "```\none\n\ntwo\n  three\n```"
    assert house.lines(broker)[-3:] == [fenced, f"make all\n{fenced}", "```\ntwo words\n```"]


def test_a_long_paste_becomes_several_messages_and_loses_nothing(house: Bench, broker: Broker) -> None:
    house.client("xia", broker, stdin="/create long\nexit\n")
    numbers = "\n".join(map(str, range(1_000)))
    assert house.client("xia", broker, "send", "--room", "long", "--title", "n", stdin=numbers) == (0, "", "")
    lines = house.lines(broker, "#long")
    assert [line.split("\n")[0] for line in lines] == [f"n ({part}/6)" for part in range(1, 7)]
    assert "\n".join("\n".join(line.split("\n")[2:-1]) for line in lines) == numbers


def test_nothing_to_paste(house: Bench, broker: Broker) -> None:
    before = house.lines(broker)
    assert house.client("xia", broker, "send", "--paste") == (0, "", "")
    assert house.client("xia", broker, "send", "--title", "make: no output") == (0, "", "")
    assert house.lines(broker) == [*before, "make: no output"]


def test_too_much_to_paste_is_said_and_nothing_else(house: Bench, broker: Broker) -> None:
    before = house.lines(broker)
    code, out, err = house.client("xia", broker, "send", "--paste", stdin="x" * (4 << 20) + "y")
    assert (code, out) == (3, "")
    assert err.startswith("chat-client: line_too_long: more than 4 MiB came on stdin, and nothing was said")
    assert house.lines(broker) == before
    code, _, err = house.client("xia", broker, "send", "--title", "t" * 201, stdin="x")
    assert code == 2
    assert "a title has at most 200 characters" in err


# --------------------------------------------------------------------------- progress


@pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")  # pexpect's; nothing runs yet
def test_thousands_of_lines_show_how_far_they_are(house: Bench, broker: Broker) -> None:
    (house.folder / "many").write_text("".join(f"{number}\n" for number in range(4_000)))
    shell = f"exec {BIN}/chat-client send < {house.folder / 'many'}"
    seen = Terminal(["bash", "-c", shell], house.env("yan", CHAT_NAME="yan", CHAT_BROKER=broker.url))
    try:
        seen.shows("lines stored in")
        assert "4,000 lines stored in" in seen.rows[-1]
        assert seen.ends() == 0
    finally:
        seen.close()
    assert house.client("zoe", broker, "send", stdin="\n".join(map(str, range(2_000)))) == (0, "", "")


# --------------------------------------------------------------------------- the broker restarts


def test_every_line_once_and_in_order_through_a_kill(bench: Bench) -> None:
    """5,000 lines on stdin; the broker is killed with SIGKILL in the middle, twice, and comes back."""
    broker = bench.broker()
    talker = bench.start("talker", broker, "send", "--timeout", "15")
    watch = bench.start("watcher", broker, "tail", "--json", "--since", "all")
    watch.says('"kind": ')
    lines = [f"line {number}" for number in range(LINES)]
    parts = [
        "".join(f"{line}\n" for line in lines[first : first + 1_000]) for first in range(0, LINES, 1_000)
    ]
    talker.write(parts[0])
    for first in (1_000, 3_000):
        talker.write(parts[first // 1_000])
        watch.says(f'"line {first}"')
        broker.kill()
        talker.write(parts[first // 1_000 + 1])
        broker = bench.broker(like=broker)
    talker.end_of_input()
    assert talker.ends() == 0
    assert talker.err == ""
    assert bench.lines(broker) == lines
    wait_until("the watcher to see the last line", lambda: f'"line {LINES - 1}"' in watch.out)
    assert [row["text"] for row in watch.rows if row["kind"] == "line"] == lines


# --------------------------------------------------------------------------- signals


def is_connected(house: Bench, person: str) -> bool:
    return person in house.connected()


def test_ctrl_c_ends_it_as_it_ends_any_tool(house: Bench, broker: Broker) -> None:
    for person, command in (("rosa", "send"), ("rene", "tail")):
        running = house.start(person, broker, command)
        wait_until(f"{person} to come", functools.partial(is_connected, house, person))
        running.signal(signal.SIGINT)
        assert running.ends() == -signal.SIGINT
        assert "Traceback" not in running.err


def test_a_reader_that_has_gone_ends_it(house: Bench, broker: Broker) -> None:
    house.say("sven", broker, "one", "two", "three")
    reading, writing = os.pipe()
    tail = subprocess.Popen(
        [BIN / "chat-client", "tail", "--since", "all"],
        env=house.env("sven", CHAT_NAME="sven", CHAT_BROKER=broker.url),
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    assert os.read(reading, 10)
    os.close(reading)
    house.say("sven", broker, "one more")
    _, err = tail.communicate(timeout=20)
    assert (tail.returncode, err) == (-signal.SIGPIPE, b"")


def test_a_closed_stdout_of_a_short_command(house: Bench, broker: Broker) -> None:
    env = house.env("sven", CHAT_NAME="sven", CHAT_BROKER=broker.url)
    shell = f"set -o pipefail; {BIN}/chat-client users | true; echo $?"
    done = subprocess.run(["bash", "-c", shell], env=env, capture_output=True, timeout=20, check=False)
    assert done.stderr == b""
    assert done.stdout in (b"0\n", b"141\n")
