"""Clients find brokers on a local network: real processes on hosts of their own, and real multicast."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chat_protocol.address import encode_key
from tests.integration.bench import Broker, Child, Terminal, wait_until
from tests.integration.local_network import NET, LocalNetwork, what_is_missing

pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")  # pexpect's; nothing runs yet

HOSTILE = Path(__file__).parent / "hostile_announcer.py"
SHED = f"{NET}.12"


def build(folder: Path) -> LocalNetwork:
    """A network; where none can be built: a skip, or with CI=true a failure."""
    if missing := what_is_missing():
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return LocalNetwork(folder)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[LocalNetwork]:
    """A network of one test's own, with no broker yet."""
    with build(tmp_path) as one:
        yield one


@dataclass(frozen=True)
class Desk:
    """A network with a broker on its desk that has announced itself as `name`."""

    network: LocalNetwork
    broker: Broker
    name: str

    @property
    def place(self) -> str:
        return f"{NET}.10:{self.broker.port}"


def desk_on(network: LocalNetwork, *options: str) -> Desk:
    broker = network.broker("desk", *options)
    return Desk(network, broker, announced(broker))


@pytest.fixture(scope="module")
def by_invite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A broker that lets in who has an invite."""
    with build(tmp_path_factory.mktemp("by-invite")) as one:
        yield desk_on(one)


@pytest.fixture(scope="module")
def by_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A broker that is open to anybody."""
    with build(tmp_path_factory.mktemp("by-all")) as one:
        yield desk_on(one, "--open")


def announced(broker: Broker) -> str:
    """Wait until a broker has announced itself; the name it has announced."""
    broker.complains(" announced ")
    told = re.search(r"name=(\S+)", broker.err.partition(" announced ")[2])
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
    return str(json.loads(network.operator(host, "status", "--json"))["fingerprint"])


# --------------------------------------------------------------------------- people


def test_with_an_invite_and_then_without_a_question(by_invite: Desk) -> None:
    network = by_invite.network
    invite = network.operator("desk", "invite")
    terminal = network.terminal("laptop", "bob")
    terminal.shows(f"Found {by_invite.name} at {by_invite.place}")
    terminal.shows(fingerprint_told(network, "desk"))
    terminal.shows("ask its operator for one")
    terminal.types(invite)
    talks(terminal, "bob", "found it")
    again = network.terminal("laptop", "bob")
    again.shows(f"Found {by_invite.name} at {by_invite.place}, which is known here.")
    talks(again, "bob", "and again")
    assert network.client("laptop", "bob", "send", "from a script") == (0, "", "")
    keys = {line.split()[1] for line in known_brokers(network, "laptop", "bob").splitlines()}
    assert keys == {encode_key(by_invite.broker.address.key or b"")}


def test_without_an_invite_one_is_told_whom_to_ask(by_invite: Desk) -> None:
    network = by_invite.network
    terminal = network.terminal("laptop", "ben", "users")
    terminal.shows("Paste that URL")
    terminal.types("")
    terminal.shows(f"chat-client: {by_invite.name} lets in only who has an invite; its operator makes one")
    assert terminal.ends() == 4
    code, out, err = network.client("laptop", "ben", "send", "x")
    assert (code, out) == (4, "")
    assert f"{by_invite.name} at {by_invite.place} (key {fingerprint_told(network, 'desk')})" in err
    assert "ask the operator for an invite" in err
    assert "--broker" in err
    assert known_brokers(network, "laptop", "ben") == ""


def test_an_invite_of_another_broker_is_not_used(by_invite: Desk) -> None:
    terminal = by_invite.network.terminal("laptop", "ben", "users")
    terminal.shows("Paste that URL")
    terminal.types(f"chat://elsewhere:5555?key={encode_key(b'k' * 32)}&invite={encode_key(b'i' * 32)}")
    terminal.shows("this URL is for another broker")
    assert terminal.ends() == 2


