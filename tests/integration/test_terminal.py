"""People at terminals: the original program's walk, and what this one adds to it."""

from __future__ import annotations

import signal

import pytest

from tests.integration.bench import Bench, Broker, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")  # pexpect's; nothing runs yet

CTRL_C, CTRL_D = "\x03", "\x04"


def test_two_people_talk(bench: Bench) -> None:
    """A broker, two clients that ask for a name, `users`, `exit`: as it was in the beginning."""
    broker = bench.broker()
    alice = bench.terminal("alice")
    alice.shows("Your name")
    alice.types("alice")
    alice.shows("-- 1 here: alice.")

    bob = bench.terminal("bob")
    bob.shows("Your name")
    bob.types("bob")
    bob.shows("-- 2 here: alice and bob.")
    alice.shows("-- bob joined.")

    alice.types("hello bob")
    bob.shows("alice: hello bob")
    bob.types("hello alice")
    alice.shows("bob: hello alice")
    assert alice.shows("alice: hello bob")

    bob.types("users")
    bob.shows("-- 2 connected: alice and bob")
    bob.types("exit")
    assert bob.ends() == 0
    alice.shows("-- bob left.")
    alice.types("users")
    alice.shows("-- 1 connected: alice")
    alice.types("exit")
    assert alice.ends() == 0
    assert "!!" not in "".join(alice.rows + bob.rows)
    assert broker.stop() == 0


def test_a_name_that_is_taken_is_asked_for_again(house: Bench, broker: Broker) -> None:
    carol = house.terminal("carol", CHAT_BROKER=broker.url)
    carol.types("carol")
    carol.shows("1 here: carol")
    other = house.terminal("other", CHAT_BROKER=broker.url)
    other.shows("Your name")
    other.types("Carol")
    other.shows("the name Carol is taken; choose another.")
    other.types("car0l")
    other.shows("the name car0l looks too much like carol; choose another.")
    other.types("a b")
    other.shows("a name is made of letters, digits, and . _ - between them.")
    other.types("dave")
    other.shows("2 here: carol and dave")
    for one in (carol, other):
        one.types("exit")
        assert one.ends() == 0


def test_a_name_given_as_an_option_that_is_taken_is_asked_for(house: Bench, broker: Broker) -> None:
    house.say("erin", broker)
    other = house.terminal("other-erin", "--name", "erin", CHAT_BROKER=broker.url)
    other.shows("the name erin is taken; choose another.")
    other.types("frank")
    other.shows("1 here: frank")
    other.presses(CTRL_D)
    assert other.ends() == 0


def test_ctrl_d_and_ctrl_c_leave(house: Bench, broker: Broker) -> None:
    grace = house.terminal("grace", "--name", "grace", CHAT_BROKER=broker.url)
    grace.prompts("#lobby>")
    grace.presses("not said" + CTRL_C)
    grace.shows("Ctrl-C once more leaves")
    grace.presses("said after all")
    grace.shows("> said after all")
    assert not [row for row in grace.rows if "once more" in row]
    grace.presses("\r")
    grace.shows("grace: said after all")
    grace.presses(CTRL_C)
    grace.shows("Ctrl-C once more leaves")
    grace.presses(CTRL_C)
    assert grace.ends() == 0
    assert not [row for row in grace.rows if "grace: not said" in row]

    grace = house.terminal("grace", "--name", "grace", CHAT_BROKER=broker.url)
    grace.prompts("#lobby>")
    grace.presses(CTRL_D)
    assert grace.ends() == 0


def test_a_closed_window_and_a_kill_say_goodbye(house: Bench, broker: Broker) -> None:
    """Others see it go at once, not when its lease has run out."""
    closed = house.terminal("kate", "--name", "kate", CHAT_BROKER=broker.url)
    closed.prompts("#lobby>")
    killed = house.terminal("liam", "--name", "liam", CHAT_BROKER=broker.url)
    killed.prompts("#lobby>")
    closed.hangs_up()
    killed.signal(signal.SIGTERM)
    assert killed.ends() == -signal.SIGTERM
    wait_until("both to be gone", lambda: not {"kate", "liam"} & set(house.connected()), 10)


