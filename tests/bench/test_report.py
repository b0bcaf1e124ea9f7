"""Figures to the page."""

from __future__ import annotations

from pathlib import Path

from bench import report

PAGE = """before
<!-- measured: results -->
old
<!-- end -->
between
<!-- measured: fanout -->
kept
<!-- end -->
"""


def test_only_measured_parts_of_the_page_are_written() -> None:
    page = report.fill(PAGE, {"results": "new", "unknown": "x"})
    assert page == PAGE.replace("old", "new")
    assert report.fill(page, {"results": "new"}) == page


def test_targets_say_what_was_reached_and_what_was_not() -> None:
    data = {"named": {"fanout100_vs_redis_tls": 1.19, "kib_per_client": 60.0}, "results": {}}
    rows = report.parts(data, {})["targets"].splitlines()
    assert "| fan-out to 100, against Redis pub/sub with TLS | ≥ 1.2 | 1.19 | **no** |" in rows
    assert "| memory a client, KiB | ≤ 64 | 60 | yes |" in rows
    assert "| all clients back after a restart, s | ≤ 20 | not measured |  |" in rows


def test_peers_that_were_not_measured_at_a_size_leave_a_dash() -> None:
    one = {
        "per_s": 1_234_567.0,
        "cpu_us": 0.1,
        "peak_mib": 10.0,
        "server_busy": 1.0,
        "load_busy": 0.3,
        "lost": 0.0,
    }
    results = {"fanout": {"10": {"a": one}, "100": {"a": one | {"notes": {}}, "b": one}}}
    text = report.parts({"results": results}, {"a": "A", "b": "B"})["fanout"]
    assert "| A | 1,230,000 | 1,230,000 |" in text
    assert "| B | – | 1,230,000 |" in text


def test_every_part_of_the_page_in_the_repository_is_one_that_is_written() -> None:
    page = (Path(report.__file__).parent.parent / "docs" / "performance.md").read_text()
    names = "machine versions targets results troubles fanout many_rooms ingest latency clients growth"
    parts = dict.fromkeys([*names.split(), "send", "client"], "here")
    assert report.fill(page, parts).count("\nhere\n<!-- end -->") == len(parts)
