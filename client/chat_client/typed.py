"""Lines as they come on stdin, whatever that is, without holding up the loop."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing

from chat_protocol.messages import LINE_BYTES_MAX

READ_BYTES = 65_536
TYPED_BYTES_MAX = 4 * LINE_BYTES_MAX  # kept of a line without an end; it is too long to be said


async def typed_lines(fd: int) -> AsyncGenerator[str, None]:
    """The lines of a pipe, a file, a terminal or /dev/null, without their newlines, until its end."""
    rest = b""
    async with aclosing(_chunks(fd)) as chunks:
        async for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:TYPED_BYTES_MAX]
            for line in lines:
                yield _as_text(line)
    yield _as_text(rest)


async def typed_text(fd: int, bytes_max: int) -> str | None:
    """Everything up to the end; None if that is more than `bytes_max`. Then, too, it is read to its end,
    so that whoever writes there can finish."""
    found, size = [], 0
    async with aclosing(_chunks(fd)) as chunks:
        async for chunk in chunks:
            size += len(chunk)
            if size <= bytes_max:
                found.append(chunk)
    return b"".join(found).decode("utf-8", "replace") if size <= bytes_max else None


def _as_text(line: bytes) -> str:
    return line.decode("utf-8", "replace").removesuffix("\r")


async def _chunks(fd: int) -> AsyncGenerator[bytes, None]:
    """What comes, piece by piece, until the end.

    A thread reads ahead by one chunk at most, so that whoever writes there is held back. It is a daemon
    and reads the bare descriptor: neither a line that never comes nor a lock of `sys.stdin` can delay
    the end of the process.
    """
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    wanted = threading.Semaphore(0)
    ended = threading.Event()

    def read() -> None:
        while True:
            wanted.acquire()
            if ended.is_set():
                return
            chunk = _read_chunk(fd)
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            except RuntimeError:
                return  # the loop has ended meanwhile

    threading.Thread(target=read, name="typed-lines", daemon=True).start()
    try:
        while True:
            wanted.release()
            chunk = await chunks.get()
            if not chunk:
                return
            yield chunk
    finally:
        ended.set()
        wanted.release()


def _read_chunk(fd: int) -> bytes:
    """What can be read now, waiting for it if need be; b"" at the end."""
    while True:
        try:
            return os.read(fd, READ_BYTES)
        except BlockingIOError:
            select.select([fd], [], [])  # somebody else made the descriptor non-blocking
        except OSError:
            return b""  # the terminal hung up
