"""Rooms that a session follows: opened, sealed, caught up with, and who is there."""

from __future__ import annotations

import pytest
from msgspec import Raw, structs

from chat_client.actions import JoinFeed, Subscribe, Unsubscribe
from chat_client.events import (
    CatchingUp,
    EpochChanged,
    Line,
    Lost,
    Notice,
    PresenceChanged,
    RoomAdded,
    RoomClosed,
    RoomOpened,
)
from chat_client.following import EXPECTED_S, HELD_ENVELOPES_MAX, KEYS_KEPT, NOW, RECENT, Following, Start
from chat_client.rooms import (
    BEHIND_TOLD,
    FETCH_AGAIN_S,
    KEY_WAIT_S,
    NAMES_LISTED_MAX,
    OPEN_AGAIN_S,
    WHO_AGAIN_S,
    WHO_WAIT_S,
)
from chat_protocol import messages as m
from chat_protocol.codec import encode_plain
from chat_protocol.envelope import Header
from chat_protocol.errors import Code
from chat_protocol.messages import (
    LOBBY,
    Beacon,
    Close,
    Cursor,
    EntryKind,
    Fetch,
    Key,
    Membership,
    Open,
    Opened,
    Presence,
    Publication,
    Refusal,
    RoomHead,
    RoomKind,
    Users,
    Who,
    entry_digest,
)
from tests.client.other_side import EPOCH, ME, OTHER, OtherSide, entries, entry


def live(**opened: object) -> tuple[OtherSide, Opened]:
    """A session that is live and follows the lobby."""
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.join()
    reply = other.opened(other.sent_one(Open), **opened)
    other.say(reply)
    other.forget()
    return other, reply


def reopen(other: OtherSide, **opened: object) -> Opened:
    """The link is lost and back, and the lobby open again."""
    other.rejoin()
    reply = other.opened(other.sent_one(Open), **opened)
    other.say(reply)
    return reply


def turned(opened: Opened, generation: int) -> Opened:
    """The room's next key."""
    return structs.replace(opened, generation=generation, key=str(generation).encode() * 32)


def shown(other: OtherSide) -> list[int]:
    return [line.seq for line in other.saw(Line)]


def lobby(other: OtherSide) -> Following:
    following = other.session.following(LOBBY)
    assert following is not None
    return following


# --------------------------------------------------------------------------- opening


def test_a_room_is_opened_and_its_topic_subscribed_to() -> None:
    other = OtherSide()
    other.session.open("#Lobby", now=other.now)
    welcome = other.join()
    assert other.did(JoinFeed) == [JoinFeed("", 5556, welcome.feed_token)]
    opening = other.sent_one(Open)
    assert (opening.room, opening.cursor) == ("#Lobby", None)
    other.say(other.opened(opening, head=4, since=4, names=["alice", "bob"], count=2))
    assert other.did(Subscribe) == [Subscribe(b"t" * 16)]
    assert other.saw(RoomOpened) == [
        RoomOpened(LOBBY, LOBBY, RoomKind.PUBLIC, 4, 2, ("alice", "bob"), "#Lobby", resumed=False)
    ]
    assert other.session.following(LOBBY) is other.session.following("#Lobby")


def test_without_rooms_there_is_no_feed_until_one_is_opened() -> None:
    other = OtherSide()
    welcome = other.join()
    assert other.did(JoinFeed) == []
    other.open()
    assert other.did(JoinFeed) == [JoinFeed("", 5556, welcome.feed_token)]


@pytest.mark.parametrize(
    ("start", "cursor"),
    [
        (RECENT, 90),
        (NOW, 100),
        (0, 0),
        (42, 42),
        (500, 100),
        (Cursor(EPOCH, 60, b"12345678"), 60),
    ],
)
def test_where_a_room_begins(start: Start, cursor: int) -> None:
    other = OtherSide()
    other.session.open(LOBBY, start, now=other.now)
    other.join()
    opening = other.sent_one(Open)
    assert opening.cursor == (start if isinstance(start, Cursor) else None)
    other.say(other.opened(opening, head=100, since=90))
    fetches = other.sent(Fetch)
    assert [fetch.cursor.seq for fetch in fetches] == ([cursor] if cursor < 100 else [])
    assert other.cursor is not None
    assert other.cursor.seq == cursor


