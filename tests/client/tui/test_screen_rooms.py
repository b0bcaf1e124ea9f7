"""The full screen, by key presses and clicks: rooms, and the people in them."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from chat_client.events import (
    PresenceChanged,
    ReadMarker,
    RoomAdded,
    RoomClosed,
    RoomOpened,
)
from chat_client.preferences import Keeper
from chat_protocol.errors import Code
from chat_protocol.messages import LOBBY, RoomKind
from tests.client.fake_chat import FakeChat, public
from tests.client.tui.sitting import OPS, Sitting, direct, sit

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
