"""The line client at a terminal: keys in, and what stands on the screen."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import sys
import termios
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import pyte
import pytest
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import PipeInput, create_pipe_input

from chat_client import prompt
from chat_client.events import CatchingUp, Link, LinkChanged, RoomAdded, RoomOpened
from chat_client.outcome import Outcome
from chat_client.prompt import SteadyOutput, Terminal, run_prompt
from chat_protocol.errors import Code, Refused
from chat_protocol.messages import LOBBY, RoomKind
from tests.client.fake_chat import NOON, FakeChat, public

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 5.0
UP, ENTER, CTRL_C, CTRL_D, TAB = "\x1b[A", "\r", "\x03", "\x04", "\t"


class Screen(io.StringIO):
    """A terminal that understands what is written to it, and on which one can wait for a text."""

    encoding = "utf-8"

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        super().__init__()
        self.size = Size(rows=rows, columns=columns)
        self.changed = asyncio.Event()
        self.raw = ""
        self.last_rows: list[str] = []  # the last row after each write
        self._screen = pyte.HistoryScreen(columns, rows, history=1_000)
        self._stream = pyte.Stream(self._screen)

    def write(self, text: str) -> int:
        self._stream.feed(text)
        self.raw += text
        self.last_rows.append(self.rows()[-1] if self.rows() else "")
        self.changed.set()
        return len(text)

    def rows(self) -> list[str]:
        """What stands there, without empty rows."""
        return [row.rstrip() for row in self._screen.display if row.strip()]

    async def until(self, *rows: str) -> None:
        """Wait until these are the last rows, each by its beginning."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not self._ends_with(rows):
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            pytest.fail("\n".join(["never came:", *rows, "there is:", *self.rows()]))

    def _ends_with(self, wanted: tuple[str, ...]) -> bool:
        last = self.rows()[-len(wanted) :]
        return len(last) == len(wanted) and all(
            row.startswith(want) for row, want in zip(last, wanted, strict=True)
        )


class Client:
    """A person at a terminal."""

    def __init__(self, chat: FakeChat, screen: Screen, keyboard: PipeInput, room: str) -> None:
        self.chat, self.screen, self.err = chat, screen, io.StringIO()
        self._keyboard = keyboard
        output = SteadyOutput(screen, lambda: screen.size, term="xterm", enable_cpr=False)
        self.running = asyncio.create_task(
            run_prompt(
                chat,
                room=room,
                screen=Terminal(keyboard, output),
                stderr=self.err,
                clock=lambda: NOON,
                tz=UTC,
            )
        )

    def press(self, *keys: str) -> None:
        self._keyboard.send_text("".join(keys))

    async def sees(self, *rows: str) -> None:
        await self.screen.until(*rows)

    async def outcome(self) -> Outcome:
        async with asyncio.timeout(PATIENCE_S):
            return await self.running


@asynccontextmanager
async def person(chat: FakeChat, *, columns: int = 80, room: str = LOBBY) -> AsyncIterator[Client]:
    with create_pipe_input() as keyboard:
        client = Client(chat, Screen(columns), keyboard, room)
        try:
            yield client
        finally:
            client.running.cancel()
            await asyncio.gather(client.running, return_exceptions=True)


Talk = Callable[[FakeChat, Client], Coroutine[Any, Any, None]]


def at_terminal(chat: FakeChat, talk: Talk, *, columns: int = 80) -> None:
    """Run `talk` once the input line of the lobby is there."""

    async def test() -> None:
        async with person(chat, columns=columns) as client:
            await client.sees("12:02 -- 2 here: alice and bob.", "#lobby>")
            await talk(chat, client)

    asyncio.run(test())


# --------------------------------------------------------------------------- what is shown


def test_it_begins_with_how_things_are_done_and_who_is_here() -> None:
    async def test() -> None:
        async with person(FakeChat()) as client:
            await client.sees(
                "12:02 -- Enter says what you typed; /help shows more, exit leaves.",
                "12:02 -- 2 here: alice and bob.",
                "#lobby>",
            )

    asyncio.run(test())


def test_lines_that_come_in_leave_what_is_typed_alone() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        client.screen.last_rows.clear()
        for number, letter in enumerate("half a thought"):
            client.press(letter)
            chat.hear("alice", f"line {number}")
        await client.sees("12:02 alice: line 12", "12:02 alice: line 13", "#lobby> half a thought")
        gone = [row for row in client.screen.last_rows if not row.startswith("#lobby>")]
        assert not gone, "the input line was away for a moment"
        client.press(ENTER)
        await client.sees("12:02 alice: line 13", "12:02 bob: half a thought", "#lobby>")
        assert [row for row in client.screen.rows() if ">" in row] == ["#lobby>"]

    at_terminal(FakeChat(), talk)


def test_long_wide_and_forged_lines_stand_indented() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        chat.hear("alice", "你好世界" * 6)
        chat.hear("mallory", "hi" + " " * 40 + "12:03 alice: I quit")
        client.press("你好")
        await client.sees(
            "12:02 alice: 你好世界你好世界你好世界你",
            "      好世界你好世界你好世界",
            "12:02 mallory: hi",
            "      12:03 alice: I quit",
            "#lobby> ",
        )

    at_terminal(FakeChat(), talk, columns=40)


