"""A local network of a few hosts, each a network namespace on one switch that passes multicast.

All of it is veth pairs inside namespaces whose names carry this process's id: nothing else of the machine
is touched, and `close` removes everything. Needs root and iproute2.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.integration.bench import BIN, Bench, Broker, Child, Done, Terminal

HOSTS = ("desk", "laptop", "shed", "lonely")  # the last one is on no network at first
NET = "192.168.77"
PREFIX = "simplechat"  # with the process's id behind it: the next world of tests/proof sweeps what was left

_networks = itertools.count(1)


def what_is_missing() -> str:
    """Why no network can be built here, as a sentence; "" if one can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    return "" if shutil.which("ip") else "ip not found: iproute2 builds the networks"


class LocalNetwork:
    """Use it in a `with`. Its methods start processes on a host; people have a home on each host."""

    def __init__(self, folder: Path) -> None:
        self._bench = Bench(folder)
        self._prefix = f"{PREFIX}-{os.getpid()}-lan{next(_networks)}"
        self._spaces: list[str] = []
        self._terminals: list[Terminal] = []
        self._scripts: list[Child] = []

    def __enter__(self) -> LocalNetwork:
        try:
            self._space("switch")
            self._ip("switch", "link add name bridge type bridge forward_delay 0 mcast_snooping 0")
            self._ip("switch", "link set dev bridge up")
            for host in HOSTS:
                self._space(host)
                if host != HOSTS[-1]:
                    self.plug_in(host)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for terminal in self._terminals:
            terminal.close()
        for script in self._scripts:
            script.kill()
        self._bench.close()
        for space in self._spaces:
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)

    # ------------------------------------------------------------------ what runs on a host

    def broker(self, host: str, *options: str) -> Broker:
        """Start a broker that listens on every address of a host; it announces itself."""
        options = ("--host", "0.0.0.0", "--port", "0", *options)
        env = self._env(host, "", CHAT_DATA=str(self._data(host)))
        return self._bench.broker_of(self._within(host, BIN / "chat-broker", "start", *options), env)

    def operator(self, host: str, *command: str) -> str:
        """What a command of the host's operator prints."""
        words = self._within(host, BIN / "chat-broker", *command)
        env = self._env(host, "", CHAT_DATA=str(self._data(host)))
        return subprocess.run(words, env=env, check=True, capture_output=True, text=True).stdout.strip()

    def client(self, host: str, person: str, *command: str, stdin: str = "", **variables: str) -> Done:
        """Run chat-client there to its end, without a terminal."""
        done = subprocess.run(
            self._within(host, BIN / "chat-client", *command),
            env=self._env(host, person, CHAT_NAME=person, **variables),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def terminal(self, host: str, person: str, *command: str) -> Terminal:
        """chat-client there, at a terminal, with the line client."""
        words = self._within(host, BIN / "chat-client", *command)
        one = Terminal(list(map(str, words)), self._env(host, person, CHAT_NAME=person, CHAT_PLAIN="1"))
        self._terminals.append(one)
        return one

    def python(self, host: str, script: Path, *arguments: str) -> Child:
        """A Python script there."""
        files = self._bench.folder / "files" / f"script-{len(self._scripts)}"
        words = self._within(host, sys.executable, script, *arguments)
        self._scripts.append(Child(words, self._env(host, ""), files))
        return self._scripts[-1]

    def home(self, host: str, person: str) -> Path:
        return self._bench.home(f"{person}-{host}")

    def url_file(self, host: str) -> list[Path]:
        """The connection files of a host's brokers."""
        return sorted(self._runtime(host).glob("simple-chat/*.url"))

    def _runtime(self, host: str) -> Path:
        path = self._bench.folder / "run" / host
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def _data(self, host: str) -> Path:
        return self._bench.folder / "data" / host

    def _env(self, host: str, person: str, **more: str) -> dict[str, str]:
        env = self._bench.env(f"{person}-{host}" if person else "")
        env = {
            name: value for name, value in env.items() if name not in ("CHAT_NO_ANNOUNCE", "CHAT_NO_SEARCH")
        }
        return env | {"XDG_RUNTIME_DIR": str(self._runtime(host))} | more

    # ------------------------------------------------------------------ namespaces

    def _full(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def _space(self, host: str) -> None:
        subprocess.run(["ip", "netns", "add", self._full(host)], check=True)
        self._spaces.append(self._full(host))
        self._ip(host, "link set lo up")

    def plug_in(self, host: str) -> None:
        """Connect a host to the switch."""
        address = f"{NET}.{10 + HOSTS.index(host)}"
        self._ip(host, f"link add name eth0 type veth peer name {host} netns {self._full('switch')}")
        self._ip(host, f"addr add {address}/24 dev eth0")
        self._ip(host, "link set dev eth0 multicast on up")
        self._ip(host, "route add 224.0.0.0/4 dev eth0")
        self._ip("switch", f"link set dev {host} master bridge up")

    def _ip(self, host: str, command: str) -> None:
        subprocess.run(["ip", "-n", self._full(host), *command.split()], check=True)

    def _within(self, host: str, *command: str | Path) -> list[str | Path]:
        return ["ip", "netns", "exec", self._full(host), *command]
