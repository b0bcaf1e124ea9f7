"""`chat-broker start`: what stops it from starting, how it stops, what it writes meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import socket
import subprocess
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from chat_broker.folder import DataFolder
from chat_broker.log import entries_after
from chat_broker.sqlite_log import SqliteLog
from chat_client.events import Link, LinkChanged
from chat_protocol.codec import line_text
from chat_protocol.errors import Refused
from tests.integration.bench import BIN, Bench, Broker, Child, Hearing, until


def refused(bench: Bench, *options: str, data: Path | None = None) -> str:
    """Start a broker that must not start: the one sentence that it says instead."""
    code, out, err = bench.operator("start", "--port", "0", *options, data=data or bench.folder / "unused")
    assert code not in (0, 4)
    assert out == ""
    assert err.startswith("chat-broker: ")
    assert len(err.splitlines()) == 1
    return err


# --------------------------------------------------------------------------- what stops a start


@pytest.mark.parametrize("option", ["--port", "--feed-port"])
def test_a_port_in_use(bench: Bench, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        err = refused(bench, option, str(port))
    assert f"port {port} on 127.0.0.1 is in use; stop what uses it, or choose --port and --feed-port" in err


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_that_is_not_this_machines(bench: Bench, host: str) -> None:
    assert f"--host {host} is no address of this machine" in refused(bench, "--host", host)


def test_a_folder_that_cannot_be_written(bench: Bench) -> None:
    file = bench.folder / "file"
    file.touch()
    err = refused(bench, data=file / "below")
    assert f"the data folder {file / 'below'} cannot be " in err
    assert "Not a directory" in err


@pytest.mark.parametrize("below", ["", "below"])
def test_a_folder_that_may_not_be_written(bench: Bench, below: str) -> None:
    """Root may write everywhere; here it does without that right."""
    folder = bench.folder / "read-only"
    folder.mkdir(mode=0o500)
    bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*bound, str(BIN / "chat-broker"), "start", "--port", "0"]
    env = bench.env(CHAT_DATA=str(folder / below))
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"chat-broker: the data folder {folder / below} cannot be " in done.stderr
    assert done.stderr.endswith("Permission denied\n")


def test_a_folder_that_is_held(bench: Bench) -> None:
    bench.broker()
    assert f"the data folder {bench.data}" in refused(bench, data=bench.data)


def test_a_damaged_log(bench: Bench) -> None:
    broker = bench.broker()
    bench.say("ann", broker, *map(str, range(500)))
    assert broker.stop() == 0
    log = bench.data / "chat.db"
    whole = log.read_bytes()
    middle = whole.rindex(b"\xa3250")  # within what was said: not all of a page is in use
    for damage in (
        whole[:middle],
        b"\0" * 4_096 + whole[4_096:],
        whole[:middle] + b"?" * 4_096 + whole[middle + 4_096 :],
    ):
        log.write_bytes(damage)
        err = refused(bench, data=bench.data)
        assert f"{log} is damaged" in err
        assert "restore a backup" in err
        code, out, _ = bench.ask("doctor")
        assert code == 1
        assert f"FAIL  {log} is damaged" in out
        assert log.read_bytes() == damage
    log.write_bytes(whole)
    assert bench.broker().stop() == 0


def test_a_key_that_others_may_read(bench: Bench) -> None:
    bench.data.mkdir(mode=0o700)
    DataFolder(bench.data).broker_keys()
    key = bench.data / "broker.key"
    key.chmod(0o644)
    assert f"{key} holds a secret key, and others may read it" in refused(bench, data=bench.data)


def test_too_few_file_descriptors(bench: Bench) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))

    files = bench.folder / "few"
    child = Child([BIN / "chat-broker", "start", "--port", "0"], bench.env(), files, limits=few)
    assert child.ends() == 1
    assert child.out == ""
    assert child.err == (
        "chat-broker: this process may open only 50 files, and a broker needs 64, two more for each client; "
        "raise the limit (ulimit -n)\n"
    )


def test_options_that_contradict(bench: Bench) -> None:
    code, out, err = bench.ask("start", "--port", "5000", "--feed-port", "5000")
    assert (code, out) == (2, "")
    assert "--feed-port must be another port than --port" in err


# --------------------------------------------------------------------------- ready, and the end


def test_ready_is_one_line_and_keys_stay(bench: Bench) -> None:
    first = bench.broker()
    assert re.fullmatch(r"ready chat://127\.0\.0\.1:\d+\?key=[\w-]{43}&invite=[\w-]{43}\n", first.out)
    assert bench.data.stat().st_mode & 0o777 == 0o700
    for name in ("broker.key", "operator.key", "chat.db"):
        assert (bench.data / name).stat().st_mode & 0o777 == 0o600
    assert first.stop() == 0
    second = bench.broker(like=first)
    assert second.place == first.place


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_stores_what_it_took_and_says_goodbye(bench: Bench, number: int) -> None:
    broker = bench.broker()
    acknowledged: list[int] = []

    async def test() -> None:
        async with bench.sdk("ann", broker) as ann, Hearing(ann) as hears:

            async def talk() -> None:
                for line in range(5_000):
                    position = await ann.say(f"line {line}")
                    acknowledged.append(position.seq)

            talking = asyncio.create_task(talk())
            await hears.waits_for("line 100")
            assert await asyncio.to_thread(broker.stop, number) == 0
            (down,) = await until("the goodbye", lambda: [
                event for event in hears.of(LinkChanged) if event.link is Link.OFFLINE
            ][:1])  # fmt: skip
            assert down.reason == "the broker is stopping"
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)

    asyncio.run(test())
    assert broker.out.count("\n") == 1
    assert not (bench.data / "broker.json").exists()
    with closing(SqliteLog(bench.data)) as log:
        lines = {entry.seq: line_text(entry) for entry in entries_after(log, "#lobby", 0)}
    assert [lines[seq] for seq in acknowledged] == [f"line {number}" for number in range(len(acknowledged))]


def test_its_log_as_json_tells_who_came_who_went_and_what_was_refused(bench: Bench) -> None:
    broker = bench.broker("--log-format", "json")
    bench.say("ann", broker, "hello")
    with pytest.raises(Refused):
        bench.say("ann", broker, "hello", room="#nowhere")
    with pytest.raises(Refused):
        bench.say("stranger", broker.place)
    assert broker.stop() == 0
    rows = [json.loads(line) for line in broker.err.splitlines()]
    for row in rows:
        assert {"event", "level", "timestamp"} <= row.keys()
        datetime.fromisoformat(row["timestamp"])
    told = [(row["event"], row.get("name")) for row in rows]
    assert told[:4] == [("ready", None), ("enrolled", "ann"), ("came", "ann"), ("left", "ann")]
    assert told[-1] == ("stopped", None)
    (no,) = [row for row in rows if row["event"] == "refused"]
    assert (no["name"], no["code"]) == ("ann", "no_such_room")
    assert "#nowhere" in no["text"]
    (stranger,) = [row for row in rows if row["event"] == "not_admitted"]
    assert (stranger["port"], stranger["address"]) == ("commands", "127.0.0.1")


def test_its_log_as_text(house: Bench, broker: Broker) -> None:
    house.say("bob", broker)
    broker.complains("left")
    assert re.search(r"\d{4}-\d\d-\d\dT\S+Z \[info +\] came +name=bob\n", broker.err)
    assert "\x1b" not in broker.err
    assert broker.address.invite is not None
    assert "invite=" not in broker.err


def test_ipv6(bench: Bench) -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    broker = bench.broker("--host", "::1")
    assert broker.url.startswith("chat://[::1]:")
    watch = bench.start("ann", broker, "tail", "--json")
    bench.say("bob", broker, "over IPv6")
    watch.says("over IPv6")
    assert bench.ask("status")[0] == 0


def test_every_address_of_this_machine(bench: Bench) -> None:
    broker = bench.broker("--host", "0.0.0.0")
    local = bench.env("ann", CHAT_NAME="ann")
    assert bench.run("chat-client", "send", "here", env=local) == (0, "", "")
    assert broker.address.host == socket.gethostname().lower()


def test_options_from_the_environment(bench: Bench) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = bench.env(
        CHAT_PORT=str(port), CHAT_FEED_PORT="0", CHAT_HOST="127.0.0.1", CHAT_OPEN="1", CHAT_NO_INVITE="1",
        CHAT_LOG_FORMAT="json", CHAT_ADVERTISE="chat.example:1:2", CHAT_NEWCOMER_LINES="1",
        CHAT_LINES_PER_S="7", CHAT_KEEP_ENTRIES="9",
    )  # fmt: skip
    broker = bench.broker_of([BIN / "chat-broker", "start"], env)
    assert broker.url.startswith("chat://chat.example:1?key=")
    assert "invite" not in broker.url
    assert "the door is open" in broker.err
    figures = json.loads(bench.ask("status", "--json")[1])
    assert figures["address"] == f"127.0.0.1:{port}"
    assert figures["open_door"] == "yes"
