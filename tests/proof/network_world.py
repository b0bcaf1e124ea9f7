"""A small world of network namespaces: an internet, a broker's host, and two people behind NAT.

    alice 192.168.1.2 --- gate 198.51.100.21 ---+
                                             internet --- [gate 198.51.100.23 ---] broker
    bob   192.168.2.2 --- gate 198.51.100.22 ---+

Each gate masquerades what leaves and lets in only answers; alice and bob cannot reach each other. The
broker has a public address, or sits behind a gate that forwards (or relays) two ports to it. All of it is
veth pairs inside namespaces whose names carry this process's id: nothing else of the machine is touched,
and `close` removes everything. What a killed process left behind, the next world sweeps away.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from tests.integration.bench import BIN, Bench, Child

C = TypeVar("C", bound=Child)

TOOLS = ("ip", "nft", "tc")
PREFIX = "simplechat"
HERE = Path(__file__).parent
NETNS = Path("/run/netns")  # where iproute2 keeps their names
NETNS_ETC = Path("/etc/netns")  # a file `hosts` in NAME/ is what processes in that namespace see
LOOK_S = 0.05  # between two looks at what people have logged
START_S = 40.0  # the longest that a process may take to be ready on a busy machine

PUBLIC = "198.51.100"  # set aside for documentation, as is the name
NAME = "chat.example"
BROKER_ADDRESS, BROKER_NEXT_ADDRESS = f"{PUBLIC}.10", f"{PUBLIC}.11"
GATES = {"alice": f"{PUBLIC}.21", "bob": f"{PUBLIC}.22", "broker": f"{PUBLIC}.23"}
LANS = {"alice": "192.168.1", "bob": "192.168.2", "broker": "192.168.3"}
PEOPLE = ("alice", "bob")
PORT, FEED_PORT = 5_555, 5_556
OUTER_PORT, OUTER_FEED_PORT = 7_555, 7_556

_worlds = itertools.count(1)
_building = threading.Lock()  # the first namespace of a machine makes /run/netns a mount: one at a time


class Door(Enum):
    """How the broker is reached, and what it advertises."""

    ADDRESS = "its public address"
    NAMED = "a DNS name"
    FORWARDED = "forwarded ports of a gate"
    RELAYED = "a relay on a gate"

    @property
    def is_gate(self) -> bool:
        return self in (Door.FORWARDED, Door.RELAYED)

    @property
    def advertised(self) -> str:
        if self.is_gate:
            return f"{GATES['broker']}:{OUTER_PORT}:{OUTER_FEED_PORT}"
        return NAME if self is Door.NAMED else BROKER_ADDRESS


class Way(Enum):
    """Which packets a partition swallows, seen from the people."""

    OUT = "towards the broker"
    BACK = "from the broker"
    BOTH = "both ways"


@dataclass
class Dropped:
    """How many packets a fault swallowed; known when it has ended."""

    packets: int = 0


def what_is_missing() -> str:
    """Why no world can be built here, as a sentence; "" if one can."""
    if os.geteuid() != 0:
        return "network namespaces need root, to add links, addresses and nftables rules"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not found: iproute2 and nftables build the networks"
    return ""


class Person(Child):
    """A process of network_person.py; `events` is what it has logged so far."""

    def __init__(self, name: str, command: list[str | Path], env: dict[str, str], files: Path) -> None:
        super().__init__(command, env, files)
        self.person = name
        self._events: list[dict[str, Any]] = []
        self._read = 0

    @property
    def events(self) -> list[dict[str, Any]]:
        with open(self._out, "rb") as file:
            file.seek(self._read)
            news = file.read()
        whole = news[: news.rfind(b"\n") + 1]
        self._read += len(whole)
        self._events += map(json.loads, whole.splitlines())
        return self._events

    def order(self, order: str) -> None:
        self.write(f"{order}\n")

    def logs(self, what: str, since: int = 0) -> dict[str, Any]:
        """Wait for the first row of a kind, past the first `since` rows."""

        def find() -> dict[str, Any] | None:
            assert self.runs, f"{self.person} ended: {self.err}"
            return next((row for row in self.events[since:] if row["what"] == what), None)

        row: dict[str, Any] | None = look_until(find, START_S)
        assert row is not None, f"waited {START_S:g} s in vain for {what} from {self.person}: {self.err}"
        return row


def look_until(look: Callable[[], Any], limit_s: float) -> Any:
    """What `look` finds, or whatever it says once the time is over."""
    until = time.monotonic() + limit_s
    while not (found := look()) and time.monotonic() < until:
        time.sleep(LOOK_S)
    return found


class World:
    """Use it in a `with`: entering builds it, with a broker that is ready and two people in the lobby."""

    def __init__(self, folder: Path, door: Door, seed: int = 0) -> None:
        self.door = door
        self._name = f"{PREFIX}-{os.getpid()}-{next(_worlds)}"
        self._bench = Bench(folder)
        self._files = itertools.count()
        self._seed = seed
        self._spaces: list[str] = []
        self._children: list[Child] = []
        self.relay: Child | None = None
        self.people: list[Person] = []

    def __enter__(self) -> World:
        try:
            with _building:
                _sweep()
                self._build()
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process of this world and remove its namespaces."""
        for child in self._children:
            if child.runs:
                child.kill()
        for space in self._spaces:
            _remove(space)
        self._spaces.clear()

    def tracebacks(self) -> list[str]:
        """Tracebacks that any process wrote: there should be none."""
        errors = [child.err for child in self._children]
        return [error[-2_000:] for error in errors if "Traceback" in error]

    # ------------------------------------------------------------------ building

    def _build(self) -> None:
        self._space("internet")
        self._ip("internet", "link add name bridge type bridge forward_delay 0", "link set bridge up")
        for person in PEOPLE:
            self._behind_gate(person)
        if self.door.is_gate:
            self._behind_gate("broker")
        else:
            self._space("broker")
            self._plug("broker", BROKER_ADDRESS)
        if self.door is Door.FORWARDED:
            inner = f"{LANS['broker']}.2"
            self._chain(
                "gate-broker",
                "forwarding",
                "type nat hook prerouting priority dstnat",
                f'iifname "wan" tcp dport {OUTER_PORT} dnat to {inner}:{PORT}',
                f'iifname "wan" tcp dport {OUTER_FEED_PORT} dnat to {inner}:{FEED_PORT}',
            )
        if self.door is Door.NAMED:
            self.name_means(BROKER_ADDRESS)

    def _open(self) -> None:
        options = ["--host", "0.0.0.0", "--port", str(PORT), "--advertise", self.door.advertised]
        command = self._within("broker", BIN / "chat-broker", "start", *options)
        self._keep(Child(command, self._bench.env(), self._next_files())).says("ready chat://", START_S)
        if self.door is Door.RELAYED:
            inner = f"{LANS['broker']}.2"
            places = (f"{OUTER_PORT}={inner}:{PORT}", f"{OUTER_FEED_PORT}={inner}:{FEED_PORT}")
            command = self._within(
                "gate-broker", sys.executable, "-P", HERE / "relay.py", str(self._seed), *places
            )
            self.relay = self._keep(Child(command, self._bench.env(), self._next_files()))
            self.relay.says("listening", START_S)
        url = self.operator("invite", "--uses", str(len(PEOPLE)), "--expires", "1h").strip()
        for name in PEOPLE:
            script = HERE / "network_person.py"
            command = self._within(name, sys.executable, "-P", script, name, url, self._bench.home(name))
            self.people.append(self._keep(Person(name, command, self._bench.env(name), self._next_files())))
        for person in self.people:
            person.logs("here")

    def _behind_gate(self, who: str) -> None:
        """A network of its own behind a gate that masquerades and lets in nothing but answers."""
        gate, lan = f"gate-{who}", LANS[who]
        self._space(gate)
        self._space(who)
        self._plug(gate, GATES[who])
        self._ip(
            gate,
            f"link add name lan type veth peer name eth0 netns {self._full(who)}",
            f"addr add {lan}.1/24 dev lan",
            "link set lan up",
        )
        self._ip(who, f"addr add {lan}.2/24 dev eth0", "link set eth0 up", f"route add default via {lan}.1")
        self._sysctl(gate, "net/ipv4/ip_forward", 1)
        self._sysctl(gate, "net/netfilter/nf_conntrack_tcp_loose", 0)  # a stranger's packet makes no mapping
        self._masquerade(gate, "20000-29999")
        self._chain(
            gate,
            "guard",
            "type filter hook forward priority filter; policy drop",
            "ct state invalid drop",
            "ct state established,related accept",
            'iifname "lan" oifname "wan" accept',
            "ct status dnat accept",
        )

    def _plug(self, where: str, address: str) -> None:
        """Give a namespace a public address on the internet."""
        self._ip(
            where,
            f"link add name wan type veth peer name {where} netns {self._full('internet')}",
            f"addr add {address}/24 dev wan",
            "link set wan up",
        )
        self._ip("internet", f"link set {where} master bridge", f"link set {where} up")

    def _masquerade(self, gate: str, ports: str) -> None:
        self._chain(
            gate,
            "leaving",
            "type nat hook postrouting priority srcnat",
            f'oifname "wan" meta l4proto tcp masquerade to :{ports}',
            'oifname "wan" masquerade',
        )

    # ------------------------------------------------------------------ what can be asked of it

    @property
    def reachable_at(self) -> tuple[str, int]:
        """Host and port at which people reach the broker at first."""
        return (GATES["broker"], OUTER_PORT) if self.door.is_gate else (BROKER_ADDRESS, PORT)

    def person(self, name: str) -> Person:
        return next(person for person in self.people if person.person == name)

    def operator(self, *command: str) -> str:
        """Run a command of chat-broker on the broker's host; what it prints."""
        return self._run("broker", BIN / "chat-broker", *command, env=self._bench.env())

    def reaches(self, name: str, host: str, port: int) -> bool:
        """Whether a TCP connection comes about from where `name` is."""
        code = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()"
        command = self._within(name, sys.executable, "-c", code, host, str(port))
        done = subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    # ------------------------------------------------------------------ faults

    @contextlib.contextmanager
    def dropping(self, who: str, *rules: str) -> Iterator[Dropped]:
        """Packets through a gate that match a rule are swallowed; afterwards it is known how many."""
        gate = f"gate-{who}"
        drops = [f"{rule} counter drop" for rule in rules]
        self._chain(gate, "fault", "type filter hook forward priority filter - 10", *drops)
        dropped = Dropped()
        try:
            yield dropped
        finally:
            listing = self._run(gate, "nft", "list", "table", "ip", "fault")
            self._nft(gate, "delete table ip fault")
            dropped.packets = sum(map(int, re.findall(r"counter packets (\d+)", listing)))

    @contextlib.contextmanager
    def losing(self, percent: int) -> Iterator[Dropped]:
        """Both people's gates lose packets at random, both ways."""
        rule, dropped = f"numgen random mod 100 < {percent}", Dropped()
        with self.dropping("alice", rule) as alices, self.dropping("bob", rule) as bobs:
            yield dropped
        dropped.packets = alices.packets + bobs.packets

    def partition(self, who: str, way: Way) -> AbstractContextManager[Dropped]:
        """A gate swallows everything of one way or of both. At the broker's gate that is everybody's."""
        inside, outside = ("lan", "wan") if who != "broker" else ("wan", "lan")
        rules = {Way.OUT: f'iifname "{inside}"', Way.BACK: f'iifname "{outside}"', Way.BOTH: ""}
        return self.dropping(who, rules[way])

    def feed_cut(self, who: str) -> AbstractContextManager[Dropped]:
        """A gate swallows everything of the feed's port, and nothing else."""
        port = OUTER_FEED_PORT if self.door.is_gate else FEED_PORT
        return self.dropping(who, f"tcp dport {port}", f"tcp sport {port}")

    @contextlib.contextmanager
    def thin_link(self, who: str, rate: str) -> Iterator[None]:
        """A gate passes no more than `rate` either way."""
        gate = f"gate-{who}"
        shape = ("root", "tbf", "rate", rate, "burst", "3kb", "latency", "600ms")
        for device in ("wan", "lan"):
            self._run(gate, "tc", "qdisc", "add", "dev", device, *shape)
        try:
            yield
        finally:
            for device in ("wan", "lan"):
                self._run(gate, "tc", "qdisc", "del", "dev", device, "root")

    def forget_mappings(self, who: str, *, silently: bool) -> None:
        """A gate's NAT restarts: its mappings are gone, new ones have other ports.

        Silently: what belongs to no mapping is swallowed. Otherwise it gets a new one, and the broker's
        host, which knows no such connection, answers with a reset.
        """
        gate = f"gate-{who}"
        self._sysctl(gate, "net/netfilter/nf_conntrack_tcp_loose", 0 if silently else 1)
        self._masquerade(gate, "40000-49999" if silently else "30000-39999")
        self._run(gate, sys.executable, "-P", HERE / "network_flush.py")

    def forget_idle(self, who: str, seconds: int) -> None:
        """From now on a gate's NAT forgets a connection on which nothing passes for so long."""
        self._sysctl(f"gate-{who}", "net/netfilter/nf_conntrack_tcp_timeout_established", seconds)

    def weather(self, **order: object) -> None:
        """An order to the relay."""
        assert self.relay is not None
        self.relay.write(json.dumps(order) + "\n")

    def move_broker(self) -> None:
        """The broker's host gets another address; whoever knew the old one is told nothing."""
        self._ip(
            "broker",
            f"addr del {BROKER_ADDRESS}/24 dev wan",
            f"addr add {BROKER_NEXT_ADDRESS}/24 dev wan",
        )

    def name_means(self, address: str) -> None:
        """The broker's DNS name stands for this address now, for both people."""
        for person in PEOPLE:
            file = NETNS_ETC / self._full(person) / "hosts"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"127.0.0.1 localhost\n{address} {NAME}\n")  # in place: it is bind-mounted

    # ------------------------------------------------------------------ namespaces and processes

    def _full(self, where: str) -> str:
        return f"{self._name}-{where}"

    def _space(self, where: str) -> None:
        subprocess.run(["ip", "netns", "add", self._full(where)], check=True)
        self._spaces.append(self._full(where))
        self._ip(where, "link set lo up")

    def _ip(self, where: str, *lines: str) -> None:
        command = ["ip", "-n", self._full(where), "-batch", "-"]
        subprocess.run(command, input="\n".join(lines), text=True, check=True)

    def _chain(self, where: str, table: str, *statements: str) -> None:
        """A table with one chain of these statements, in place of any table of that name."""
        table = f"table ip {table}"
        chain = "\n".join(statements)
        self._nft(where, f"{table}\ndelete {table}\n{table} {{\nchain only {{\n{chain}\n}}\n}}\n")

    def _nft(self, where: str, rules: str) -> None:
        subprocess.run(self._within(where, "nft", "-f", "-"), input=rules, text=True, check=True)

    def _sysctl(self, where: str, name: str, value: int) -> None:
        self._run(where, "sh", "-c", f"echo {value} > /proc/sys/{name}")

    def _within(self, where: str, *command: str | Path) -> list[str | Path]:
        return ["ip", "netns", "exec", self._full(where), *command]

    def _run(self, where: str, *command: str | Path, env: dict[str, str] | None = None) -> str:
        words = self._within(where, *command)
        return subprocess.run(words, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout

    def _next_files(self) -> Path:
        return self._bench.folder / "files" / str(next(self._files))

    def _keep(self, child: C) -> C:
        self._children.append(child)
        return child


def _remove(space: str) -> None:
    subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)
    if (NETNS_ETC / space).exists():
        shutil.rmtree(NETNS_ETC / space, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody else has a namespace there
            NETNS_ETC.rmdir()


def _sweep() -> None:
    """Remove what a process that no longer exists has left behind, and end what still runs there."""
    for space in [path.name for path in NETNS.glob(f"{PREFIX}-*-*-*")]:
        if Path("/proc", space.split("-")[1]).exists():
            continue
        pids = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True, check=False)
        for pid in pids.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _remove(space)