def test_an_open_without_an_answer_is_sent_again() -> None:
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.join()
    first = other.sent_one(Open)
    other.wait(OPEN_AGAIN_S)
    again = other.sent_one(Open)
    other.say(other.opened(first), other.opened(again))
    assert {event.asked for event in other.saw(RoomOpened)} == {LOBBY}
    assert other.session.followed() == [lobby(other)]


def test_a_busy_broker_is_asked_again() -> None:
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.join()
    other.say(Refusal(other.sent_one(Open).request, Code.BUSY, "", 2_000))
    other.wait(1.9)
    assert other.sent(Open) == []
    other.wait(0.2)
    assert len(other.sent(Open)) == 1


def test_a_direct_room_asked_for_by_both_its_names_stays_open_when_one_is_refused() -> None:
    other = OtherSide()
    other.session.open("@alice", now=other.now)
    other.session.open("@1:2", now=other.now)
    other.join()
    first, second = other.sent(Open)
    other.say(other.opened(first, room="@1:2", title="@alice", kind=RoomKind.DIRECT))
    other.say(Refusal(second.request, Code.BANNED, "you are banned"))
    assert other.saw(RoomClosed) == []
    assert [following.title for following in other.session.followed()] == ["@alice"]


def test_a_refused_room_is_closed() -> None:
    other = OtherSide()
    other.session.open("#den", now=other.now)
    other.join()
    other.say(Refusal(other.sent_one(Open).request, Code.NO_SUCH_ROOM, "there is no room #den"))
    assert other.saw(RoomClosed) == [RoomClosed("#den", "#den", Code.NO_SUCH_ROOM, "there is no room #den")]
    assert other.session.followed() == []


def test_one_room_by_two_names_is_followed_once_and_both_are_told() -> None:
    other = OtherSide()
    other.join()
    other.session.open("@7:8", now=other.now)
    by_id = other.sent_one(Open)
    other.session.open("@alice", now=other.now)
    by_title = other.sent_one(Open)
    for opening in (by_id, by_title):
        other.say(other.opened(opening, room="@7:8", title="@alice", kind=RoomKind.DIRECT))
    assert [event.asked for event in other.saw(RoomOpened)] == ["@7:8", "@alice"]
    assert len(other.session.followed()) == 1
    other.wait(OPEN_AGAIN_S)
    assert other.sent(Open) == []


def test_a_second_answer_to_the_second_name_finds_the_first() -> None:
    other = OtherSide()
    other.join()
    other.session.open("@alice", now=other.now)
    first = other.sent_one(Open)
    other.wait(OPEN_AGAIN_S)
    again = other.sent_one(Open)
    other.session.open("@7:8", now=other.now)
    by_id = other.sent_one(Open)
    for request in (by_id, first, again):
        other.say(other.opened(request, room="@7:8", title="@alice", kind=RoomKind.DIRECT))
    assert len(other.session.followed()) == 1


def test_a_room_is_closed() -> None:
    other, opened = live()
    other.session.close_room(LOBBY)
    assert other.sent_one(Close).room == LOBBY
    assert other.did(Unsubscribe) == [Unsubscribe(opened.topic)]
    other.publish(opened, Publication([entry(1)]))
    assert shown(other) == []


def test_a_room_that_is_closed_before_it_is_open_is_closed_at_the_broker_too() -> None:
    """Or everybody else would see us there."""
    other = OtherSide()
    other.join()
    other.session.open("#town", now=other.now)
    opening = other.sent_one(Open)
    other.session.close_room("#town")
    assert other.sent(Close) == []
    other.say(other.opened(opening, room="#town", title="#town"))
    assert other.sent_one(Close).room == "#town"
    assert other.saw(RoomOpened) == []


