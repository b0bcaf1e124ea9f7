"""The full screen, by key presses and clicks: what is said and heard, and what goes wrong."""

from __future__ import annotations

import time
from pathlib import Path

from chat_client.events import (
    CatchingUp,
    EpochChanged,
    Line,
    Link,
    LinkChanged,
    Lost,
)
from chat_client.preferences import Keeper, Preferences
from chat_protocol.errors import Unreachable
from chat_protocol.messages import LOBBY
from tests.client.fake_chat import FakeChat, public
from tests.client.tui.sitting import OPS, Sitting, direct, past, sit

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


def test_history_shows_the_last_lines() -> None:
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


def test_what_went_wrong_is_told_whole_on_narrow_terminals() -> None:
    async def talk(bob: Sitting) -> None:
        await bob.types("/foo")
        await bob.sees("There is no command /foo; /help lists", "them all. To say a line that begins with")
        await bob.sees("a slash, begin it with //")

    sit(FakeChat(), talk, size=(44, 20))


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
