"""Clients find brokers on a local network: real processes on hosts of their own, and real multicast."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat_protocol.address import encode_key, parse_address
from tests.integration.bench import Broker, Child, Terminal, wait_until
from tests.integration.local_network import NET, LocalNetwork, what_is_missing

HOSTILE = Path(__file__).parent / "hostile_announcer.py"
SHED = f"{NET}.12"


@pytest.fixture
def network(tmp_path: Path) -> Iterator[LocalNetwork]:
    if missing := what_is_missing():
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with LocalNetwork(tmp_path) as one:
        yield one


def announced(broker: Broker) -> str:
    """Wait until a broker has announced itself; the name it has announced."""
    broker.complains("announced ")
    told = re.search(r"name=(\S+)", broker.err.partition("announced ")[2])
    assert told is not None
    return told[1]


def known_brokers(network: LocalNetwork, host: str, person: str) -> str:
    path = network.home(host, person) / "known_brokers"
    return path.read_text() if path.exists() else ""


def talks(terminal: Terminal, person: str, line: str) -> None:
    terminal.shows("Enter says what you typed")
    terminal.types(line)
    terminal.shows(f"{person}: {line}")
    terminal.types("exit")
    assert terminal.ends() == 0


def hostile(network: LocalNetwork, *arguments: str) -> Child:
    child = network.python("shed", HOSTILE, SHED, *arguments)
    child.says("announcing")
    return child


def fingerprint_told(network: LocalNetwork, host: str) -> str:
    """What the operator of a host reads out."""
    return re.findall(r"fingerprint +(\S+)", network.operator(host, "status"))[0]


# --------------------------------------------------------------------------- people


def test_with_an_invite_and_then_without_a_question(network: LocalNetwork) -> None:
    broker = network.broker("desk")
    name = announced(broker)
    invite = network.operator("desk", "invite")
    terminal = network.terminal("laptop", "bob")
    terminal.shows(f"Found {name} at {NET}.10:{broker.port}")
    terminal.shows(fingerprint_told(network, "desk"))
    terminal.shows("ask its operator for one")
    terminal.types(invite)
    talks(terminal, "bob", "found it")
    again = network.terminal("laptop", "bob")
    again.shows(f"Found {name} at {NET}.10:{broker.port}, which is known here.")
    talks(again, "bob", "and again")
    assert network.client("laptop", "bob", "send", "from a script") == (0, "", "")
    keys = {line.split()[1] for line in known_brokers(network, "laptop", "bob").splitlines()}
    assert keys == {encode_key(broker.address.key or b"")}
    assert parse_address(invite).invite is not None


def test_without_an_invite_one_is_told_whom_to_ask(network: LocalNetwork) -> None:
    broker = network.broker("desk")
    name = announced(broker)
    terminal = network.terminal("laptop", "bob", "users")
    terminal.shows("Paste that URL")
    terminal.types("")
    terminal.shows(f"chat-client: {name} lets in only who has an invite; its operator makes one")
    assert terminal.ends() == 4
    code, out, err = network.client("laptop", "bob", "send", "x")
    assert (code, out) == (4, "")
    assert f"{name} at {NET}.10:{broker.port} (key {fingerprint_told(network, 'desk')})" in err
    assert "ask its operator for an invite" in err
    assert "--broker" in err
    assert known_brokers(network, "laptop", "bob") == ""


def test_an_invite_of_another_broker_is_not_used(network: LocalNetwork) -> None:
    announced(network.broker("desk"))
    terminal = network.terminal("laptop", "bob", "users")
    terminal.shows("Paste that URL")
    terminal.types(f"chat://elsewhere:5555?key={encode_key(b'k' * 32)}&invite={encode_key(b'i' * 32)}")
    terminal.shows("this URL is for another broker")
    assert terminal.ends() == 2


def test_an_open_broker_is_confirmed_once(network: LocalNetwork) -> None:
    broker = network.broker("desk", "--open")
    announced(broker)
    refusing = network.terminal("laptop", "bob", "users")
    refusing.shows(fingerprint_told(network, "desk"))
    refusing.shows("Type yes")
    refusing.types("y")
    refusing.shows("the key was not confirmed, and nothing was connected")
    assert refusing.ends() == 4
    assert known_brokers(network, "laptop", "bob") == ""
    code, _, err = network.client("laptop", "bob", "send", "x")
    assert code == 4
    assert "run chat-client once at a terminal, or name a broker with --broker" in err
    accepting = network.terminal("laptop", "bob")
    accepting.shows("Type yes")
    accepting.types("yes")
    talks(accepting, "bob", "hello")
    assert network.client("laptop", "bob", "send", "from a script") == (0, "", "")


def test_several_are_found_and_one_is_chosen(network: LocalNetwork) -> None:
    brokers = {host: network.broker(host, "--open") for host in ("desk", "shed")}
    names = {host: announced(broker) for host, broker in brokers.items()}
    code, _, err = network.client("laptop", "bob", "users")
    assert code == 4
    assert all(name in err for name in names.values())
    terminal = network.terminal("laptop", "bob")
    terminal.shows("2 brokers announce themselves on this network:")
    row = terminal.shows(f"{SHED}:{brokers['shed'].port}")
    assert fingerprint_told(network, "shed") in row
    terminal.types("3")
    wait_until("the question again", lambda: str(terminal.rows).count("Which one?") == 2)
    terminal.types(row.split()[0])
    terminal.shows(fingerprint_told(network, "shed"))
    terminal.types("yes")
    talks(terminal, "bob", "hello, shed")
    again = network.terminal("laptop", "bob")
    again.shows(f"Found {names['shed']} at {SHED}")
    talks(again, "bob", "no question")


# --------------------------------------------------------------------------- who announces, and how long


def test_told_not_to_and_on_loopback_it_does_not(network: LocalNetwork) -> None:
    network.broker("desk", "--no-announce")
    network.broker("shed", "--host", "127.0.0.1")
    code, _, err = network.client("laptop", "bob", "users")
    assert code == 4
    assert err == (
        "chat-client: no broker is known, and none announces itself on this network: "
        "start one (chat-broker start), or name one with --broker or CHAT_BROKER\n"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_announcement_ends_with_the_broker(network: LocalNetwork, number: int) -> None:
    broker = network.broker("desk", "--open")
    announced(broker)
    assert "on this network there is" in network.client("laptop", "bob", "users")[2]
    broker.signal(number)
    broker.ends()

    def is_withdrawn() -> bool:
        return "none announces itself" in network.client("laptop", "bob", "users")[2]

    wait_until("the announcement to end", is_withdrawn)


def test_an_explicit_address_and_a_connection_file_come_first(network: LocalNetwork) -> None:
    broker = network.broker("desk")
    announced(broker)
    url = f"chat://{NET}.10:{broker.port}?{broker.url.partition('?')[2]}"
    assert network.client("laptop", "eve", "send", "x", CHAT_BROKER=url) == (0, "", "")
    local = network.terminal("desk", "alice")
    talks(local, "alice", "on the same machine")
    assert "Looking for" not in str(local.rows)


def test_on_no_network_it_says_so(network: LocalNetwork) -> None:
    code, _, err = network.client("lonely", "bob", "users")
    assert code == 4
    assert "no broker is known" in err
    broker = network.broker("lonely")
    broker.complains("not_announced")
    assert "this machine is on no network" in broker.err
    assert network.client("lonely", "bob", "users") == (0, "bob\n", "")  # by the connection file


# --------------------------------------------------------------------------- hostile announcements


def test_announcements_that_make_no_sense_are_left_out(network: LocalNetwork) -> None:
    hostile(network, "garbage")
    broker = network.broker("desk", "--open")
    name = announced(broker)
    terminal = network.terminal("laptop", "bob")
    terminal.shows("announcements on this network that make no sense were left out: ")
    terminal.shows(f"Found {name} at {NET}.10")
    terminal.types("yes")
    talks(terminal, "bob", "hello")


def test_control_characters_in_a_name_do_nothing(network: LocalNetwork) -> None:
    hostile(network, "control")
    _, out, err = network.client("laptop", "bob", "users")
    assert "[bold]yes[/bold]" in err  # as it stands: nothing is markup
    assert not [sign for sign in out + err if not sign.isprintable() and sign != "\n"]
    assert len(err.splitlines()) == 2, err
    assert "that make no sense were left out: 1" in err


def test_a_crowd_of_brokers_hides_nothing_that_is_known(network: LocalNetwork) -> None:
    broker = network.broker("desk", "--open")
    name = announced(broker)
    terminal = network.terminal("laptop", "bob")
    terminal.types("yes")
    talks(terminal, "bob", "hello")
    hostile(network, "crowd", "1000")
    code, out, err = network.client("laptop", "bob", "users")
    assert (code, out) == (0, "bob\n"), err
    stranger = network.terminal("laptop", "eve", "users")
    stranger.shows("more brokers are announced on this network than anybody would run")
    stranger.shows("more; --broker names one")
    assert name
    broker.complains("ready")
    assert broker.runs


def test_a_name_with_another_key_than_before_is_not_used(network: LocalNetwork) -> None:
    broker = network.broker("desk", "--open")
    name = announced(broker)
    terminal = network.terminal("laptop", "bob")
    terminal.types("yes")
    talks(terminal, "bob", "hello")
    assert broker.stop() == 0
    hostile(network, "name", name, encode_key(b"k" * 32))
    code, out, err = network.client("laptop", "bob", "users")
    assert (code, out) == (4, "")
    assert f"{name} at {SHED}:5555 announces another key" in err
    assert "ask its operator" in err.lower()
    assert "none announces itself" in err or "none of those" in err
