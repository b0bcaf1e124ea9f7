"""`chat-broker status`, `users`, `rooms`, `invite`, `ban`, `unban`, `rate`, `backup` and `doctor`."""

from __future__ import annotations

import json
import re
import signal
import time

import pytest

from chat_broker.folder import DataFolder
from chat_broker.operator import Operator
from chat_protocol.errors import Unreachable
from tests.integration.bench import Bench, Broker


def test_status(house: Bench, broker: Broker) -> None:
    house.say("ann", broker, "hello")
    code, out, err = house.operator("status")
    assert (code, err) == (0, "")
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if len(line.split()) == 2)
    assert rows["address"] == f"127.0.0.1:{broker.port}"
    assert rows["storage"] == "ok"
    code, out, err = house.ask("status", "--json")
    figures = json.loads(out)
    assert (code, err) == (0, "")
    assert figures["connected"] == 0
    assert figures["lines_since_start"] >= 1
    assert figures["accounts"] >= 2


def test_users_and_rooms(house: Bench, broker: Broker) -> None:
    assert house.ask("users") == (0, "", "nobody is connected\n")
    reader = house.start("bob", broker, "tail", "--json", "--since", "all")
    reader.says("hello")
    assert house.ask("users") == (0, "bob\n", "")
    assert json.loads(house.ask("users", "--json")[1]) == ["bob"]
    code, out, _ = house.ask("rooms")
    assert code == 0
    assert out.split()[:2] == ["#lobby", "public"]
    assert out.rstrip().endswith("1 here")
    (lobby,) = json.loads(house.ask("rooms", "--json")[1])
    assert list(lobby) == ["room", "kind", "entries", "present"]
    assert lobby["present"] == 1
    reader.kill()


def test_ban_and_unban(house: Bench, broker: Broker) -> None:
    victim = house.start("carl", broker, "tail", "--since", "now")
    house.comes("carl")
    assert house.ask("ban", "Carl")[0] == 0
    assert victim.ends() == 3
    assert victim.err == "chat-client: you are banned from this broker\n"
    code, out, err = house.client("carl", broker, "send", "let me in")
    assert (code, out) == (3, "")
    assert "banned: carl is banned here" in err
    assert house.ask("unban", "carl")[0] == 0
    house.say("carl", broker, "thank you")
    code, out, err = house.ask("ban", "nobody")
    assert (code, out, err) == (1, "", "chat-broker: nobody is called nobody here\n")
    assert house.ask("ban", "operator")[0] == 1


def test_rate(bench: Bench) -> None:
    """Over the limit lines come more slowly, and none is refused for good."""
    broker = bench.broker("--log-format", "json")
    lines = [str(number) for number in range(5_300)]  # 5,000 are the burst
    begun = time.monotonic()
    bench.say("dan", broker, *lines)
    took = time.monotonic() - begun
    limited = [row for row in map(json.loads, broker.err.splitlines()) if row.get("code") == "rate_limited"]
    assert limited or took > 3  # within that time the other 300 became allowed anyway
    assert {row["name"] for row in limited} <= {"dan"}
    bench.say("bot", broker)
    assert bench.ask("rate", "bot", "100000")[0] == 0
    bench.say("bot", broker, *lines)
    assert "bot" not in {row.get("name") for row in map(json.loads, broker.err.splitlines()) if "code" in row}
    assert bench.ask("rate", "nobody", "5")[0] == 1
    assert bench.ask("rate", "bot", "0")[0] == 0


@pytest.mark.parametrize(
    "command",
    [["status"], ["users"], ["rooms"], ["invite"], ["ban", "x"], ["unban", "x"], ["rate", "x", "1"]],
)
def test_nobody_to_ask(bench: Bench, command: list[str]) -> None:
    text = f"chat-broker: no broker is running on {bench.data}; start one, or name its --data\n"
    assert bench.ask(*command) == (1, "", text)


