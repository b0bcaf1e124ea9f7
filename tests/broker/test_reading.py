"""Open, Close, Fetch, Who and Rooms: what is told of rooms, to whom, and when."""

from __future__ import annotations

import pytest

from chat_broker import state
from chat_protocol.errors import Code
from chat_protocol.messages import (
    LINE_BYTES_MAX,
    LOBBY,
    NAMES_PER_MESSAGE_MAX,
    ROOMS_PER_PAGE,
    Add,
    Beacon,
    Close,
    Create,
    Cursor,
    Done,
    Fetch,
    Open,
    Opened,
    Page,
    Ping,
    Pong,
    Presence,
    Refusal,
    Remove,
    RoomKind,
    RoomList,
    Rooms,
    Users,
    Who,
    entry_digest,
)
from tests.broker.bench import EPOCH, Bench, Peer, of_kind, texts

DEN = "#den"


def with_den(bench: Bench) -> Peer:
    """alice, keeper of a private room in which something was said."""
    alice = bench.join("alice")
    alice.ask(Done, Create, DEN, RoomKind.PRIVATE)
    alice.say("secret", room=DEN)
    return alice


# ---------------------------------------------------------------------- open


def test_opened_brings_a_room_as_it_stands() -> None:
    bench = Bench(newcomer_lines=2)
    alice = bench.join("alice", LOBBY)
    alice.say("1", "2", "3")
    opened = bench.join("bob").open("#Lobby")
    feed = bench.hub.state.feed.room(LOBBY)
    assert (opened.room, opened.title, opened.kind) == (LOBBY, LOBBY, RoomKind.PUBLIC)
    assert (opened.head, opened.first, opened.since) == (4, 1, 2)
    assert (opened.topic, opened.generation, opened.key) == (feed.topic, feed.generation, feed.key)
    assert (opened.count, opened.names) == (2, ["alice", "bob"])


def test_open_answers_with_what_is_stored_when_it_comes() -> None:
    bench = Bench()
    alice, bob = bench.join("alice"), bench.join("bob")
    alice.send_say("ahead of it")
    request = bob.send(Open, LOBBY)
    bench.flush()
    alice.send_say("behind it")
    bench.flush()
    assert bob.answers(request) == []
    bench.store(1)
    assert bob.answer(Opened, request).head == 2
    bench.store(1)
    assert bob.heard() == ["behind it"]


def test_to_open_a_room_again_is_no_news() -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob", LOBBY)
    bench.wait(1)
    bob.read()
    assert alice.open(LOBBY).count == 2
    bench.wait(1)
    assert of_kind(bob.read())[Presence] == []


def test_an_open_brings_a_beacon_soon_for_what_was_published_before_the_subscription_arrived() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    alice.say("hi")
    bench.live(20)
    bob = bench.join("bob", LOBBY)
    alice.read()
    bench.wait(0.31)
    assert Beacon(2, 3) in [message for _, message in bob.read()]
    bench.wait(0.7)
    assert of_kind(bob.read())[Beacon] == [Beacon(2, 3)]


def test_there_is_a_most_to_open_rooms() -> None:
    bench = Bench(open_rooms=2)
    alice = bench.join("alice", LOBBY)
    for room in ("#a", "#b"):
        alice.ask(Done, Create, room, RoomKind.PUBLIC)
    alice.open("#a")
    assert alice.refused(Open, "#b").code == Code.TOO_MANY_OPEN
    assert alice.open("#a"), "which is open already"
    alice.ask(Done, Close, LOBBY)
    assert alice.open("#b")


def test_a_closed_room_is_left_and_may_be_closed_again() -> None:
    bench = Bench()
    alice, bob = bench.join("alice", LOBBY), bench.join("bob", LOBBY)
    bench.wait(1)
    bob.read()
    for room in (LOBBY, LOBBY, "#nowhere", "@nobody"):
        assert alice.ask(Done, Close, room)
    bench.wait(1)
    assert [notice.left for notice in of_kind(bob.read())[Presence]] == [["alice"]]
    assert alice.ask(Pong, Ping).rooms == []


# ---------------------------------------------------------------------- nobody else's room


ASKS = [
    (Open, (None,)),
    (Open, (Cursor(EPOCH, 0),)),
    (Fetch, (Cursor(EPOCH, 0),)),
    (Who, ()),
    (Add, ("mallory",)),
    (Remove, ("alice",)),
]