def test_a_room_that_is_opened_again_meanwhile_stays_open() -> None:
    other = OtherSide()
    other.join()
    for _ in range(2):
        other.session.open("#town", now=other.now)
        other.session.close_room("#town")
    other.session.open("#town", now=other.now)
    openings = other.sent(Open)
    for opening in openings:
        other.say(other.opened(opening, room="#town", title="#town"))
    assert other.sent(Close) == []
    assert len(other.saw(RoomOpened)) == 1


def test_being_removed_is_told() -> None:
    other, _ = live()
    other.say(m.Closed(0, LOBBY, Code.REMOVED, "alice removed you"), m.Closed(0, "#else", Code.REMOVED, ""))
    assert other.saw(RoomClosed) == [RoomClosed(LOBBY, LOBBY, Code.REMOVED, "alice removed you")]
    assert other.sent(Close) == []


def test_being_added_is_told() -> None:
    other, _ = live()
    other.say(m.Added(0, "#den", "#den", RoomKind.PRIVATE, "alice"))
    assert other.saw(RoomAdded) == [RoomAdded("#den", "#den", RoomKind.PRIVATE, "alice")]


# --------------------------------------------------------------------------- coming back


def test_every_welcome_brings_a_new_feed_and_opens_every_room_from_its_cursor() -> None:
    other, opened = live()
    other.publish(opened, Publication(entries(1, 3)))
    other.forget()
    welcome = other.rejoin()
    assert other.did(JoinFeed) == [JoinFeed("", 5556, welcome.feed_token)]
    opening = other.sent_one(Open)
    assert opening.cursor == Cursor(EPOCH, 3, entry_digest(entry(3)))
    other.say(other.opened(opening, head=3))
    assert other.did(Subscribe) == [Subscribe(opened.topic)]
    assert [event.resumed for event in other.saw(RoomOpened)] == [True]


def test_what_was_missed_meanwhile_is_fetched() -> None:
    other, opened = live()
    other.publish(opened, Publication(entries(1, 3)))
    other.forget()
    reopen(other, head=6)
    fetch = other.sent_one(Fetch)
    assert fetch.cursor == Cursor(EPOCH, 3, entry_digest(entry(3)))
    other.page(fetch.request, 4, 6)
    assert shown(other) == [4, 5, 6]


def test_keys_and_topics_of_an_earlier_session_are_void() -> None:
    other, opened = live()
    other.rejoin(feed_token=b"f" * 16)
    other.publish(opened, Publication([entry(1)]))
    assert shown(other) == []


def test_in_another_history_a_room_is_shown_afresh_and_that_is_told() -> None:
    other, opened = live()
    other.publish(opened, Publication(entries(1, 9)))
    other.forget()
    other.rejoin()
    other.say(Refusal(other.sent_one(Open).request, Code.EPOCH_CHANGED, ""))
    assert other.saw(EpochChanged) == [EpochChanged(LOBBY, LOBBY)]
    opening = other.sent_one(Open)
    assert opening.cursor is None
    other.say(other.opened(opening, head=4, since=2))
    other.page(other.sent_one(Fetch).request, 3, 4)
    assert shown(other) == [3, 4]
    assert [event.resumed for event in other.saw(RoomOpened)] == [False]


# --------------------------------------------------------------------------- gaps


def test_lines_are_shown_as_they_are_published() -> None:
    other, opened = live()
    mine = entry(2, "hi", account=ME, sender="bob")
    other.publish(opened, Publication([entry(1, "hello"), mine]))
    assert other.saw(Line) == [
        Line(LOBBY, LOBBY, EPOCH, 1, 1_001, "alice", OTHER, "hello", own=False),
        Line(LOBBY, LOBBY, EPOCH, 2, 1_002, "bob", ME, "hi", own=True),
    ]


