"""The line client in pipes, and on terminals that can't move their cursor."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path
from typing import Any, TextIO

import pytest

from chat_client import conversation, line
from chat_client.events import Link, LinkChanged, RoomAdded, RoomClosed, RoomOpened
from chat_client.line import run_line
from chat_client.outcome import Outcome
from chat_client.rows import Row
from chat_protocol.errors import Code, OutcomeUnknown, Refused, Unreachable
from chat_protocol.messages import LINE_BYTES_MAX, LOBBY, RoomKind
from tests.client.fake_chat import NOON, FakeChat, public

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 5.0


class Paper(io.StringIO):
    """A stream on which one can wait for a text."""

    def __init__(self) -> None:
        super().__init__()
        self.written = asyncio.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)

    async def until(self, text: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while text not in self.getvalue():
                    self.written.clear()
                    await self.written.wait()
        except TimeoutError:
            pytest.fail(f"{text!r} never came; there is:\n{self.getvalue()}")


class Client:
    """A running line client: what it is given to read, and what it writes."""

    def __init__(self, running: Coroutine[Any, Any, Outcome], keyboard: int, out: Paper, err: Paper) -> None:
        self.out, self.err = out, err
        self.running = asyncio.create_task(running)
        self._keyboard: int | None = keyboard

    def type(self, *lines: str) -> None:
        assert self._keyboard is not None
        os.write(self._keyboard, "".join(f"{line}\n" for line in lines).encode())

    def end(self) -> None:
        if self._keyboard is not None:
            os.close(self._keyboard)
            self._keyboard = None

    async def outcome(self) -> Outcome:
        async with asyncio.timeout(PATIENCE_S):
            return await self.running


@asynccontextmanager
async def client(
    chat: FakeChat, *, room: str = LOBBY, out: Paper | None = None, keyboard: tuple[int, int] | None = None
) -> AsyncIterator[Client]:
    """`keyboard` are the two ends of a terminal; without it there is a pipe and no person."""
    reads, writes = keyboard or os.pipe()
    out, err = out or Paper(), Paper()
    with os.fdopen(reads) as stdin:
        running = run_line(
            chat, room=room, interactive=bool(keyboard), stdin=stdin, stdout=out, stderr=err,
            clock=lambda: NOON, tz=UTC,
        )  # fmt: skip
        talking = Client(running, writes, out, err)
        try:
            yield talking
        finally:
            talking.end()
            talking.running.cancel()
            await asyncio.gather(talking.running, return_exceptions=True)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


async def run_to_end(chat: FakeChat, *lines: str) -> tuple[Outcome, str, str]:
    """Type the lines and end: the exit code, stdout and stderr."""
    async with client(chat) as talking:
        if lines:
            talking.type(*lines)
        talking.end()
        return await talking.outcome(), talking.out.getvalue(), talking.err.getvalue()


def typed(chat: FakeChat, *lines: str) -> tuple[Outcome, str, str]:
    return asyncio.run(run_to_end(chat, *lines))


# --------------------------------------------------------------------------- what is typed and shown


def test_lines_are_said_and_shown_as_plain_rows() -> None:
    chat = FakeChat()
    assert typed(chat, "hello", "how are you?") == (
        Outcome.DONE,
        "12:02 #lobby -- 2 here: alice and bob.\n12:02 #lobby bob: hello\n12:02 #lobby bob: how are you?\n",
        "",
    )


def test_users_and_exit_are_as_they_always_were() -> None:
    chat = FakeChat()
    outcome, out, _ = typed(chat, " users ", "exit", "never said")
    assert outcome is Outcome.DONE
    assert "12:02 -- 2 connected: alice and bob\n" in out
    assert chat.posted == []


def test_the_word_users_can_be_said() -> None:
    chat = FakeChat()
    typed(chat, "/say users")
    assert chat.posted == [(LOBBY, "users")]


def test_blank_lines_are_nothing() -> None:
    chat = FakeChat()
    assert typed(chat, "", "   ", "hello")[0] is Outcome.DONE
    assert chat.posted == [(LOBBY, "hello")]


def test_what_others_say_is_shown_as_it_comes() -> None:
    async def test() -> None:
        chat = FakeChat()
        async with client(chat) as talking:
            chat.hear("alice", "\x1b[31mhello\x1b[0m\nthere")
            await talking.out.until("12:02 #lobby alice: hello\n      there\n")

    run(test)


def test_control_characters_are_not_even_said() -> None:
    chat = FakeChat()
    typed(chat, "\x1b[31mred\x1b[0m\u202e")
    assert chat.posted == [(LOBBY, "red")]


def test_an_unknown_command_is_said_by_nobody_and_explained() -> None:
    chat = FakeChat()
    outcome, out, err = typed(chat, "/jion #ops", "hello")
    assert outcome is Outcome.REFUSED
    assert "did you mean /join?" in err
    assert "jion" not in out
    assert chat.posted == [(LOBBY, "hello")]


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        ("/users", "users"),
        ("/users #lobby", "users #lobby"),
        ("/rooms", "rooms"),
        ("/history 7", "history #lobby 0 7"),
        ("/join #ops", "open #ops"),
        ("/create ops2", "create #ops2 public"),
        ("/create --private ops2", "create #ops2 private"),
    ],
)
def test_a_command_asks_the_broker(command: str, asked: str) -> None:
    chat = FakeChat()
    chat.knows(public("#ops"))
    outcome, _, err = typed(chat, command)
    assert (outcome, err) == (Outcome.DONE, "")
    assert asked in chat.asked


def test_rooms_are_listed_with_what_they_are() -> None:
    chat = FakeChat()
    chat.knows(RoomOpened("@1:2", "@alice", RoomKind.DIRECT, 0, 1, (), "@alice", False))
    out = typed(chat, "/rooms")[1]
    assert "12:02 -- 2 rooms\n      #lobby  public, 2 here, you too\n      @alice  direct, 1 here\n" in out


def test_members_are_invited_and_removed_in_private_rooms_only() -> None:
    chat = FakeChat()
    typed(chat, "/invite carol", "/create --private ops", "/invite carol", "/remove carol", "/leave")
    assert [what for what in chat.asked if "carol" in what] == ["add #ops carol", "remove #ops carol"]
    assert chat.asked[-1] == "leave #ops"


def test_a_public_room_is_closed_and_the_last_one_kept() -> None:
    chat = FakeChat()
    chat.knows(public("#ops"))
    _, out, err = typed(chat, "/join #ops", "/leave", "/leave")
    assert "12:02 #ops -- You left #ops.\n12:02 -- You are in #lobby now.\n" in out
    assert [what for what in chat.asked if what.startswith(("close", "leave"))] == ["close #ops"]
    assert "This is the only room you are in" in err


def test_history_shows_what_was_said() -> None:
    chat = FakeChat()
    chat.entries = [chat.line("alice", "long ago")]
    assert "12:02 #lobby alice: long ago\n" in typed(chat, "/history")[1]


def test_help_lists_the_commands() -> None:
    assert "/join ROOM or @NAME" in typed(FakeChat(), "/help")[1]


def test_a_flood_of_events_leaves_room_for_what_is_typed() -> None:
    async def test() -> None:
        chat = FakeChat()
        for number in range(1_000):
            chat.hear("alice", f"line {number}")
        shown: list[Row] = []
        listening = asyncio.create_task(conversation.Conversation(chat, shown.extend, tz=UTC).listen())
        await asyncio.sleep(0)
        assert 0 < len(shown) < 1_000
        listening.cancel()

    run(test)


# --------------------------------------------------------------------------- from room to room


def test_a_line_after_join_is_said_there_however_long_joining_takes() -> None:
    async def test() -> None:
        chat = FakeChat()
        chat.knows(public("#ops"))
        async with client(chat) as talking:
            await talking.out.until("2 here")
            chat.may_open.clear()
            talking.type("/join #ops", "secret")
            talking.end()
            await chat.until(lambda: "open #ops" in chat.asked)
            assert chat.posted == []
            chat.may_open.set()
            assert await talking.outcome() is Outcome.DONE
        assert chat.posted == [("#ops", "secret")]

    run(test)


@pytest.mark.parametrize("command", ["/join #nowhere", "/create ops"])
def test_after_a_room_that_was_not_reached_nothing_is_said_elsewhere(command: str) -> None:
    chat = FakeChat()
    chat.refusals["create #ops public"] = Refused(Code.ROOM_EXISTS, "the name #ops is taken")
    outcome, _, err = typed(chat, command, "secret")
    assert outcome is Outcome.REFUSED
    assert err.startswith("12:02 !! T")
    assert chat.posted == []


def alice_and_ops() -> FakeChat:
    chat = FakeChat()
    chat.knows(public("#ops"))
    chat.knows(RoomOpened("@1:2", "@alice", RoomKind.DIRECT, 0, 1, (), "@alice", False))
    chat.knows(RoomOpened("@1:3", "@away", RoomKind.DIRECT, 0, 1, (), "@away", False))
    return chat


@pytest.mark.parametrize(
    ("command", "room"),
    [
        ("/join ops", "#ops"),
        ("/join #ops", "#ops"),
        ("/join alice", "@1:2"),
        ("/join @alice", "@1:2"),
        ("/join away", "@1:3"),
    ],
)
def test_a_bare_word_finds_the_room_or_the_person(command: str, room: str) -> None:
    chat = alice_and_ops()
    assert typed(chat, command, "hi")[0] is Outcome.DONE
    assert chat.posted == [(room, "hi")]


def test_a_word_that_is_both_room_and_person_is_asked_about() -> None:
    chat = alice_and_ops()
    chat.present.append("ops")
    outcome, _, err = typed(chat, "/join ops", "hi")
    assert outcome is Outcome.REFUSED
    assert "/join #ops or /join @ops" in err
    assert "Nothing of what follows is done" in err
    assert chat.posted == []


def test_a_word_that_is_neither_says_so() -> None:
    err = typed(FakeChat(), "/join nobody")[2]
    assert "There is no room #nobody, and nobody is called nobody" in err


def test_msg_says_a_line_to_one_person_and_stays_where_one_is() -> None:
    chat = alice_and_ops()
    typed(chat, "/msg alice psst", "aloud")
    assert chat.posted == [("@1:2", "psst"), (LOBBY, "aloud")]


def test_going_back_to_an_open_room_asks_nobody() -> None:
    chat = alice_and_ops()
    _, out, _ = typed(chat, "/join #ops", "/join #lobby", "hi")
    assert "12:02 -- You are in #lobby now.\n" in out
    assert chat.asked.count("open #lobby") == 1
    assert chat.posted == [(LOBBY, "hi")]


def test_somebody_who_writes_directly_is_listened_to() -> None:
    async def test() -> None:
        chat = alice_and_ops()
        async with client(chat) as talking:
            await talking.out.until("2 here")
            chat.tell(RoomAdded("@1:2", "@alice", RoomKind.DIRECT, "alice"))
            await talking.out.until("alice writes to you alone. To answer: /join @alice.")
            chat.hear("alice", "psst", "@1:2")
            await talking.out.until("12:02 @alice alice: psst\n")
        assert chat.asked.count("open @alice") == 1

    run(test)


def test_a_room_that_was_added_but_does_not_open_is_no_fault_of_what_was_typed() -> None:
    async def test() -> None:
        chat = FakeChat()
        async with client(chat) as talking:
            chat.tell(RoomAdded("#gone", "#gone", RoomKind.PRIVATE, "alice"))
            await talking.err.until("#gone could not be opened: there is no #gone")
            talking.end()
            assert await talking.outcome() is Outcome.DONE

    run(test)


def test_the_room_to_begin_in_may_be_a_person() -> None:
    async def test() -> None:
        chat = alice_and_ops()
        async with client(chat, room="@alice") as talking:
            talking.type("hi")
            talking.end()
            await talking.outcome()
        assert chat.posted == [("@1:2", "hi")]

    run(test)


def test_lines_that_were_waiting_count_as_those_of_the_room_one_begins_in() -> None:
    async def test() -> None:
        chat = FakeChat()
        chat.tell(public(LOBBY, names=("alice", "bob")))
        chat.hear("alice", "earlier")
        async with client(chat) as talking:
            await talking.out.until("earlier")
            assert talking.out.getvalue().count("2 here") == 1

    run(test)


# --------------------------------------------------------------------------- the end, and what became of it


def test_the_end_of_input_waits_until_every_line_is_stored() -> None:
    async def test() -> None:
        chat = FakeChat(stores=False)
        async with client(chat) as talking:
            talking.type("one", "two")
            talking.end()
            await chat.until(lambda: len(chat.posted) == 2)
            chat.store(1)
            await talking.out.until("bob: one")
            assert not talking.running.done()
            chat.store(2)
            assert await talking.outcome() is Outcome.DONE
            assert talking.out.getvalue().endswith("12:02 #lobby bob: two\n")

    run(test)


@pytest.mark.parametrize(("unknown", "outcome"), [(False, Outcome.REFUSED), (True, Outcome.UNKNOWN)])
def test_a_line_that_failed_shows_in_the_exit_code(unknown: bool, outcome: Outcome) -> None:
    async def test() -> None:
        chat = FakeChat(stores=False)
        async with client(chat) as talking:
            talking.type("one", "two")
            talking.end()
            await chat.until(lambda: len(chat.posted) == 2)
            chat.fail(1, "the broker's disk is full", unknown=unknown)
            chat.store(2)
            assert await talking.outcome() is outcome
            assert "the broker's disk is full. The line was:\n      one\n" in talking.err.getvalue()

    run(test)


def test_a_line_without_an_answer_has_an_unknown_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "ANSWERED_S", 0.01)
    outcome, _, err = typed(FakeChat(stores=False), "hello")
    assert outcome is Outcome.UNKNOWN
    assert "this line may be stored or not. It was:\n      hello\n" in err


def test_a_line_that_was_stored_but_not_shown_in_time_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "SHOWN_S", 0.01)
    chat = FakeChat()
    chat.shows = False
    assert typed(chat, "hello") == (Outcome.DONE, "12:02 #lobby -- 2 here: alice and bob.\n", "")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Refused(Code.NOT_ALLOWED, "not for you"), Outcome.REFUSED),
        (Unreachable("nobody answers"), Outcome.UNREACHABLE),
        (OutcomeUnknown("who knows"), Outcome.UNKNOWN),
    ],
)
def test_a_command_that_failed_shows_in_the_exit_code(error: Exception, outcome: Outcome) -> None:
    chat = FakeChat()
    chat.refusals["rooms"] = error
    code, _, err = typed(chat, "/rooms")
    assert code is outcome
    assert err.lower() == f"12:02 !! {error}.\n"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (Code.REPLACED, Outcome.REFUSED),
        (Code.BANNED, Outcome.REFUSED),
        ("wrong_key", Outcome.UNREACHABLE),
        ("unreachable", Outcome.UNREACHABLE),
        ("closed", Outcome.DONE),
    ],
)
def test_a_closed_session_says_why_and_ends(code: str, outcome: Outcome) -> None:
    async def test() -> None:
        chat = FakeChat()
        async with client(chat) as talking:
            await talking.out.until("2 here")
            chat.tell(LinkChanged(Link.CLOSED, "that is how it is", code))
            assert await talking.outcome() is outcome
            assert talking.err.getvalue() == "That is how it is.\n"

    run(test)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(Refused(Code.NO_SUCH_ROOM, "no"), Outcome.REFUSED), (Unreachable("no"), Outcome.UNREACHABLE)],
)
def test_a_room_to_begin_in_that_does_not_open_ends_it(error: Exception, outcome: Outcome) -> None:
    async def test() -> None:
        chat = FakeChat()
        chat.refusals["open #ops"] = error
        async with client(chat, room="ops") as talking:
            assert await talking.outcome() is outcome
            assert talking.err.getvalue() == "No.\n"

    run(test)


def test_a_room_name_outside_the_rules_is_refused() -> None:
    async def test() -> None:
        async with client(FakeChat(), room="#-") as talking:
            assert await talking.outcome() is Outcome.REFUSED
            assert "a room name is" in talking.err.getvalue().lower()

    run(test)


def test_being_removed_from_every_room_is_told_to_whoever_types_on() -> None:
    async def test() -> None:
        chat = FakeChat()
        async with client(chat) as talking:
            await talking.out.until("2 here")
            chat.tell(RoomClosed(LOBBY, LOBBY, Code.REMOVED, ""))
            await talking.out.until("You were removed from #lobby.")
            talking.type("hello")
            await talking.err.until("You are in no room")

    run(test)


# --------------------------------------------------------------------------- streams


def test_input_is_held_back_while_too_many_lines_are_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "UNANSWERED_MAX", 3)

    async def test() -> None:
        chat = FakeChat(stores=False)
        async with client(chat) as talking:
            talking.type(*(f"line {number}" for number in range(10)))
            talking.end()
            for ref in range(1, 11):
                await chat.until(lambda: len(chat.posted) >= ref)  # noqa: B023 - awaited at once
                assert chat.unanswered() <= 3
                chat.store(ref)
            assert await talking.outcome() is Outcome.DONE

    run(test)


def test_a_line_that_is_too_long_is_refused_and_the_others_said() -> None:
    chat = FakeChat()
    outcome, _, err = typed(chat, "x" * (LINE_BYTES_MAX + 1), "short")
    assert outcome is Outcome.REFUSED
    assert "at most 16384 bytes" in err
    assert chat.posted == [(LOBBY, "short")]


def test_a_stream_that_has_no_such_letters_gets_question_marks() -> None:
    class Ascii(Paper):
        encoding = "ascii"

    async def test() -> None:
        async with client(FakeChat(), out=Ascii()) as talking:
            talking.type("h\u00e9llo")
            await talking.out.until("bob: h?llo")

    run(test)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), ""),
        (OSError(errno.ENOSPC, "No space left on device"), "The transcript can't be written: No space"),
    ],
)
def test_when_rows_go_nowhere_it_ends_with_what_became_of_the_lines(error: OSError, says: str) -> None:
    class Torn(Paper):
        def write(self, text: str) -> int:
            if "alice:" in text:
                raise error
            return super().write(text)

        def fileno(self) -> int:
            return descriptor

    async def test() -> None:
        chat = FakeChat(stores=False)
        async with client(chat, out=Torn()) as talking:
            talking.type("hello")
            await chat.until(lambda: bool(chat.posted))
            chat.hear("alice", "the last row")
            chat.fail(1, "the broker's disk is full")
            assert await talking.outcome() is Outcome.REFUSED
            assert talking.err.getvalue().startswith(says)

    descriptor = os.open(os.devnull, os.O_WRONLY)
    run(test)
    os.close(descriptor)


CHATTING = """
import asyncio, sys
from chat_client.line import run_line
from tests.client.fake_chat import FakeChat

