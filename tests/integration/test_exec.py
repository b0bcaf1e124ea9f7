"""`chat-client exec` and `replay`, as people use them."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.bench import Bench, Broker, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"

ECHO = """
import json, sys
for line in sys.stdin:
    event = json.loads(line)
    if event["kind"] != "line" or event["bot"]:
        continue
    if event["text"] == "finish":
        print("goodbye")
        sys.exit()
    print(json.dumps({"text": "first " + event["text"], "room": event["room"], "answers": event["seq"]}))
    if event["text"] == "die" and not event["replayed"]:
        sys.exit(1)
    print(json.dumps({"text": "second " + event["text"], "room": event["room"], "answers": event["seq"]}))
    print(json.dumps({"done": event["seq"], "room": event["room"]}))
"""


def program(tmp_path: Path, script: str = ECHO) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(script)
    return [sys.executable, str(path)]


def said(house: Bench, broker: Broker, sender: str, *options: str) -> list[str]:
    code, out, err = house.read(
        "auditor", broker, "tail", "--json", "--since", "all", "--no-follow", *options
    )
    assert code == 0, err
    return [row["text"] for row in map(json.loads, out.splitlines()) if row["from"] == sender]


def comes(house: Bench, broker: Broker, who: str, *texts: str) -> None:
    """Wait until these lines of somebody's stand in the lobby."""
    wait_until(
        f"{texts} from {who}", lambda: [one for one in said(house, broker, who) if one in texts] == [*texts]
    )


def test_a_program_answers_once_whatever_befalls_it(bench: Bench, tmp_path: Path) -> None:
    broker = bench.broker()
    bot = bench.start("ops", broker, "exec", *program(tmp_path))
    bench.comes("ops")
    bench.say("ann", broker, "one")
    comes(bench, broker, "ops", "first one", "second one")
    bench.say("ann", broker, "die")
    bot.complains("ended with exit code 1; starting it again in 1 s")
    comes(bench, broker, "ops", "first die", "second die")
    bot.kill()
    bench.say("ann", broker, "missed")
    bot = bench.start("ops", broker, "exec", *program(tmp_path))
    bench.comes("ops")
    bench.say("ann", broker, "finish")
    comes(bench, broker, "ops", "goodbye")
    assert bot.ends() == 0
    assert said(bench, broker, "ops") == [
        "first one", "second one", "first die", "second die", "first missed", "second missed", "goodbye",
    ]  # fmt: skip


def test_any_language_will_do(house: Bench, broker: Broker) -> None:
    """What a shell script hears and says, rooms of its own and what is said to it alone included."""
    house.client("ann", broker, "users")
    script = 'while read -r line; do case "$line" in *\'"text": "ping\'*) echo pong;; esac; done'
    bot = house.start("shell", broker, "exec", "sh", "-c", script)
    house.comes("shell")
    house.say("ann", broker, "ping 1", "other")
    comes(house, broker, "shell", "pong")
    bot.signal(signal.SIGTERM)
    assert bot.ends() == -signal.SIGTERM
    assert bot.err == ""


def test_what_it_is_told(house: Bench, broker: Broker, tmp_path: Path) -> None:
    script = f"""
import sys
for line in sys.stdin:
    with open({str(tmp_path / "told")!r}, "a") as file: file.write(line)
"""
    house.start("scribe", broker, "exec", "--room", "lobby", "--", *program(tmp_path, script))
    house.comes("scribe")

    def told() -> list[dict[str, object]]:
        path = tmp_path / "told"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def hears(who: str, kind: str) -> None:
        wait_until(
            f"{kind} of {who}", lambda: any((one["from"], one["kind"]) == (who, kind) for one in told())
        )

    visitor = house.start("visitor", broker, "tail")
    hears("visitor", "joined")
    visitor.signal(signal.SIGTERM)
    visitor.ends()
    hears("visitor", "left")
    house.say("ann", broker, "hello")
    house.say("ann", broker, "psst", room="@scribe")
    wait_until("both lines", lambda: sum(one["kind"] == "line" for one in told()) == 2)
    rows = {(row["kind"], row["from"], row.get("text")): row for row in told()}
    line = rows["line", "ann", "hello"]
    assert list(line) == [
        "room", "epoch", "seq", "at", "from", "kind", "text", "bot", "hops", "replayed",
    ]  # fmt: skip
    assert (line["room"], line["bot"], line["hops"], line["replayed"]) == ("#lobby", False, 0, False)
    assert rows["line", "ann", "psst"]["room"] == "@ann"