def test_what_is_said_is_made_safe_to_show() -> None:
    other, opened = live()
    other.publish(opened, Publication([entry(1, "\x1b[2Jhi\u202e", sender="al\x07ice")]))
    (line,) = other.saw(Line)
    assert (line.sender, line.text) == ("alice", "hi")


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        (EntryKind.CREATED, m.Created(RoomKind.PRIVATE, []), ("created", "alice opened #lobby")),
        (EntryKind.ADDED, Membership(9, "carol"), ("added", "alice let carol in")),
        (EntryKind.REMOVED, Membership(9, "carol"), ("removed", "alice removed carol")),
        (EntryKind.REMOVED, Membership(OTHER, "alice"), ("removed", "alice left")),
        (4_711, Membership(9, "carol"), ("unknown", "")),
        (EntryKind.ADDED, m.Line("not a membership"), ("unknown", "")),
    ],
)
def test_other_entries_are_told_and_count(kind: int, body: m.Message, told: tuple[str, str]) -> None:
    other, opened = live()
    notice = m.Entry(1, 1_001, OTHER, "alice", kind, Raw(encode_plain(body)))
    other.publish(opened, Publication([notice, entry(2)]))
    assert [(event.kind, event.text) for event in other.saw(Notice)] == [told]
    assert shown(other) == [2]


def test_a_gap_is_fetched_once_and_closed() -> None:
    other, opened = live()
    other.publish(opened, Publication([entry(3)]))
    other.publish(opened, Publication([entry(4)]))
    fetch = other.sent_one(Fetch)
    assert (fetch.room, fetch.cursor) == (LOBBY, Cursor(EPOCH, 0))
    assert shown(other) == []
    other.page(fetch.request, 1, 2, head=4)
    assert shown(other) == [1, 2, 3, 4]
    assert other.sent(Fetch) == []


@pytest.mark.parametrize("hint", ["beacon", "pong", "key"])
def test_a_lost_last_line_is_noticed(hint: str) -> None:
    other, opened = live()
    match hint:
        case "beacon":
            other.publish(opened, Beacon(2, 1))
        case "pong":
            other.pong(RoomHead(LOBBY, 2, 1, 1))
        case "key":
            other.say(Key(0, LOBBY, 2, b"2" * 32, 2))
    assert other.sent_one(Fetch).cursor.seq == 0


def test_a_fetch_without_an_answer_is_sent_again_and_the_late_page_is_welcome() -> None:
    other, opened = live()
    other.publish(opened, Beacon(4, 1))
    first = other.sent_one(Fetch)
    other.wait(FETCH_AGAIN_S)
    again = other.sent_one(Fetch)
    other.page(first.request, 1, 2, head=4)
    assert shown(other) == [1, 2]
    assert other.sent(Fetch) == []  # the other one is still out
    other.page(again.request, 1, 4)
    assert shown(other) == [3, 4]


def test_a_broker_whose_every_page_is_late_is_read_nevertheless() -> None:
    other, opened = live()
    other.publish(opened, Beacon(100, 1))
    late: list[int] = []
    for _ in range(60):
        late += [fetch.request for fetch in other.sent(Fetch)]
        other.wait(FETCH_AGAIN_S)
        other.pong(RoomHead(LOBBY, 100, 1, 1))
        cursor = lobby(other).cursor()
        assert cursor is not None
        if cursor.seq < 100:
            other.page(late.pop(0), cursor.seq + 1, cursor.seq + 10, head=100)
    assert shown(other) == list(range(1, 101))


def test_a_refused_fetch_is_tried_again_when_the_broker_says() -> None:
    other, opened = live()
    other.publish(opened, Beacon(4, 1))
    other.say(Refusal(other.sent_one(Fetch).request, Code.BUSY, "", 2_000))
    other.wait(1.9)
    assert other.sent(Fetch) == []
    other.wait(0.2)
    assert len(other.sent(Fetch)) == 1


def test_the_refusal_of_an_old_fetch_opens_nothing_again() -> None:
    other, opened = live()
    other.publish(opened, Beacon(4, 1))
    first = other.sent_one(Fetch)
    other.wait(FETCH_AGAIN_S)
    other.page(other.sent_one(Fetch).request, 1, 4)
    other.say(Refusal(first.request, Code.BUSY, "", 100))
    other.wait(2.0)
    assert other.sent(Open) == []


def test_what_is_no_longer_kept_is_told() -> None:
    other, opened = live()
    other.publish(opened, Publication([entry(9)]))
    other.page(other.sent_one(Fetch).request, 6, 8, head=9, oldest=6)
    assert other.saw(Lost) == [Lost(LOBBY, LOBBY, 1, 5)]
    assert shown(other) == [6, 7, 8, 9]


