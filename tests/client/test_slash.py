"""What a person typed, understood."""

from __future__ import annotations

import pytest

from chat_client.slash import (
    COMPLETIONS_MAX,
    SCREEN_VERBS,
    VERBS,
    Command,
    Create,
    Exit,
    Help,
    History,
    Invalid,
    InviteMember,
    Join,
    Leave,
    Links,
    Msg,
    Mute,
    QuietHours,
    Remove,
    Retry,
    Rooms,
    Say,
    Theme,
    Users,
    common_start,
    complete,
    help_text,
    last_word,
    parse,
    room_name,
)
from chat_protocol.errors import BadName


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("users", Users()),
        ("  users\t", Users()),
        ("exit", Exit()),
        (" exit ", Exit()),
        ("Users", Say("Users")),
        ("users?", Say("users?")),
        ("list users", Say("list users")),
        ("hello", Say("hello")),
        ("    indented", Say("    indented")),
        ("trailing   ", Say("trailing")),
        ("one\n  two\n", Say("one\n  two")),
        ("//x", Say("/x")),
        ("//", Say("/")),
        ("  //x y", Say("/x y")),
        ("/say users", Say("users")),
        ("/say /join #ops", Say("/join #ops")),
        ("/say one\ntwo", Say("one\ntwo")),
        ("/users", Users()),
        ("/users ops", Users("#ops")),
        ("/users #Ops", Users("#ops")),
        ("/rooms", Rooms()),
        ("/join #ops", Join("#ops")),
        ("/join #OPS", Join("#ops")),
        ("/join @bob", Join("@bob")),
        ("/join bob", Join("bob")),
        ("/JOIN bob", Join("bob")),
        ("  /join   bob ", Join("bob")),
        ("/leave", Leave()),
        ("/msg bob hi there", Msg("bob", "hi there")),
        ("/msg @bob one\ntwo", Msg("bob", "one\ntwo")),
        ("/create ops", Create("#ops")),
        ("/create #ops --private", Create("#ops", private=True)),
        ("/create --private ops", Create("#ops", private=True)),
        ("/invite carol", InviteMember("carol")),
        ("/invite @carol", InviteMember("carol")),
        ("/remove carol", Remove("carol")),
        ("/history", History(50)),
        ("/history 7", History(7)),
        ("/history 500", History(500)),
        ("/help", Help()),
        ("/exit", Exit()),
        ("", None),
        (" \t\n", None),
    ],
)
def test_what_is_typed_becomes_a_command(typed: str, command: Command | None) -> None:
    assert parse(typed) == command


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("/jion #ops", "did you mean /join?"),
        ("/user", "did you mean /users?"),
        ("/xyzzy", "/help lists them all"),
        ("/usr/bin/env python", "begin it with //"),
        ("/", "/help"),
        ("/ hello", "/help"),
        ("/join", "/join ROOM or @NAME"),
        ("/join #a #b", "/join ROOM or @NAME"),
        ("/join #-", "a room name is"),
        ("/join @users", "reserved"),
        ("/msg bob", "/msg NAME TEXT"),
        ("/msg", "/msg NAME TEXT"),
        ("/msg b*b hi", "a name is made of"),
        ("/say", "/say TEXT"),
        ("/create", "/create [--private] ROOM"),
        ("/create --private", "/create [--private] ROOM"),
        ("/create a b", "/create [--private] ROOM"),
        ("/create --private --private a", "/create [--private] ROOM"),
        ("/create @bob", "/join @bob"),
        ("/invite", "/invite NAME"),
        ("/remove a b", "/remove NAME"),
        ("/history 0", "/history [N]"),
        ("/history 501", "/history [N]"),
        ("/history -1", "/history [N]"),
        ("/history ²", "/history [N]"),
        ("/history " + "9" * 5_000, "/history [N]"),
        ("/leave now", "/leave"),
        ("/exit now", "/exit"),
        ("/users a b", "/users [ROOM]"),
    ],
)
def test_what_makes_no_sense_is_never_said_but_explained(typed: str, says: str) -> None:
    command = parse(typed)
    assert isinstance(command, Invalid), f"{typed[:40]!r} was taken for {command}"
    assert says in command.sentence


