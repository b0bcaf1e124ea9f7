"""A TCP relay that makes a bad line of a good one: delay, jitter, stalls and cuts, from a seed.

python relay.py SEED PORT=HOST:PORT …

Orders come on stdin, one JSON object a line; they hold until the next one of their kind:

    {"delay": [UP_S, DOWN_S], "jitter": [UP_S, DOWN_S]}   each chunk waits delay + up to jitter, in its order
    {"stall": [UP_S, DOWN_S]}                             nothing moves that way for so long
    {"cut": true}                                         every connection is reset

The end of stdin ends the relay. Each port's connections go to the one host and port named for it.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import dataclass, field

CHUNK_BYTES = 16_384
CHUNKS_WAITING_MAX = 64  # then the sender feels it, as it would on a real line
UP, DOWN = 0, 1


@dataclass
class Weather:
    """What every connection suffers at present; the first of a pair counts towards the broker."""

    rng: random.Random
    delay_s: list[float] = field(default_factory=lambda: [0.0, 0.0])
    jitter_s: list[float] = field(default_factory=lambda: [0.0, 0.0])
    stalled_until: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def due(self, way: int, now: float) -> float:
        """When a chunk that came now may go on, stalls aside."""
        return now + self.delay_s[way] + self.rng.uniform(0.0, self.jitter_s[way])


class Relay:
    """Listens, connects on behalf of whoever came, and passes bytes both ways."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self, port: int, host: str, target_port: int) -> asyncio.Server:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(reader, writer, host, target_port)

        return await asyncio.start_server(serve, "0.0.0.0", port, limit=CHUNK_BYTES)

    def obey(self, order: dict[str, list[float] | bool]) -> None:
        now = asyncio.get_running_loop().time()
        for what, value in order.items():
            match what, value:
                case "delay", list():
                    self._weather.delay_s = value
                case "jitter", list():
                    self._weather.jitter_s = value
                case "stall", list():
                    self._weather.stalled_until = [now + seconds for seconds in value]
                case "cut", _:
                    self.cut()

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        self._writers.add(writer)
        far_writer: asyncio.StreamWriter | None = None
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port, limit=CHUNK_BYTES)
            self._writers.add(far_writer)
            ways = [
                asyncio.create_task(self._pass(reader, far_writer, UP)),
                asyncio.create_task(self._pass(far_reader, writer, DOWN)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # the broker is not there: whoever came is sent away
        finally:
            for one in (writer, far_writer):
                if one is not None:
                    self._writers.discard(one)
                    one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: int) -> None:
        """Pass on what comes until either side is gone; delayed chunks still arrive before the end does."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_WAITING_MAX)
        passing = asyncio.create_task(self._deliver(waiting, writer, way))
        try:
            now = asyncio.get_running_loop().time
            while not passing.done():
                chunk = await reader.read(CHUNK_BYTES)
                await waiting.put((self._weather.due(way, now()), chunk))
                if not chunk:
                    break
            await passing
        except OSError:
            pass  # reset by either side
        finally:
            passing.cancel()

    async def _deliver(
        self, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, way: int
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, chunk = await waiting.get()
            while (wait_s := max(due, self._weather.stalled_until[way]) - loop.time()) > 0:
                await asyncio.sleep(min(wait_s, 0.05))
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()


async def main(seed: int, *places: str) -> None:
    relay = Relay(Weather(random.Random(seed)))
    servers = []
    for place in places:
        port, _, target = place.partition("=")
        host, _, target_port = target.rpartition(":")
        servers.append(await relay.listen(int(port), host, int(target_port)))
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin.buffer
    )
    print("listening", flush=True)
    while order := await orders.readline():
        relay.obey(json.loads(order))
    relay.cut()
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
