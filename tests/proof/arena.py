"""The arena: a live broker, honest people who talk in it all the time, and room for attackers."""

from __future__ import annotations

import random
import re
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import zmq

from chat_broker.auth import KeyPair, new_keys
from tests.integration.bench import Bench, Broker, bench_in
from tests.integration.wire import Peer, enroll
from tests.proof.honest import History

HONEST = Path(__file__).with_name("honest.py")
LINES_PER_S = 30.0
ADMISSION_S = 10.0

Socket = zmq.Socket[bytes]


class Arena:
    """Attackers get their members and sockets here; `close_attackers` ends what they left open."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.rng = random.Random(seed)
        self.broker: Broker = bench.broker()
        self._honest = bench.script("honest", self.broker, sys.executable, HONEST, *self._honest_arguments())
        self._honest.says("talking")
        self._keys: dict[str, KeyPair] = {}
        self._context: zmq.Context[Socket] = zmq.Context()
        self._context.max_sockets = 4_000
        self._open: list[Socket] = []
        self._monitors = 0
        self._peers: list[Peer] = []

    def _honest_arguments(self) -> tuple[str, str, str]:
        return self.broker.url, str(self.bench.home("honest")), str(LINES_PER_S)

    # ------------------------------------------------------------------ attackers

    def keys(self, name: str) -> KeyPair:
        """The key of a member, enrolled when first asked for."""
        if name not in self._keys:
            self._keys[name] = enroll(self.broker, name)
        return self._keys[name]

    def member(self, name: str) -> Peer:
        """A member with a session of their own."""
        one = self.guest(self.keys(name))
        one.hello(name)
        return one

    def guest(self, keys: KeyPair | None = None) -> Peer:
        one = Peer(self.broker, keys)
        self._peers.append(one)
        return one

    def dealer(self, keys: KeyPair | None = None, *, routing_id: bytes = b"", port: int = 0) -> Socket:
        """A DEALER on the command port, with whatever key and routing id it likes."""
        one = self._socket(zmq.DEALER)
        one.curve_publickey, one.curve_secretkey = keys or new_keys()
        one.curve_serverkey = self.broker.address.key or b""
        if routing_id:
            one.setsockopt(zmq.ROUTING_ID, routing_id)
        one.connect(f"tcp://127.0.0.1:{port or self.broker.port}")
        return one

    def watched_dealer(self, events: int, keys: KeyPair, server_key: bytes = b"") -> tuple[Socket, Socket]:
        """A DEALER on the command port, and a monitor that tells how it went."""
        one = self._socket(zmq.DEALER)
        one.curve_publickey, one.curve_secretkey = keys
        one.curve_serverkey = server_key or self.broker.address.key or b""
        self._monitors += 1
        monitor = one.get_monitor_socket(events, f"inproc://monitor{self._monitors}")
        self._open.append(monitor)
        one.connect(f"tcp://127.0.0.1:{self.broker.port}")
        return one, monitor

    def subscriber(self, token: bytes, topics: Sequence[bytes] = (b"",), *, hwm: int = 1_000) -> Socket:
        """A SUB on the feed port."""
        one = self._socket(zmq.SUB)
        one.rcvhwm = hwm
        one.plain_username, one.plain_password = b"feed", token.hex().encode()
        for topic in topics:
            one.subscribe(topic)
        one.connect(f"tcp://127.0.0.1:{self.broker.feed_port}")
        return one

    def _socket(self, kind: int) -> Socket:
        one = self._context.socket(kind)
        one.linger = 0
        one.sndhwm = 0
        one.reconnect_ivl = -1
        self._open.append(one)
        return one

    def close_attackers(self) -> None:
        for one in self._open:
            one.disable_monitor()  # one that nobody reads stalls the others' I/O
        for one in self._open:
            one.close(linger=0)
        for peer in self._peers:
            peer.close()
        self._open, self._peers = [], []

    def close(self) -> None:
        self.close_attackers()
        self._context.term()

    # ------------------------------------------------------------------ what there is to see

    @property
    def cuts(self) -> int:
        """How many connections the guard has cut so far."""
        return len(re.findall(r"\bcut\b.*bytes_ahead", self.broker.err))

    @staticmethod
    def now() -> float:
        """The clock that the honest people's times are told by."""
        return time.monotonic()

    def forget_peak(self) -> None:
        """Begin to measure the broker's peak memory anew."""
        Path(f"/proc/{self.broker.process.pid}/clear_refs").write_text("5")

    def memory_mib(self, what: str) -> float:
        """VmHWM (the peak) or VmRSS of the broker."""
        status = Path(f"/proc/{self.broker.process.pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1_024

    def end(self) -> History:
        """The honest people stop; what happened to them."""
        self.close_attackers()
        self._honest.end_of_input()
        code = self._honest.ends(60)
        assert code == 0, self._honest.err
        return History.read(self._honest.lines[-1])


@contextmanager
def arena(folder: Path, seed: int) -> Iterator[Arena]:
    """An arena in a folder of its own. File descriptors: as many as this process may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for bench in bench_in(folder):
        one = Arena(bench, seed)
        try:
            yield one
        finally:
            one.close()
