"""The full screen at any width, with text from anywhere; leaving it, and what can be copied from it."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from chat_client.events import (
    Link,
    LinkChanged,
    Lost,
    PresenceChanged,
    RoomOpened,
)
from chat_client.outcome import Outcome
from chat_client.preferences import Keeper
from chat_client.tui.app import ChatScreen
from chat_protocol.errors import Code, Refused
from chat_protocol.messages import LOBBY, RoomKind
from tests.client.fake_chat import FakeChat, public
from tests.client.tui.sitting import OPS, Sitting, direct, sit

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
