"""What a screen shows, event by event."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, date, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chat_client.events import (
    CatchingUp,
    Enrolled,
    EpochChanged,
    Event,
    Failed,
    Line,
    Link,
    LinkChanged,
    Lost,
    Notice,
    Position,
    PresenceChanged,
    ReadMarker,
    RoomAdded,
    RoomClosed,
    RoomOpened,
    Stored,
)
from chat_client.rows import PALETTE, Row, RowKind, color, plain
from chat_client.transcript import FAILED_KEPT_MAX, LATELY_S, NAMES_KEPT_MAX, PendingState, Transcript
from chat_protocol.messages import RoomKind
from tests.client.fake_chat import EPOCH, NOON, public

LOBBY, OPS, ALICE = "#lobby", "#ops", "@1:2"


def line(text: str, *, sender: str = "alice", room: str = LOBBY, seq: int = 1, at: float = NOON) -> Line:
    return Line(room, room, EPOCH, seq, int(at * 1_000), sender, 2, text)


def own(text: str, *, seq: int = 1) -> Line:
    return Line(LOBBY, LOBBY, EPOCH, seq, int(NOON * 1_000), "bob", 1, text, own=True)


def presence(
    *, joined: Sequence[str] = (), left: Sequence[str] = (), count: int = 9, whole: bool = True
) -> PresenceChanged:
    return PresenceChanged(LOBBY, LOBBY, count, tuple(joined), tuple(left), whole)


def in_lobby(*names: str) -> Transcript:
    """A transcript whose current room is the lobby, with these people there."""
    transcript = Transcript("bob", now=NOON, tz=UTC)
    transcript.expected = LOBBY
    transcript.receive(public(LOBBY, names=names), NOON)
    return transcript


def shown(transcript: Transcript, *events: Event, now: float = NOON) -> list[str]:
    """The plain rows that events add."""
    return [plain(row) for event in events for row in transcript.receive(event, now)]


# --------------------------------------------------------------------------- lines


def test_a_line_shows_when_where_who_and_what() -> None:
    assert shown(in_lobby(), line("hello")) == ["12:02 #lobby alice: hello"]


def test_times_are_local() -> None:
    transcript = Transcript("bob", now=NOON, tz=timezone(timedelta(hours=5, minutes=30)))
    assert shown(transcript, line("hello")) == ["17:32 #lobby alice: hello"]


def test_only_lines_of_other_rooms_are_elsewhere() -> None:
    transcript = in_lobby()
    transcript.receive(public(OPS), NOON)
    here, there = transcript.receive(line("a"), NOON) + transcript.receive(line("b", room=OPS), NOON)
    assert (here.elsewhere, there.elsewhere, there.room) == (False, True, OPS)


def test_own_lines_are_marked() -> None:
    (row,) = in_lobby().receive(own("hello"), NOON)
    assert row.kind is RowKind.OWN


def test_a_line_of_several_rows_is_indented_under_its_first() -> None:
    assert shown(in_lobby(), line("one\n  two\n\nthree")) == [
        "12:02 #lobby alice: one\n        two\n      \n      three"
    ]


def test_a_new_day_has_a_row_of_its_own() -> None:
    day = 86_400
    rows = shown(in_lobby(), line("a", at=NOON - day), line("b", at=NOON - day), line("c", at=NOON))
    assert rows == [
        "----- Wednesday, 20 November 2024",
        "12:02 #lobby alice: a",
        "12:02 #lobby alice: b",
        "----- Thursday, 21 November 2024",
        "12:02 #lobby alice: c",
    ]


def test_midnight_is_local_too() -> None:
    transcript = Transcript("bob", now=NOON, tz=timezone(timedelta(hours=12)))
    before = line("a", at=NOON - 180)  # 23:59 there
    assert [plain(row).split(",")[0] for row in transcript.receive(before, NOON)] == [
        "----- Thursday",
        "23:59 #lobby alice: a",
    ]


def test_a_time_beyond_every_calendar_is_shown_as_unknown() -> None:
    assert shown(in_lobby(), line("hello", at=(2**53 - 1) / 1_000)) == ["--:-- #lobby alice: hello"]


def test_a_name_has_one_colour_for_ever() -> None:
    names = [f"name{number}" for number in range(200)]
    assert [color(name) for name in names] == [color(name.upper()) for name in names]
    assert {color(name) for name in names} == set(PALETTE)
    assert color("alice") == "#5f5fff"


def test_every_colour_reads_on_black_and_on_white() -> None:
    def contrast(style: str) -> tuple[float, float]:
        parts = [int(style[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        return 1.05 / (light + 0.05), (light + 0.05) / 0.05

    assert {style: contrast(style) for style in PALETTE if min(contrast(style)) < 3.6} == {}


# --------------------------------------------------------------------------- text is data


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("bell\x07", "bell"),
        ("gnp\u202e.exe", "gnp.exe"),
        ("a\rb", "a\n      b"),
        ("a\tb", "a   b"),
        ("\x9b31mred", "red"),
        ("\x00", "(nothing that can be shown)"),
        ("   ", "(nothing that can be shown)"),
    ],
)
def test_what_moves_a_cursor_is_taken_out(text: str, seen: str) -> None:
    assert shown(in_lobby(), line(text)) == [f"12:02 #lobby alice: {seen}"]


@pytest.mark.parametrize(
    ("sender", "seen"),
    [("al\x1b[2Jice", "alice"), ("al ice:\n12:03 carol", "al_ice:_12:03_carol"), ("", "?"), ("\x1b", "?")],
)
def test_a_name_is_one_word_and_can_hold_nothing_else(sender: str, seen: str) -> None:
    assert shown(in_lobby(), line("x", sender=sender)) == [f"12:02 #lobby {seen}: x"]


def test_a_forged_row_inside_a_line_stays_indented() -> None:
    rows = shown(in_lobby(), line("hi\n12:03 #lobby carol: I quit", sender="mallory"))[0].split("\n")
    assert rows[1].startswith("      12:03")


hostile = st.text(
    st.sampled_from("ab \t\n\r\x1b[]31m;\x07\x9b\x9d\\\u202e\u2066\u2028\x00\x7f\x85#:"), max_size=30
)
number = st.integers(0, 2**40)


def events_of(text: st.SearchStrategy[str]) -> st.SearchStrategy[Event]:
    names = st.lists(text, max_size=8).map(tuple)
    kinds = st.sampled_from(RoomKind)
    rooms = st.sampled_from([LOBBY, OPS])
    return st.one_of(
        st.builds(Line, rooms, text, st.just(EPOCH), number, number, text, number, text, st.booleans()),
        st.builds(Notice, rooms, text, st.just(EPOCH), number, number, text, number, text, text),
        st.builds(LinkChanged, st.sampled_from(Link), text, text, st.none() | st.floats(0, 9e9)),
        st.builds(Enrolled, text),
        st.builds(RoomOpened, rooms, text, kinds, number, number, names, text, st.booleans()),
        st.builds(RoomClosed, rooms, text, text, text),
        st.builds(RoomAdded, rooms, text, kinds, text),
        st.builds(Stored, number, st.builds(Position, rooms, st.just(EPOCH), number)),
        st.builds(Failed, number, rooms | text, text, text, text, st.booleans()),
        st.builds(Lost, rooms, text, number, number),
        st.builds(EpochChanged, rooms, text),
        st.builds(CatchingUp, rooms, text, number),
        st.builds(PresenceChanged, rooms, text, number, names, names, st.booleans()),
    )


@given(st.lists(events_of(hostile), max_size=12))
def test_nothing_from_the_network_reaches_a_screen_as_control(events: list[Event]) -> None:
    transcript = in_lobby()
    for number, event in enumerate(events):
        transcript.posted(number, LOBBY, "\x1b[31mred")
        for row in transcript.receive(event, NOON):
            for text in (row.time, row.room, row.sender, row.text.replace("\n", ""), row.mark, row.style):
                bad = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
                assert not bad, f"{event} shows {bad} in {text!r}"
            assert " " not in row.room + row.sender, f"{event} makes a name of several words"
        for pending in transcript.pending:
            assert "\x1b" not in pending.text + pending.title
        assert "\x1b" not in transcript.status(NOON) + transcript.title + "".join(transcript.people)


# --------------------------------------------------------------------------- rooms


def test_going_to_a_room_tells_who_is_here_once() -> None:
    transcript = Transcript("bob", now=NOON, tz=UTC)
    transcript.expected = LOBBY
    opened = public(LOBBY, names=("alice", "bob", "carol"))
    assert shown(transcript, opened) == ["12:02 #lobby -- 3 here: alice, bob and carol."]
    assert transcript.opened(opened, NOON) == []
    assert (transcript.title, transcript.kind) == (LOBBY, RoomKind.PUBLIC)


def test_many_people_are_counted_beyond_the_names_there_are() -> None:
    transcript = Transcript("bob", now=NOON, tz=UTC)
    transcript.expected = LOBBY
    opened = RoomOpened(LOBBY, LOBBY, RoomKind.PUBLIC, 0, 240, ("alice", "bob"), LOBBY, False)
    assert shown(transcript, opened) == ["12:02 #lobby -- 240 here: alice, bob and 238 more."]


def test_a_room_that_opens_by_itself_stays_in_the_background() -> None:
    transcript = in_lobby()
    assert shown(transcript, public(OPS)) == []
    assert transcript.title == LOBBY
    assert transcript.find("#OPS") == OPS


def test_a_direct_room_opened_by_its_id_is_gone_to_by_its_title() -> None:
    transcript = in_lobby()
    transcript.expected = "@alice"
    transcript.receive(RoomOpened(ALICE, "@alice", RoomKind.DIRECT, 0, 1, ("bob",), ALICE, False), NOON)
    assert transcript.title == "@alice"


def test_who_is_removed_from_a_room_is_in_none_until_they_go_somewhere() -> None:
    """What they are typing was meant for that room alone."""
    transcript = in_lobby()
    transcript.expected = OPS
    transcript.receive(public(OPS), NOON)
    assert shown(transcript, RoomClosed(OPS, OPS, "removed", "alice removed you from #ops")) == [
        "12:02 #ops -- You were removed from #ops."
    ]
    assert (transcript.here, transcript.titles) == ("", ["#lobby"])


def test_a_room_is_left_once_however_often_that_is_told() -> None:
    transcript = in_lobby()
    transcript.receive(public(OPS), NOON)
    closed = RoomClosed(OPS, OPS, "left", "you left #ops")
    assert shown(transcript, closed, closed) == ["12:02 #ops -- You left #ops."]


def test_the_last_room_can_be_lost() -> None:
    transcript = in_lobby()
    assert shown(transcript, RoomClosed(LOBBY, LOBBY, "no_such_room", "this room was not stored")) == [
        "12:02 #lobby -- You no longer follow #lobby: this room was not stored."
    ]
    assert (transcript.here, transcript.title, transcript.kind, transcript.head) == ("", "", None, 0)


@pytest.mark.parametrize(
    ("added", "says"),
    [
        (
            RoomAdded(ALICE, "@alice", RoomKind.DIRECT, "alice"),
            "alice writes to you alone. To answer: /join @alice.",
        ),
        (RoomAdded(OPS, OPS, RoomKind.PRIVATE, "alice"), "alice let you into #ops. To go there: /join #ops."),
        (RoomAdded(OPS, OPS, RoomKind.PRIVATE, "bob"), "#ops is open here too. To go there: /join #ops."),
    ],
)
def test_a_room_that_appears_says_how_to_answer(added: RoomAdded, says: str) -> None:
    assert shown(in_lobby(), added) == [f"12:02 -- {says}"]


def test_a_room_that_is_followed_already_does_not_appear_again() -> None:
    assert shown(in_lobby(), RoomAdded(LOBBY, LOBBY, RoomKind.PUBLIC, "alice")) == []


# --------------------------------------------------------------------------- notices


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (
            Notice(LOBBY, LOBBY, EPOCH, 1, int(NOON * 1_000), "alice", 2, "created", "alice opened #lobby"),
            "#lobby -- alice opened #lobby.",
        ),
        (
            Notice(LOBBY, LOBBY, EPOCH, 1, int(NOON * 1_000), "alice", 2, "", ""),
            "#lobby -- alice did something that this version can't show.",
        ),
        (Lost(LOBBY, LOBBY, 12, 40), "#lobby -- Lines 12 to 40 of #lobby are no longer kept."),
        (Lost(LOBBY, LOBBY, 12, 12), "#lobby -- Line 12 of #lobby is no longer kept."),
        (
            EpochChanged(LOBBY, LOBBY),
            "#lobby -- The broker's history was reset or restored; #lobby is shown afresh.",
        ),
        (CatchingUp(LOBBY, LOBBY, 412), "#lobby -- Catching up, 412 behind."),
        (Enrolled("bob"), "-- The name bob is yours now; its key is kept on this computer."),
    ],
)
def test_what_happens_is_said_in_one_sentence(event: Event, says: str) -> None:
    assert shown(in_lobby(), event) == [f"12:02 {says}"]


def test_catching_up_has_one_row_and_a_small_gap_none() -> None:
    behind = [CatchingUp(LOBBY, LOBBY, count) for count in (412, 312, 0, 50, 0)]
    assert shown(in_lobby(), *behind) == ["12:02 #lobby -- Catching up, 412 behind."]


# --------------------------------------------------------------------------- presence


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (presence(joined=["carol"]), "carol joined."),
        (presence(joined=["carol", "dave"], left=["erin"]), "carol and dave joined; erin left."),
        (presence(left=["a", "b", "c"]), "a, b and c left."),
        (presence(joined=list("abcdef")), "6 people joined; 9 here now."),
        (presence(joined=list("abcde"), left=["f"]), "5 people joined; 1 person left; 9 here now."),
        (presence(whole=False), "Many joined or left; 9 here now."),
    ],
)
def test_who_came_and_went_is_one_sentence(change: PresenceChanged, says: str) -> None:
    assert shown(in_lobby(), change) == [f"12:02 #lobby -- {says}"]


@pytest.mark.parametrize("change", [presence(joined=["bob"]), presence(joined=["carol"], left=["carol"])])
def test_nobody_hears_of_themselves_or_of_who_only_passed(change: PresenceChanged) -> None:
    assert shown(in_lobby(), change) == []


def test_after_a_resume_those_known_before_are_not_announced_again() -> None:
    transcript = in_lobby("alice", "bob", "carol")
    transcript.receive(RoomOpened(LOBBY, LOBBY, RoomKind.PUBLIC, 0, 1, ("bob",), LOBBY, resumed=True), NOON)
    assert shown(transcript, presence(joined=["alice"]), now=NOON + 1) == []
    assert shown(transcript, presence(joined=["dave"]), now=NOON + 9) == ["12:02 #lobby -- dave joined."]
    assert shown(transcript, presence(joined=["carol"]), now=NOON + 11) == ["12:02 #lobby -- carol joined."]


def test_who_is_back_with_the_link_is_there_again_and_no_news() -> None:
    transcript = in_lobby("bob")
    back = PresenceChanged(LOBBY, LOBBY, 2, (), (), back=("alice",))
    assert shown(transcript, back) == []
    place = transcript.place(LOBBY)
    assert place is not None
    assert (place.count, set(place.names)) == (2, {"alice", "bob"})


def test_who_comes_and_goes_is_told_of_the_current_room_only() -> None:
    transcript = in_lobby()
    transcript.receive(public(OPS), NOON)
    assert shown(transcript, PresenceChanged(OPS, OPS, 9, ("carol",), ())) == []
    assert "carol" in transcript.people


def test_presence_of_a_room_that_is_not_followed_is_nobodys_business() -> None:
    assert shown(Transcript("bob", now=NOON, tz=UTC), presence(joined=["carol"])) == []


# --------------------------------------------------------------------------- lines said here


def test_a_line_is_sending_then_stored_then_shown() -> None:
    transcript = in_lobby()
    transcript.posted(7, LOBBY, "hello")
    assert [(one.text, one.state) for one in transcript.pending] == [("hello", PendingState.SENDING)]
    assert transcript.unanswered == 1
    assert shown(transcript, Stored(7, Position(LOBBY, EPOCH, 3))) == []
    assert [one.state for one in transcript.pending] == [PendingState.STORED]
    assert transcript.unanswered == 0
    assert shown(transcript, own("hello", seq=3)) == ["12:02 #lobby bob: hello"]
    assert transcript.pending == ()


def test_a_line_shown_before_its_answer_is_pending_no_longer() -> None:
    transcript = in_lobby()
    transcript.posted(7, LOBBY, "hello")
    transcript.receive(own("hello", seq=3), NOON)
    transcript.receive(Stored(7, Position(LOBBY, EPOCH, 3)), NOON)
    assert transcript.pending == ()


def test_a_line_of_another_session_leaves_this_ones_pending() -> None:
    transcript = in_lobby()
    transcript.posted(7, LOBBY, "hello")
    transcript.receive(own("hello", seq=3), NOON)
    assert [one.ref for one in transcript.pending] == [7]


def test_a_line_that_failed_shows_why_and_what_it_was() -> None:
    transcript = in_lobby()
    transcript.posted(7, LOBBY, "one\ntwo")
    failed = Failed(7, LOBBY, "one\ntwo", "storage_full", "the broker's disk is full")
    assert shown(transcript, failed) == [
        "12:02 #lobby !! Not sent: the broker's disk is full. The line was:\n      one\n      two"
    ]
    assert transcript.pending == ()


def test_a_line_of_unknown_outcome_does_not_claim_it_was_not_sent() -> None:
    failed = Failed(7, LOBBY, "hello", "forgotten", "away too long", unknown=True)
    assert shown(in_lobby(), failed) == [
        "12:02 #lobby !! Nobody can say whether this line was stored: away too long. The line was:\n"
        "      hello"
    ]


def test_a_failed_line_of_a_direct_room_is_told_by_its_title() -> None:
    transcript = in_lobby()
    transcript.receive(RoomOpened(ALICE, "@Alice", RoomKind.DIRECT, 0, 1, ("bob",), "@alice", False), NOON)
    (row,) = transcript.receive(Failed(7, "@alice", "psst", "busy", "too busy"), NOON)
    assert (row.room, row.elsewhere) == ("@Alice", True)


def test_a_stored_line_is_not_waited_for_in_a_room_that_was_left() -> None:
    transcript = in_lobby()
    for ref in (7, 8):
        transcript.posted(ref, LOBBY, "hello")
    transcript.receive(Stored(7, Position(LOBBY, EPOCH, 3)), NOON)
    transcript.receive(RoomClosed(LOBBY, LOBBY, "left", ""), NOON)
    transcript.receive(Stored(8, Position(LOBBY, EPOCH, 4)), NOON)
    assert transcript.pending == ()


def test_after_a_restored_history_old_positions_are_not_waited_for() -> None:
    transcript = in_lobby()
    transcript.posted(7, LOBBY, "hello")
    transcript.receive(Stored(7, Position(LOBBY, EPOCH, 3)), NOON)
    transcript.receive(own("before", seq=2), NOON)
    assert transcript.head == 2
    transcript.receive(EpochChanged(LOBBY, LOBBY), NOON)
    assert (transcript.pending, transcript.head) == ((), 0)


# --------------------------------------------------------------------------- the link


def test_the_link_is_lost_and_back_once_however_often_it_is_tried() -> None:
    offline = [LinkChanged(Link.OFFLINE, "no answer", retry_at=103.0 + tries) for tries in range(3)]
    rows = shown(in_lobby(), *offline, LinkChanged(Link.JOINING), LinkChanged(Link.LIVE))
    assert rows == [
        "12:02 -- No link to the broker: no answer. What you say is kept, and sent when the link is back.",
        "12:02 -- The link is back.",
    ]


def test_that_the_link_may_not_come_back_by_itself_is_told_once() -> None:
    offline = [
        LinkChanged(Link.OFFLINE, "lost"),
        *[LinkChanged(Link.OFFLINE, "not the key", "wrong_key")] * 3,
    ]
    rows = shown(in_lobby(), *offline)
    assert [row.partition(" ")[2] for row in rows[1:]] == ["!! not the key."]


def test_the_first_link_is_no_news() -> None:
    assert shown(in_lobby(), LinkChanged(Link.JOINING), LinkChanged(Link.LIVE)) == []


def test_the_status_counts_down_and_says_how_far_behind() -> None:
    transcript = in_lobby()
    seen = [transcript.status(100.0)]
    transcript.receive(LinkChanged(Link.OFFLINE, "gone", retry_at=103.0), NOON)
    seen += [transcript.status(now) for now in (100.0, 101.5, 103.0)]
    transcript.receive(LinkChanged(Link.JOINING), NOON)
    seen.append(transcript.status(103.0))
    transcript.receive(LinkChanged(Link.LIVE), NOON)
    transcript.receive(CatchingUp(LOBBY, LOBBY, 412), NOON)
    seen.append(transcript.status(104.0))
    transcript.receive(CatchingUp(LOBBY, LOBBY, 0), NOON)
    seen.append(transcript.status(105.0))
    assert seen == [
        "",
        "offline, retrying in 3 s",
        "offline, retrying in 2 s",
        "offline, connecting",
        "offline, connecting",
        "catching up, 412 behind",
        "",
    ]


# --------------------------------------------------------------------------- answers, and bounds


def test_history_is_shown_without_counting_as_new() -> None:
    transcript = in_lobby()
    transcript.receive(line("now", seq=9), NOON)
    rows = [plain(row) for row in transcript.past([line("then", seq=2, at=NOON - 86_400)], NOON)]
    assert rows == [
        "12:02 -- The last 1 line of #lobby:",
        "----- Wednesday, 20 November 2024",
        "12:02 #lobby alice: then",
        "----- Thursday, 21 November 2024",
        "12:02 -- End of the last 1 line.",
    ]
    assert transcript.head == 9


def test_a_problem_is_a_sentence_with_a_mark_no_name_can_look_like() -> None:
    rows: list[Row] = in_lobby().problem("there is no room #nope", NOON)
    assert [plain(row) for row in rows] == ["12:02 !! There is no room #nope."]


def test_names_are_kept_within_bounds_newest_last() -> None:
    transcript = in_lobby()
    for number in range(NAMES_KEPT_MAX + 10):
        transcript.receive(line("x", sender=f"n{number}"), NOON)
    assert len(transcript.people) == NAMES_KEPT_MAX
    assert transcript.people[-1] == f"n{NAMES_KEPT_MAX + 9}"


# --------------------------------------------------------------------------- for screens that keep rows


def unread(transcript: Transcript, room: str = LOBBY) -> tuple[int, int, int]:
    """How many lines are unread, how many of them mention, and from which seq on."""
    place = transcript.place(room)
    assert place is not None
    return place.unread, place.mentions, place.first_unread


def test_lines_of_others_are_unread_until_they_are_looked_at() -> None:
    transcript = in_lobby("alice", "bob")
    shown(transcript, line("one", seq=1), line("bob: two", seq=2))
    assert unread(transcript) == (2, 1, 1)
    assert transcript.looked(LOBBY) == 2
    assert unread(transcript) == (0, 0, 0)
    assert transcript.looked(LOBBY) == 0
    shown(transcript, line("three", seq=3))
    assert unread(transcript) == (1, 0, 3)
    shown(transcript, own("I am here", seq=4))
    assert unread(transcript) == (0, 0, 0)


def test_a_read_marker_takes_what_was_read_elsewhere() -> None:
    transcript = in_lobby()
    shown(
        transcript, ReadMarker(LOBBY, LOBBY, 2), line("one", seq=1), line("two", seq=2), line("three", seq=3)
    )
    assert unread(transcript) == (1, 0, 3)
    shown(transcript, ReadMarker(LOBBY, LOBBY, 3))
    assert unread(transcript) == (0, 0, 0)
    shown(transcript, ReadMarker("#elsewhere", "#elsewhere", 3))


def test_a_room_in_which_nothing_was_said_yet_was_looked_at_all_the_same() -> None:
    transcript = in_lobby()
    transcript.receive(RoomOpened(OPS, OPS, RoomKind.PUBLIC, 1, 1, ("bob",), OPS, False), NOON)
    assert transcript.looked(OPS) == 0
    transcript.receive(CatchingUp(OPS, OPS, 0), NOON)
    assert transcript.looked(OPS) == 1
    assert transcript.looked(OPS) == 0


def test_what_was_said_in_an_open_room_before_one_ever_came_is_not_unread() -> None:
    transcript = in_lobby()
    shown(transcript, replace(line("long ago", seq=1), replayed=True), line("now", seq=2))
    assert unread(transcript) == (1, 0, 2)


def test_what_somebody_wrote_directly_meanwhile_is() -> None:
    transcript = in_lobby()
    opened = RoomOpened(ALICE, "@alice", RoomKind.DIRECT, 1, 1, ("bob",), "@alice", resumed=False)
    shown(transcript, opened, replace(line("psst", room=ALICE, seq=1), replayed=True))
    assert unread(transcript, ALICE) == (1, 1, 1)


def test_rows_know_their_room_their_entry_and_their_day() -> None:
    transcript = in_lobby()
    (row,) = transcript.receive(replace(line("hi bob", seq=7), hops=2, replayed=True), NOON)
    assert (row.where, row.epoch, row.seq, row.day) == (LOBBY, EPOCH, 7, date(2024, 11, 21))
    assert (row.bot, row.mention, row.replayed, row.said) == (True, True, True, True)
    (own_row,) = transcript.receive(own("I, bob", seq=8), NOON)
    assert not own_row.mention


def test_places_know_who_is_there_who_is_away_and_who_is_a_bot() -> None:
    transcript = in_lobby("alice", "bob", "dice")
    shown(transcript, replace(line("4", sender="dice", seq=1), hops=1), line("bye", sender="carol", seq=2))
    place = transcript.place(LOBBY)
    assert place is not None
    assert (place.names, place.away, place.bots) == (
        ("alice", "bob", "dice"),
        ("carol",),
        frozenset({"dice"}),
    )
    shown(transcript, RoomOpened(ALICE, "@alice", RoomKind.DIRECT, 0, 1, ("bob",), "@alice", resumed=False))
    assert [place.other_here for place in transcript.places] == [False, True]
    shown(transcript, presence(left=["alice"], count=2))
    assert [place.other_here for place in transcript.places] == [False, False]


def test_comings_and_goings_of_who_did_not_speak_lately_are_aside() -> None:
    transcript = in_lobby("alice", "bob")
    shown(transcript, line("I speak", sender="alice", seq=1))
    (left,) = transcript.receive(presence(left=["alice"]), NOON + 60)
    assert (left.aside, left.came, left.went) == (False, (), ("alice",))
    (joined,) = transcript.receive(presence(joined=["eve"]), NOON + 60)
    assert (joined.aside, joined.came) == (True, ("eve",))
    (late,) = transcript.receive(presence(joined=["alice"]), NOON + 60 + LATELY_S)
    assert late.aside


def test_for_a_screen_that_folds_they_come_apart_from_the_others() -> None:
    transcript = Transcript("bob", now=NOON, tz=UTC, apart=True)
    transcript.expected = LOBBY
    transcript.receive(public(LOBBY, names=("alice", "bob", "eve")), NOON)
    shown(transcript, line("I speak", sender="alice", seq=1))
    rows = transcript.receive(presence(joined=["dan"], left=["alice", "eve"]), NOON + 60)
    assert [(row.text, row.aside) for row in rows] == [
        ("dan joined; eve left.", True),
        ("alice left.", False),
    ]


def test_progress_of_catching_up() -> None:
    transcript = in_lobby()
    shown(transcript, CatchingUp(LOBBY, LOBBY, 412), CatchingUp(LOBBY, LOBBY, 100))
    place = transcript.place(LOBBY)
    assert place is not None
    assert (place.behind, place.behind_most, place.level) == (100, 412, False)
    shown(transcript, CatchingUp(LOBBY, LOBBY, 0))
    place = transcript.place(LOBBY)
    assert place is not None
    assert (place.behind, place.behind_most, place.level) == (0, 0, True)


def test_lines_that_failed_wait_to_be_said_again() -> None:
    transcript = in_lobby()
    transcript.posted(1, LOBBY, "hello")
    failed = Failed(1, LOBBY, "hello", "storage_full", "the disk is full")
    (row,) = transcript.receive(failed, NOON)
    assert row.ref == 1
    assert list(transcript.failed) == [failed]
    assert transcript.take_failed(1) == failed
    assert transcript.take_failed(1) is None
    for ref in range(2, 2 * FAILED_KEPT_MAX):
        transcript.receive(replace(failed, ref=ref), NOON)
    assert len(transcript.failed) == FAILED_KEPT_MAX


def test_older_entries_leave_everything_as_it_is() -> None:
    transcript = in_lobby()
    shown(transcript, line("now", seq=9))
    rows = transcript.older([line("before", seq=7, at=NOON - 200_000), line("after that", seq=8)])
    assert [row.seq for row in rows] == [7, 8]
    assert unread(transcript) == (1, 0, 9)
    assert shown(transcript, line("next", seq=10)) == ["12:02 #lobby alice: next"]