@pytest.mark.parametrize("key", [CTRL_D, CTRL_C])
def test_leaving_instead_of_saying_a_name(house: Bench, key: str) -> None:
    nobody = house.terminal("nobody")
    nobody.shows("Your name")
    nobody.presses(key)
    code = nobody.ends()
    assert code == (0 if key == CTRL_D else -signal.SIGINT)
    assert "Aborted" not in "".join(nobody.rows)


def test_commands(house: Bench, broker: Broker) -> None:
    heidi = house.terminal("heidi", "--name", "heidi", CHAT_BROKER=broker.url)
    heidi.prompts("#lobby>")
    ivan = house.terminal("ivan", "--name", "ivan", CHAT_BROKER=broker.url)
    ivan.shows("here: heidi and ivan")

    heidi.types("/say users")
    ivan.shows("heidi: users")
    heidi.types("/msg ivan only for you")
    ivan.shows("heidi writes to you alone. To answer: /join @heidi.")
    ivan.shows("heidi: only for you")
    ivan.types("/msg nobody hello?")
    ivan.shows("Nobody is called nobody here.")

    heidi.types("/create --private #cellar")
    heidi.prompts("#cellar>")
    heidi.types("/invite ivan")
    ivan.shows("heidi let you into #cellar. To go there: /join #cellar.")
    ivan.types("/join #cellar")
    ivan.prompts("#cellar>")
    heidi.types("it is dark here")
    ivan.shows("heidi: it is dark here")
    heidi.types("/remove ivan")
    ivan.shows("You were removed from #cellar.")
    ivan.types("was that for me?")
    ivan.shows("You are in no room; /rooms lists them, /join ROOM goes to one.")
    ivan.types("/join #lobby")
    ivan.prompts("#lobby>")
    heidi.types("he is gone")
    heidi.shows("heidi: he is gone")
    ivan.types("/join #cellar")
    ivan.shows("there is no room #cellar".capitalize())
    assert not [row for row in ivan.rows if "he is gone" in row]

    heidi.types("/history 3")
    heidi.shows("The last 3 lines of #cellar:")
    heidi.shows("End of the last 3 lines.")
    heidi.types("/leave")
    heidi.prompts("#lobby>")
    heidi.types("/rooms")
    heidi.shows("rooms")
    heidi.types("/help")
    heidi.shows("/remove NAME")
    heidi.types("/exot")
    heidi.shows("did you mean /exit?")
    for one in (heidi, ivan):
        one.types("/exit")
        assert one.ends() == 0


def test_the_prompt_shows_when_the_link_is_down(bench: Bench) -> None:
    broker = bench.broker()
    judy = bench.terminal("judy", "--name", "judy")
    judy.prompts("#lobby>")
    judy.types("before")
    judy.shows("judy: before")
    broker.kill()
    judy.shows("No link to the broker")
    judy.shows("offline, ")
    judy.types("meanwhile")
    judy.shows("not sent yet: meanwhile")
    bench.broker(like=broker)
    judy.shows("The link is back")
    judy.shows("judy: meanwhile")
    assert not [row for row in judy.rows if "not sent yet" in row]
    assert len([row for row in judy.rows if row.endswith("judy: meanwhile")]) == 1
    judy.types("exit")
    assert judy.ends() == 0


def test_waiting_for_a_broker_that_does_not_answer(house: Bench, broker: Broker) -> None:
    nowhere = f"chat://127.0.0.1:1?{broker.url.partition('?')[2]}"
    mike = house.terminal("mike", "--name", "mike", "--timeout", "3", CHAT_BROKER=nowhere)
    mike.shows("No answer yet; Ctrl-C leaves.")
    mike.presses(CTRL_C)
    assert mike.ends() == -signal.SIGINT
