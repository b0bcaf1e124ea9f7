"""Brokers and clients that die, stall or are slow: nobody loses a line, sees one twice, or a ghost."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from chat_client import ChatClient, SyncChatClient
from chat_client.client import EVENTS_WAITING_MAX
from chat_client.events import CatchingUp, Line, Link, LinkChanged
from tests.integration.bench import Bench, Broker, Hearing, wait_until

LINES = 200


def test_lines_in_flight_while_the_broker_restarts(bench: Bench) -> None:
    """Three people talk at once; the broker is killed twice. Each say returns one place, all places
    differ, everybody sees the same lines in the same order, and each line once."""
    names = ("ann", "bea", "cyd")
    brokers = [bench.broker()]

    async def talk(chat: ChatClient) -> list[int]:
        positions = []
        for number in range(LINES):
            position = await chat.say(f"{chat.name} {number}")
            positions.append(position.seq)
        return positions

    async def restart(hears: Hearing) -> None:
        for count in (20, 100):
            await hears.waits_for(f"ann {count}")
            await asyncio.to_thread(brokers[-1].kill)
            brokers.append(await asyncio.to_thread(bench.broker, like=brokers[0]))

    async def test() -> None:
        async with (
            bench.sdk("ann", brokers[0]) as ann,
            bench.sdk("bea", brokers[0]) as bea,
            bench.sdk("cyd", brokers[0]) as cyd,
            Hearing(ann) as ann_hears,
            Hearing(bea) as bea_hears,
            Hearing(cyd) as cyd_hears,
        ):
            async with asyncio.timeout(50):
                *positions, _ = await asyncio.gather(talk(ann), talk(bea), talk(cyd), restart(ann_hears))
            places = [seq for its in positions for seq in its]
            assert len(set(places)) == len(places) == 3 * LINES
            for hears in (ann_hears, bea_hears, cyd_hears):
                await hears.waits_for(*[f"{name} {LINES - 1}" for name in names])
            assert ann_hears.lines() == bea_hears.lines() == cyd_hears.lines()
            for name in names:
                its = [line for line in ann_hears.lines() if line.startswith(name)]
                assert its == [f"{name} {number}" for number in range(LINES)]
            assert sum(event.link is Link.OFFLINE for event in ann_hears.of(LinkChanged)) >= 2

    asyncio.run(test())


def test_a_killed_client_gets_its_name_back_at_once(house: Bench, broker: Broker) -> None:
    before = house.start("dan", broker, "tail", "--since", "now")
    house.comes("dan")
    before.kill()
    begun = time.monotonic()
    assert house.client("dan", broker, "send", "here I am again") == (0, "", "")
    assert time.monotonic() - begun < 5
    terminal = house.terminal("dan", "--name", "dan", CHAT_BROKER=broker.url)
    terminal.shows("here: dan")
    terminal.kill()
    terminal = house.terminal("dan", "--name", "dan", CHAT_BROKER=broker.url)
    terminal.shows("here: dan")


def test_others_see_a_killed_client_go_when_its_lease_ends(bench: Bench) -> None:
    broker = bench.hasty_broker()
    watcher = bench.terminal("eva", "--name", "eva", CHAT_BROKER=broker.url)
    watcher.prompts("#lobby>")
    victim = bench.terminal("fay", "--name", "fay", CHAT_BROKER=broker.url)
    watcher.shows("-- fay joined.")
    victim.kill()
    watcher.shows("-- fay left.")
    watcher.types("users")
    watcher.shows("-- 1 connected: eva")


def test_a_broker_that_stood_still_loses_nobody(bench: Bench) -> None:
    """Stopped for longer than a lease and then let go on: nobody goes, nobody comes, lines arrive."""
    broker = bench.hasty_broker()
    watcher = bench.start("gil", broker, "--name", "gil")
    watcher.says("1 here: gil")
    other = bench.start("hal", broker, "--name", "hal")
    watcher.says("hal joined")
    broker.signal(signal.SIGSTOP)
    begun = time.monotonic()
    other.write("said meanwhile\n")
    wait_until("a lease to pass", lambda: time.monotonic() - begun > 2.0)
    broker.signal(signal.SIGCONT)
    watcher.says("hal: said meanwhile")
    watcher.write("users\n")
    watcher.says("2 connected: gil and hal")
    assert "left" not in watcher.out
    assert watcher.out.count("joined") == 1


def test_a_slow_subscriber_catches_up(bench: Bench) -> None:
    """More lines than it holds come while it takes none; then it gets them all, once and in order."""
    broker = bench.broker("--lines-per-s", "1000000")
    lines = [str(number) for number in range(EVENTS_WAITING_MAX + 5_000)]

    async def say(some: list[str]) -> None:
        done = await asyncio.to_thread(bench.client, "fast", broker, "send", stdin="\n".join(some))
        assert done == (0, "", "")

    async def test() -> None:
        async with bench.sdk("slow", broker) as slow:
            await say(lines[: EVENTS_WAITING_MAX + 2_000])
            await say(lines[EVENTS_WAITING_MAX + 2_000 :])
            heard: list[str] = []
            behind: list[int] = []
            async with asyncio.timeout(20):
                async for event in slow.events():
                    if isinstance(event, Line):
                        heard.append(event.text)
                    if isinstance(event, CatchingUp):
                        behind.append(event.behind)
                    if len(heard) == len(lines) and behind[-1] == 0:
                        break
            assert heard == lines
            assert max(behind) >= 2_000

    asyncio.run(test())


def test_a_stopped_client_catches_up(house: Bench, broker: Broker) -> None:
    """A process that does not run for a while, while others talk."""
    reader = house.start("ida", broker, "tail", "--json", "--since", "now")
    house.comes("ida")
    house.say("jon", broker, "first")
    reader.says('"first"')
    reader.signal(signal.SIGSTOP)
    house.say("jon", broker, *map(str, range(4_000)))
    reader.signal(signal.SIGCONT)
    reader.says('"text": "3999"')
    assert [row["text"] for row in reader.rows] == ["first", *map(str, range(4_000))]


def test_the_facade_for_scripts(house: Bench, broker: Broker) -> None:
    with SyncChatClient("kim", broker.url, home=house.home("kim"), start="now") as chat:
        assert chat.name == "kim"
        position = chat.say("from a script")
        assert position.room == "#lobby"
        places = chat.say_all(f"line {number}" for number in range(100))
        assert [place.seq for place in places] == list(range(position.seq + 1, position.seq + 101))
        lines = (event.text for event in chat.events() if isinstance(event, Line))
        assert [next(lines) for _ in range(101)] == ["from a script", *(f"line {n}" for n in range(100))]
        assert "kim" in chat.users()
        chat.create("#scripts")
        assert chat.open("#scripts").title == "#scripts"
        assert [info.title for info in chat.rooms()] == ["#lobby", "#scripts"]
        assert [entry.text for entry in chat.history("#lobby", position.seq - 1, 2)] == [
            "from a script",
            "line 0",
        ]
    assert "kim" not in house.connected()


def test_once_is_once(house: Bench, broker: Broker) -> None:
    key = os.urandom(16)
    places = []
    for _ in range(2):
        with SyncChatClient("leo", broker.url, home=house.home("leo")) as chat:
            places.append(chat.say("an answer", once=key))
    assert places[0] == places[1]