@pytest.mark.parametrize("room", [DEN, "#DEN", "@3:4"])
@pytest.mark.parametrize(("kind", "fields"), ASKS, ids=lambda value: getattr(value, "__name__", None))
def test_a_room_one_may_not_know_of_is_like_one_that_is_not_there(
    room: str, kind: type[Open], fields: tuple[object, ...]
) -> None:
    """To the last letter, whoever asks."""
    bench = Bench()
    alice, bob = with_den(bench), bench.join("bob")
    alice.say("between us", room="@bob")
    assert bob.welcome
    assert bob.welcome.account == 5
    direct = "@3:5"
    mallory = bench.join("mallory")
    there = {"@3:4": direct}.get(room, room)
    nowhere = {DEN: "#din", "#DEN": "#DIN", "@3:4": "@3:6"}[room]
    refusals = [mallory.refused(kind, name, *fields) for name in (there, nowhere)]
    assert refusals[0].code == refusals[1].code == Code.NO_SUCH_ROOM
    assert refusals[0].text.replace(there, nowhere) == refusals[1].text
    say = [mallory.refused_say("hi", room=name) for name in (there, nowhere)]
    assert say[0].text.replace(there, nowhere) == say[1].text


def test_a_room_is_read_by_members_from_when_their_membership_is_stored_until_their_removal_is() -> None:
    bench = Bench()
    alice, bob = with_den(bench), bench.join("bob")
    # An Add that is only on its way opens nothing …
    alice.send_say("first batch")
    fetch = bob.send(Fetch, DEN, Cursor(EPOCH, 0))
    bench.flush()
    alice.send(Add, DEN, "bob")
    bench.flush()
    bench.store(1)
    assert bob.answer(Refusal, fetch).code == Code.NO_SUCH_ROOM
    bench.store(1)
    assert bob.fetch(DEN)
    # … and a Remove that is only on its way takes nothing.
    alice.send_say("another batch")
    fetch = bob.send(Fetch, DEN, Cursor(EPOCH, 0))
    bench.flush()
    alice.send(Remove, DEN, "bob")
    bench.flush()
    bench.store(1)
    assert bob.answer(Page, fetch)
    bench.store(1)
    assert bob.refused(Fetch, DEN, Cursor(EPOCH, 0)).code == Code.NO_SUCH_ROOM


# ---------------------------------------------------------------------- fetch


def test_pages_bring_everything_once_and_in_order() -> None:
    bench = Bench()
    alice = bench.join("alice")
    for number in range(10):
        alice.say(*[f"{number}.{line}" for line in range(70)])
    cursor, seen = 0, []
    while page := alice.fetch(after=cursor).entries:
        assert len(page) <= 500
        seen += page
        cursor = page[-1].seq
    assert seen == bench.entries()
    assert len(texts(seen)) == 700


def test_a_fetch_sees_what_was_asked_ahead_of_it() -> None:
    bench = Bench()
    alice = bench.join("alice")
    alice.send_say("just said")
    request = alice.send(Fetch, LOBBY, Cursor(EPOCH, 0))
    bench.round()
    assert texts(alice.answer(Page, request).entries) == ["just said"]


def test_a_page_is_bounded_in_bytes_and_in_entries() -> None:
    bench = Bench()
    alice = bench.join("alice")
    for _ in range(3):
        alice.say(*["x" * LINE_BYTES_MAX] * 3)
    assert len(alice.fetch().entries) == 4
    assert len(alice.fetch(limit=2).entries) == 2


@pytest.mark.parametrize("after", [0, 1, 3, 4])
def test_a_fetch_from_the_head_is_an_empty_page(after: int) -> None:
    bench = Bench()
    alice = bench.join("alice")
    alice.say("1", "2", "3")
    page = alice.fetch(after=after)
    assert [entry.seq for entry in page.entries] == list(range(after + 1, 5))
    assert (page.first, page.head) == (1, 4)


def test_no_more_pages_are_piled_up_than_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "PAGES_BYTES_MAX_PER_SESSION", 200_000)
    monkeypatch.setattr(state, "PAGES_BYTES_MAX", 500_000)
    bench = Bench()
    readers = [bench.join(f"reader{number}") for number in range(5)]
    for _ in range(2):
        readers[0].say(*["x" * LINE_BYTES_MAX] * 3)
    take, bench.collect = bench.collect, lambda: None  # type: ignore[method-assign]
    for reader in readers:
        for _ in range(20):
            reader.send(Fetch, LOBBY, Cursor(EPOCH, 0))
    bench.collect = take  # type: ignore[method-assign]
    bench.round()
    pages = [sum(isinstance(reply, Page) for reply in reader.inbox) for reader in readers]
    assert (max(pages), sum(pages)) == (5, 11)
    refusal = next(reply for reply in readers[4].inbox if isinstance(reply, Refusal))
    assert (refusal.code, refusal.retry_ms > 0) == (Code.BUSY, True)
    assert readers[4].fetch(), "what was sent makes room"


# ---------------------------------------------------------------------- cursors