def test_a_line_is_sending_until_it_is_stored() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        client.press("one", ENTER, "two", ENTER, "three")
        await client.sees("sending… one", "sending… two", "#lobby> three")
        chat.shows = False
        chat.store(1)
        await client.sees("sent: one", "sending… two", "#lobby> three")
        chat.tell(chat.line("bob", "not this one"))
        chat.fail(2, "the broker's disk is full")
        await client.sees(
            "12:02 !! Not sent: the broker's disk is full. The line was:",
            "      two",
            "sent: one",
            "#lobby> three",
        )

    at_terminal(FakeChat(stores=False), talk)


def test_many_lines_under_way_leave_room_for_the_rest() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        client.press(*(f"{number}{ENTER}" for number in range(9)))
        await client.sees("12:02", "… and 4 before these", *(f"sending… {n}" for n in range(4, 9)), "#lobby>")

    at_terminal(FakeChat(stores=False), talk)


def test_the_prompt_counts_down_while_the_link_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt, "REFRESH_S", 0.02)

    async def talk(chat: FakeChat, client: Client) -> None:
        chat.stores = False
        chat.tell(LinkChanged(Link.OFFLINE, "no answer", retry_at=chat.time + 3))
        client.press("hello", ENTER)
        await client.sees("not sent yet: hello", "offline, retrying in 3 s", "#lobby>")
        chat.time += 1
        await client.sees("not sent yet: hello", "offline, retrying in 2 s", "#lobby>")
        chat.tell(LinkChanged(Link.LIVE))
        await client.sees("12:02 -- The link is back.", "sending… hello", "#lobby>")

    at_terminal(FakeChat(), talk)


def test_the_prompt_tells_how_far_it_is_behind() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        chat.tell(CatchingUp(LOBBY, LOBBY, 62))
        await client.sees("catching up, 62 behind", "#lobby>")
        chat.tell(CatchingUp(LOBBY, LOBBY, 0))
        await client.sees("12:02 -- 2 here: alice and bob.", "#lobby>")

    at_terminal(FakeChat(), talk)


# --------------------------------------------------------------------------- what is typed


def test_users_and_exit() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        client.press("users", ENTER)
        await client.sees("12:02 -- 2 connected: alice and bob", "#lobby>")
        client.press("exit", ENTER)
        assert await client.outcome() is Outcome.DONE
        assert client.screen.rows()[-1] == "12:02 -- 2 connected: alice and bob"

    at_terminal(FakeChat(), talk)


def test_pasted_rows_are_one_line() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        client.press("\x1b[200~def f():\r\n\treturn 1\x1b[201~")
        await client.sees("#lobby> def f():", "      return 1")
        client.press(ENTER)
        await client.sees("12:02 bob: def f():", "          return 1", "#lobby>")
        assert chat.posted == [(LOBBY, "def f():\n\treturn 1")]

    at_terminal(FakeChat(), talk)


def test_up_brings_back_what_was_typed() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        client.press("one", ENTER, "two", ENTER)
        await client.sees("12:02 bob: one", "12:02 bob: two", "#lobby>")
        client.press(UP)
        await client.sees("#lobby> two")
        client.press(UP)
        await client.sees("#lobby> one")

    at_terminal(FakeChat(), talk)


def test_names_rooms_and_commands_are_completed() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        client.press("/jo", TAB)
        await client.sees("#lobby> /join")
        client.press("#l", TAB, CTRL_C, "a", TAB)
        await client.sees("#lobby> alice:")
        client.press(CTRL_C, "/h", TAB)
        await client.sees("12:02 -- /history  /help", "#lobby> /h")

    at_terminal(FakeChat(), talk)


def test_typing_ahead_of_a_join_waits_for_it() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        chat.knows(public("#ops"))
        chat.may_open.clear()
        client.press("/join #ops", ENTER, "secret", ENTER)
        await client.sees("waiting… /join #ops", "waiting… secret", "#lobby>")
        chat.may_open.set()
        await client.sees("12:02 -- 0 here.", "12:02 bob: secret", "#ops>")
        assert chat.posted == [("#ops", "secret")]

    at_terminal(FakeChat(), talk)


def test_what_was_typed_ahead_of_a_failed_join_is_given_back() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        chat.refusals["open #ops"] = Refused(Code.NO_SUCH_ROOM, "there is no room #ops")
        chat.may_open.clear()
        client.press("/join @carol", ENTER, "secret", ENTER)
        await client.sees("waiting… /join @carol", "waiting… secret", "#lobby>")
        chat.may_open.set()
        await client.sees(
            "12:02 !! There is no @carol.",
            "12:02 !! Not done, because the command before it failed. It was:",
            "      secret",
            "#lobby>",
        )
        assert chat.posted == []

    at_terminal(FakeChat(), talk)


