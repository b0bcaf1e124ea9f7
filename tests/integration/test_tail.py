"""`chat-client tail`, `users` and `rooms`: what scripts read."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from tests.integration.bench import BIN, Bench, Broker


def tail(bench: Bench, broker: Broker, *options: str, person: str = "reader") -> list[dict[str, Any]]:
    code, out, err = bench.read(person, broker, "tail", "--json", "--no-follow", *options)
    assert (code, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def test_json_has_these_fields_and_no_others(house: Bench, broker: Broker) -> None:
    before = datetime.now(UTC)
    assert house.client("alice", broker, "send", 'grüße 🌍 \t"quoted"')[0] == 0
    code, out, _ = house.client("alice", broker, "tail", "--json", "--no-follow")
    row = json.loads(out.splitlines()[-1])
    assert code == 0
    assert list(row) == ["room", "epoch", "seq", "at", "from", "kind", "text"]
    assert "grüße 🌍" in out
    assert (row["room"], row["from"], row["kind"]) == ("#lobby", "alice", "line")
    assert row["text"] == 'grüße 🌍 \t"quoted"'
    assert re.fullmatch(r"[0-9a-f]{16}", row["epoch"])
    assert isinstance(row["seq"], int)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["at"])
    assert abs((datetime.fromisoformat(row["at"]) - before).total_seconds()) < 60


def test_since(house: Bench, broker: Broker) -> None:
    house.say("bob", broker, *map(str, range(60)))
    everything = tail(house, broker, "--since", "all")
    assert [row["seq"] for row in everything] == list(range(1, len(everything) + 1))
    last = everything[-1]["seq"]
    assert tail(house, broker, "--since", str(last - 3)) == everything[-3:]
    assert tail(house, broker, "--since", str(last)) == []
    assert tail(house, broker, "--since", "now") == []
    assert tail(house, broker) == everything[-50:]


def test_since_a_moment(house: Bench, broker: Broker) -> None:
    house.client("bob", broker, stdin="/create moments\nexit\n")
    house.say("bob", broker, *(f"old {number}" for number in range(700)), room="#moments")
    rows = tail(house, broker, "--room", "moments", "--since", "all")
    assert tail(house, broker, "--room", "moments", "--since", "1h") == rows
    assert tail(house, broker, "--room", "moments", "--since", "yesterday") == rows
    assert tail(house, broker, "--room", "moments", "--since", "0s") == []
    house.say("bob", broker, "new", room="#moments")
    news = tail(house, broker, "--room", "moments", "--since", "all")[-1]
    assert news["text"] == "new"
    assert tail(house, broker, "--room", "moments", "--since", news["at"]) == [news]
    assert tail(house, broker, "--room", "moments", "--since", rows[350]["at"])[0]["at"] == rows[350]["at"]


def test_since_a_moment_it_goes_on_with_what_comes(house: Bench, broker: Broker) -> None:
    house.say("bea", broker, "before")
    following = house.start("ben", broker, "tail", "--json", "--since", "1h", "--from", "bea")
    following.says('"before"')
    house.say("bea", broker, "after")
    following.says('"after"')
    assert {row["from"] for row in following.rows} == {"bea"}


def test_only_some_lines(house: Bench, broker: Broker) -> None:
    house.say("ida", broker, "build 1 failed", "build 2 passed", "@jan have a look")
    house.say("jan", broker, "build 3 passed", "ida: thanks")
    everything = ("--since", "all")

    def texts(*options: str, person: str = "jan") -> list[str]:
        return [row["text"] for row in tail(house, broker, *everything, *options, person=person)]

    assert texts("--grep", r"build \d passed") == ["build 2 passed", "build 3 passed"]
    assert texts("--from", "IDA") == ["build 1 failed", "build 2 passed", "@jan have a look"]
    assert texts("--from", "@ida", "--from", "jan", "--grep", "passed") == [
        "build 2 passed",
        "build 3 passed",
    ]
    assert texts("--mentions") == ["@jan have a look"]
    assert texts("--mentions", person="ida") == ["ida: thanks"]
    assert texts("--mentions", "--from", "jan") == []


def test_moments_and_patterns_that_are_none(house: Bench, broker: Broker) -> None:
    code, _, err = house.read("ida", broker, "tail", "--since", "2 moons")
    assert code == 2
    assert "'2 moons' is no moment: write 2h, 1h30m, 9:00" in err
    code, _, err = house.read("ida", broker, "tail", "--grep", "(")
    assert code == 2
    assert "'(' is no regular expression" in err


def test_a_reader_that_has_gone_is_noticed_at_once(house: Bench, broker: Broker) -> None:
    """Not only when the next line comes: nobody says anything after the first."""
    house.say("kim", broker, "one")
    script = f"{BIN}/chat-client tail --since all | head -n 1"
    child = house.script("kim", broker, "env", "CHAT_NAME=kim", "bash", "-c", script)
    assert child.ends() == 0
    assert len(child.lines) == 1
    assert child.err == ""


def test_what_it_follows_comes_as_it_is_said(house: Bench, broker: Broker) -> None:
    json_lines = house.start("carol", broker, "tail", "--json", "--since", "now")
    plain = house.start("carla", broker, "tail", "--since", "now")
    house.comes("carol")
    house.comes("carla")
    house.say("dave", broker, "one line\nand more")
    plain.says("and more")
    json_lines.says("and more")
    assert re.fullmatch(r"\d\d:\d\d dave: one line\n      and more\n", plain.out)
    assert [row["text"] for row in json_lines.rows] == ["one line\nand more"]
    assert json_lines.err == plain.err == ""


def test_it_goes_on_where_it_was_after_a_restart(bench: Bench) -> None:
    broker = bench.broker()
    reading = bench.start("erin", broker, "tail", "--json", "--since", "all")
    bench.say("frank", broker, "before")
    reading.says('"before"')
    broker.kill()
    reading.complains("offline (")
    bench.broker(like=broker)
    bench.say("frank", broker, "after")
    reading.says('"after"')
    assert [row["text"] for row in reading.rows if row["kind"] == "line"] == ["before", "after"]
    assert [row["seq"] for row in reading.rows] == list(range(1, len(reading.rows) + 1))


def test_a_seq_that_does_not_exist_yet(house: Bench, broker: Broker) -> None:
    assert tail(house, broker, "--since", "1000000") == []


def test_users_and_rooms(house: Bench, broker: Broker) -> None:
    with_room = house.start("grace", broker, "tail", "--since", "now")
    house.comes("grace")
    code, out, err = house.read("heidi", broker, "users")
    assert (code, err) == (0, "")
    assert {"grace", "heidi"} <= set(out.splitlines())
    code, out, _ = house.read("heidi", broker, "users", "--json")
    assert {"grace", "heidi"} <= set(json.loads(out))
    code, out, _ = house.read("heidi", broker, "users", "--json", "--room", "lobby")
    assert "grace" in json.loads(out)
    assert "heidi" not in json.loads(out)
    code, out, _ = house.read("heidi", broker, "rooms", "--json")
    assert code == 0
    lobby = json.loads(out)[0]
    assert list(lobby) == ["room", "kind", "head", "present"]
    assert (lobby["room"], lobby["kind"]) == ("#lobby", "public")
    code, out, _ = house.read("heidi", broker, "rooms")
    assert re.match(r"#lobby +public +\d+ here\n", out)
    assert with_room.err == ""


def test_a_direct_conversation_has_the_other_ones_name(house: Bench, broker: Broker) -> None:
    house.say("judy", broker)
    house.say("ivan", broker, "hello judy", room="@judy")
    (row,) = [row for row in tail(house, broker, "--room", "@ivan", person="judy") if row["kind"] == "line"]
    assert (row["room"], row["from"], row["text"]) == ("@ivan", "ivan", "hello judy")
    _, out, _ = house.read("judy", broker, "rooms", "--json")
    assert {"room": "@ivan", "kind": "direct", "head": 2, "present": 0} in json.loads(out)
    assert "judy" not in house.read("alice", broker, "rooms", "--json")[1]