def test_a_broker_that_does_not_answer(bench: Bench) -> None:
    broker = bench.broker()
    broker.signal(signal.SIGSTOP)
    text = f"the broker at 127.0.0.1:{broker.port} does not answer; is it still running?"
    with pytest.raises(Unreachable, match=re.escape(text)), Operator(DataFolder(bench.data), timeout_s=0.5):
        pass


def test_a_backup_of_a_running_broker_is_restored(bench: Bench) -> None:
    """Backed up while people talk; served from an empty folder: same keys, another epoch, and whoever
    was connected to the first notices and says so."""
    broker = bench.broker()
    bench.say("ann", broker, "before the backup")
    reader = bench.start("bob", broker, "tail", "--json", "--since", "all")
    person = bench.terminal("cyd", "--name", "cyd", CHAT_BROKER=broker.url)
    person.shows("ann: before the backup")
    reader.says("before the backup")
    file = bench.folder / "saved.db"
    assert bench.ask("backup", str(file)) == (0, "", f"backed up to {file}\n")
    assert file.stat().st_mode & 0o777 == 0o600
    code, _, err = bench.ask("backup", str(file))
    assert code == 1
    assert err == f"chat-broker: {file} exists already: name a new file\n"
    bench.say("ann", broker, "after the backup")
    reader.says("after the backup")
    broker.kill()

    elsewhere = bench.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "chat.db").write_bytes(file.read_bytes())
    restored = bench.broker(like=broker, data=elsewhere)
    assert restored.place == broker.place
    assert "restored" in restored.err
    reader.complains("the broker's history was reset or restored; #lobby is shown afresh")
    person.shows("The broker's history was reset or restored; #lobby is shown afresh")
    bench.say("ann", restored, "a new beginning")
    reader.says("a new beginning")
    person.shows("ann: a new beginning")
    rows = [(row["seq"], row["text"]) for row in reader.rows if row["kind"] == "line"]
    before, after = (2, "before the backup"), (3, "after the backup")
    assert rows == [before, after, before, (3, "a new beginning")]
    assert len({row["epoch"] for row in reader.rows}) == 2
    for name in ("broker.key", "operator.key", "chat.db"):
        assert (elsewhere / name).stat().st_mode & 0o777 == 0o600
    epoch = reader.rows[-1]["epoch"]
    assert restored.stop() == 0
    bench.broker(data=elsewhere)  # a second start is no second restore
    assert json.loads(bench.ask("status", "--json", data=elsewhere)[1])["epoch"] == epoch


def test_a_backup_of_a_stopped_broker(bench: Bench) -> None:
    code, _, err = bench.ask("backup", str(bench.folder / "nothing.db"))
    assert code == 1
    assert "there is no broker's data in" in err
    broker = bench.broker()
    bench.say("ann", broker, "kept")
    assert broker.stop() == 0
    file = bench.folder / "saved.db"
    assert bench.ask("backup", str(file))[0] == 0
    elsewhere = bench.folder / "elsewhere"
    elsewhere.mkdir()
    file.rename(elsewhere / "chat.db")
    restored = bench.broker(data=elsewhere)
    assert "kept" in bench.read("ann", restored, "tail", "--no-follow")[1]


def test_doctor(bench: Bench) -> None:
    code, out, _ = bench.ask("doctor")
    assert code == 1
    assert f"FAIL  there is no data folder {bench.data}; start makes it, or name --data" in out
    broker = bench.broker()
    code, out, _ = bench.ask("doctor")
    assert code == 0
    assert f"ok    a broker answers at 127.0.0.1:{broker.port}, 0 connected" in out
    assert f"ok    the feed port {broker.feed_port} is open" in out
    assert broker.stop() == 0
    code, out, _ = bench.ask("doctor")
    assert code == 0
    assert "ok    the log is whole" in out
    (bench.data / "operator.key").chmod(0o644)
    code, out, _ = bench.ask("doctor")
    assert code == 1
    assert "others may read it: chmod 600 it" in out
