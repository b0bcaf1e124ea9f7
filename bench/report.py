"""Pure: figures to the tables of docs/performance.md, which has places for them between its own words.

A part begins with `<!-- measured: NAME -->` and ends with `<!-- end -->`; only what is between is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Table = Mapping[str, Any]

_PART = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class Target:
    """What was set out to be reached. `at_most` if smaller is better."""

    result: str
    text: str
    goal: float
    at_most: bool = False

    def is_met(self, value: float) -> bool:
        return value <= self.goal if self.at_most else value >= self.goal


TARGETS = (
    Target("fanout100_vs_redis_tls", "fan-out to 100, against Redis pub/sub with TLS", 1.2),
    Target("fanout100_vs_nats_tls", "fan-out to 100, against NATS with TLS", 5),
    Target("fanout100_vs_ngircd", "fan-out to 100, against ngIRCd without TLS", 3),
    Target("ingest_vs_redis_aof_always", "ingest coalesced, against Redis Streams, always", 4),
    Target("ingest_vs_jetstream", "ingest coalesced, against JetStream without fsync", 1.5),
    Target("ingest_single_vs_redis_aof_always", "ingest one line a request, against Redis, always", 1.2),
    Target("latency_p50_vs_limit", "latency when idle, p50, against the limit", 1.5, at_most=True),
    Target("kib_per_client", "memory a client, KiB", 64, at_most=True),
    Target("restart_all_back_s", "all clients back after a restart, s", 20, at_most=True),
    Target("line_cost_10m_vs_10k", "cost of a line at 10^7 stored lines against 10^4", 1.2, at_most=True),
    Target("send_wall_ms", "`chat-client send`, ms", 250, at_most=True),
    Target("send_wall_vs_python", "`chat-client send` against `python -c pass`", 8, at_most=True),
)  # fmt: skip


def fill(text: str, parts: Mapping[str, str]) -> str:
    """The page with its measured parts as they are now; parts of which nothing is known stay."""

    def part(match: re.Match[str]) -> str:
        name = match[2]
        return f"{match[1]}{parts[name].rstrip()}\n{match[3]}" if name in parts else match[0]

    return _PART.sub(part, text)


def parts(data: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, str]:
    """All parts for which there are figures. `titles` are what peers are called."""
    results: Mapping[str, Any] = data.get("results", {})
    made: dict[str, str] = {
        "machine": _pairs(data.get("machine", {})),
        "versions": _pairs(data.get("versions", {})),
        "targets": _targets(data.get("named", {})),
        "results": _results(data.get("named", {})),
        "troubles": _troubles(data.get("troubles", [])),
    }
    writers: dict[str, Callable[[Any, Mapping[str, str]], str]] = {
        "fanout": _fan_out,
        "many_rooms": _many_rooms,
        "ingest": _ingest,
        "latency": _latency,
        "clients": _clients,
        "growth": _growth,
        "send": _send,
        "client": _client,
    }
    for name, write in writers.items():
        if name in results:
            made[name] = write(results[name], titles)
    return made


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all but the first column to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def number(value: float, digits: int = 3) -> str:
    """Short, with thousands set apart."""
    if value >= 1_000:
        return f"{float(f'{value:.{digits}g}'):,.0f}"
    return f"{value:.{digits}g}"


def share(value: float) -> str:
    return f"{value:.0%}"


def _pairs(values: Mapping[str, str]) -> str:
    return table(("what", "value"), ((name, value) for name, value in values.items()))


def _targets(named: Mapping[str, float]) -> str:
    rows = []
    for target in TARGETS:
        value = named.get(target.result)
        goal = f"{'≤' if target.at_most else '≥'} {target.goal:g}"
        reached = "not measured" if value is None else number(value)
        met = "" if value is None else ("yes" if target.is_met(value) else "**no**")
        rows.append((target.text, goal, reached, met))
    return table(("figure", "target", "reached", "met"), rows)


def _results(named: Mapping[str, float]) -> str:
    return "\n".join(["```", *(f"RESULT {name}={value:g}" for name, value in named.items()), "```"])


def _troubles(troubles: Sequence[str]) -> str:
    return "\n".join(f"- {one}" for one in troubles) or "Everybody took part, and nothing failed."


def _fan_out(results: Table, titles: Mapping[str, str]) -> str:
    sizes = sorted(results, key=int)
    keys = [key for key in titles if any(key in results[size] for size in sizes)]
    rates = table(
        ("lines delivered/s, to", *sizes),
        (
            (titles[key], *(_cell(results[size], key, lambda one: number(one["per_s"])) for size in sizes))
            for key in keys
        ),
    )
    if "100" not in results:
        return rates
    hundred = results["100"]
    detail = table(
        ("at 100 subscribers", "µs of CPU a delivery", "peak MiB", "server busy", "load busy", "lost"),
        (
            (
                titles[key],
                f"{one['cpu_us']:.3f}",
                number(one["peak_mib"]),
                share(one["server_busy"]),
                share(one["load_busy"]),
                f"{one['lost']:.2%}" if one["lost"] else "0",
            )
            for key in keys
            if (one := hundred.get(key))
        ),
    )
    notes = hundred.get("simple_chat", {}).get("notes", {})
    packed = (
        f"\n\nA publication of Simple Chat held {notes['lines_per_publication']:.0f} lines." if notes else ""
    )
    return f"{rates}\n\n{detail}{packed}"


def _cell(figures: Table, key: str, write: Callable[[Any], str]) -> str:
    return write(figures[key]) if key in figures else "–"


def _many_rooms(results: Table, titles: Mapping[str, str]) -> str:
    figures = next(iter(results.values()))
    return table(
        ("1,000 rooms of 10", "lines delivered/s", "µs of CPU a delivery", "server busy", "load busy"),
        (
            (
                titles[key],
                number(one["per_s"]),
                f"{one['cpu_us']:.2f}",
                share(one["server_busy"]),
                share(one["load_busy"]),
            )
            for key in titles
            if (one := figures.get(key))
        ),
    )


def _ingest(results: Table, titles: Mapping[str, str]) -> str:
    figures = results["acknowledged"]
    return table(
        ("acknowledged and stored", "lines/s", "µs of CPU a line", "server busy", "load busy", "peak MiB"),
        (
            (
                titles[key],
                number(one["per_s"]),
                f"{one['cpu_us']:.2f}",
                share(one["server_busy"]),
                share(one["load_busy"]),
                number(one["peak_mib"]),
            )
            for key in titles
            if (one := figures.get(key))
        ),
    )


def _latency(results: Table, titles: Mapping[str, str]) -> str:
    made = []
    for name, head in (("idle", "idle, µs"), ("busy", "at half of the maximum, µs")):
        figures = results.get(name, {})
        rows = [
            (titles[key], number(one["p50"]), number(one["p99"]), number(one["p999"]))
            for key in titles
            if (one := figures.get(key))
        ]
        if rows:
            made.append(table((head, "p50", "p99", "p99.9"), rows))
    paces = results.get("busy_lines_per_s", {})
    if paces:
        made.append(
            "Half of the maximum was "
            + ", ".join(f"{number(pace)} lines/s for {titles.get(key, key)}" for key, pace in paces.items())
            + "."
        )
    return "\n\n".join(made)


def _clients(results: Table, titles: Mapping[str, str]) -> str:
    return table(
        (f"{results['count']:,} clients", "figure"),
        (
            ("memory each, KiB", number(results["kib_each"])),
            ("libzmq alone, for such two connections, KiB", number(results["kib_each_libzmq"])),
            ("CPU to connect, ms each", number(results["connect_cpu_ms_each"])),
            ("CPU while quiet, µs a second each", number(results["idle_cpu_us_per_s_each"])),
            ("all connected, s", number(results["connect_s"])),
            ("all back after a kill, from the new start on, s", number(results["all_back_s"])),
            ("broker busy meanwhile", share(results["restart_server_busy"])),
            ("load busy meanwhile", share(results["restart_load_busy"])),
        ),
    )


def _growth(results: Table, titles: Mapping[str, str]) -> str:
    by_lines = table(
        ("lines", "µs of CPU a line", "µs of CPU a page of 500", "here after, µs", "start, s", "MiB on disk"),
        (
            (
                f"{row['lines']:,}",
                number(row["line_us"]),
                number(row["page_us"]),
                number(row["page_wall_us"]),
                f"{row['start_s']:.2f}",
                number(row["mib"]),
            )
            for row in results.get("by_lines", [])
        ),
    )  # fmt: skip
    by_subscribers = table(
        ("subscribers", "µs of CPU a line", "µs a delivery"),
        (
            (f"{row['subscribers']:,}", number(row["line_us"]), number(row["delivery_us"]))
            for row in results.get("by_subscribers", [])
        ),
    )
    return f"{by_lines}\n\n{by_subscribers}"


def _send(results: Table, titles: Mapping[str, str]) -> str:
    names = {
        "python": "`python -c pass`",
        "simple_chat": "`chat-client send hi`",
        "redis_cli": "`redis-cli PUBLISH room hi`",
    }
    walls = results["wall_ms"]
    return table(("whole process", "ms"), ((names[key], number(wall)) for key, wall in walls.items()))


def _client(results: Table, titles: Mapping[str, str]) -> str:
    names = {"coalesced": "as clients pack lines", "single": "one line a request"}
    return table(
        ("the Python client verifies, opens and shows", "lines/s of one core", "came/s", "its core busy"),
        (
            (names[key], number(one["per_core_s"]), number(one["came_per_s"]), share(one["busy"]))
            for key, one in results.items()
        ),
    )