def test_an_explicit_address_and_a_connection_file_come_first(by_invite: Desk) -> None:
    network, broker = by_invite.network, by_invite.broker
    url = f"chat://{by_invite.place}?{broker.url.partition('?')[2]}"
    assert network.client("laptop", "eve", "send", "x", CHAT_BROKER=url) == (0, "", "")
    local = network.terminal("desk", "alice")
    talks(local, "alice", "on the same machine")
    assert "Looking for" not in str(local.rows)


def test_an_open_broker_is_confirmed_once(by_all: Desk) -> None:
    network = by_all.network
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
    assert network.client("laptop", "bob", "doctor")[0] == 0


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


def test_an_announcement_ends_with_its_broker(network: LocalNetwork) -> None:
    """One broker is stopped, the other is killed and can say nothing any more."""
    brokers = [network.broker(host, "--open") for host in ("desk", "shed")]
    names = [announced(broker) for broker in brokers]
    told = network.client("laptop", "bob", "users")[2]
    assert all(name in told for name in names)
    assert brokers[0].stop() == 0
    brokers[1].kill()

    def are_withdrawn() -> bool:
        return "none announces itself" in network.client("laptop", "bob", "users")[2]

    wait_until("the announcements to end", are_withdrawn)


def test_on_no_network_it_says_so(network: LocalNetwork) -> None:
    code, _, err = network.client("lonely", "bob", "users")
    assert code == 4
    assert "no broker is known" in err
    broker = network.broker("lonely")
    broker.complains("not_announced")
    assert "this machine is on no network; it is tried again" in broker.err
    assert network.client("lonely", "bob", "users") == (0, "bob\n", "")  # by the connection file
    network.plug_in("lonely")  # and it is announced as soon as it is on one
    name = announced(broker)
    assert name in network.client("laptop", "eve", "users")[2]


# --------------------------------------------------------------------------- hostile announcements


def test_announcements_that_make_no_sense_are_left_out(by_all: Desk) -> None:
    child = hostile(by_all.network, "garbage")
    terminal = by_all.network.terminal("laptop", "cat")
    terminal.shows("announcements on this network that make no sense were left out: ")
    terminal.shows(f"Found {by_all.name} at {by_all.place}")
    terminal.types("yes")
    talks(terminal, "cat", "hello")
    child.kill()


def test_a_crowd_of_brokers_hides_nothing_that_is_known(by_all: Desk) -> None:
    network = by_all.network
    terminal = network.terminal("laptop", "dan")
    terminal.shows("Type yes")
    terminal.types("yes")
    talks(terminal, "dan", "hello")
    child = hostile(network, "crowd", "1000")
    code, out, err = network.client("laptop", "dan", "users")
    assert (code, out) == (0, "dan\n"), err
    stranger = network.terminal("laptop", "eve", "users")
    stranger.shows("more brokers are announced on this network than anybody would run")
    stranger.shows("more; --broker names one")
    assert by_all.broker.runs
    assert "not_announced" not in by_all.broker.err
    child.kill()


def test_control_characters_in_a_name_do_nothing(network: LocalNetwork) -> None:
    hostile(network, "control")
    _, out, err = network.client("laptop", "bob", "users")
    assert "[bold]yes[/bold]" in err  # as it stands: nothing is markup
    assert not [sign for sign in out + err if not sign.isprintable() and sign != "\n"]
    assert len(err.splitlines()) == 2, err
    assert "that make no sense were left out: 1" in err


def test_a_name_with_another_key_than_before_is_not_used(network: LocalNetwork) -> None:
    desk = desk_on(network, "--open")
    terminal = network.terminal("laptop", "bob")
    terminal.shows("Type yes")
    terminal.types("yes")
    talks(terminal, "bob", "hello")
    assert desk.broker.stop() == 0
    hostile(network, "name", desk.name, encode_key(b"k" * 32))
    code, out, err = network.client("laptop", "bob", "users")
    assert (code, out) == (4, "")
    assert f"{desk.name} at {SHED}:5555 announces another key" in err
    assert "Ask its operator" in err
    assert "no other announces itself" in err
