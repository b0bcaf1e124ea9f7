"""Who may come in: invites of all sorts, keys that are pinned, and a sentence for each way to fail."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import socket
import sys
from pathlib import Path

import pytest

from chat_broker.auth import new_keys
from chat_broker.cli import main
from chat_client import connection
from chat_protocol.address import Address, encode_key, parse_address
from chat_protocol.errors import Code, Refused, Unreachable
from chat_protocol.places import connection_file
from tests.integration.bench import Bench, Broker, Done, invoke, wait_until


def invited(bench: Bench, *options: str) -> str:
    code, out, err = bench.ask("invite", *options)
    assert (code, err) == (0, "")
    return out.strip()


def use(bench: Bench, url: str, name: str) -> Done:
    """Come in as a newcomer."""
    return bench.read(name, url, "--timeout", "5", "users")


def test_an_invite_is_good_for_so_many(house: Bench, broker: Broker) -> None:
    url = invited(house, "--uses", "2")
    house.say("ann", url)
    house.say("ben", url)
    code, out, err = use(house, url, "cid")
    assert (code, out) == (3, "")
    assert "invite_invalid: " in err
    assert "expired, used up or withdrawn; ask the operator for a new one (chat-broker invite)" in err
    house.say("ann", url)  # the URL is an address ever after


def test_an_invite_expires(house: Bench, broker: Broker) -> None:
    url = invited(house, "--expires", "1s", "--uses", "1000")

    def is_over() -> bool:
        try:
            house.say(f"late{next(numbers)}", url)
        except Refused as error:
            return error.code == Code.INVITE_INVALID
        return False

    numbers = itertools.count()
    wait_until("the invite to expire", is_over)
    code, _, err = use(house, url, "later")
    assert code == 3
    assert "expired" in err


@pytest.mark.parametrize("words", ["7", "0d", "-1h", "1y", "400d", "d", "1.5h"])
def test_lengths_of_time_that_are_none(words: str) -> None:
    code, _, err = invoke(main, ["invite", "--expires", words], {})
    assert code == 2
    assert "no length of time up to a year, such as 90s, 15m, 12h or 7d" in err


def test_the_invite_of_the_ready_line_ends_with_the_process(bench: Bench) -> None:
    first = bench.broker()
    bench.say("ann", first.url)
    assert first.stop() == 0
    second = bench.broker(like=first)
    assert second.address.invite != first.address.invite
    code, _, err = use(bench, first.url, "bea")
    assert code == 3
    assert "does not accept this invite" in err
    bench.say("bea", second.url)
    bench.say("ann", first.url)
    bench.say("bea", second.place)


def test_no_invite_leaves_it_out_of_the_ready_line(bench: Bench) -> None:
    broker = bench.broker("--no-invite")
    assert broker.address.invite is None
    code, _, err = use(bench, broker.url, "ann")
    assert code == 3
    assert "not_enrolled: the broker does not know ann's key on this machine" in err
    assert "ask the operator for a new one (chat-broker invite)" in err
    bench.say("ann", invited(bench))


def test_an_open_door(bench: Bench) -> None:
    broker = bench.broker("--open", "--no-invite")
    assert "the door is open: anybody who reaches this port may come in" in broker.err
    bench.say("ann", broker.place)
    code, _, err = bench.run(
        "chat-client", "users", env=bench.env("thief", CHAT_NAME="ann", CHAT_BROKER=broker.place)
    )
    assert code == 3
    assert "the name ann is taken" in err
    assert '"open_door": "yes"' in bench.ask("status", "--json")[1]


def test_what_is_advertised_is_what_others_are_told(bench: Bench) -> None:
    """The broker listens on one address and is known by another, ports and all."""
    plain = bench.broker()
    assert plain.stop() == 0
    advertised = f"localhost:{plain.port}:{plain.feed_port}"
    broker = bench.broker("--advertise", advertised, like=plain)
    assert broker.address.host == "localhost"
    assert broker.address.port == plain.port
    url = parse_address(invited(bench))
    assert (url.host, url.port) == ("localhost", plain.port)
    local = parse_address(connection_file_of(bench, broker).read_text())
    assert local.host == "127.0.0.1"
    watch = bench.start("ann", broker, "tail", "--json")
    bench.say("bea", broker.url, "by the address that is advertised")
    watch.says("by the address that is advertised")
    assert broker.stop() == 0
    elsewhere = bench.broker("--advertise", "[::1]:7:8", like=plain)
    assert elsewhere.url.startswith("chat://[::1]:7?")


@pytest.mark.parametrize("words", ["", ":5", "a:b", "a:0", "a:1:2:3", "a:70000", "::1"])
def test_advertised_addresses_that_are_none(words: str) -> None:
    code, _, err = invoke(main, ["start", "--advertise", words], {})
    assert code == 2
    assert "is not HOST[:PORT[:FEEDPORT]]" in err


# --------------------------------------------------------------------------- four sentences


def test_four_failures_have_four_sentences(house: Bench, broker: Broker) -> None:
    stranger = Address("127.0.0.1", broker.port, new_keys().public, broker.address.invite)
    used_up = invited(house)
    house.say("gus", used_up)
    gone = Address("127.0.0.1", 1, broker.address.key, broker.address.invite)

    wrong_key = house.client("bea", str(stranger), "users")
    expired = house.client("cyd", used_up, "users")
    unreachable = house.client("dora", str(gone), "--timeout", "1", "users")
    version = house.client("eve", later_version(house), "users")

    assert wrong_key[0] == unreachable[0] == 4
    assert expired[0] == version[0] == 3
    assert "does not hold the broker's key" in wrong_key[2]
    assert "ask the operator for the current address" in wrong_key[2]
    assert "expired, used up or withdrawn; ask the operator for a new one" in expired[2]
    assert "nothing answers at 127.0.0.1:1" in unreachable[2]
    assert "is the broker running, and is its port open to you?" in unreachable[2]
    assert "update the older of the two" in version[2]
    assert all(len(failure[2].splitlines()) == 1 for failure in (wrong_key, expired, unreachable, version))


def test_a_port_that_listens_and_says_nothing(
    house: Bench, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that is stopped or swamped looks like that: no reason to warn of another's key."""
    monkeypatch.setattr(connection, "HANDSHAKE_MS", 100)

    async def come(url: str) -> None:
        async with house.sdk("hans", url, timeout_s=2):
            pass

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = Address("127.0.0.1", silent.getsockname()[1], broker.address.key, broker.address.invite)
        with pytest.raises(Unreachable, match=r"what listens at \S+ does not answer \(tried"):
            asyncio.run(come(str(address)))


