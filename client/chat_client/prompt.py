"""The line client at a terminal: one input line at the bottom, the transcript above it.

Rows are printed by erasing the input line, writing, and drawing it anew within one step of the event
loop. (prompt_toolkit's `run_in_terminal` would switch the terminal's echo on for that moment, and what
is typed just then would stand in the transcript.) Lines on their way stand directly above the input
until the transcript shows them; so does what is wrong with the link.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import tzinfo
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.formatted_text import FormattedText, StyleAndTextTuples
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout.processors import TabsProcessor
from prompt_toolkit.output import ColorDepth, Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.renderer import print_formatted_text

from chat_client import slash
from chat_client.conversation import Conversation, Next
from chat_client.events import Link
from chat_client.front import Chat
from chat_client.layout import STYLE, cut, styled
from chat_client.outcome import Outcome, outcome_of, outcome_of_closing
from chat_client.rows import Row, body, reason
from chat_client.transcript import Pending, PendingState
from chat_protocol.errors import ChatError

ANSWERED_S = 10.0  # how long leaving waits for the last lines to be stored
SHOWN_S = 1.0  # and then to be shown
PENDING_SHOWN_MAX = 5
ROWS_HELD_MAX = 200
REFRESH_S = 1.0
BETWEEN_FLUSHES_S = 0.05  # in a busy room the input line is drawn anew so often, not once a row


class SteadyOutput(Vt100_Output):
    """A terminal that can be made to show several changes at once, so that nothing flickers."""

    _held = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Whatever is written meanwhile reaches the terminal as one piece."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self.flush()

    def flush(self) -> None:
        if not self._held:
            super().flush()


@dataclass(frozen=True, slots=True)
class Terminal:
    input: Input
    output: Output

    def held(self) -> AbstractContextManager[None]:
        return self.output.held() if isinstance(self.output, SteadyOutput) else nullcontext()


def terminal(stdin: TextIO, stdout: TextIO) -> Terminal:
    """The terminal behind two streams."""
    if sys.platform == "win32":
        return Terminal(create_input(stdin), create_output(stdout))
    depth = ColorDepth.from_env()
    output = SteadyOutput.from_pty(stdout, term=os.environ.get("TERM"), default_color_depth=depth)
    # Nothing here needs the cursor's position, and an answer that comes late would land in the shell.
    output.enable_cpr = False
    return Terminal(create_input(stdin), output)


async def run_prompt(
    chat: Chat, *, room: str, screen: Terminal, stderr: TextIO, clock: Callable[[], float], tz: tzinfo | None
) -> Outcome:
    """`line.run_line` at a terminal."""
    with create_app_session(screen.input, screen.output), patch_stdout():
        prompt = _Prompt(chat, screen, clock, tz)
        outcome, sentence = await prompt.run(room)
    if sentence:
        print(reason(sentence), file=stderr, flush=True)
    return outcome


class _Prompt:
    def __init__(self, chat: Chat, screen: Terminal, clock: Callable[[], float], tz: tzinfo | None) -> None:
        self._chat = chat
        self._screen = screen
        self._output = screen.output
        self._conversation = Conversation(chat, self.show, clock=clock, tz=tz)
        self._transcript = self._conversation.transcript
        self._clock = clock
        self._typed: deque[str] = deque()  # the first is being carried out
        self._arrived = asyncio.Event()
        self._interrupted = False  # Ctrl-C was the last key
        self._rows: list[Row] = []
        self._flushing: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0
        self._session: PromptSession[None] = PromptSession(
            self._message,
            style=STYLE,
            key_bindings=self._keys(),
            input_processors=[TabsProcessor(char1=" ", char2=" ")],
            complete_while_typing=False,
            enable_suspend=True,
            erase_when_done=True,
            prompt_continuation="  ",
            refresh_interval=REFRESH_S,
        )
        self._session.default_buffer.accept_handler = self._accept
        self._session.default_buffer.on_text_changed += self._disarm

    async def run(self, room: str) -> tuple[Outcome, str]:
        """Until the person leaves or the session is closed: the exit code, and a sentence that says why."""
        conversation = self._conversation
        prompting = asyncio.create_task(self._prompting())
        working = asyncio.create_task(self._work(room))
        listening = asyncio.create_task(conversation.listen())
        tasks = (prompting, listening, working)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            working.cancel()
            await self._leave(prompting)
        except ChatError as error:
            return outcome_of(error), str(error)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._flush()
        closed = conversation.closed
        outcome = Outcome.UNKNOWN if conversation.outcome is Outcome.UNKNOWN else Outcome.DONE
        if closed is None:
            return outcome, ""
        return max(outcome, outcome_of_closing(closed)), closed.reason

    async def _prompting(self) -> None:
        try:
            await self._session.prompt_async(set_exception_handler=False)
        except EOFError:
            pass  # Ctrl-D

    async def _work(self, room: str) -> None:
        """Carry out what is typed, in order, until that is to leave."""
        await self._conversation.start(room, person=True)
        while True:
            while not self._typed:
                self._arrived.clear()
                await self._arrived.wait()
            what = await self._conversation.take(self._typed[0])
            self._typed.popleft()
            if what is Next.LEAVE:
                return
            if what is Next.STOP:
                self._give_back("the command before it failed")

    def _give_back(self, why: str) -> None:
        """Show again what was typed and is not going to be done."""
        for typed in self._typed:
            self.show(self._transcript.undone(typed, why, self._clock()))
        self._typed.clear()

    async def _leave(self, prompting: asyncio.Task[None]) -> None:
        """Let the last lines be stored, with the input line gone and Ctrl-C working as in any program."""
        app = self._session.app
        if app.is_running and not app.is_done:
            app.exit()
            await prompting
        self._give_back("you left first")
        if self._transcript.unanswered and self._conversation.closed is None:
            text = "Waiting until the last lines are stored; Ctrl-C leaves at once."
            self.show(self._transcript.answer(text, self._clock()))
        await self._conversation.settle(ANSWERED_S, SHOWN_S)

    # ----------------------------------------------------------------------- what is typed

    def _accept(self, buffer: Buffer) -> bool:
        if buffer.text.strip():
            self._typed.append(buffer.text)
            self._arrived.set()
        return False  # the input line is cleared

    def _disarm(self, _: Buffer) -> None:
        self._interrupted = False

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c")
        @keys.add("<sigint>")
        def interrupt(event: KeyPressEvent) -> None:
            if self._interrupted:
                event.app.exit()
                return
            event.current_buffer.reset()
            self._interrupted = True

        @keys.add("tab")
        def complete(event: KeyPressEvent) -> None:
            self._complete(event.current_buffer)

        return keys

    def _complete(self, buffer: Buffer) -> None:
        typed = buffer.document.text_before_cursor
        rooms = {*self._transcript.titles, *self._conversation.rooms_seen}
        found = slash.complete(typed, self._transcript.people, rooms)
        if not found:
            return
        word, common = slash.last_word(typed), slash.common_start(found)
        if len(common) > len(word) or len(found) == 1:
            buffer.delete_before_cursor(len(word))
            buffer.insert_text(common)
        else:
            self.show(self._transcript.answer("  ".join(each.strip() for each in found), self._clock()))

    # ----------------------------------------------------------------------- what is shown

    def show(self, rows: Sequence[Row]) -> None:
        """Print rows above the input line, soon; and draw what stands around it anew."""
        self._rows += rows
        loop = asyncio.get_running_loop()
        if len(self._rows) >= ROWS_HELD_MAX:
            self._flush()
        elif self._rows and self._flushing is None:
            self._flushing = loop.call_at(max(loop.time(), self._flushed_at + BETWEEN_FLUSHES_S), self._flush)
        self._session.app.invalidate()

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if not self._rows:
            return
        columns = self._output.get_size().columns
        fragments = [fragment for row in self._rows for fragment in styled(row, columns)]
        self._rows.clear()
        app = self._session.app
        drawn = app.is_running and not app.is_done
        with self._screen.held():
            if drawn:
                app.renderer.erase()
            print_formatted_text(self._output, FormattedText(fragments), STYLE)
            if drawn:
                app.renderer.render(app, app.layout)
        self._flushed_at = asyncio.get_running_loop().time()

    def _message(self) -> StyleAndTextTuples:
        """What stands above the input line, and before it."""
        columns = self._output.get_size().columns
        lines = [("class:pending", text) for text in self._under_way()]
        status = self._transcript.status(self._chat.now())
        if status:
            lines.append(("class:status", status))
        if self._interrupted:
            lines.append(("class:status", "Ctrl-C once more leaves"))
        above: StyleAndTextTuples = [(style, cut(text, columns) + "\n") for style, text in lines]
        return [*above, ("class:here", cut(self._transcript.title, columns // 3)), ("", "> ")]

    def _under_way(self) -> list[str]:
        """Lines said and commands given that the transcript does not show yet, the newest few."""
        under_way: list[Pending | str] = [*self._transcript.pending, *self._typed]
        hidden = max(0, len(under_way) - PENDING_SHOWN_MAX)
        first = [f"… and {hidden} before these"] if hidden else []
        return first + [self._described(each) for each in under_way[hidden:]]

    def _described(self, line: Pending | str) -> str:
        if isinstance(line, str):
            return f"waiting… {body(line)}"
        where = f"{line.title} " if line.room != self._transcript.here else ""
        return f"{self._label(line)} {where}{line.text}"

    def _label(self, line: Pending) -> str:
        if line.state is PendingState.STORED:
            return "sent:"
        return "sending…" if self._transcript.link is Link.LIVE else "not sent yet:"
