"""A bench for real processes: brokers that are killed and started again, people and scripts that talk.

Everything runs on loopback and in a folder of its own. Nothing here sleeps for a while and hopes: what a
test waits for it waits for by name, with a limit. `Bench.close` kills what a test has left running.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import pexpect
import pyte
from click.testing import CliRunner

import chat_broker.cli
import chat_client.cli
from chat_broker.folder import DataFolder
from chat_broker.operator import Operator
from chat_client import ChatClient
from chat_client.events import Event, Line
from chat_protocol.address import Address, parse_address
from chat_protocol.messages import Users, Who

T = TypeVar("T")
C = TypeVar("C", bound="Child")
Done = tuple[int, str, str]  # exit code, stdout, stderr

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 20.0  # the longest that anything may take on a busy machine
COLUMNS, ROWS = 100, 40
OWN_VARIABLES = re.compile(r"CHAT_\w+|XDG_\w+|PYTHON(?!PATH)\w+|COLUMNS|LINES")

#: A broker that gives its clients up sooner than people would want: settings that no option sets.
HASTY = """
import sys
from pathlib import Path
from chat_broker.folder import DataFolder
from chat_broker.settings import Settings
from chat_broker.start import Place, serve
serve(
    DataFolder(Path(sys.argv[1])), Place("127.0.0.1", 0, 0), Settings(ping_s=0.3, lease_s=1.5),
    print_invite=True, log_format="text",
)
"""


def wait_until(what: str, condition: Callable[[], T | None], limit_s: float = PATIENCE_S) -> T:
    """Wait until `condition` gives something true, and return that. Fails when the limit has passed."""
    until = time.monotonic() + limit_s
    while not (found := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"waited {limit_s:g} s in vain for {what}")
        time.sleep(0.01)
    return found


class Child:
    """A running process. What it writes goes to files, which `out` and `err` read."""

    def __init__(
        self,
        command: Iterable[str | Path],
        env: dict[str, str],
        files: Path,
        *,
        limits: Callable[[], None] | None = None,
    ) -> None:
        self.name = " ".join(Path(str(word)).name for word in command)[:60]
        self._out, self._err = files.with_suffix(".out"), files.with_suffix(".err")
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                list(command), env=env, stdin=subprocess.PIPE, stdout=out, stderr=err, preexec_fn=limits
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def lines(self) -> list[str]:
        """What came on stdout, as whole lines."""
        return self.out.split("\n")[:-1]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The JSON objects that came on stdout, one a line."""
        return [json.loads(line) for line in self.lines]

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def says(self, text: str, limit_s: float = PATIENCE_S) -> str:
        """Wait until `text` stands in what it wrote to stdout; all of that."""
        return self._waits_for(text, lambda: self.out, limit_s)

    def complains(self, text: str, limit_s: float = PATIENCE_S) -> str:
        """The same of stderr."""
        return self._waits_for(text, lambda: self.err, limit_s)

    def _waits_for(self, text: str, read: Callable[[], str], limit_s: float) -> str:
        wait_until(f"{text!r} from {self.name}", lambda: text in read() or not self.runs, limit_s)
        assert text in read(), f"{self.name} ended with {self.process.returncode}: {self.out}{self.err}"
        return read()

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end_of_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def ends(self, limit_s: float = PATIENCE_S) -> int:
        """Wait for its end; the exit code, or minus the signal that killed it."""
        code = self.process.wait(limit_s)
        self._close()
        return code

    def kill(self) -> None:
        """SIGKILL: it gets no chance to do anything."""
        self.process.kill()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        if self.process.stdin is not None:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass  # it left something unread


