"""The full screen, by key presses and clicks."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from chat_client.events import (
    CatchingUp,
    EpochChanged,
    Line,
    Link,
    LinkChanged,
    Lost,
    PresenceChanged,
    ReadMarker,
    RoomAdded,
    RoomClosed,
    RoomOpened,
)
from chat_client.outcome import Outcome
from chat_client.preferences import Keeper, Preferences
from chat_client.tui.app import ChatScreen
from chat_protocol.errors import Code, Refused, Unreachable
from chat_protocol.messages import LOBBY, RoomKind
from tests.client.fake_chat import EPOCH, FakeChat, public
from tests.client.tui.sitting import Sitting, sit

OPS = public("#ops", names=("alice",))


def direct(name: str, account: int = 3) -> RoomOpened:
    return RoomOpened(f"@1:{account}", f"@{name}", RoomKind.DIRECT, 0, 1, ("bob",), f"@{name}", resumed=False)


def past(count: int, first: int = 1) -> list[Line]:
    """Lines that were said before."""
    return [
        Line(LOBBY, LOBBY, EPOCH, seq, 1_732_190_520_000, "alice", 2, f"line {seq}", replayed=True)
        for seq in range(first, first + count)
    ]


# --------------------------------------------------------------------------- saying and hearing


def test_a_line_is_said_and_shown_as_stored() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.types("hello, alice!")
        await bob.sees("bob ✓ hello, alice!")
        assert bob.chat.posted == [(LOBBY, "hello, alice!")]
        assert bob.composed == ""

    sit(FakeChat(), talk)


def test_keys_that_come_all_at_once_do_what_they_do_one_by_one() -> None:
    async def talk(bob: Sitting) -> None:
        bob.chat.tell(OPS)
        await bob.sees("#ops")
        await bob.hurries("first", "enter", "seck", "backspace", "ond", "enter")
        await bob.sees("bob ✓ first", "✓ second")
        await bob.hurries("a draft", "ctrl+n", "to ops", "enter", "ctrl+k", "lobby")
        await bob.sees("│ lobby ")
        await bob.hurries("enter")
        await bob.until(lambda: bob.composed == "a draft", "the draft where it was left")
        assert [(room, text) for room, text in bob.chat.posted] == [
            (LOBBY, "first"),
            (LOBBY, "second"),
            ("#ops", "to ops"),
        ]

    sit(FakeChat(), talk)


def test_a_line_is_said_also_when_leaving_follows_at_once() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.hurries("good night", "enter", "ctrl+q")
        await bob.until(lambda: not bob.app.is_running, "the end")

    chat = FakeChat()
    screen = sit(chat, talk)
    assert chat.posted == [(LOBBY, "good night")]
    assert screen.sentences == []


def test_what_is_heard_does_not_disturb_what_is_composed() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.writes("half a th")
        for number in range(50):
            bob.chat.hear("alice", f"meanwhile {number}")
        await bob.sees("meanwhile 49")
        await bob.writes("ought")
        assert bob.composed == "half a thought"
        await bob.presses("enter")
        await bob.sees("bob ✓ half a thought")

    sit(FakeChat(), talk)


def test_the_state_of_a_line_is_shown_until_it_stands_there() -> None:
    chat = FakeChat(stores=False)
    chat.shows = False

    async def talk(bob: Sitting) -> None:
        await bob.types("slow")
        await bob.sees("◌ slow  sending…")
        bob.chat.tell(LinkChanged(Link.OFFLINE, "the connection was lost"))
        await bob.sees("◌ slow  not sent yet")
        bob.chat.tell(LinkChanged(Link.LIVE))
        bob.chat.store(1)
        await bob.sees("✓ slow  stored")
        bob.chat.shows = True

    sit(chat, talk)


def test_a_line_that_failed_is_said_again_or_given_up() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.types("one")
        await bob.sees("sending…")
        bob.chat.fail(1, "the disk is full")
        await bob.sees("Not sent: the disk is full. The line was:", "say it again", "give it up")
        await bob.presses("ctrl+r")
        await bob.sees_no("Not sent")
        assert bob.chat.posted == [(LOBBY, "one"), (LOBBY, "one")]
        bob.chat.fail(2, "the disk is full")
        await bob.sees("say it again")
        await bob.clicks("say it again")
        await bob.sees_no("Not sent")
        bob.chat.fail(3, "the disk is full")
        await bob.sees("give it up")
        await bob.clicks("give it up")
        await bob.sees_no("Not sent")
        assert len(bob.chat.posted) == 3

    sit(FakeChat(stores=False), talk)


def test_rows_and_pastes_stay_whole() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.writes("def f():")
        await bob.presses("alt+enter")
        await bob.writes("  pass")
        await bob.presses("ctrl+j")
        await bob.pastes("x = 1\r\ny =\t2\x1b[31m\n")
        assert bob.chat.posted == []
        await bob.presses("enter")
        await bob.sees("y = 2")
        assert bob.chat.posted == [(LOBBY, "def f():\n  pass\nx = 1\ny = 2")]

    sit(FakeChat(), talk)


def test_what_may_not_be_said_stays_where_it_is() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.pastes("\n".join(["row"] * 300))
        await bob.presses("enter")
        await bob.sees("A line has at most 200 rows of text.")
        assert bob.composed.count("row") == 300
        await bob.presses("ctrl+c")
        assert bob.composed == ""
        await bob.types("/jion #ops")
        await bob.sees("There is no command /jion; did you mean /join?")
        assert bob.composed == "/jion #ops"

    sit(FakeChat(), talk)


def test_what_was_typed_comes_back() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.types("first")
        await bob.types("second")
        await bob.writes("dra")
        await bob.presses("up")
        assert bob.composed == "second"
        await bob.presses("up", "up")
        assert bob.composed == "first"
        await bob.presses("down", "down")
        assert bob.composed == "dra"
        await bob.writes("ft")
        assert bob.composed == "draft"

    sit(FakeChat(), talk)


def test_names_rooms_and_commands_are_completed() -> None:
    chat = FakeChat()
    chat.known[LOBBY] = public(LOBBY, names=("alan", "alice", "bob"))

    async def talk(bob: Sitting) -> None:
        await bob.writes("al")
        await bob.presses("tab")
        assert bob.composed == "alan: "
        await bob.sees("alan:", "alice:")
        await bob.presses("tab")
        assert bob.composed == "alice: "
        await bob.presses("shift+tab")
        assert bob.composed == "alan: "
        await bob.clicks("alice:")
        assert bob.composed == "alice: "
        await bob.writes("ask @ala")
        await bob.presses("tab")
        assert bob.composed == "alice: ask @alan "
        await bob.presses("ctrl+c")
        await bob.writes("/qu")
        await bob.presses("tab")
        assert bob.composed == "/quiet "

    sit(chat, talk)


# --------------------------------------------------------------------------- rooms


def test_going_from_room_to_room_keeps_what_is_composed_in_each() -> None:
    chat = FakeChat()
    chat.knows(OPS)

    async def talk(bob: Sitting) -> None:
        await bob.types("/join ops")
        await bob.sees("Say something in #ops")
        await bob.writes("to ops")
        await bob.presses("ctrl+p")
        await bob.sees("Say something in #lobby")
        await bob.writes("to lobby")
        await bob.clicks("#ops")
        await bob.until(lambda: bob.composed == "to ops")
        await bob.presses("enter")
        await bob.sees("✓ to ops")
        assert bob.chat.posted == [("#ops", "to ops")]

    sit(chat, talk)


def test_public_rooms_are_followed_again_next_time(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "preferences.json")

    def chat() -> FakeChat:
        chat = FakeChat()
        chat.knows(OPS)
        return chat

    async def come(bob: Sitting) -> None:
        await bob.types("/join #ops")
        await bob.sees("Say something in #ops")

    async def leave(bob: Sitting) -> None:
        await bob.sees("#ops", "Say something in #lobby")
        await bob.presses("ctrl+n")
        await bob.types("/leave")
        await bob.sees("Say something in #lobby")

    async def stay_away(bob: Sitting) -> None:
        await bob.types("here again")
        await bob.sees("✓ here again")
        assert "open #ops" not in bob.chat.asked
        assert "#ops" not in bob.text

    for each in (come, leave, stay_away):
        sit(chat(), each, keeper=keeper)


def test_a_line_that_waits_is_said_where_it_was_typed() -> None:
    chat = FakeChat()
    chat.may_tell.clear()

    async def talk(bob: Sitting) -> None:
        bob.chat.tell(OPS)
        await bob.sees("#ops")
        await bob.presses("ctrl+n")
        await bob.types("/users")
        await bob.types("for #ops alone")
        await bob.presses("ctrl+p")
        await bob.sees("Say something in #lobby")
        bob.chat.may_tell.set()
        await bob.until(lambda: bool(bob.chat.posted), "the line")
        assert bob.chat.posted == [("#ops", "for #ops alone")]

    sit(chat, talk)


def test_history_shows_the_last_lines(tmp_path: Path) -> None:
    async def talk(bob: Sitting) -> None:
        for line in past(200):
            bob.chat.tell(line)
        await bob.sees("line 200")
        await bob.types("/history 3")
        await bob.sees("line 200", "line 198")
        await bob.types("/history 100")
        await bob.sees("line 101")
        await bob.sees_no("line 100", "line 200")

    sit(FakeChat(), talk, size=(80, 24))


def test_a_dialog_has_the_keys_to_itself() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.presses("f1")
        await bob.sees("─ Help ─", "say the line")
        await bob.presses("ctrl+k", "pagedown", "pagedown", "pagedown")
        await bob.sees("/discard   ")
        await bob.sees_no("Jump to")
        await bob.presses("f1")
        await bob.sees_no("─ Help ─")

    sit(FakeChat(), talk, size=(80, 24))


def test_ctrl_c_leaves_only_where_nothing_comes_between_the_two() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.presses("ctrl+c")
        await bob.sees("Ctrl-C once more leaves")
        await bob.types("still here")
        await bob.sees_no("Ctrl-C once more leaves")
        await bob.presses("ctrl+c")
        await bob.sees("Ctrl-C once more leaves")
        assert not bob.app._leaving

    sit(FakeChat(), talk)


def test_what_went_wrong_is_told_whole_on_narrow_terminals() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.types("/foo")
        await bob.sees("There is no command /foo; /help lists", "them all. To say a line that begins with")
        await bob.sees("a slash, begin it with //")

    sit(FakeChat(), talk, size=(44, 20))


def test_unread_lines_and_mentions_are_counted_at_the_side() -> None:
    chat = FakeChat()
    chat.knows(OPS)

    async def talk(bob: Sitting) -> None:
        await bob.types("/join #ops")
        await bob.sees("Say something in #ops")
        bob.chat.hear("alice", "one")
        await bob.sees("#lobby             1")
        bob.chat.hear("alice", "and you, Bob?")
        await bob.sees("#lobby          @1/2")
        await bob.presses("ctrl+g")
        await bob.sees("new since you looked", "and you, Bob?", "Say something in #lobby")
        await bob.sees_no("@1/2")
        await bob.until(lambda: bob.chat.marked.get(LOBBY) == 2)
        await bob.types("me too")
        await bob.sees_no("new since you looked")

    sit(chat, talk)


def test_what_was_read_on_another_device_is_not_new() -> None:
    chat = FakeChat()
    chat.knows(OPS)

    async def talk(bob: Sitting) -> None:
        await bob.types("/join #ops")
        await bob.sees("Say something in #ops")
        for number in range(3):
            bob.chat.hear("alice", f"line {number}")
        await bob.sees("#lobby             3")
        bob.chat.tell(ReadMarker(LOBBY, LOBBY, 2))
        await bob.sees("#lobby             1")
        await bob.presses("ctrl+p")
        await bob.sees("line 2")
        at = bob.rows.index(next(row for row in bob.rows if "new since you looked" in row))
        assert "line 2" in bob.rows[at + 1]

    sit(chat, talk)


def test_lines_that_come_while_one_looks_away_are_marked() -> None:
    async def talk(bob: Sitting) -> None:
        bob.chat.hear("alice", "seen")
        await bob.sees("seen")
        bob.app.app_focus = False
        bob.chat.hear("alice", "not seen")
        await bob.sees("new since you looked", "not seen")
        assert bob.chat.marked == {LOBBY: 1}
        bob.app.app_focus = True
        await bob.until(lambda: bob.chat.marked == {LOBBY: 2})
        await bob.sees("new since you looked")

    sit(FakeChat(), talk)


def test_jumping_to_a_room_by_a_part_of_its_name() -> None:
    chat = FakeChat()
    chat.knows(OPS)
    chat.knows(public("#gardening", names=()))
    chat.knows(direct("alice"))

    async def talk(bob: Sitting) -> None:
        await bob.presses("ctrl+k")
        await bob.sees("Jump to", "#gardening", "not joined")
        await bob.writes("den")
        await bob.sees_no("#ops")
        await bob.presses("enter")
        await bob.sees("Say something in #gardening")
        await bob.presses("ctrl+k")
        await bob.writes("@al")
        await bob.presses("enter")
        await bob.sees("Say something in @alice", "just the two of you")
        await bob.presses("ctrl+k")
        await bob.writes("zzz")
        await bob.sees("Nothing here is called zzz")
        await bob.presses("escape")
        await bob.writes("still here")
        assert bob.composed == "still here"

    sit(chat, talk)


def test_a_command_that_fails_says_so_and_gives_back_what_followed() -> None:
    chat = FakeChat()

    async def talk(bob: Sitting) -> None:
        bob.chat.may_open.clear()
        await bob.types("/join #nowhere")
        await bob.types("for nowhere only")
        await bob.sees("waiting…")
        bob.chat.may_open.set()
        await bob.sees("There is no #nowhere.", "Not done, because the command before it failed. It was:")
        assert bob.chat.posted == []

    sit(chat, talk)


def test_being_added_and_removed() -> None:
    chat = FakeChat()
    chat.knows(RoomOpened("#cellar", "#cellar", RoomKind.PRIVATE, 1, 2, ("alice", "bob"), "#cellar", False))

    async def talk(bob: Sitting) -> None:
        bob.chat.tell(RoomAdded("#cellar", "#cellar", RoomKind.PRIVATE, "alice"))
        await bob.sees("alice let you into #cellar. To go there: /join #cellar.")
        await bob.clicks("#cellar")
        await bob.types("/join #cellar")
        await bob.sees("Say something in #cellar", "private")
        bob.chat.tell(RoomClosed("#cellar", "#cellar", Code.REMOVED, ""))
        await bob.sees("You were removed from #cellar.", "You are in no room")
        await bob.presses("ctrl+n")
        await bob.sees("Say something in #lobby")

    sit(chat, talk)


def test_what_is_typed_for_a_room_is_said_nowhere_else_when_one_is_removed_from_it() -> None:
    chat = FakeChat()

    async def talk(bob: Sitting) -> None:
        bob.chat.tell(OPS)
        await bob.sees("#ops")
        await bob.presses("ctrl+n")
        await bob.writes("a secret")
        bob.chat.tell(RoomClosed("#ops", "#ops", Code.REMOVED, ""))
        await bob.sees("You were removed from #ops.")
        await bob.types(" for #ops")
        await bob.sees("You are in no room now, and what stands here was not said anywhere")
        assert bob.composed == "a secret for #ops"
        await bob.presses("ctrl+n")
        await bob.until(lambda: bob.composed == "", "an empty row in #lobby")

    sit(chat, talk)
    assert chat.posted == []


# --------------------------------------------------------------------------- people


def test_members_and_their_presence() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.sees("● alice", "● bob you", "Here, 2")
        bob.chat.hear("dan", "I am only a script")
        bob.chat.tell(PresenceChanged(LOBBY, LOBBY, 3, ("carol",), ()))
        await bob.sees("● carol", "○ dan", "Here, 3")
        bob.chat.tell(PresenceChanged(LOBBY, LOBBY, 2, (), ("carol",)))
        await bob.sees_no("● carol")

    sit(FakeChat(), talk, size=(130, 30))


def test_bots_are_marked() -> None:
    async def talk(bob: Sitting) -> None:
        line = replace(bob.chat.line("dice", "you rolled 4"), hops=1)
        bob.chat.tell(PresenceChanged(LOBBY, LOBBY, 3, ("dice",), ()))
        bob.chat.tell(line)
        await bob.sees("dice ⚙ you rolled 4", "● dice bot")

    sit(FakeChat(), talk, size=(130, 30))


def test_comings_and_goings_of_the_silent_are_folded() -> None:
    async def talk(bob: Sitting) -> None:
        bob.chat.hear("carol", "I do speak")
        for name in ("dan", "eve", "fay"):
            bob.chat.tell(PresenceChanged(LOBBY, LOBBY, 3, (name,), ()))
        bob.chat.tell(PresenceChanged(LOBBY, LOBBY, 2, (), ("dan",)))
        await bob.sees("▸ dan, eve and 1 more came and went")
        await bob.sees_no("eve joined")
        bob.chat.tell(PresenceChanged(LOBBY, LOBBY, 2, (), ("carol",)))
        await bob.sees("carol left.")
        await bob.clicks("▸ dan")
        await bob.sees("▾ dan, eve and 1 more came and went", "eve joined.", "dan left.")
        await bob.presses("ctrl+o")
        await bob.sees_no("eve joined.")

    sit(FakeChat(), talk)


def test_a_click_on_a_name_addresses_a_person_and_on_a_member_opens_a_conversation() -> None:
    chat = FakeChat()
    chat.knows(direct("alice"))

    async def talk(bob: Sitting) -> None:
        bob.chat.hear("alice", "hi")
        await bob.sees("alice   hi")
        await bob.clicks("alice   hi")
        await bob.until(lambda: bob.composed == "@alice ")
        await bob.clicks("● alice")
        await bob.sees("Say something in @alice")

    sit(chat, talk, size=(130, 30))


# --------------------------------------------------------------------------- scrolling


def test_scrolling_back_fetches_older_lines() -> None:
    chat = FakeChat()
    chat.entries = list(past(500))

    async def talk(bob: Sitting) -> None:
        bob.chat.tell(*past(40, first=461), CatchingUp(LOBBY, LOBBY, 0))
        await bob.sees("line 500")
        await bob.presses("pageup", "pageup", "pageup")
        await bob.until(lambda: f"history {LOBBY} 260 200" in bob.chat.asked)
        while "this is where it begins" not in bob.text:
            await bob.presses("pageup")
        assert any(" line 1 " in row for row in bob.rows)
        bob.chat.hear("alice", "and one more")
        await bob.sees("↓ 1 new line below", "this is where it begins")
        await bob.presses("escape")
        await bob.sees("and one more")
        await bob.sees_no("new line below")

    sit(chat, talk)


def test_a_terminal_that_is_resized_shows_what_it_showed() -> None:
    async def talk(bob: Sitting) -> None:
        bob.chat.tell(*past(300))
        await bob.sees("line 300")
        for size in ((70, 12), (130, 40), (40, 10), (130, 32), (20, 8), (90, 24)):
            await bob.is_resized(*size)
            await bob.sees("line 300")
        for size in ((1, 1), (9, 3), (90, 24)):
            await bob.is_resized(*size)
        await bob.sees("line 300")
        await bob.presses("pageup", "pageup")
        await bob.sees_no("line 300")
        middle = next(row for row in bob.rows[5:] if " line " in row).split()[-1]
        await bob.is_resized(60, 30)
        await bob.sees(f"line {middle}")
        await bob.sees_no("line 300")

    sit(FakeChat(), talk)


def test_a_screen_that_is_not_full_fetches_by_itself_and_says_what_is_gone() -> None:
    chat = FakeChat()
    chat.entries = list(past(10, first=31))

    async def talk(bob: Sitting) -> None:
        bob.chat.tell(*past(2, first=39), CatchingUp(LOBBY, LOBBY, 0))
        await bob.sees("line 31", "line 40", "lines 1 to 30 are no longer kept")

    sit(chat, talk)


def test_older_lines_that_cannot_be_fetched() -> None:
    chat = FakeChat()
    chat.refusals[f"history {LOBBY} 0 200"] = Unreachable("the broker has not answered for 10 s")

    async def talk(bob: Sitting) -> None:
        bob.chat.tell(*past(2, first=39), CatchingUp(LOBBY, LOBBY, 0))
        await bob.sees("older lines could not be fetched", "line 40")

    sit(chat, talk)


def test_ten_thousand_lines_stay_quick() -> None:
    async def talk(bob: Sitting) -> None:
        bob.chat.tell(*past(10_000))
        await bob.sees("line 10000")
        begun = time.process_time()
        for letter in "still quick":
            await bob.writes(letter)
        bob.chat.hear("alice", "one more")
        await bob.sees("one more")
        await bob.presses("pageup", "pageup", "escape")
        assert time.process_time() - begun < 5.0
        assert bob.composed == "still quick"

    sit(FakeChat(), talk)


# --------------------------------------------------------------------------- what is wrong


def test_the_link_is_always_shown() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.sees("● live")
        bob.chat.tell(LinkChanged(Link.OFFLINE, "the connection was lost", retry_at=bob.chat.time + 3))
        await bob.sees(
            "○ no link", "offline, retrying in 3 s", "No link to the broker: the connection was lost."
        )
        bob.chat.time += 1
        await bob.sees("retrying in 2 s")
        bob.chat.tell(LinkChanged(Link.LIVE))
        await bob.sees("● live", "The link is back.")
        await bob.sees_no("retrying")

    sit(FakeChat(), talk)


def test_catching_up_has_a_progress_bar() -> None:
    async def talk(bob: Sitting) -> None:
        bob.chat.tell(CatchingUp(LOBBY, LOBBY, 400))
        await bob.sees("catching up, 400 behind  ━━━━")
        bob.chat.tell(CatchingUp(LOBBY, LOBBY, 100))
        await bob.sees("catching up, 100 behind  ━━━━")
        bob.chat.tell(CatchingUp(LOBBY, LOBBY, 0))
        await bob.sees_no("behind  ")

    sit(FakeChat(), talk)


def test_what_is_no_longer_kept_and_another_history() -> None:
    async def talk(bob: Sitting) -> None:
        bob.chat.hear("alice", "of the old history")
        bob.chat.tell(Lost(LOBBY, LOBBY, 12, 40))
        await bob.sees("Lines 12 to 40 of #lobby are no longer kept.")
        bob.chat.tell(EpochChanged(LOBBY, LOBBY))
        await bob.sees("The broker's history was reset or restored; #lobby is shown")
        bob.chat.tell(Line(LOBBY, LOBBY, b"epoch--2", 1, 0, "alice", 2, "of the new one"))
        await bob.sees("of the new one")
        await bob.sees_no("of the old history")

    sit(FakeChat(), talk)


# --------------------------------------------------------------------------- alerts and wishes


def test_mentions_and_direct_lines_ring_unless_they_are_looked_at() -> None:
    chat = FakeChat()
    chat.knows(OPS)
    chat.knows(direct("alice"))

    async def talk(bob: Sitting) -> None:
        bob.chat.hear("alice", "bob: you see this")
        await bob.sees("you see this")
        assert bob.rang == 0
        await bob.types("/join #ops")
        await bob.sees("Say something in #ops")
        bob.chat.hear("alice", "nothing for you")
        bob.chat.hear("alice", "bob?")
        await bob.until(lambda: bob.rang == 1)
        bob.chat.time += 10
        await bob.types("/mute #lobby")
        await bob.sees("#lobby rings no more")
        bob.chat.hear("alice", "bob!")
        await bob.types("/quiet 12-13")
        await bob.sees("Nothing rings from 12:00 to 13:00", "quiet hours")
        await bob.types("/unmute #lobby")
        bob.chat.hear("alice", "bob!!")
        await bob.sees("@3/4")
        assert bob.rang == 1
        await bob.types("/quiet off")
        await bob.sees("There are no quiet hours")
        bob.chat.hear("alice", "bob!!!")
        await bob.until(lambda: bob.rang == 2)

    sit(chat, talk)


def test_wishes_are_remembered(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "bob.screen")

    async def wish(bob: Sitting) -> None:
        await bob.types("/mute")
        await bob.types("/quiet 22:00-7:30")
        await bob.sees("Nothing rings from 22:00 to 07:30")
        await bob.presses("ctrl+t")
        await bob.until(lambda: bob.app.theme == "light")

    async def find(bob: Sitting) -> None:
        await bob.sees("muted")
        assert bob.app.theme == "light"

    sit(FakeChat(), wish, keeper=keeper)
    assert keeper.load() == Preferences([LOBBY], "22:00-07:30", "light", [LOBBY])
    sit(FakeChat(), find, keeper=keeper)


# --------------------------------------------------------------------------- hostile and foreign text


def test_nothing_that_others_send_is_interpreted() -> None:
    hostile = [
        "[bold red]markup[/] [@click=app.quit]click me[/] \\[x]",
        "escape \x1b[2J\x1b]0;title\x07 gone",
        "zalgo z" + "\u0301" * 500 + " end",
        "\u202egnp.exe",
        "👨\u200d👩\u200d👧\u200d👦 family, ❤\ufe0f heart",
        "漢字かな交じり文",
        "שלום עולם مرحبا",
        "$foreground {braces} :smile: **bold**",
    ]

    async def talk(bob: Sitting) -> None:
        for text in hostile:
            bob.chat.hear("[red]eve", text)
        await bob.sees("[bold red]markup[/] [@click=app.quit]click me[/] \\[x]")
        await bob.sees(
            "$foreground {braces} :smile: **bold**", "漢字かな交じり文", "שלום עולם مرحبا", "gnp.exe"
        )
        await bob.sees("[red]eve")
        assert "\u0301" * 5 not in bob.text
        assert not {"\x1b", "\x07", "\u202e", "\u200d"} & set(bob.text)
        await bob.writes("fine")
        assert bob.composed == "fine"

    sit(FakeChat(), talk)


def test_addresses_can_be_copied_and_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_address(url: str) -> bool:
        opened.append(url)
        return url.endswith("812")

    monkeypatch.setattr("chat_client.tui.app.open_address", open_address)

    async def talk(bob: Sitting) -> None:
        bob.chat.hear("alice", "see https://ci.example.org/runs/812.")
        bob.chat.hear("carol", "or (http://example.org/a_(b))")
        await bob.sees("http://example.org/a_(b)")
        await bob.clicks("https://ci")
        await bob.sees("Opened https://ci.example.org/runs/812")
        await bob.clicks("http://ex")
        await bob.sees("Copied http://example.org/a_(b)")
        await bob.presses("ctrl+l")
        await bob.sees("Addresses")
        await bob.presses("down", "c")
        await bob.sees("Copied https://ci.example.org/runs/812")
        assert bob.app.clipboard == "https://ci.example.org/runs/812"
        assert opened == ["https://ci.example.org/runs/812", "http://example.org/a_(b)"]

    sit(FakeChat(), talk)


# --------------------------------------------------------------------------- size and leaving


def test_panels_fold_away_on_narrow_screens() -> None:
    chat = FakeChat()
    chat.knows(OPS)

    async def talk(bob: Sitting) -> None:
        await bob.types("/join #ops")
        await bob.sees("Rooms", "Here, 1")
        await bob.is_resized(80, 24)
        await bob.sees("Rooms", "#lobby")
        await bob.sees_no("Here, 1")
        await bob.is_resized(40, 24)
        await bob.sees_no("Rooms")
        bob.chat.hear("alice", "hello")
        await bob.sees("#ops", "1 elsewhere")
        await bob.presses("f2")
        await bob.sees("Rooms", "#lobby")
        await bob.presses("up", "enter")
        await bob.sees("Say something in #lobby")
        await bob.sees_no("Rooms")
        await bob.presses("f3")
        await bob.sees("Here, 2", "● alice")
        await bob.presses("escape")
        await bob.sees_no("Here, 2")
        await bob.writes("typed")
        assert bob.composed == "typed"

    sit(chat, talk, size=(120, 30))


def test_help() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.presses("f1")
        await bob.sees("Ctrl-K", "jump to a room or a person")
        await bob.presses("escape")
        await bob.is_resized(40, 24)
        await bob.types("/help")
        await bob.sees("jump to a room or a person")
        await bob.presses("escape")
        await bob.sees_no("jump to a room or a person")

    sit(FakeChat(), talk)


@pytest.mark.parametrize(
    "keys", [["ctrl+q"], ["ctrl+c", "ctrl+c"], ["ctrl+d"], [*"/exit", "enter"], [*"exit", "enter"]]
)
def test_leaving(keys: list[str]) -> None:
    async def talk(bob: Sitting) -> None:
        await bob.presses(*("slash" if key == "/" else key for key in keys))
        await bob.until(lambda: bob.app.return_value is not None, "the end")

    assert sit(FakeChat(), talk).return_value is Outcome.DONE


def test_ctrl_c_leaves_only_when_there_is_nothing_to_clear() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.presses("ctrl+c")
        await bob.sees("Ctrl-C once more leaves")
        await bob.writes("after all")
        await bob.presses("ctrl+c")
        assert (bob.composed, bob.app.return_value) == ("", None)
        await bob.presses("ctrl+c")
        await bob.until(lambda: bob.app.return_value is not None, "the end")

    sit(FakeChat(), talk)


def test_leaving_waits_for_the_last_lines() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.types("last words")
        await bob.sees("sending…")
        await bob.presses("ctrl+q")
        await bob.sees("Waiting until the last lines are stored; Ctrl-Q leaves at once.")
        assert bob.app.return_value is None
        await bob.types("too late")
        await bob.sees("You are leaving; Ctrl-Q leaves at once")
        assert bob.composed == "too late"
        bob.chat.store(1)
        await bob.until(lambda: bob.app.return_value is not None, "the end")

    assert sit(FakeChat(stores=False), talk).return_value is Outcome.DONE


def test_leaving_at_once_names_the_lines_that_nobody_knows_about() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.types("last words")
        await bob.sees("sending…")
        await bob.presses("ctrl+q")
        await bob.sees("Waiting until the last lines are stored")
        await bob.presses("ctrl+q")
        await bob.until(lambda: bob.app.return_value is not None, "the end")

    app = sit(FakeChat(stores=False), talk)
    assert app.return_value is Outcome.UNKNOWN
    assert "this line may be stored or not. It was:\n      last words" in app.sentences[0]


def test_a_closed_session_ends_the_screen_and_says_why() -> None:
    async def talk(bob: Sitting) -> None:
        bob.chat.tell(LinkChanged(Link.CLOSED, "you were banned", "banned"))
        await bob.until(lambda: bob.app.return_value is not None, "the end")

    app = sit(FakeChat(), talk)
    assert app.return_value is Outcome.REFUSED
    assert app.sentences == ["You were banned."]


def test_a_first_room_that_is_refused_ends_the_screen() -> None:
    chat = FakeChat()

    async def talk(bob: Sitting) -> None:
        pytest.fail("there should be no room")

    chat.refusals[f"open {LOBBY}"] = Refused(Code.NO_SUCH_ROOM, "there is no such room")
    app = _ended(chat)
    assert app.return_value is Outcome.REFUSED
    assert app.sentences == ["There is no such room."]


def _ended(chat: FakeChat) -> ChatScreen:
    async def run() -> ChatScreen:
        app = ChatScreen(chat, LOBBY, Keeper())
        async with app.run_test() as pilot:
            for _ in range(100):
                await pilot.pause(0.01)
                if app.return_value is not None:
                    break
        return app

    return asyncio.run(run())


# --------------------------------------------------------------------------- copying, and whole screens


def test_what_the_mouse_selects_is_copied() -> None:
    async def talk(bob: Sitting) -> None:
        bob.chat.hear("alice", "copy 漢字 this")
        bob.chat.hear("alice", "and that")
        await bob.sees("and that")
        y = next(y for y, row in enumerate(bob.rows) if "copy" in row)
        column = bob.rows[y].index("copy")
        await bob.selects((column, y), (column + 7, y + 1))
        await bob.presses("ctrl+c")
        await bob.sees("Copied")
        copied = bob.app.clipboard
        assert copied.startswith("copy 漢字 this\n"), copied
        assert copied.split()[-2:] == ["and", "that"], copied
        assert bob.app.return_value is None

    sit(FakeChat(), talk)


def lively() -> FakeChat:
    """A lobby, two more rooms and a direct conversation."""
    chat = FakeChat()
    chat.known[LOBBY] = public(LOBBY, names=("alice", "bob", "carol", "dice"))
    chat.knows(OPS)
    chat.knows(RoomOpened("#cellar", "#cellar", RoomKind.PRIVATE, 1, 1, ("bob",), "#cellar", False))
    chat.knows(direct("carol"))
    return chat


async def a_day(bob: Sitting) -> None:
    """What happens to Bob."""
    chat = bob.chat
    for title in ("#ops", "#cellar", "@carol"):
        await chat.open(title)
    chat.wall -= 86_400
    chat.hear("carol", "good night")
    chat.wall += 86_400
    for name, text in [
        ("alice", "the build is green again, see https://ci.example.org/runs/812"),
        ("carol", "finally! what was it?"),
        ("alice", "a flaky test. It slept instead of waiting:\n    time.sleep(0.1)\n    assert done"),
        ("alice", "now it waits for the event, with a limit, and says what it waited for when it fails"),
        ("carol", "お疲れ様でした 🙇"),
        ("alice", "bob, who rolls for lunch?"),
    ]:
        chat.hear(name, text)
    chat.tell(
        PresenceChanged(LOBBY, LOBBY, 6, ("dan", "eve"), ()), PresenceChanged(LOBBY, LOBBY, 5, (), ("dan",))
    )
    chat.tell(replace(chat.line("dice", "alice rolled 4"), hops=1))
    chat.hear("alice", "bob: the disk on db2?", "#ops")
    chat.hear("carol", "coffee?", "@1:3")
    await bob.sees("alice rolled 4")
    await bob.types("I do")
    await bob.sees("I do")
    await bob.writes("and then we talk about")


@pytest.mark.parametrize(("columns", "rows"), [(120, 36), (80, 24), (40, 24)])
def test_a_whole_screen(columns: int, rows: int) -> None:
    async def look(bob: Sitting) -> None:
        await a_day(bob)
        await bob.looks_as(f"lobby-{columns}x{rows}")

    sit(lively(), look, size=(columns, rows))


def test_a_whole_screen_where_things_go_wrong() -> None:
    chat = FakeChat(stores=False)

    async def look(bob: Sitting) -> None:
        await bob.types("this one fails")
        await bob.sees("sending…")
        bob.chat.fail(1, "the broker's disk is full")
        bob.chat.tell(Lost(LOBBY, LOBBY, 3, 40))
        bob.chat.tell(LinkChanged(Link.OFFLINE, "the connection was lost", retry_at=bob.chat.time + 7))
        await bob.types("and this one waits")
        await bob.looks_as("trouble-100x24")

    sit(chat, look, size=(100, 24))


def test_a_whole_screen_with_the_way_to_another_room() -> None:
    async def look(bob: Sitting) -> None:
        await a_day(bob)
        await bob.presses("ctrl+k")
        await bob.sees("connected")
        await bob.writes("o")
        await bob.looks_as("jump-80x24")

    sit(lively(), look, size=(80, 24))