def test_an_empty_page_is_no_reason_to_ask_at_once() -> None:
    other, opened = live()
    other.publish(opened, Beacon(4, 1))
    other.page(other.sent_one(Fetch).request, 1, 0, head=4)
    assert other.sent(Fetch) == []
    other.wait(WHO_WAIT_S)
    assert len(other.sent(Fetch)) == 1


def test_catching_up_is_told_when_it_is_far_and_when_it_is_done() -> None:
    other, opened = live()
    other.publish(opened, Beacon(2 * BEHIND_TOLD, 1))
    for first in (1, BEHIND_TOLD + 1):
        other.page(other.sent_one(Fetch).request, first, first + BEHIND_TOLD - 1, head=2 * BEHIND_TOLD)
    assert [event.behind for event in other.saw(CatchingUp)] == [BEHIND_TOLD, 0]


def test_while_paused_nothing_is_taken_and_afterwards_everything_is_fetched() -> None:
    other, opened = live()
    other.session.pause(True, other.now)
    other.publish(opened, Publication(entries(1, 2)))
    other.pong(RoomHead(LOBBY, 2, 1, 1))
    other.wait(2.0)
    assert shown(other) == []
    assert other.sent(Fetch) == []
    other.session.pause(False, other.now)
    other.page(other.sent_one(Fetch).request, 1, 2)
    assert shown(other) == [1, 2]


# --------------------------------------------------------------------------- keys


def test_what_a_newer_key_sealed_is_held_until_the_key_comes() -> None:
    other, opened = live()
    second = turned(opened, 2)
    other.publish(second, Publication([entry(1)]))
    assert shown(other) == []
    other.say(Key(0, LOBBY, 2, second.key, 0))
    assert shown(other) == [1]
    assert other.sent(Open) == []
    assert other.session.bad_seals == 0


def test_a_key_that_does_not_come_is_asked_for_by_opening_again() -> None:
    other, opened = live()
    second = turned(opened, 2)
    other.publish(second, Publication([entry(1)]))
    other.wait(KEY_WAIT_S / 2)
    assert other.sent(Open) == []
    other.wait(KEY_WAIT_S)
    other.say(other.opened(other.sent_one(Open), generation=2, key=second.key, head=1))
    assert shown(other) == [1]
    assert other.did(Subscribe) == []


def test_a_key_that_was_missed_is_noticed_by_the_next_pong() -> None:
    other, _ = live()
    other.pong(RoomHead(LOBBY, 0, 2, 1))
    assert len(other.sent(Open)) == 1


def test_what_an_earlier_key_sealed_may_still_come() -> None:
    other, opened = live()
    keys = [opened] + [turned(opened, generation) for generation in range(2, KEYS_KEPT + 2)]
    for key in keys[1:]:
        other.say(Key(0, LOBBY, key.generation, key.key, 0))
    other.publish(keys[1], Publication([entry(1)]))
    other.publish(keys[0], Publication([entry(2)]))  # too old
    assert shown(other) == [1]
    assert list(lobby(other).keys) == [2, 3, 4]


def test_no_more_is_held_than_the_bound() -> None:
    other, opened = live()
    second = turned(opened, 2)
    for seq in range(1, HELD_ENVELOPES_MAX + 11):
        other.publish(second, Publication([entry(seq)]))
    other.say(Key(0, LOBBY, 2, second.key, 0))
    assert shown(other) == []
    other.page(other.sent_one(Fetch).request, 1, 10, head=HELD_ENVELOPES_MAX + 10)
    assert shown(other) == list(range(1, HELD_ENVELOPES_MAX + 11))


def test_a_room_that_the_broker_does_not_know_to_be_open_is_opened_again() -> None:
    other, _ = live()
    other.pong()
    assert len(other.sent(Open)) == 1


def test_a_room_that_the_broker_thinks_open_is_closed() -> None:
    other, _ = live()
    other.pong(RoomHead(LOBBY, 0, 1, 1), RoomHead("#town", 5, 1, 1))
    assert other.sent_one(Close).room == "#town"


