"""The full screen at a real terminal, before a real broker."""

from __future__ import annotations

import signal
import sys
from itertools import pairwise

import pytest

from tests.integration.bench import Bench, Broker, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")  # pexpect's; nothing runs yet

CTRL_K, CTRL_Q, ALT_ENTER = "\x0b", "\x11", "\x1b\r"
PASTE = "\x1b[200~{}\x1b[201~"


def click(column: int, row: int) -> str:
    """What a terminal sends for a click there, counted from 1."""
    return f"\x1b[<0;{column};{row}M\x1b[<0;{column};{row}m"


def test_two_people_talk_on_screens(bench: Bench) -> None:
    """Two screens, rooms, an older page, a broker that is killed, and the way out."""
    broker = bench.broker()
    bench.say("carol", broker, *(f"early {number}" for number in range(1, 301)))
    alice = bench.screen("alice", "--name", "alice", size=(120, 36))
    alice.shows("early 300")
    alice.shows("● alice you")
    bob = bench.screen("bob", "--name", "bob", size=(80, 24))
    bob.shows("Say something in #lobby")
    alice.shows("● bob")

    bob.types("hello alice")
    bob.shows("bob ✓ hello alice")
    alice.shows("hello alice")
    alice.presses("two rows" + ALT_ENTER + PASTE.format("and a\rpaste") + "\r")
    bob.shows("and a")
    bob.shows("paste")

    alice.types("/create #ops")
    alice.shows("Say something in #ops")
    bob.types("alice: where are you?")
    alice.shows("@1")
    bob.presses(CTRL_K)
    bob.shows("Jump to")
    bob.presses("op")
    bob.shows("#ops")
    bob.presses("\r")
    bob.shows("Say something in #ops")
    alice.shows("● bob")
    bob.types("here!")
    alice.shows("here!")

    bob.presses(click(3, 3))
    bob.shows("Say something in #lobby")

    broker.kill()
    alice.shows("○ no link")
    alice.shows("offline, ")
    alice.types("meanwhile")
    alice.shows("not sent yet")
    bench.broker(like=broker)
    alice.shows("● live")
    alice.shows("✓ meanwhile")

    for one in (alice, bob):
        one.presses(CTRL_Q)
        assert one.ends() == 0
    assert "Traceback" not in "\n".join(alice.rows + bob.rows)


def test_what_was_read_is_read_on_the_next_day(house: Bench, broker: Broker) -> None:
    gina = house.screen("gina", "--name", "gina", CHAT_BROKER=broker.url)
    gina.shows("Say something in #lobby")
    house.say("hal", broker, "read by gina")
    gina.shows("read by gina")
    gina.types("/mute")
    gina.shows("#lobby rings no more")
    gina.presses(CTRL_Q)
    assert gina.ends() == 0
    house.say("hal", broker, "new to gina")
    gina = house.screen("gina", "--name", "gina", CHAT_BROKER=broker.url)
    gina.shows("new to gina")
    gina.shows("muted")
    wait_until("the mark above what is new", lambda: _below(gina.rows, "new since you looked", "new to gina"))
    gina.types("exit")
    assert gina.ends() == 0


def _below(rows: list[str], one: str, other: str) -> bool:
    """Whether a row with `one` stands directly above a row with `other`."""
    return any(one in row and other in below for row, below in pairwise(rows))


def test_a_kill_restores_the_terminal(house: Bench, broker: Broker) -> None:
    ivy = house.screen("ivy", "--name", "ivy", CHAT_BROKER=broker.url)
    ivy.shows("Say something in #lobby")
    ivy.signal(signal.SIGTERM)
    assert ivy.ends() == -signal.SIGTERM
    assert ivy.has_cursor, "the shell would be left without one"
    jo = house.screen("jo", "--name", "jo", CHAT_BROKER=broker.url)
    jo.shows("Say something in #lobby")
    jo.hangs_up()
    wait_until("both to be gone", lambda: not {"ivy", "jo"} & set(house.connected()), 10)


@pytest.mark.parametrize(("term", "option"), [("dumb", ()), ("xterm", ("--plain",))])
def test_the_line_client_serves_where_no_screen_is_wanted(
    house: Bench, broker: Broker, term: str, option: tuple[str, ...]
) -> None:
    kim = house.screen("kim", "--name", "kim", *option, CHAT_BROKER=broker.url, TERM=term)
    kim.shows("Enter says what you typed; /help shows more, exit leaves.")
    kim.types("exit")
    assert kim.ends() == 0


def test_scripts_do_not_load_the_screen(house: Bench, broker: Broker) -> None:
    code = (
        "import sys, chat_client.cli\n"
        "try: chat_client.cli.main(['--name', 'lee', 'send', 'hi'])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'textual', 'rich', 'prompt_toolkit', 'desktop_notifier'} & set(sys.modules)\n"
    )
    script = house.script("lee", broker, sys.executable, "-c", code)
    assert script.ends() == 0, script.err
