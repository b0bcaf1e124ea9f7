"""Who may read: private rooms, people who were removed, direct conversations, several devices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from chat_client.events import RoomAdded, RoomClosed, RoomOpened
from chat_protocol.codec import decode_feed, line_text
from chat_protocol.envelope import read_header
from chat_protocol.errors import BadSeal, Code, Refused
from chat_protocol.messages import (
    Add,
    Closed,
    Create,
    Cursor,
    Done,
    Fetch,
    Key,
    Message,
    Open,
    Publication,
    Remove,
    RoomKind,
    Said,
    Say,
    Who,
)
from tests.integration.bench import Bench, Broker, Hearing, until, wait_until
from tests.integration.wire import Feed, Peer, feed, member, opener

TOPIC_BYTES = 16


def make_room(keeper: Peer, room: str) -> None:
    request = keeper.next()
    keeper.say(Create(request, keeper.token, room, RoomKind.PRIVATE))
    keeper.answer(request, Done)


def change_members(keeper: Peer, kind: type[Add] | type[Remove], room: str, name: str) -> None:
    request = keeper.next()
    keeper.say(kind(request, keeper.token, room, name))
    keeper.answer(request, Done)


def say(speaker: Peer, room: str, text: str, prev: int = 0) -> int:
    request = speaker.next()
    speaker.say(Say(request, speaker.token, room, prev, [text]))
    speaker.answer(request, Said)
    return request


def next_publication(listener: Feed, topic: bytes) -> bytes:
    """The next envelope of a room that is longer than a beacon."""

    def come() -> bytes:
        heard = listener.hear(0.1)
        return heard[1] if heard and heard[0] == topic and len(heard[1]) > 150 else b""

    return wait_until("a publication", come)


def lines_of(plaintext: bytes) -> list[str | None]:
    message = decode_feed(plaintext)
    assert isinstance(message, Publication)
    return [line_text(entry) for entry in message.entries]


def test_an_outsider_on_the_feed_reads_nothing(broker: Broker) -> None:
    """A member of the broker with a valid feed token, subscribed to everything, asks for everything."""
    with member(broker, "owner") as owner, member(broker, "outsider") as outsider:
        make_room(owner, "#vault")
        mine = owner.open("#vault")
        lobby = outsider.open("#lobby")
        with feed(broker, outsider.welcome.feed_token) as listener:
            last = 0

            def come() -> bytes:  # until its subscription has arrived there
                nonlocal last
                last = say(owner, "#vault", f"the combination is 12-34-{last}" + "!" * 100, last)
                heard = listener.hear(0.1)
                return heard[1] if heard and heard[0] == mine.topic else b""

            envelope = wait_until("a publication of #vault on the feed", come)
            assert b"combination" not in envelope
            seals = opener(outsider)
            for topic in (lobby.topic, mine.topic):
                with pytest.raises(BadSeal):
                    seals.open(topic, lobby.key, envelope)
            assert "the combination is" in str(lines_of(seals.open(mine.topic, mine.key, envelope)))

        cursor = Cursor(outsider.welcome.epoch, 0)
        asks: list[Callable[[int, bytes], Message]] = [
            lambda request, token: Open(request, token, "#vault"),
            lambda request, token: Fetch(request, token, "#vault", cursor),
            lambda request, token: Who(request, token, "#vault"),
            lambda request, token: Say(request, token, "#vault", 0, ["let me in"]),
            lambda request, token: Add(request, token, "#vault", "outsider"),
            lambda request, token: Remove(request, token, "#vault", "owner"),
        ]
        texts = set()
        for ask in asks:
            request = outsider.next()
            outsider.say(ask(request, outsider.token))
            refusal = outsider.refusal(request)
            assert refusal.code == Code.NO_SUCH_ROOM
            texts.add(refusal.text.replace("#vault", "#nothing"))
        request = outsider.next()  # no more is told than of a room that does not exist
        outsider.say(Open(request, outsider.token, "#nothing"))
        assert outsider.refusal(request).text in texts


def test_who_was_removed_reads_nothing_more(broker: Broker) -> None:
    """The feed goes on to whoever subscribes; the key it held opens the entry of its removal at most."""
    with member(broker, "keeper") as keeper, member(broker, "leaver") as leaver:
        make_room(keeper, "#den")
        change_members(keeper, Add, "#den", "leaver")
        keeper.open("#den")
        opened = leaver.open("#den")
        with feed(broker, leaver.welcome.feed_token) as listener:
            last = 0

            def come() -> bytes:
                nonlocal last
                last = say(keeper, "#den", "you may read this " * 10, last)
                heard = listener.hear(0.1)
                return heard[1] if heard and heard[0] == opened.topic else b""

            seals = opener(leaver)
            envelope = wait_until("the first line on the feed", come)
            assert lines_of(seals.open(opened.topic, opened.key, envelope))[0] == "you may read this " * 10

            change_members(keeper, Remove, "#den", "leaver")
            last = say(keeper, "#den", "you may not read this " * 10, last)
            generation = opened.generation
            while generation == opened.generation:
                envelope = next_publication(listener, opened.topic)
                generation = read_header(envelope).generation
            assert generation == opened.generation + 1
            with pytest.raises(BadSeal):
                seals.open(opened.topic, opened.key, envelope)
        (key,) = [one for one in keeper.unasked if isinstance(one, Key)]
        assert lines_of(opener(keeper).open(opened.topic, key.key, envelope)) == [
            "you may not read this " * 10
        ]

        request = leaver.next()
        leaver.say(Fetch(request, leaver.token, "#den", Cursor(leaver.welcome.epoch, 0)))
        assert leaver.refusal(request).code == Code.NO_SUCH_ROOM
        assert [one.code for one in leaver.unasked if isinstance(one, Closed)] == [Code.REMOVED]
        assert not [one for one in leaver.unasked if isinstance(one, Key)]


def test_an_invited_member_reads_everything_and_a_removed_one_is_told(house: Bench, broker: Broker) -> None:
    async def test() -> None:
        async with (
            house.sdk("una", broker) as una,
            house.sdk("vera", broker) as vera,
            Hearing(una) as una_hears,
            Hearing(vera) as vera_hears,
        ):
            await una.create("#club", private=True)
            await una.open("#club")
            await una.say("before you came", "#club")
            with pytest.raises(Refused, match="there is no room #club"):
                await vera.open("#club")
            await una.add("#club", "vera")
            (added,) = await until("the invitation", lambda: vera_hears.of(RoomAdded))
            assert (added.title, added.by) == ("#club", "una")
            await vera.open("#club")
            await vera.say("thank you", "#club")
            both = ["before you came", "thank you"]
            for hears in (una_hears, vera_hears):
                await hears.waits_for(*both)
                assert hears.lines("#club") == both

            await una.remove("#club", "vera")
            closed = await until("the removal", lambda: vera_hears.of(RoomClosed)[1:])
            assert (closed[0].code, closed[0].title) == (Code.REMOVED, "#club")
            await una.say("alone again", "#club")
            await una_hears.waits_for("alone again", room="#club")
            for attempt in (vera.open("#club"), vera.history("#club", 0), vera.say("hello?", "#club")):
                with pytest.raises(Refused) as refused:
                    await attempt
                assert refused.value.code == Code.NO_SUCH_ROOM
            assert "alone again" not in vera_hears.lines()
            assert "#club" not in [info.title for info in await vera.rooms()]

            await una.add("#club", "vera")
            await vera.open("#club")
            await vera_hears.waits_for("alone again", room="#club")
            await vera.leave("#club")
            await until("the end", lambda: vera_hears.of(RoomClosed)[-1].code == Code.LEFT)

    asyncio.run(test())


def test_a_direct_line_waits_for_who_is_away(house: Bench, broker: Broker) -> None:
    async def write() -> None:
        async with (
            house.sdk("walt", broker),
            house.sdk("xena", broker) as xena,
            house.sdk("yara", broker) as yara,
        ):
            await xena.say("first", "@yara")
            await yara.say("second", "@XENA")
        async with house.sdk("xena", broker) as xena:
            await xena.say("third", "@yara")

    async def read() -> None:
        async with house.sdk("yara", broker, rooms=(), remember=True) as yara, Hearing(yara) as hears:
            await hears.waits_for("third", room="@xena")
            assert hears.lines("@xena") == ["first", "second", "third"]
        async with house.sdk("walt", broker) as walt:
            assert [info.title for info in await walt.rooms() if info.title.startswith("@")] == []
            with pytest.raises(Refused, match="there is no room"):
                await walt.open(hears.of(RoomOpened)[0].room)

    asyncio.run(write())
    asyncio.run(read())


def test_a_second_device(house: Bench, broker: Broker) -> None:
    """`invite --device` on one, the same name on the other; one's devices, and one of them shut out."""
    house.say("zoe", broker, "from my first")
    code, url, err = house.client("zoe", broker, "invite", "--device")
    assert (code, err) == (0, "")

    def second(*command: str, name: str = "zoe") -> tuple[int, str, str]:
        env = house.env("zoes-phone", CHAT_NAME=name, CHAT_BROKER=url.strip())
        return house.run("chat-client", *command, env=env)

    code, out, err = second("users", name="zora")
    assert (code, out) == (3, "")
    assert "this invite adds a device to zoe; start with --name zoe" in err
    assert second("send", "from my second") == (0, "", "")
    code, out, _ = house.read("zoe", broker, "tail", "--no-follow", "--since", "all")
    assert "zoe: from my first" in out
    assert "zoe: from my second" in out

    code, out, _ = house.read("zoe", broker, "devices")
    first, other = out.splitlines()
    assert first.endswith("  this one")
    assert not other.endswith("this one")
    running = house.start("zoes-phone", url.strip(), "--name", "zoe", "tail", "--since", "now")
    house.comes("zoe")
    assert house.client("zoe", broker, "revoke", other.split()[0]) == (0, "", "")
    assert running.ends() == 3
    assert "this key was revoked" in running.err
    code, out, err = second("send", "still there?")
    assert (code, out) == (3, "")
    assert "does not accept" in err or "does not know" in err
    house.say("zoe", broker, "still here")
    code, out, err = house.read("zoe", broker, "revoke", "rubbish")
    assert code == 2
    assert "a key has 43 characters" in err
    for key in ("-" + "b" * 41 + "A", "--" + "b" * 40 + "A"):  # no option, but a key that begins so
        code, out, err = house.read("zoe", broker, "revoke", key)
        assert (code, out) == (3, "")
        assert "this is no key of your account" in err