def test_a_room_whose_opening_is_not_answered_is_not_taken_for_a_stranger() -> None:
    other, _ = live()
    other.session.open("@alice", now=other.now)
    other.pong(RoomHead(LOBBY, 0, 1, 1), RoomHead("@7:8", 5, 1, 1))
    assert other.sent(Close) == []


# --------------------------------------------------------------------------- what somebody on the wire sends


def forged(other: OtherSide, opened: Opened, case: str) -> bytes:
    good = other.seal(opened, Publication([entry(1)]))
    match case:
        case "noise":
            return b"\x00\x01\x02"
        case "short":
            return good[:60]
        case "version":
            return b"\x09" + good[1:]
        case "changed":
            return good[:-10] + bytes([good[-10] ^ 1]) + good[-9:]
        case "generation":  # of a key that is not there yet
            return good[:12] + b"\x09" + good[13:]
        case "key":
            another = structs.replace(opened, key=b"x" * 32)
            return other.seal(another, Publication([entry(1)]))
        case _:
            other.sealer.verify_key = b"w" * 32
            return other.seal(opened, Publication([entry(1)]))


@pytest.mark.parametrize("case", ["noise", "short", "version", "changed", "generation", "key", "signer"])
def test_what_does_not_verify_is_dropped_and_counted(case: str) -> None:
    other, opened = live()
    other.session.receive_feed(opened.topic, forged(other, opened, case), other.now)
    other.wait(1.0)
    assert shown(other) == []
    assert other.session.bad_seals == 1
    assert other.sent(Open) + other.sent(Fetch) == []


def test_a_sealed_message_that_is_none_is_counted() -> None:
    other, opened = live()
    envelope = other.sealer.seal(opened.topic, opened.key, Header(other.run, 1, 1), b"\xc1")
    other.session.receive_feed(opened.topic, envelope, other.now)
    assert other.session.bad_seals == 1


def test_what_is_played_back_is_not_shown_again() -> None:
    other, opened = live(presence=3)
    envelopes = [
        other.publish(opened, Publication(entries(1, 2))),
        other.publish(opened, Presence(4, 2, ["alice"], [])),
        other.publish(opened, Presence(5, 1, [], ["alice"])),
        other.publish(opened, Beacon(2, 5)),
    ]
    other.forget()
    for envelope in envelopes:
        other.session.receive_feed(opened.topic, envelope, other.now)
    other.wait(1.0)
    assert shown(other) == []
    assert other.saw(PresenceChanged) == []
    assert other.sent(Fetch) + other.sent(Who) == []


def test_what_an_earlier_run_sealed_is_dropped() -> None:
    other, opened = live()
    other.publish(opened, Publication([entry(1)]), run=b"run----0")
    assert shown(other) == []


# --------------------------------------------------------------------------- who is there


def test_comings_and_goings_are_told() -> None:
    other, opened = live(names=["alice", "bob"], count=2)
    other.publish(opened, Presence(2, 2, ["carol"], ["alice"]))
    other.publish(opened, Presence(3, 2, ["carol"], []))  # no news
    assert other.saw(PresenceChanged) == [PresenceChanged(LOBBY, LOBBY, 2, ("carol",), ("alice",))]
    assert lobby(other).names == {"bob", "carol"}


@pytest.mark.parametrize("hint", ["notice", "beacon", "pong", "not whole"])
def test_a_notice_that_was_missed_asks_who_is_there(hint: str) -> None:
    other, opened = live(names=["alice", "bob"], count=2)
    match hint:
        case "notice":
            other.publish(opened, Presence(3, 2, ["dave"], []))
        case "beacon":
            other.publish(opened, Beacon(0, 3))
        case "pong":
            other.pong(RoomHead(LOBBY, 0, 1, 3))
        case "not whole":
            other.publish(opened, Presence(2, 200, [], [], whole=False))
    assert other.sent(Who) == []
    other.wait(WHO_WAIT_S)
    who = other.sent_one(Who)
    assert who.room == LOBBY
    other.say(Users(who.request, LOBBY, 3, 2, ["bob", "carol"], more=False))
    assert other.saw(PresenceChanged) == [PresenceChanged(LOBBY, LOBBY, 2, ("carol",), ("alice",))]
    other.publish(opened, Beacon(0, 3))
    other.wait(1.0)
    assert other.sent(Who) == []