def test_somebody_writes_directly_and_is_answered() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        chat.knows(RoomOpened("@1:2", "@alice", RoomKind.DIRECT, 0, 2, ("alice", "bob"), "@alice", False))
        chat.tell(RoomAdded("@1:2", "@alice", RoomKind.DIRECT, "alice"))
        await client.sees("12:02 -- alice writes to you alone. To answer: /join @alice.", "#lobby>")
        await chat.until(lambda: "open @alice" in chat.asked)
        chat.hear("alice", "psst", "@1:2")
        await client.sees("12:02 @alice alice: psst", "#lobby>")
        client.press("/join @alice", ENTER, "yes?", ENTER)
        await client.sees("12:02 -- You are in @alice now.", "12:02 bob: yes?", "@alice>")
        assert chat.posted == [("@1:2", "yes?")]

    at_terminal(FakeChat(), talk)


# --------------------------------------------------------------------------- the end


def test_ctrl_d_leaves() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        client.press(CTRL_D)
        assert await client.outcome() is Outcome.DONE
        assert client.screen.rows()[-1] == "12:02 -- 2 here: alice and bob."

    at_terminal(FakeChat(), talk)


def test_ctrl_c_clears_the_line_and_twice_in_a_row_leaves() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        client.press("nonsense", CTRL_C)
        await client.sees("Ctrl-C once more leaves", "#lobby>")
        client.press("x")
        await client.sees("12:02 -- 2 here: alice and bob.", "#lobby> x")
        client.press(CTRL_C)
        await client.sees("Ctrl-C once more leaves", "#lobby>")
        client.press(CTRL_C)
        assert await client.outcome() is Outcome.DONE
        assert chat.posted == []

    at_terminal(FakeChat(), talk)


def test_leaving_waits_for_the_last_line() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        client.press("last words", ENTER, CTRL_D)
        await client.sees("12:02 -- Waiting until the last lines are stored; Ctrl-C leaves at once.")
        chat.store(1)
        assert await client.outcome() is Outcome.DONE
        assert client.screen.rows()[-1] == "12:02 bob: last words"

    at_terminal(FakeChat(stores=False), talk)


def test_leaving_names_what_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt, "ANSWERED_S", 0.01)

    async def talk(chat: FakeChat, client: Client) -> None:
        client.press("last words", ENTER, CTRL_D)
        assert await client.outcome() is Outcome.UNKNOWN
        assert client.screen.rows()[-1] == "      last words"

    at_terminal(FakeChat(stores=False), talk)


def test_leaving_gives_back_what_was_never_carried_out() -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        chat.may_open.clear()
        client.press("/join #ops", ENTER, "secret", ENTER)
        await client.sees("waiting… secret", "#lobby>")
        client.press(CTRL_D)
        assert await client.outcome() is Outcome.DONE
        await client.sees("12:02 !! Not done, because you left first. It was:", "      secret")

    at_terminal(FakeChat(), talk)


@pytest.mark.parametrize(
    ("code", "outcome"), [(Code.REPLACED, Outcome.REFUSED), ("wrong_key", Outcome.UNREACHABLE)]
)
def test_a_closed_session_says_why_and_ends(code: str, outcome: Outcome) -> None:
    async def talk(chat: FakeChat, client: Client) -> None:
        client.press("half")
        await client.sees("#lobby> half")
        chat.tell(LinkChanged(Link.CLOSED, "another client took over", code))
        assert await client.outcome() is outcome
        assert client.err.getvalue() == "Another client took over.\n"
        assert client.screen.rows()[-1] == "12:02 -- 2 here: alice and bob."

    at_terminal(FakeChat(), talk)


def test_a_room_to_begin_in_that_does_not_open_ends_it() -> None:
    async def test() -> None:
        async with person(FakeChat(), room="#nowhere") as client:
            assert await client.outcome() is Outcome.REFUSED
            assert client.err.getvalue() == "There is no #nowhere.\n"

    asyncio.run(test())


# --------------------------------------------------------------------------- a real terminal

CHATTING = """
import asyncio, sys
from chat_client.line import run_line
from tests.client.fake_chat import FakeChat

chat = FakeChat()
outcome = asyncio.run(
    run_line(chat, room="#lobby", interactive=True, stdin=sys.stdin, stdout=sys.stdout)
)
print("posted", chat.posted)
sys.exit(outcome)
"""


def test_in_a_real_terminal() -> None:
    async def test() -> None:
        screen = Screen()
        there, here = pty.openpty()
        termios.tcsetwinsize(here, (screen.size.rows, screen.size.columns))
        asyncio.get_running_loop().add_reader(
            there, lambda: screen.write(os.read(there, 65_536).decode(errors="replace"))
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHATTING, stdin=here, stdout=here, cwd=REPOSITORY,
            env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        try:
            await screen.until("#lobby>")
            os.write(there, b"hi there\r")
            await screen.until("#lobby>")
            os.write(there, CTRL_D.encode())
            async with asyncio.timeout(PATIENCE_S):
                assert await process.wait() == 0
            await screen.until("posted [('#lobby', 'hi there')]")
            assert screen.rows()[-2].endswith("bob: hi there")
            assert "\x1b[6n" not in screen.raw, "it asked where the cursor is"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            asyncio.get_running_loop().remove_reader(there)
            os.close(there)
            os.close(here)

    asyncio.run(test())