LATER = """
import sys
from pathlib import Path
from chat_protocol import codec
codec.VERSION, codec._VERSION_BYTE = 2, bytes([2])
from chat_broker.folder import DataFolder
from chat_broker.settings import Settings
from chat_broker.start import Place, serve
folder, place = DataFolder(Path(sys.argv[1])), Place("127.0.0.1", 0, 0)
serve(folder, place, Settings(), print_invite=True, log_format="text")
"""


def later_version(bench: Bench) -> str:
    """The URL of a broker that speaks version 2 of the protocol."""
    return bench.broker_of([sys.executable, "-c", LATER, bench.folder / "later"], bench.env()).url


def test_a_broker_whose_key_has_changed_is_refused(bench: Bench) -> None:
    first = bench.broker()
    bench.say("ann", first.url)
    assert first.stop() == 0
    second = bench.broker(like=first, data=bench.folder / "other")
    code, _, err = use(bench, second.url, "ann")
    assert code == 4
    known = bench.home("ann") / "known_brokers"
    assert re.search(
        r"had another key before \([0-9a-f-]{19}\) than this address names \([0-9a-f-]{19}\)", err
    )
    assert str(known) in err
    code, _, err = use(bench, first.url, "ann")  # the address is as it was, the broker is not
    assert code == 4
    assert "does not hold the broker's key" in err
    known.unlink()
    bench.say("ann", second.url)


def test_an_address_without_a_key_is_good_for_known_brokers(house: Bench, broker: Broker) -> None:
    bare = f"chat://127.0.0.1:{broker.port}"
    code, _, err = use(house, bare, "dan")
    assert code == 2
    assert "use the whole address that the operator gave" in err
    house.say("dan", broker.url)
    house.say("dan", bare)


# --------------------------------------------------------------------------- the connection file


def connection_file_of(bench: Bench, broker: Broker) -> Path:
    return bench.runtime / "simple-chat" / connection_file(broker.port).name


def test_a_user_of_this_machine_needs_no_address(bench: Bench) -> None:
    broker = bench.broker()
    file = connection_file_of(bench, broker)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert bench.read("ann", "", "send", "hello") == (0, "", "")

    file.chmod(0o644)
    code, _, err = bench.read("ann", "", "send", "hello")
    assert code == 2
    assert f"{file} holds a secret, and others may read it: chmod 600 it and own it" in err
    file.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(file, 12_345, -1)
        code, _, err = bench.read("ann", "", "send", "hello")
        assert code == 2
        assert "others may read it" in err
    assert broker.stop() == 0
    assert not file.exists()
    code, _, err = bench.read("ann", "", "send", "hello")
    assert code == 4
    assert err == (
        "chat-client: no broker is known: start one (chat-broker start), or name one with --broker or "
        "CHAT_BROKER\n"
    )


def test_several_brokers_of_one_user(bench: Bench) -> None:
    first = bench.broker()
    second = bench.broker(data=bench.folder / "other")
    code, _, err = bench.read("ann", "", "users")
    assert code == 4
    assert "choose one with --broker" in err
    assert str(first.port) in err
    assert str(second.port) in err
    first.kill()
    again = bench.broker()  # on other ports: what the killed one left behind must not confuse
    assert not connection_file_of(bench, first).exists()
    assert again.stop() == second.stop() == 0
    assert list((bench.runtime / "simple-chat").iterdir()) == []


def test_keys_that_others_may_read_are_not_used(house: Bench, broker: Broker) -> None:
    house.say("fay", broker.url)
    (key,) = house.home("fay").glob("keys/*/fay.key")
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)
    code, _, err = use(house, broker.url, "fay")
    assert code == 2
    assert "others may read it" in err
    key.chmod(0o600)
    key.write_text(encode_key(new_keys().secret)[:-1])
    code, _, err = use(house, broker.url, "fay")
    assert code == 2
    assert "holds no key" in err