chat = FakeChat()
outcome = asyncio.run(
    run_line(chat, room="#lobby", interactive=False, stdin=sys.stdin, stdout=sys.stdout)
)
assert "prompt_toolkit" not in sys.modules, "imported where nobody sits at a terminal"
print(len(chat.posted), "posted", file=sys.stderr)
sys.exit(outcome)
"""


def chatting(stdin: int | TextIO, stdout: int | TextIO) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CHATTING], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, cwd=REPOSITORY
    )


def test_when_nobody_reads_any_more_it_ends_quietly() -> None:
    reads, writes = os.pipe()
    keyboard, typing = os.pipe()
    os.close(reads)
    with chatting(keyboard, writes) as process:
        os.close(writes)
        _, err = process.communicate(timeout=20)
    os.close(keyboard)
    os.close(typing)
    assert (process.returncode, err) == (0, b"0 posted\n")


def test_a_process_ends_at_the_end_of_its_input(tmp_path: Path) -> None:
    (tmp_path / "typed").write_text("one\ntwo\nthree")
    with (tmp_path / "typed").open() as file, chatting(file, subprocess.PIPE) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"3 posted\n")
    assert out.count(b"bob:") == 3


# --------------------------------------------------------------------------- a terminal without a cursor


def test_a_dumb_terminal_is_talked_to_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    async def test() -> None:
        chat = FakeChat()
        there, here = pty.openpty()
        async with client(chat, keyboard=(here, there)) as talking:
            await talking.out.until("/help shows more")
            talking.type("/join #nowhere", "hello")
            await talking.out.until("12:02 #lobby bob: hello\n")
            assert "There is no" in talking.err.getvalue()
            talking.type("exit")
            assert await talking.outcome() is Outcome.DONE
            assert "\x1b" not in talking.out.getvalue()

    run(test)


def test_on_a_dumb_terminal_ctrl_c_twice_in_a_row_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    async def test() -> None:
        there, here = pty.openpty()
        async with client(FakeChat(), keyboard=(here, there)) as talking:
            await talking.out.until("2 here")
            for said in ("one", "two"):
                talking.err.truncate(0)
                os.kill(os.getpid(), signal.SIGINT)
                await talking.err.until("Ctrl-C once more leaves")
                talking.type(said)
                await talking.out.until(f"bob: {said}")
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            assert await talking.outcome() is Outcome.DONE

    run(test)
