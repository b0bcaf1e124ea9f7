"""The limit of latency: a bare ROUTER and PUB that write each line to the disk, and do nothing else.

`python -m bench.peers.bare PORT FEED_PORT FILE`; without a file nothing is written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import zmq

from bench.server import BenchError

BLOCK_BYTES = 4_096
BLOCKS = 1_024  # of a file that exists already, as a write-ahead log does most of the time
TOPIC = b"room"


def main() -> None:
    port, feed_port, *files = sys.argv[1:]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router, pub = context.socket(zmq.ROUTER), context.socket(zmq.PUB)
    router.bind(f"tcp://127.0.0.1:{port}")
    pub.bind(f"tcp://127.0.0.1:{feed_port}")
    file = -1
    if files:
        file = os.open(files[0], os.O_RDWR | os.O_CREAT, 0o600)
        os.write(file, bytes(BLOCKS * BLOCK_BYTES))
        os.fsync(file)
    print("ready", flush=True)
    count = 0
    while True:
        _, line = router.recv_multipart()
        if file >= 0:
            os.pwrite(file, line.ljust(BLOCK_BYTES, b"\0"), count % BLOCKS * BLOCK_BYTES)
            os.fdatasync(file)
        pub.send(TOPIC + line)
        count += 1


class BareMouth:
    def __init__(self, port: int) -> None:
        self._port = port

    def open(self) -> None:
        self._dealer = zmq.Context().socket(zmq.DEALER)
        self._dealer.connect(f"tcp://127.0.0.1:{self._port}")

    def say(self, text: bytes) -> None:
        self._dealer.send(text)

    def keep_alive(self) -> None:
        pass


class BareEar:
    def __init__(self, feed_port: int) -> None:
        self._feed_port = feed_port

    def open(self) -> None:
        self._sub = zmq.Context().socket(zmq.SUB)
        self._sub.subscribe(TOPIC)
        monitor = self._sub.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._sub.connect(f"tcp://127.0.0.1:{self._feed_port}")
        if not monitor.poll(10_000):
            raise BenchError("the bare PUB does not answer")
        self._sub.disable_monitor()
        self._sub.poll(200)  # let the subscription arrive

    def hear(self, wait_s: float) -> Sequence[bytes]:
        if not self._sub.poll(int(wait_s * 1_000)):
            return []
        return [self._sub.recv()[len(TOPIC) :]]

    def keep_alive(self) -> None:
        pass


if __name__ == "__main__":
    main()
