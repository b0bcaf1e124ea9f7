"""The session: joining, staying, coming back, and what becomes of lines and questions meanwhile."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from chat_client.actions import Dial, Hangup, JoinFeed
from chat_client.events import (
    Enrolled,
    EpochChanged,
    Failed,
    Link,
    LinkChanged,
    Position,
    RoomAdded,
    RoomClosed,
    Stored,
)
from chat_client.session import (
    ASK_AGAIN_S,
    DIAL_MAX_S,
    JOIN_AGAIN_S,
    JOIN_S,
    LEFT,
    RENEW_S,
    SILENT_PINGS,
    WRONG_KEY,
    WRONG_KEY_TRIES,
)
from chat_protocol import messages as m
from chat_protocol.errors import Code, Refused
from chat_protocol.messages import (
    LOBBY,
    Bye,
    Enroll,
    Fetch,
    Goodbye,
    Hello,
    Open,
    Ping,
    Refusal,
    RoomKind,
    Rooms,
    Said,
    Say,
    Who,
)
from tests.client.other_side import EPOCH, INSTANCE, KEY, OtherSide

EPOCH_2 = b"epoch--2"


def refusal(request: int, code: Code, *, text: str = "no", retry_ms: int = 0, last: int = 0) -> Refusal:
    return Refusal(request, code, text, retry_ms, last)


def stored(say: Say, first: int = 1, room: str = LOBBY) -> Said:
    return Said(say.request, EPOCH, [m.Stored(say.request, room, first, len(say.lines), 1_000)])


def links(other: OtherSide) -> list[Link]:
    return [event.link for event in other.saw(LinkChanged)]


# --------------------------------------------------------------------------- joining


def test_from_nothing_to_live() -> None:
    other = OtherSide()
    assert other.session.link is Link.OFFLINE
    assert other.session.next_deadline() == 0.0
    assert other.dial() == Dial(with_invite=False)
    hello = other.sent_one(Hello)
    assert (hello.name, hello.instance) == ("bob", None)
    other.say(other.welcome(hello, name="Bob"))
    assert (other.session.link, other.session.name) == (Link.LIVE, "Bob")
    assert links(other) == [Link.JOINING, Link.LIVE]


def test_a_dial_that_is_not_answered_is_given_up() -> None:
    other = OtherSide()
    other.pump()
    assert other.session.next_deadline() == other.now + JOIN_S
    other.wait(JOIN_S)
    assert links(other)[:2] == [Link.JOINING, Link.OFFLINE]
    assert len(other.did(Hangup)) == 1
    assert other.session.reason == "no answer"


def test_a_broker_that_was_there_before_has_longer_to_answer() -> None:
    """All its clients come back at once."""
    other = OtherSide()
    other.join()
    other.session.link_down(other.now, "lost")
    other.redial()
    other.wait(JOIN_AGAIN_S - 0.1)
    assert links(other)[-1] is Link.JOINING
    other.wait(0.1)
    assert links(other)[-1] is Link.OFFLINE


def test_pauses_between_dials_grow_to_a_bound_with_jitter() -> None:
    other = OtherSide()
    pauses = []
    for _ in range(12):
        other.redial()
        other.session.link_down(other.now, "nothing answers")
        (changed,) = (event for event in other.saw(LinkChanged) if event.retry_at is not None)
        assert changed.retry_at is not None
        pauses.append(changed.retry_at - other.now)
    for step, pause in enumerate(pauses):
        longest = min(DIAL_MAX_S, 0.1 * 2**step)
        assert longest / 2 <= pause <= longest
    assert len({round(pause / min(DIAL_MAX_S, 0.1 * 2**step), 4) for step, pause in enumerate(pauses)}) > 6


def test_the_pause_is_short_again_only_when_a_session_has_lasted() -> None:
    """Or else a broker that throws everybody out at once would be stormed."""
    other = OtherSide()
    for _ in range(8):
        other.redial()
        other.session.link_down(other.now, "nothing answers")
    other.forget()
    other.join()
    other.session.link_down(other.now, "lost")
    assert other.session.next_deadline() == pytest.approx(
        other.now + 0.75 * DIAL_MAX_S, abs=0.25 * DIAL_MAX_S
    )
    other.redial()
    other.join()
    other.pong()
    other.session.link_down(other.now, "lost")
    assert other.session.next_deadline() == pytest.approx(other.now, abs=0.2)


def test_a_broker_that_asks_to_wait_is_waited_for() -> None:
    other = OtherSide()
    other.dial()
    other.say(refusal(other.sent_one(Hello).request, Code.BUSY, text="too many sessions", retry_ms=5_000))
    assert other.session.link is Link.OFFLINE
    assert other.session.next_deadline() == other.now + 5.0


# The keys that are dialled with, own ("k") or the invite's ("i"), until the broker lets one in; and what
# the person is told when it lets in none.
@pytest.mark.parametrize(
    ("enrolled", "has_invite", "refused_keys", "dialled", "closed"),
    [
        (True, False, "", "k", None),
        (True, True, "", "k", None),
        (False, True, "", "ik", None),  # the invite to enroll, then the key of one's own
        (False, False, "", "k", None),  # an open door, or enrolled and not noticed
        (True, True, "k", "kik", None),  # the broker has forgotten the account: the invite makes it anew
        (False, True, "i", "ik", None),  # used up, by ourselves
        (True, False, "k", "k", Code.NOT_ENROLLED),
        (False, False, "k", "k", Code.NOT_ENROLLED),
        (True, True, "ki", "ki", Code.NOT_ENROLLED),
        (False, True, "ki", "ik", Code.INVITE_INVALID),
    ],
)
def test_which_keys_are_tried(
    enrolled: bool, has_invite: bool, refused_keys: str, dialled: str, closed: Code | None
) -> None:
    other = OtherSide(enrolled=enrolled, has_invite=has_invite)
    keys = ""
    for _ in range(5):
        dials = other.did(Dial)
        if not dials:
            break
        keys += "i" if dials[0].with_invite else "k"
        if keys[-1] in refused_keys:
            other.session.not_admitted(other.now)
            refused_keys = refused_keys if keys[-1] == "i" or "i" in refused_keys else ""
            continue
        other.session.link_up(other.now)
        for enroll in other.sent(Enroll):
            assert enroll.key == KEY
            other.say(m.Enrolled(enroll.request, 7, "bob"))
        for hello in other.sent(Hello):
            other.say(other.welcome(hello))
    assert keys == dialled
    assert (other.session.closed or (None,))[0] == closed
    assert (other.session.link is Link.LIVE) == (closed is None)


def test_an_invite_makes_the_account_and_tells_once() -> None:
    other = OtherSide(enrolled=False, has_invite=True)
    assert other.dial() == Dial(with_invite=True)
    enroll = other.sent_one(Enroll)
    other.say(m.Enrolled(enroll.request, 7, "Bob"))
    assert other.dial() == Dial(with_invite=False)
    other.say(other.welcome(other.sent_one(Hello)))
    assert other.saw(Enrolled) == [Enrolled("Bob")]


def test_who_was_enrolled_without_knowing_is_told_at_welcome() -> None:
    """The answer to Enroll was lost in an earlier life."""
    other = OtherSide(enrolled=False)
    other.join()
    assert other.saw(Enrolled) == [Enrolled("bob")]


def test_an_open_door_enrolls_the_key_of_one_s_own() -> None:
    other = OtherSide(enrolled=False)
    other.dial()
    other.say(refusal(other.sent_one(Hello).request, Code.NOT_ENROLLED))
    enroll = other.sent_one(Enroll)
    assert (enroll.name, enroll.key) == ("bob", KEY)
    other.say(m.Enrolled(enroll.request, 7, "bob"))
    other.say(other.welcome(other.sent_one(Hello)))
    assert other.session.link is Link.LIVE
    assert other.did(Dial) == []


@pytest.mark.parametrize(
    "code", [Code.NAME_TAKEN, Code.BAD_NAME, Code.WRONG_NAME, Code.BANNED, Code.INVITE_INVALID, Code.REPLACED]
)
def test_some_refusals_are_final(code: Code) -> None:
    other = OtherSide()
    other.dial()
    other.say(refusal(other.sent_one(Hello).request, code, text="because"))
    assert other.session.closed == (code, "because")
    assert links(other)[-1] is Link.CLOSED
    assert other.session.next_deadline() is None


def test_another_version_is_final() -> None:
    other = OtherSide()
    other.dial()
    other.session.receive_version("this end speaks version 1, the other version 2")
    assert other.session.closed is not None
    assert other.session.closed[0] == Code.VERSION
    assert "update" in other.session.closed[1]


def test_a_wrong_key_is_told_after_the_third_time() -> None:
    other = OtherSide()
    for attempt in range(WRONG_KEY_TRIES):
        other.redial()
        assert other.session.closed is None, attempt
        other.session.handshake_failed(other.now)
    other.pump()
    assert other.session.closed is not None
    assert other.session.closed[0] == WRONG_KEY


def test_handshakes_that_fail_now_and_then_are_no_wrong_key() -> None:
    other = OtherSide()
    for _ in range(3 * WRONG_KEY_TRIES):
        other.redial()
        other.session.handshake_failed(other.now)
        other.redial()
        other.session.link_up(other.now)
        other.session.link_down(other.now, "lost")
    assert other.session.closed is None


def test_a_client_that_was_live_goes_on_trying_whatever_answers_there() -> None:
    other = OtherSide()
    other.join()
    other.session.link_down(other.now, "lost")
    for _ in range(3 * WRONG_KEY_TRIES):
        other.redial()
        other.session.handshake_failed(other.now)
    assert other.session.closed is None
    codes = [event.code for event in other.saw(LinkChanged) if event.link is Link.OFFLINE]
    assert codes == [""] * WRONG_KEY_TRIES + [WRONG_KEY] * (2 * WRONG_KEY_TRIES + 1)


def test_a_key_that_is_let_in_no_longer_was_revoked() -> None:
    other = OtherSide(has_invite=True)
    other.join()
    other.session.link_down(other.now, "lost")
    other.redial()
    other.session.not_admitted(other.now)
    assert other.session.closed is not None
    assert other.session.closed[0] == Code.REVOKED


@pytest.mark.parametrize("report", ["link_up", "not_admitted", "handshake_failed", "feed_not_admitted"])
def test_what_an_old_connection_reports_wakes_nobody(report: str) -> None:
    other = OtherSide()
    other.join()
    other.session.close()
    other.forget()
    getattr(other.session, report)(other.now)
    other.session.link_down(other.now, "lost")
    assert links(other) == []
    assert other.did(Dial) == []
    assert other.session.link is Link.CLOSED


# --------------------------------------------------------------------------- staying


def test_pings_keep_the_session_and_silence_ends_it() -> None:
    other = OtherSide()
    other.join(ping_s=3.0)
    pings = 0
    for _ in range(100):
        other.wait(0.5)
        pings += len(other.sent(Ping))
        if other.session.link is not Link.LIVE:
            break
    assert pings == SILENT_PINGS
    assert "not answered" in other.session.reason


@pytest.mark.parametrize(
    "answer",
    [
        m.Pong(0, 1_000, []),
        refusal(9_999, Code.BUSY),
        m.Done(9_999),
        m.Added(0, "#x", "#x", RoomKind.PUBLIC, "a"),
    ],
)
def test_whatever_the_broker_says_shows_that_it_is_there(answer: m.AnyReply) -> None:
    other = OtherSide()
    other.join()
    for _ in range(20):
        other.wait(3.0)
        other.say(answer)
    assert other.session.link is Link.LIVE


@pytest.mark.parametrize(
    ("code", "link"),
    [
        (Code.REPLACED, Link.CLOSED),
        (Code.BANNED, Link.CLOSED),
        (Code.REVOKED, Link.CLOSED),
        (Code.EXPIRED, Link.JOINING),
        (Code.SHUTTING_DOWN, Link.OFFLINE),
    ],
)
def test_goodbyes(code: Code, link: Link) -> None:
    other = OtherSide()
    other.join()
    other.wait(2.0)
    other.session.receive(Goodbye(0, code, "because"), other.now)
    assert other.session.link is link


def test_an_unknown_session_says_hello_again_on_the_same_connection() -> None:
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.join()
    other.say(other.opened(other.sent_one(Open)))
    other.wait(2.0)
    other.forget()
    other.say(refusal(77, Code.UNKNOWN_SESSION), refusal(78, Code.UNKNOWN_SESSION))
    hello = other.sent_one(Hello)
    assert hello.instance == INSTANCE
    assert other.did(Dial) == []
    welcome = other.welcome(hello)
    other.say(welcome)
    assert other.did(JoinFeed) == [JoinFeed("", 5556, welcome.feed_token)]
    assert other.sent_one(Open).token == welcome.token


def test_what_still_comes_for_the_old_session_makes_no_request_with_its_token() -> None:
    """Or the broker would know it for none again, and so on for ever."""
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.join()
    opening = other.sent_one(Open)
    other.wait(2.0)
    other.forget()
    other.say(refusal(77, Code.UNKNOWN_SESSION))
    hello = other.sent_one(Hello)
    other.say(other.opened(opening, head=5))
    other.pong(m.RoomHead(LOBBY, 9, 4))
    assert other.sent(Fetch) + other.sent(Open) + other.sent(m.Close) == []
    other.say(other.welcome(hello))
    assert len(other.sent(Open)) == 1


def test_a_session_that_ends_as_it_begins_is_not_begun_again_at_once() -> None:
    other = OtherSide()
    other.join()
    other.say(refusal(77, Code.UNKNOWN_SESSION))
    assert other.session.link is Link.OFFLINE


def test_a_feed_that_takes_the_token_for_none_means_another_session() -> None:
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.join()
    other.wait(2.0)
    other.forget()
    other.session.feed_not_admitted(other.now)
    assert other.session.link is Link.JOINING
    assert len(other.sent(Hello)) == 1


# --------------------------------------------------------------------------- lines


def test_a_line_is_stored() -> None:
    other = OtherSide()
    ref = other.session.say("hello", LOBBY)
    assert other.session.unanswered() == 1
    other.join()
    say = other.sent_one(Say)
    assert (say.room, say.lines, say.prev) == (LOBBY, ["hello"], 0)
    other.say(stored(say, first=5))
    assert other.saw(Stored) == [Stored(ref, Position(LOBBY, EPOCH, 5))]
    assert other.session.unanswered() == 0


def test_each_line_of_a_say_has_its_place() -> None:
    other = OtherSide()
    other.join()
    refs = [other.session.say(text, LOBBY) for text in ("a", "b", "c")]
    say = other.sent_one(Say)
    other.say(stored(say, first=5), stored(say, first=5))
    assert [(event.ref, event.position.seq) for event in other.saw(Stored)] == list(
        zip(refs, (5, 6, 7), strict=True)
    )


def test_a_refused_line_fails() -> None:
    other = OtherSide()
    other.join()
    ref = other.session.say("bad", LOBBY)
    other.say(refusal(other.sent_one(Say).request, Code.BAD_TEXT, text="no such characters"))
    assert other.saw(Failed) == [Failed(ref, LOBBY, "bad", Code.BAD_TEXT, "no such characters")]


def test_lines_go_on_after_a_restart_with_their_request_ids() -> None:
    other = OtherSide()
    other.join()
    other.session.say("one", LOBBY)
    before = other.sent_one(Say)
    other.session.say("two", LOBBY)
    other.run = b"run----2"
    welcome = other.rejoin()
    says = other.sent(Say)
    assert (says[0].request, says[0].lines) == (before.request, ["one"])
    assert [say.token for say in says] == [welcome.token] * len(says)
    assert other.saw(Failed) == []


def test_a_room_has_one_chain_whatever_it_is_called() -> None:
    other = OtherSide()
    other.join()
    other.session.say("one", "#Lobby")
    first = other.sent_one(Say)
    other.session.say("two", LOBBY)
    assert other.sent_one(Say).prev == first.request


@pytest.mark.parametrize(
    "tell",
    [
        lambda other: other.say(m.Added(0, "@7:8", "@alice", RoomKind.DIRECT, "alice")),
        lambda other: other.open("@alice", room="@7:8", title="@alice", kind=RoomKind.DIRECT),
        lambda other: other.say(
            m.RoomList(5, [m.RoomInfo("@7:8", "@alice", RoomKind.DIRECT, 1, 1)], more=False)
        ),
    ],
)
def test_a_direct_room_is_said_into_by_its_title_once_that_is_known(
    tell: Callable[[OtherSide], object],
) -> None:
    other = OtherSide()
    other.join()
    tell(other)
    other.session.say("one", "@7:8")
    first = other.sent_one(Say)
    other.session.say("two", "@alice")
    second = other.sent_one(Say)
    assert (first.room, second.room, second.prev) == ("@alice", "@alice", first.request)


def test_chains_under_two_names_join_when_an_answer_tells_that_they_are_one() -> None:
    other = OtherSide()
    other.join()
    other.session.say("one", "@7:8")
    by_id = other.sent_one(Say)
    other.session.say("two", "@alice")
    by_title = other.sent_one(Say)
    other.say(stored(by_id, 1, "@7:8"), refusal(by_title.request, Code.OUT_OF_ORDER, last=by_id.request))
    other.wait(0.1)
    again = other.sent_one(Say)
    assert (again.request, again.prev) == (by_title.request, by_id.request)
    other.say(stored(again, 2, "@7:8"))
    other.session.say("three", "@7:8")
    assert other.sent_one(Say).prev == by_title.request
    assert len(other.saw(Stored)) == 2


def test_a_forgotten_instance_is_replaced_when_all_is_answered() -> None:
    """In another room the broker may know it still: what is on its way there must not go out twice."""
    other = OtherSide()
    other.join()
    other.session.say("here", LOBBY)
    here = other.sent_one(Say)
    other.session.say("there", "#town")
    there = other.sent_one(Say)
    other.say(refusal(there.request, Code.FORGOTTEN))
    other.session.say("later", LOBBY)
    assert other.sent(Say) + other.sent(Hello) == []
    other.say(stored(here))
    hello = other.sent_one(Hello)
    assert hello.instance is None
    other.say(other.welcome(hello, instance=b"instance-------2"))
    says = {say.room: (say.lines, say.prev) for say in other.sent(Say)}
    assert says == {"#town": (["there"], 0), LOBBY: (["later"], 0)}
    assert other.saw(Failed) == []


def test_a_forgotten_instance_waits_for_answers_only_so_long() -> None:
    other = OtherSide()
    other.join()
    lost = other.session.say("here", LOBBY)
    other.session.say("there", "#town")
    other.say(refusal(other.sent(Say)[1].request, Code.FORGOTTEN))
    other.wait(RENEW_S)
    assert other.sent_one(Hello).instance is None
    assert [(event.ref, event.unknown) for event in other.saw(Failed)] == [(lost, True)]


def test_in_another_history_nobody_can_tell_what_became_of_what_was_sent() -> None:
    other = OtherSide()
    other.join()
    sent = other.session.say("sent", LOBBY)
    other.sent_one(Say)
    other.session.link_down(other.now, "lost")
    waiting = other.session.say("waiting", LOBBY)
    other.epoch = EPOCH_2
    other.dial()
    other.say(other.welcome(other.sent_one(Hello)))
    hello = other.sent_one(Hello)  # as a new instance: the old one's requests may be in that history too
    assert hello.instance is None
    assert other.sent(Say) == []
    other.say(other.welcome(hello, instance=b"instance-------2"))
    assert [(event.ref, event.code, event.unknown) for event in other.saw(Failed)] == [
        (sent, Code.EPOCH_CHANGED, True)
    ]
    say = other.sent_one(Say)
    assert (say.lines, say.prev) == (["waiting"], 0)
    other.say(Said(say.request, EPOCH_2, [m.Stored(say.request, LOBBY, 3, 1, 1_000)]))
    assert other.saw(Stored) == [Stored(waiting, Position(LOBBY, EPOCH_2, 3))]


def test_leaving_says_bye_and_fails_what_is_not_answered() -> None:
    other = OtherSide()
    other.join()
    sent = other.session.say("sent", LOBBY)
    other.pump()
    waiting = other.session.say("waiting", LOBBY)
    other.session.close()
    assert len(other.sent(Bye)) == 1
    assert {(event.ref, event.unknown) for event in other.saw(Failed)} == {(sent, True), (waiting, False)}
    assert other.session.closed is not None
    assert other.session.closed[0] == LEFT


# --------------------------------------------------------------------------- questions


def test_a_question_is_answered() -> None:
    other = OtherSide()
    asked = other.session.ask(Who, other.now)
    other.join()
    who = other.sent_one(Who)
    users = m.Users(who.request, "", 0, 1, ["bob"], more=False)
    other.say(users, users)
    assert [(answer.request, answer.reply) for answer in other.answered()] == [(asked, users)]


def test_a_question_that_is_refused_is_answered_with_that() -> None:
    other = OtherSide()
    other.join()
    asked = other.session.ask(functools.partial(m.Add, room="#den", name="eve"), other.now)
    other.say(refusal(asked, Code.NO_SUCH_ACCOUNT, text="nobody is called eve"))
    (answer,) = other.answered()
    assert isinstance(answer.reply, Refused)
    assert (answer.reply.code, str(answer.reply)) == (Code.NO_SUCH_ACCOUNT, "nobody is called eve")


def test_a_question_is_asked_again_until_it_is_answered() -> None:
    other = OtherSide()
    other.join()
    asked = other.session.ask(Who, other.now)
    first = other.sent_one(Who)
    for _ in range(3):
        other.wait(2.5)
        other.pong()
    assert [who.request for who in other.sent(Who)] == [asked]
    welcome = other.rejoin()
    again = other.sent_one(Who)
    assert (again.request, again.token) == (first.request, welcome.token)


def test_a_busy_broker_is_asked_again_when_it_says() -> None:
    other = OtherSide()
    other.join()
    asked = other.session.ask(Who, other.now)
    other.sent_one(Who)
    other.say(refusal(asked, Code.BUSY, retry_ms=200))
    assert other.sent(Who) == []
    other.wait(0.2)
    assert len(other.sent(Who)) == 1


def test_nobody_waits_for_the_answer_any_more() -> None:
    other = OtherSide()
    other.join()
    asked = other.session.ask(Who, other.now)
    other.session.forget(asked)
    other.wait(ASK_AGAIN_S)
    assert len(other.sent(Who)) == 1
    other.say(m.Users(asked, "", 0, 1, ["bob"], more=False))
    assert other.answered() == []


def test_after_the_end_everything_is_answered_at_once() -> None:
    other = OtherSide()
    other.join()
    before = other.session.ask(Who, other.now)
    other.session.receive(Goodbye(0, Code.BANNED, "you are banned"), other.now)
    ref = other.session.say("hello?", LOBBY)
    asked = other.session.ask(Who, other.now)
    other.session.open("#town", now=other.now)
    assert [(answer.request, str(answer.reply)) for answer in other.answered()] == [
        (before, "you are banned"),
        (asked, "you are banned"),
    ]
    assert other.saw(Failed) == [Failed(ref, LOBBY, "hello?", Code.BANNED, "you are banned")]
    assert other.saw(RoomClosed) == [RoomClosed("#town", "#town", Code.BANNED, "you are banned")]


# --------------------------------------------------------------------------- rooms added meanwhile

DEN = m.RoomInfo("#den", "#den", RoomKind.PRIVATE, 3, 1, True)
MEADOW = m.RoomInfo("#meadow", "#meadow", RoomKind.PRIVATE, 3, 1, True)


def listen(other: OtherSide, *infos: m.RoomInfo) -> list[str]:
    """Answer the list of memberships; the rooms that the session then tells of."""
    listing = other.sent_one(Rooms)
    assert listing.mine
    other.say(m.RoomList(listing.request, list(infos), more=False))
    return [event.room for event in other.saw(RoomAdded)]


def come_back(other: OtherSide) -> None:
    other.session.link_down(other.now, "lost")
    other.dial()
    other.say(other.welcome(other.sent_one(Hello)))


def test_rooms_that_were_added_meanwhile_are_told_at_the_next_welcome() -> None:
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.dial()
    other.say(other.welcome(other.sent_one(Hello)))
    assert listen(other, DEN) == []  # the user asks for what there is already
    come_back(other)
    assert listen(other, DEN, MEADOW) == ["#meadow"]
    come_back(other)
    assert listen(other, DEN, MEADOW) == []


def test_a_list_that_is_lost_is_asked_for_again() -> None:
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.dial()
    other.say(other.welcome(other.sent_one(Hello)))
    assert listen(other) == []
    come_back(other)
    other.sent_one(Rooms)
    for _ in range(3):
        other.wait(2.0)
        other.pong()
    assert listen(other, MEADOW) == ["#meadow"]


def test_what_the_user_has_asked_for_is_known() -> None:
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.dial()
    other.say(other.welcome(other.sent_one(Hello)))
    other.sent_one(Rooms)  # and its answer is lost with the link
    asked = other.session.ask(Rooms, other.now)
    other.say(m.RoomList(asked, [DEN], more=False))
    other.forget()
    come_back(other)
    assert listen(other, DEN, MEADOW) == ["#meadow"]


def test_what_was_added_before_one_s_eyes_is_not_told_again() -> None:
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.dial()
    other.say(other.welcome(other.sent_one(Hello)))
    assert listen(other) == []
    other.say(m.Added(0, "#den", "#den", RoomKind.PRIVATE, "alice"))
    assert len(other.saw(RoomAdded)) == 1
    come_back(other)
    assert listen(other, DEN) == []


@pytest.mark.parametrize("how", ["told", "refused"])
def test_a_room_that_was_left_is_new_when_one_is_let_in_again(how: str) -> None:
    other = OtherSide()
    other.session.open("#den", now=other.now)
    other.dial()
    other.say(other.welcome(other.sent_one(Hello)))
    assert listen(other, DEN) == []
    other.say(other.opened(other.sent_one(Open), room="#den", title="#den"))
    if how == "told":
        other.say(m.Closed(0, "#den", Code.REMOVED, "removed"))
        other.session.open(LOBBY, now=other.now)
    else:
        other.session.open(LOBBY, now=other.now)
        come_back(other)
        listen(other, DEN)
        den = next(opening for opening in other.sent(Open) if opening.room == "#den")
        other.say(refusal(den.request, Code.NO_SUCH_ROOM))
    come_back(other)
    assert listen(other, DEN) == ["#den"]


def test_epoch_changes_are_told_room_by_room() -> None:
    other = OtherSide()
    other.session.open(LOBBY, now=other.now)
    other.join()
    other.say(other.opened(other.sent_one(Open), head=3, since=3))
    other.session.link_down(other.now, "lost")
    other.epoch = EPOCH_2
    other.dial()
    other.say(other.welcome(other.sent_one(Hello)))
    other.say(other.welcome(other.sent_one(Hello), instance=b"instance-------2"))
    other.say(refusal(other.sent_one(Open).request, Code.EPOCH_CHANGED))
    assert other.saw(EpochChanged) == [EpochChanged(LOBBY, LOBBY)]