@pytest.mark.parametrize("kind", [Open, Fetch])
@pytest.mark.parametrize(
    ("what", "epoch", "seq", "good"),
    [
        ("own", EPOCH, 3, True),
        ("own", EPOCH, 0, True),
        ("none", EPOCH, 3, True),
        ("none", EPOCH, 4, True),
        ("none", EPOCH, 5, False),  # past the head
        ("none", EPOCH, 2**53 - 1, False),
        ("wrong", EPOCH, 3, False),
        ("wrong", EPOCH, 0, True),  # of nothing
        ("short", EPOCH, 3, False),
        ("own", b"another.", 3, False),
        ("none", b"another.", 0, False),
    ],
)
def test_a_cursor_of_another_history_is_noticed(
    kind: type[Open], what: str, epoch: bytes, seq: int, good: bool
) -> None:
    bench = Bench()
    alice = bench.join("alice")
    alice.say("1", "2", "3")
    digest = {
        "own": entry_digest(bench.entries()[seq - 1]) if 0 < seq < 5 else b"",
        "none": b"",
        "wrong": b"digest..",
        "short": b"dig",
    }[what]
    if good:
        alice.ask(Opened if kind is Open else Page, kind, LOBBY, Cursor(epoch, seq, digest))
    else:
        assert alice.refused(kind, LOBBY, Cursor(epoch, seq, digest)).code == Code.EPOCH_CHANGED
        assert alice.ask(Pong, Ping).rooms == [], "and nothing was opened"


def test_a_cursor_whose_entry_is_no_longer_kept_is_taken_as_it_is() -> None:
    bench = Bench(fold_every=10, keep_entries=10)
    alice = bench.join("alice")
    for _ in range(30):
        alice.say("x")
    page = alice.ask(Page, Fetch, LOBBY, Cursor(EPOCH, 5, b"digest.."))
    assert page.first > 6
    assert page.entries[0].seq == page.first


# ---------------------------------------------------------------------- who


def test_who_is_on_the_broker_and_in_a_room() -> None:
    bench = Bench()
    alice = bench.join("alice", LOBBY)
    bench.join("bob")
    bench.come("alice", alice.key)
    bench.operator()
    everyone, here = alice.ask(Users, Who), alice.ask(Users, Who, LOBBY)
    assert (everyone.room, everyone.names, everyone.count, everyone.presence) == ("", ["alice", "bob"], 2, 0)
    assert (here.room, here.names, here.count, here.presence > 0) == (LOBBY, ["alice"], 1, True)


def test_many_people_come_in_pages() -> None:
    bench = Bench()
    count = 2 * NAMES_PER_MESSAGE_MAX + 5
    for number in range(count):
        last = bench.join(f"person{number:03}", LOBBY)
    for room in ("", LOBBY):
        names: list[str] = []
        more = True
        while more:
            page = last.ask(Users, Who, room, names[-1] if names else "")
            assert page.count == count
            names, more = names + page.names, page.more
        assert names == [f"person{number:03}" for number in range(count)]
    assert len(last.open(LOBBY).names) == NAMES_PER_MESSAGE_MAX


# ---------------------------------------------------------------------- rooms


def listed(peer: Peer) -> dict[str, bool]:
    return {room.title: room.member for room in peer.ask(RoomList, Rooms).rooms}


def test_rooms_lists_public_rooms_and_ones_own() -> None:
    bench = Bench()
    alice, bob, carol = with_den(bench), bench.join("bob"), bench.join("carol")
    alice.ask(Done, Create, "#books", RoomKind.PUBLIC)
    alice.ask(Done, Add, DEN, "bob")
    alice.say("psst", room="@carol")
    public = {LOBBY: False, "#books": False}
    assert listed(alice) == public | {DEN: True, "@carol": True}
    assert listed(bob) == public | {DEN: True}
    assert listed(carol) == public | {"@alice": True}
    assert listed(bench.operator()) == public | {DEN: False}, "without what is said there"
    alice.ask(Done, Remove, DEN, "bob")
    assert listed(bob) == public


def test_rooms_tells_of_stored_rooms_only() -> None:
    bench = Bench()
    alice = bench.join("alice")
    alice.send_say("one batch")
    request = alice.send(Rooms)
    bench.flush()
    alice.send(Create, "#books", RoomKind.PUBLIC)
    bench.flush()
    bench.store(1)
    assert [room.room for room in alice.answer(RoomList, request).rooms] == [LOBBY]
    bench.round()
    (books, lobby) = alice.ask(RoomList, Rooms).rooms
    assert (books.room, books.head, lobby.head) == ("#books", 1, 2)


def test_many_rooms_come_in_pages() -> None:
    bench = Bench(rooms_per_account=1_000)
    alice = bench.join("alice", LOBBY)
    for number in range(2 * ROOMS_PER_PAGE):
        alice.send(Create, f"#room{number:03}", RoomKind.PUBLIC)
    bench.round()
    names: list[str] = []
    more = True
    while more:
        page = alice.ask(RoomList, Rooms, names[-1] if names else "")
        names, more = names + [room.room for room in page.rooms], page.more
    assert names == [LOBBY] + [f"#room{number:03}" for number in range(2 * ROOMS_PER_PAGE)]
