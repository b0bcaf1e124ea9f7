"""Lines of a pipe, a file, a terminal or nothing."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from pathlib import Path

import pytest

from chat_client import typed
from chat_client.typed import typed_lines
from chat_protocol.messages import LINE_BYTES_MAX

PATIENCE_S = 5.0


async def all_lines(fd: int) -> list[str]:
    return [each async for each in typed_lines(fd)]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", [""]),
        (b"one\ntwo\n", ["one", "two", ""]),
        (b"one\r\ntwo", ["one", "two"]),
        (b"\xff\xfe\n", ["\ufffd\ufffd", ""]),
        ("h\u00e9llo \u4f60\u597d\n".encode(), ["héllo 你好", ""]),
    ],
)
def test_lines_of_a_file(tmp_path: Path, content: bytes, lines: list[str]) -> None:
    (tmp_path / "typed").write_bytes(content)
    with (tmp_path / "typed").open("rb") as file:
        assert asyncio.run(all_lines(file.fileno())) == lines


def test_a_line_without_end_is_not_kept_without_bound(tmp_path: Path) -> None:
    (tmp_path / "typed").write_bytes(b"a" * 1_000_000 + b"\nb")
    with (tmp_path / "typed").open("rb") as file:
        first, second = asyncio.run(all_lines(file.fileno()))
    assert LINE_BYTES_MAX < len(first) <= typed.TYPED_BYTES_MAX + typed.READ_BYTES
    assert second == "b"


def test_dev_null_has_no_lines() -> None:
    with open(os.devnull) as nothing:
        assert asyncio.run(all_lines(nothing.fileno())) == [""]


def test_a_descriptor_that_somebody_made_non_blocking_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = select.select
    waiting = threading.Event()

    def told_wait(reads: list[int], writes: list[int], errors: list[int]) -> object:
        waiting.set()
        return wait(reads, writes, errors)

    monkeypatch.setattr(select, "select", told_wait)

    async def test() -> None:
        reads, writes = os.pipe()
        os.set_blocking(reads, False)
        lines = typed_lines(reads)
        first = asyncio.ensure_future(anext(lines))
        assert await asyncio.to_thread(waiting.wait, PATIENCE_S), "it did not wait for more"
        os.write(writes, b"hello\n")
        async with asyncio.timeout(PATIENCE_S):
            assert await first == "hello"
        os.close(writes)
        async with asyncio.timeout(PATIENCE_S):
            assert [each async for each in lines] == [""]
        os.close(reads)

    asyncio.run(test())