def test_two_programs_that_answer_each_other_come_to_an_end(
    house: Bench, broker: Broker, tmp_path: Path
) -> None:
    script = """
import json, sys
for line in sys.stdin:
    if json.loads(line)["kind"] == "line": print("again")
"""
    command = program(tmp_path, script)
    one, two = (house.start(name, broker, "exec", *command) for name in ("tick", "tock"))
    for name in ("tick", "tock"):
        house.comes(name)
    house.say("ann", broker, "go")
    enough = "bots have answered each other 8 times in a row; nothing is said"
    wait_until("one of them to have enough", lambda: enough in one.err + two.err)
    for bot in (one, two):
        bot.signal(signal.SIGTERM)
        bot.ends()
    assert 8 <= len(said(house, broker, "tick") + said(house, broker, "tock")) <= 16


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"text": 4}', "is no line to say"),
        ('{"text": "x", "answers": 99999}', "line 99999 of #lobby was not told, and cannot be answered"),
        ('{"done": 99999}', "line 99999 of #lobby was not told, and cannot be done"),
        ("x" * 20_000, "a line has"),
        ('{"text": "x", "room": "nowhere"}', "not said: 'x': "),
    ],
)
def test_what_cannot_be_said_is_told_of(
    house: Bench, broker: Broker, tmp_path: Path, text: str, complaint: str
) -> None:
    bot = house.start(
        "clumsy",
        broker,
        "exec",
        *program(tmp_path, f"print({text!r}); print('fine'); __import__('sys').stdin.read()"),
    )
    bot.complains(complaint)
    bot.signal(signal.SIGTERM)
    bot.ends()
    assert "fine" in said(house, broker, "clumsy")


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["/no/such/program"], 2, "/no/such/program cannot be started: No such file or directory"),
        ([], 2, "Missing argument"),
        (["--room", "nowhere", "true"], 3, "no_such_room"),
        (["true"], 0, ""),
    ],
)
def test_how_it_ends(house: Bench, broker: Broker, command: list[str], code: int, says: str) -> None:
    ended, _, err = house.client("ender", broker, "exec", *command)
    assert ended == code, err
    assert says in err


# --------------------------------------------------------------------------- replay


@pytest.fixture
def past(bench: Bench) -> Broker:
    """A broker where dice were asked for."""
    broker = bench.broker()
    bench.say("ann", broker, "!roll 1", "hello", "!roll many")
    bench.say("dice", broker, "ann rolled 3")
    return broker


def test_a_bot_on_the_past_says_nothing_there(bench: Bench, past: Broker) -> None:
    before = bench.lines(past)
    code, out, err = bench.client("ops", past, "replay", str(EXAMPLES / "dice_bot.py"), "--json")
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["seq"], row["from"], row["text"], row["answers"][0]["room"]) for row in rows] == [
        (2, "ann", "!roll 1", "#lobby"),
        (4, "ann", "!roll many", "#lobby"),
    ]
    assert rows[0]["answers"][0]["text"] == "dice have 2 to 1000 sides: !roll 20"
    assert err == "chat-client: dice heard 3 lines of #lobby and would have answered 2\n"
    assert bench.lines(past) == before
    assert not list(bench.home("ops").glob("bots"))


@pytest.mark.parametrize(("since", "seqs"), [("all", [2, 4]), ("2", [4]), ("1h", [2, 4]), ("999", [])])
def test_it_begins_where_it_is_told(bench: Bench, past: Broker, since: str, seqs: list[int]) -> None:
    bot = f"{EXAMPLES / 'dice_bot.py'}:bot"
    code, out, err = bench.read("ops", past, "replay", bot, "--since", since, "--room", "lobby")
    assert code == 0, err
    assert [int(line.split()[3]) for line in out.splitlines() if line[0].isdigit()] == seqs


def test_a_script_that_ends_with_run_is_not_run(bench: Bench, past: Broker, tmp_path: Path) -> None:
    """Like the one in the README; and handlers that fail are told of."""
    script = tmp_path / "my_bot.py"
    script.write_text(
        "from chat_client import Bot\n"
        "bot = Bot('mine')\n"
        "@bot.on_line\n"
        "async def hear(line):\n"
        "    assert line.replayed\n"
        "    (bot.folder / 'seen').write_text(line.text)\n"
        "    await bot.say('psst', '@ann')\n"
        "    1 / 0\n"
        "bot.run()\n"
    )
    code, out, err = bench.client("ops", past, "replay", str(script), "--since", "3")
    assert code == 1
    assert out.splitlines()[1] == "      mine in @ann: psst"
    assert err.endswith("mine heard 2 lines of #lobby and would have answered 2; 2 handlers failed\n")
    assert err.count("ZeroDivisionError") == 2


@pytest.mark.parametrize(
    ("content", "reference", "code", "says"),
    [
        ("", "x.py", 2, "x.py has no bot"),
        ("from chat_client import Bot\na, b = Bot('a'), Bot('b')", "x.py", 2, "bots called a, b: say which"),
        ("from chat_client import Bot\na = Bot('a')", "x.py:z", 2, "there is no bot called z"),
        ("1 /", "x.py", 2, "cannot be loaded: SyntaxError"),
        ("raise SystemExit(3)", "x.py", 2, "cannot be loaded: SystemExit"),
        ("", "y.py", 2, "there is no file y.py"),
        ("", "no.such.module", 2, "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_bot_that_cannot_be_loaded(
    house: Bench, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    content: str, reference: str, code: int, says: str,
) -> None:  # fmt: skip
    (tmp_path / "x.py").write_text(content)
    monkeypatch.chdir(tmp_path)
    ended, _, err = house.read("ops", broker, "replay", reference)
    assert ended == code
    assert says in err
    assert "Traceback" not in err


def test_a_room_that_one_may_not_read(house: Bench, broker: Broker) -> None:
    code, _, err = house.read("ops", broker, "replay", str(EXAMPLES / "dice_bot.py"), "--room", "nowhere")
    assert code == 3
    assert err.startswith("chat-client: no_such_room: ")
