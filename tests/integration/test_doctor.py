"""`chat-client doctor`: each thing that may be wrong is told, with what to do."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chat_client.doctor import OFFSET_S_MAX, _clock, _key, _versions
from chat_client.home import Home
from chat_protocol.address import Address, fingerprint
from tests.integration.bench import Bench, Broker


def verdicts(house: Bench, person: str, url: str | Broker) -> tuple[int, list[str]]:
    code, out, err = house.client(person, url, "--timeout", "2", "doctor")
    assert err == ""
    lines = out.splitlines()
    assert all(line.startswith(("ok    ", "FAIL  ")) for line in lines)
    assert (code == 0) is not any(line.startswith("FAIL") for line in lines)
    return code, lines


def moved(broker: Broker, **changed: object) -> str:
    """The broker's address, changed."""
    one = broker.address
    parts = {"host": one.host, "port": one.port, "key": one.key, "invite": one.invite} | changed
    return str(Address(**parts))  # type: ignore[arg-type]  # as Address has them


def test_all_is_well(house: Bench, broker: Broker) -> None:
    house.say("ann", broker)
    code, lines = verdicts(house, "ann", broker)
    assert code == 0
    told = "\n".join(lines)
    for pattern in (
        r"simple-chat \S+, libzmq \S+ with CURVE",
        rf"the broker is 127\.0\.0\.1:{broker.port}, as it was named",
        r"its key \S+ is the one that is pinned",
        rf"port {broker.port} of 127\.0\.0\.1 \(commands\) is open",
        r"what answers holds the key \S+, and lets ann in",
        r"it answers within \d+ ms",
        rf"port {broker.feed_port} of 127\.0\.0\.1 \(the feed\) is open",
        r"its clock and this one differ by 0\.\d s",
        r"both ends are simple-chat \S+",
    ):
        assert re.search(pattern, told), (pattern, told)


def test_a_name_that_never_came_in_is_told_how_and_gets_no_account(house: Bench, broker: Broker) -> None:
    code, lines = verdicts(house, "ben", broker.place)
    assert code == 1
    assert "ben has no key for this broker on this machine yet: come in once, with an invite if" in lines[-1]
    code, lines = verdicts(house, "ben", broker)
    assert code == 1
    assert lines[-1].endswith("yet: come in once, then look again: chat-client --name ben")
    assert "ben" not in house.ask("status")[1]
    assert not list(house.home("ben").rglob("ben.*"))


def test_nothing_listens_there(house: Bench, broker: Broker) -> None:
    house.say("cat", broker)
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        code, lines = verdicts(house, "cat", moved(broker, port=port))
    assert code == 1
    assert lines[-1].startswith(
        f"FAIL  port {port} of 127.0.0.1 (commands) cannot be reached, nothing listens"
    )


def test_a_host_that_does_not_exist(house: Bench, broker: Broker) -> None:
    code, lines = verdicts(house, "dan", moved(broker, host="nowhere.invalid"))
    assert code == 1
    assert "cannot be reached" in lines[-1]
    assert "is the name right" in lines[-1]


def test_a_key_that_has_changed(house: Bench, broker: Broker) -> None:
    house.say("eva", broker)
    code, lines = verdicts(house, "eva", moved(broker, key=b"k" * 32))
    assert code == 1
    assert "had another key before" in lines[-1]
    assert "ask its operator" in lines[-1]


def test_a_key_that_your_broker_here_left_word_of_is_not_called_pinned(tmp_path: Path) -> None:
    home, address = Home(tmp_path), Address("127.0.0.1", 5555, b"k" * 32)
    home.pin(Address("127.0.0.1", 5555, b"o" * 32))
    text = _key(home, address).text
    assert "is what your broker here left word of; before, another ran there" in text
    assert fingerprint(b"k" * 32) in text
    assert fingerprint(b"o" * 32) in text


def test_something_else_answers(house: Bench, broker: Broker, silent: int) -> None:
    """A port that listens and says nothing, pinned and enrolled as the broker was."""
    house.say("fay", broker)
    code, lines = verdicts(house, "fay", moved(broker, port=silent))
    assert code == 1
    assert "(commands) is open" in lines[-2]
    assert "fay cannot come in" in lines[-1]


@pytest.fixture
def silent() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as one:
        yield int(one.getsockname()[1])


def test_a_feed_port_that_is_shut(bench: Bench) -> None:
    """What the broker advertises as its feed's port is not open."""
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        shut = unused.getsockname()[1]
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        broker = bench.broker_of(
            [
                "chat-broker",
                "start",
                "--port",
                str(port),
                "--feed-port",
                "0",
                "--advertise",
                f"127.0.0.1:{port}:{shut}",
            ],
            bench.env(),
        )
        bench.say("gil", broker)
        code, lines = verdicts(bench, "gil", broker)
    assert code == 1
    (bad,) = [line for line in lines if line.startswith("FAIL")]
    assert f"port {shut} of 127.0.0.1 (the feed) cannot be reached, nothing listens there" in bad


def test_no_broker_is_known(bench: Bench) -> None:
    code, out, err = bench.run("chat-client", "--name", "hal", "doctor", env=bench.env("hal"))
    assert (code, err) == (1, "")
    assert out.splitlines()[-1].startswith("FAIL  no broker is known: start one (chat-broker start)")


@pytest.mark.parametrize(
    ("ahead_s", "good"), [(0.0, True), (-OFFSET_S_MAX, True), (6.0, False), (-7_200.0, False)]
)
def test_clocks(ahead_s: float, good: bool) -> None:
    finding = _clock(ahead_s)
    assert finding.good is good
    assert ("NTP" in finding.text) is not good
    if not good:
        assert ("ahead of" if ahead_s > 0 else "behind") in finding.text


@pytest.mark.parametrize(
    ("software", "told"), [("simple-chat 9.9", "there simple-chat 9.9"), ("", "does not say")]
)
def test_versions_that_differ(software: str, told: str) -> None:
    (finding,) = _versions(software)
    assert finding.good
    assert told in finding.text