def test_many_names_come_in_pages() -> None:
    other, opened = live(names=["bob"], count=1)
    names = sorted(["bob"] + [f"guest{n:03}" for n in range(250)])
    other.publish(opened, Beacon(0, 2))
    other.wait(WHO_WAIT_S)
    after = ""
    while fetched := other.sent(Who):
        assert fetched[0].after == after
        page = [name for name in names if name > after][:100]
        after = page[-1]
        other.say(Users(fetched[0].request, LOBBY, 2, len(names), page, more=after != names[-1]))
    assert lobby(other).names == set(names)
    assert [len(event.joined) for event in other.saw(PresenceChanged)] == [250]


def test_a_question_who_is_there_that_is_lost_is_asked_again() -> None:
    other, opened = live()
    other.publish(opened, Beacon(0, 2))
    other.wait(WHO_WAIT_S)
    other.sent_one(Who)
    for _ in range(5):
        other.wait(WHO_AGAIN_S / 5)
        other.pong(RoomHead(LOBBY, 0, 1, 2))
    assert len(other.sent(Who)) == 1


def test_a_refused_question_is_asked_again() -> None:
    other, opened = live()
    other.publish(opened, Beacon(0, 2))
    other.wait(WHO_WAIT_S)
    other.say(Refusal(other.sent_one(Who).request, Code.BUSY, ""))
    other.wait(5.0)
    assert len(other.sent(Who)) == 1


def test_in_a_crowd_only_the_number_is_kept_and_nobody_asks_for_names() -> None:
    other, opened = live(names=["bob"], count=1)
    other.publish(opened, Presence(2, NAMES_LISTED_MAX + 1, [], [], whole=False))
    other.publish(opened, Presence(3, NAMES_LISTED_MAX + 2, ["zoe"], []))
    other.wait(1.0)
    assert other.sent(Who) == []
    assert [(event.count, event.whole) for event in other.saw(PresenceChanged)] == [
        (NAMES_LISTED_MAX + 1, False),
        (NAMES_LISTED_MAX + 2, False),
    ]


def test_after_a_restart_nobody_has_come_or_gone_who_is_back_in_time() -> None:
    """Everybody comes back, one after the other."""
    other, _ = live(names=["alice", "bob", "carol"], count=3)
    other.run = b"run----2"
    opened = reopen(other, names=["bob"], count=1, presence=1)
    other.publish(opened, Presence(2, 2, ["alice"], []))
    assert other.saw(PresenceChanged) == [PresenceChanged(LOBBY, LOBBY, 2, (), (), back=("alice",))]
    for _ in range(10):
        other.wait(EXPECTED_S / 10)
        other.pong(RoomHead(LOBBY, 0, 1, 2))
    assert other.saw(PresenceChanged) == [PresenceChanged(LOBBY, LOBBY, 2, (), ("carol",))]
    other.publish(opened, Presence(3, 3, ["carol"], []))
    assert other.saw(PresenceChanged) == [PresenceChanged(LOBBY, LOBBY, 3, ("carol",), ())]


def test_after_a_break_of_one_s_own_who_came_meanwhile_is_told() -> None:
    other, _ = live(names=["alice", "bob"], count=2)
    reopen(other, names=["alice", "bob", "dave"], count=3, presence=5)
    assert other.saw(PresenceChanged) == [PresenceChanged(LOBBY, LOBBY, 3, ("dave",), ())]


def test_a_room_opened_again_for_its_key_tells_what_was_missed() -> None:
    other, _ = live(names=["alice", "bob"], count=2)
    other.pong(RoomHead(LOBBY, 0, 2, 1))
    other.say(other.opened(other.sent_one(Open), generation=2, names=["bob"], count=1, presence=2))
    assert other.saw(PresenceChanged) == [PresenceChanged(LOBBY, LOBBY, 1, (), ("alice",))]