def test_help_names_every_command_and_its_usage() -> None:
    text = help_text()
    missing = [verb.usage for verb in VERBS.values() if verb.usage not in text or verb.meaning not in text]
    assert not missing


def test_help_fits_a_terminal() -> None:
    assert max(map(len, help_text().split("\n"))) <= 80 - len("      ")


@pytest.mark.parametrize(("word", "name"), [("ops", "#ops"), ("#Ops", "#ops"), ("@Bob", "@Bob")])
def test_a_room_is_named_with_or_without_its_sign(word: str, name: str) -> None:
    assert room_name(word) == name


@pytest.mark.parametrize("word", ["#", "@", "@users", "a b", "#" + "x" * 33])
def test_a_word_that_names_no_room_is_refused(word: str) -> None:
    with pytest.raises(BadName):
        room_name(word)


PEOPLE = ["alice", "albert", "Carol"]
ROOMS = ["#lobby", "#ops", "@dave"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("/jo", ["/join "]),
        ("/h", ["/history ", "/help "]),
        ("  /jo", ["/join "]),
        ("/msg a", ["albert ", "alice "]),
        ("/msg ", ["albert ", "alice ", "Carol "]),
        ("/join ", ["#lobby ", "#ops ", "@albert ", "@alice ", "@Carol ", "@dave "]),
        ("/join #o", ["#ops "]),
        ("/join o", ["#ops "]),
        ("/join @a", ["@albert ", "@alice "]),
        ("/users @", []),
        ("/users l", ["#lobby "]),
        ("/msg alice ca", ["Carol "]),
        ("/leave ", []),
        ("/nonsense a", ["albert ", "alice "]),
        ("al", ["albert: ", "alice: "]),
        ("hello AL", ["albert ", "alice "]),
        ("hello @al", ["@albert ", "@alice "]),
        ("see #l", ["#lobby "]),
        ("", []),
        ("hello ", []),
    ],
)
def test_the_last_word_is_completed(typed: str, found: list[str]) -> None:
    assert complete(typed, PEOPLE, ROOMS) == found


def test_completions_are_bounded() -> None:
    assert len(complete("n", [f"n{number}" for number in range(1_000)], [])) == COMPLETIONS_MAX


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["albert ", "alice "], "al"),
        (["/join "], "/join "),
        (["a", "ab"], "a"),
        (["#x", "@x"], ""),
    ],
)
def test_what_completions_share(words: list[str], start: str) -> None:
    assert common_start(words) == start


@pytest.mark.parametrize(("typed", "word"), [("a b", "b"), ("a ", ""), ("", ""), ("a\nb", "b"), ("ab", "ab")])
def test_the_last_word(typed: str, word: str) -> None:
    assert last_word(typed) == word


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("/mute", Mute()),
        ("/mute ops", Mute("#ops")),
        ("/unmute @alice", Mute("@alice", muted=False)),
        ("/quiet", QuietHours()),
        ("/quiet 22:00-7:30", QuietHours("22:00-7:30")),
        ("/theme", Theme()),
        ("/theme light", Theme("light")),
        ("/links", Links()),
        ("/retry", Retry()),
        ("/discard", Retry(again=False)),
        ("/join ops", Join("ops")),
    ],
)
def test_commands_of_the_full_screen(typed: str, command: Command) -> None:
    assert parse(typed, SCREEN_VERBS) == command


@pytest.mark.parametrize("typed", ["/theme pink", "/mute a b", "/links 3"])
def test_commands_of_the_full_screen_that_are_not_understood(typed: str) -> None:
    command = parse(typed, SCREEN_VERBS)
    assert isinstance(command, Invalid)
    assert command.sentence.startswith("Usage: /")


def test_the_line_client_says_which_commands_it_does_not_have() -> None:
    assert parse("/mute") == Invalid("/mute is for the full screen, which this is not")
    assert "/mute" not in help_text()
    assert "/mute" in help_text(SCREEN_VERBS)
