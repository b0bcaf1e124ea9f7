"""The row that says how far `send` is."""

from __future__ import annotations

import io
import os
from pathlib import Path

from chat_client.progress import REDRAW_S, SHOWN_FROM, Progress, in_words, share_of_file


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_few_lines_show_nothing() -> None:
    out, clock = io.StringIO(), Clock()
    progress = Progress(out, lambda: None, clock)
    for said in range(1, SHOWN_FROM):
        clock.now += 1
        progress.moved(said, said)
    progress.end(SHOWN_FROM - 1)
    assert out.getvalue() == ""


def test_thousands_are_drawn_now_and_then_and_leave_one_word() -> None:
    out, clock = io.StringIO(), Clock()
    progress = Progress(out, lambda: 0.5, clock)
    for said in range(SHOWN_FROM, SHOWN_FROM + 100):
        clock.now += REDRAW_S / 10
        progress.moved(said, said - 500)
    progress.end(1_234)
    drawn = out.getvalue().split("\r\x1b[K")
    assert 8 <= len(drawn) - 2 <= 11
    assert drawn[-1] == "1,234 lines stored in 1.0 s\n"


def test_thousands_that_are_gone_at_once_leave_their_word_too() -> None:
    out, clock = io.StringIO(), Clock()
    progress = Progress(out, lambda: 0.5, clock)
    progress.moved(SHOWN_FROM, 0)
    progress.end(SHOWN_FROM)
    assert out.getvalue() == "1,000 lines stored in 0.0 s\n"


def test_it_is_taken_away_for_other_words_and_comes_back() -> None:
    out, clock = io.StringIO(), Clock()
    progress = Progress(out, lambda: None, clock)
    clock.now += 1
    progress.moved(2_000, 1_000)
    progress.clear()
    progress.clear()
    assert out.getvalue() == "\r\x1b[K1,000 lines stored, 1,000 on their way\r\x1b[K"
    clock.now += 1
    progress.moved(2_000, 1_500)
    assert out.getvalue().endswith("1,500 lines stored, 500 on their way")


def test_the_bar_counts_what_is_stored() -> None:
    assert in_words(2_000, 1_000, 1.0, 99).startswith("[############------------]  50%  1,000 lines")
    assert in_words(2_000, 2_000, 1.0, 99).startswith(f"[{'#' * 24}] 100%")
    assert in_words(2_000, 0, 0.5, 99).startswith(f"[{'-' * 24}]   0%")


def test_a_narrow_screen_has_the_bar_alone() -> None:
    assert in_words(2_000, 1_000, 1.0, 39) == "[############------------]  50%"
    assert in_words(2_000, 1_000, 1.0, 9) == "[########"
    assert in_words(2_000, 1_000, None, 20) == "1,000 lines stored, "


def test_how_much_of_a_file_was_read(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"x" * 1_000)
    with open(tmp_path / "lines", "rb", buffering=0) as file:
        file.seek(200)
        share = share_of_file(file.fileno())
        assert share() == 0.0
        file.read(400)
        assert share() == 0.5
    reading, writing = os.pipe()
    assert share_of_file(reading)() is None
    os.close(reading)
    os.close(writing)