class Broker(Child):
    """A broker process. `url` lets newcomers in."""

    url: str
    address: Address
    port: int
    feed_port: int

    def is_ready(self) -> Broker:
        """Wait until it is; the broker itself."""
        self.url = self.says("ready chat://").splitlines()[0].removeprefix("ready ")
        self.address = parse_address(self.url)
        told = re.search(r"\bfeed_port\W+(\d+)", self.complains("feed_port"))
        port = re.search(r"\bport\W+(\d+)", self.err)
        assert told is not None
        assert port is not None
        self.port, self.feed_port = int(port[1]), int(told[1])
        return self

    @property
    def place(self) -> str:
        """The address without the invite: what a member needs."""
        return str(self.address.without_invite())

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it as an operator would; its exit code."""
        self.signal(number)
        return self.ends()


class Bench:
    """A folder with brokers' data, and a home for each person; `close` ends everything in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = folder / "run"
        for one in (self.runtime, folder / "files", folder / "homes"):
            one.mkdir(mode=0o700, parents=True)
        self.data = folder / "data"
        self._children: list[Child] = []
        self._terminals: list[Terminal] = []

    # ------------------------------------------------------------------ where things are

    def home(self, person: str) -> Path:
        path = self.folder / "homes" / person
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def env(self, person: str = "", **more: str) -> dict[str, str]:
        """The environment of a person's processes; CHAT_NAME and the like only as given."""
        env = {name: value for name, value in os.environ.items() if not OWN_VARIABLES.fullmatch(name)}
        env |= {"XDG_RUNTIME_DIR": str(self.runtime), "CHAT_DATA": str(self.data), "TERM": "xterm"}
        env |= {"PATH": f"{BIN}:{os.environ.get('PATH', '')}", "LANG": "C.UTF-8", "TZ": "UTC"}
        env |= {"CHAT_NO_ANNOUNCE": "1", "CHAT_NO_SEARCH": "1"}  # not on the networks of this machine
        if person:
            env["CHAT_HOME"] = str(self.home(person))
        return env | more

    def _files(self) -> Path:
        return self.folder / "files" / str(len(self._children))

    # ------------------------------------------------------------------ brokers

    def broker(self, *options: str, like: Broker | None = None, data: Path | None = None) -> Broker:
        """Start a broker and wait until it is ready; `like` takes the ports of an earlier one."""
        command: list[str | Path] = [BIN / "chat-broker", "start", *_ports(like), *options]
        return self.broker_of(command, self.env(CHAT_DATA=str(data or self.data)))

    def hasty_broker(self) -> Broker:
        """A broker whose leases end after 1.5 s of silence."""
        command: list[str | Path] = [sys.executable, "-c", HASTY, self.data]
        return self.broker_of(command, self.env())

    def broker_of(self, command: list[str | Path], env: dict[str, str]) -> Broker:
        """Start a broker by a command of the test's own."""
        return self._keep(Broker(command, env, self._files())).is_ready()

    def operator(self, *command: str, data: Path | None = None) -> Done:
        """Run a command of chat-broker to its end: exit code, stdout, stderr."""
        return self.run("chat-broker", *command, env=self.env(CHAT_DATA=str(data or self.data)))

    def ask(self, *command: str, data: Path | None = None) -> Done:
        """The same within this process: for where the answer matters, and not the process."""
        return invoke(chat_broker.cli.main, command, self.env(CHAT_DATA=str(data or self.data)))

    def connected(self, room: str = "") -> list[str]:
        """The names of everyone connected to the broker that runs on `data`, or of who follows a room."""
        with Operator(DataFolder(self.data)) as one:
            return one.ask(functools.partial(Who, room=room), Users).names

    def comes(self, person: str, room: str = "#lobby") -> None:
        """Wait until somebody follows a room."""
        wait_until(f"{person} in {room}", lambda: person in self.connected(room))

    # ------------------------------------------------------------------ clients

    def client(
        self, person: str, broker: Broker | str, *command: str, stdin: str = "", limit_s: float = PATIENCE_S
    ) -> Done:
        """Run `chat-client --name PERSON …` to its end: exit code, stdout, stderr."""
        return self.run(
            "chat-client", *command, env=self._client_env(person, broker), stdin=stdin, limit_s=limit_s
        )

    def read(self, person: str, broker: Broker | str, *command: str) -> Done:
        """The same within this process."""
        return invoke(chat_client.cli.main, command, self._client_env(person, broker))

    def start(self, person: str, broker: Broker | str, *command: str) -> Child:
        """The same, but it goes on running."""
        return self._keep(
            Child([BIN / "chat-client", *command], self._client_env(person, broker), self._files())
        )

    def script(self, person: str, broker: Broker, *command: str | Path) -> Child:
        """A program that is not one of ours, with CHAT_BROKER and CHAT_HOME set."""
        env = self.env(person, CHAT_BROKER=broker.url)
        return self._keep(Child(command, env, self._files()))

    def run(
        self, program: str, *command: str, env: dict[str, str], stdin: str = "", limit_s: float = PATIENCE_S
    ) -> Done:
        done = subprocess.run(
            [BIN / program, *command],
            env=env,
            input=stdin.encode(),
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def terminal(self, person: str, *command: str, **variables: str) -> Terminal:
        """The line client, `chat-client --plain …`, at a terminal of its own."""
        return self._at_terminal(command, self.env(person, CHAT_PLAIN="1", **variables), (COLUMNS, ROWS))

    def screen(
        self, person: str, *command: str, size: tuple[int, int] = (COLUMNS, ROWS), **variables: str
    ) -> Terminal:
        """The full screen, `chat-client …`, at a terminal of its own; `size` in columns and rows."""
        return self._at_terminal(command, self.env(person, **variables), size)

    def _at_terminal(self, command: Sequence[str], env: dict[str, str], size: tuple[int, int]) -> Terminal:
        one = Terminal([str(BIN / "chat-client"), *command], env, size)
        self._terminals.append(one)
        return one

    def sdk(self, person: str, broker: Broker | str, **options: Any) -> ChatClient:
        """A client of that person within this process."""
        return ChatClient(person, _url(broker), home=self.home(person), **options)

    def say(self, person: str, broker: Broker | str, *lines: str, room: str = "#lobby") -> None:
        """Come in, say these lines, and leave, all within this process; nothing to say is a visit."""

        async def talk() -> None:
            async with self.sdk(person, broker, rooms=()) as chat:
                await asyncio.gather(*(chat.say(line, room) for line in lines))

        asyncio.run(talk())

    def lines(self, broker: Broker | str, room: str = "#lobby", person: str = "reader") -> list[str]:
        """Every line that was ever said in a room."""

        async def read() -> list[str]:
            async with self.sdk(person, broker, rooms=()) as chat:
                entries = await chat.history(room, 0, 1_000_000)
                return [entry.text for entry in entries if isinstance(entry, Line)]

        return asyncio.run(read())

    def _client_env(self, person: str, broker: Broker | str) -> dict[str, str]:
        return self.env(person, CHAT_NAME=person, CHAT_BROKER=_url(broker))

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        for child in self._children:
            child.kill()
        for terminal in self._terminals:
            terminal.close()

    def _keep(self, child: C) -> C:
        self._children.append(child)
        return child


def invoke(program: click.Command, command: Sequence[str], env: dict[str, str]) -> Done:
    """Run a command line within this process: exit code, stdout, stderr."""
    done = CliRunner(env=env).invoke(program, list(command))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def _heed_hang_ups() -> None:
    """A terminal that closes ends what runs in it, also where the tests themselves run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _ports(like: Broker | None) -> list[str]:
    if like is None:
        return ["--port", "0"]
    return ["--port", str(like.port), "--feed-port", str(like.feed_port)]


def _url(broker: Broker | str) -> str:
    return broker if isinstance(broker, str) else broker.url


class Terminal:
    """A program at a real terminal, driven by key presses; `rows` is what a person sees."""

    def __init__(
        self, command: list[str], env: dict[str, str], size: tuple[int, int] = (COLUMNS, ROWS)
    ) -> None:
        self._columns, rows = size
        self._screen = pyte.HistoryScreen(self._columns, rows, history=2_000)
        self._stream = pyte.Stream(self._screen)
        self._spawned = pexpect.spawn(
            command[0],
            command[1:],
            env=env,
            dimensions=(rows, self._columns),
            encoding="utf-8",
            codec_errors="replace",
            preexec_fn=_heed_hang_ups,
        )
        self._spawned.delaybeforesend = None

    @property
    def rows(self) -> list[str]:
        """What stands on the screen and has scrolled off it, without empty rows."""
        self._look()
        past = ["".join(row[x].data for x in range(self._columns)) for row in self._screen.history.top]
        return [row.rstrip() for row in (*past, *self._screen.display) if row.strip()]

    @property
    def has_cursor(self) -> bool:
        """Whether the terminal shows a cursor: programs of a full screen hide it while they run."""
        self._look()
        return pyte.modes.DECTCEM in self._screen.mode

    def types(self, line: str) -> None:
        self.presses(line + "\r")

    def presses(self, keys: str) -> None:
        self._spawned.send(keys)

    def shows(self, text: str, limit_s: float = PATIENCE_S) -> str:
        """Wait until a row holds `text`, and return it."""
        return self._waits(f"{text!r}", lambda: [row for row in self.rows if text in row], limit_s)[-1]

    def prompts(self, text: str, limit_s: float = PATIENCE_S) -> None:
        """Wait until the last row begins so."""
        self._waits(
            f"the prompt {text!r}", lambda: self.rows[-1:] and self.rows[-1].startswith(text), limit_s
        )

    def _waits(self, what: str, condition: Callable[[], T | None], limit_s: float) -> T:
        try:
            return wait_until(what, condition, limit_s)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), "the screen:", *self.rows])) from None

    def ends(self, limit_s: float = PATIENCE_S) -> int:
        """Wait until the program has left; its exit code, or minus the signal that ended it."""

        def left() -> bool:
            self._look()
            return not self._spawned.isalive()

        self._waits("the end of the program", left, limit_s)
        self._look()
        code = self._spawned.exitstatus
        return -int(self._spawned.signalstatus or 0) if code is None else int(code)

    def signal(self, number: int) -> None:
        self._spawned.kill(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._spawned.wait()

    def hangs_up(self) -> None:
        """Close the window, and wait until the program has noticed."""
        self._spawned.ptyproc.fileobj.close()  # type: ignore[attr-defined]  # unknown to the stubs
        wait_until("the program to notice", lambda: not self._spawned.isalive())

    def close(self) -> None:
        if self._spawned.isalive():
            self.kill()
        self._spawned.ptyproc.delayafterclose = 0.0  # type: ignore[attr-defined]  # unknown to the stubs
        self._spawned.close()

    def _look(self) -> None:
        try:
            while True:
                self._stream.feed(self._spawned.read_nonblocking(65_536, timeout=0))
        except (pexpect.TIMEOUT, pexpect.EOF):
            pass  # nothing more for now, or ever


class Hearing:
    """What comes to an SDK client, as it comes; use it in an `async with`, inside the client's own."""

    def __init__(self, chat: ChatClient) -> None:
        self.events: list[Event] = []
        self._chat = chat
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Hearing:
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        async for event in self._chat.events():
            self.events.append(event)

    def lines(self, room: str = "") -> list[str]:
        """What was said, in a room by its title or in all."""
        return [e.text for e in self.events if isinstance(e, Line) and (not room or e.title == room)]

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    async def waits_for(self, *lines: str, room: str = "") -> None:
        """Wait until all of these were said."""
        await until(", ".join(lines)[:100], lambda: not set(lines) - set(self.lines(room)))


async def until(what: str, condition: Callable[[], T | None], limit_s: float = PATIENCE_S) -> T:
    """`wait_until` for coroutines."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s:g} s in vain for {what}")
        await asyncio.sleep(0.01)
    return found


def bench_in(folder: Path) -> Iterator[Bench]:
    """For fixtures: a bench that is closed in the end, and whose processes wrote no traceback."""
    bench = Bench(folder)
    try:
        yield bench
    finally:
        bench.close()
    for file in sorted((folder / "files").glob("*.err")):
        assert "Traceback" not in file.read_text(), file.read_text()
