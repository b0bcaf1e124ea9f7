"""Plots for docs/performance.md, as SVG. The only module that needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "simple-chat"  # the same figures make the same file
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
matplotlib.rcParams["axes.spines.top"] = False
matplotlib.rcParams["axes.spines.right"] = False

from matplotlib import pyplot  # noqa: E402 - the backend is chosen before

OURS, OTHERS, LIMITS = "#c2410c", "#64748b", "#cbd5e1"
WIDTH = 7.5


def draw(
    results: Mapping[str, Any], titles: Mapping[str, str], limits: Sequence[str], folder: Path
) -> list[Path]:
    """Write all plots for which there are figures; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    if "100" in results.get("fanout", {}):
        made.append(_fan_out_bars(results["fanout"]["100"], titles, limits, folder / "fanout100.svg"))
    if len(results.get("fanout", {})) > 1:
        made.append(_fan_out_lines(results["fanout"], titles, folder / "fanout.svg"))
    if "ingest" in results:
        figures = results["ingest"]["acknowledged"]
        values = {titles[key]: figures[key]["per_s"] / 1e3 for key in titles if key in figures}
        made.append(_bars(values, "thousand lines/s, acknowledged and stored", [], folder / "ingest.svg"))
    if "idle" in results.get("latency", {}):
        made.append(_latency(results["latency"], titles, folder / "latency.svg"))
    if results.get("growth", {}).get("by_lines"):
        made.append(_growth(results["growth"], folder / "growth.svg"))
    return made


def _fan_out_bars(
    figures: Mapping[str, Any], titles: Mapping[str, str], limits: Sequence[str], path: Path
) -> Path:
    values = {titles[key]: figures[key]["per_s"] / 1e6 for key in titles if key in figures}
    return _bars(
        values, "million lines delivered/s to 100 subscribers", [titles[key] for key in limits], path
    )


def _bars(values: Mapping[str, float], what: str, limits: Sequence[str], path: Path) -> Path:
    figure, axes = pyplot.subplots(figsize=(WIDTH, 0.34 * len(values) + 0.8))
    names = list(values)[::-1]
    colours = [
        OURS if name.startswith("Simple Chat") else LIMITS if name in limits else OTHERS for name in names
    ]
    bars = axes.barh(names, [values[name] for name in names], color=colours)
    axes.bar_label(bars, fmt="%.3g", padding=3, fontsize=8)
    axes.set_xlabel(what, fontsize=9)
    axes.tick_params(labelsize=8)
    return _save(figure, path)


def _fan_out_lines(results: Mapping[str, Any], titles: Mapping[str, str], path: Path) -> Path:
    figure, axes = pyplot.subplots(figsize=(WIDTH, 4))
    sizes = sorted(int(size) for size in results)
    for key in titles:
        points = [(size, results[str(size)][key]["per_s"]) for size in sizes if key in results[str(size)]]
        if len(points) > 1:
            ours = key == "simple_chat"
            axes.plot(
                *zip(*points, strict=True), marker="o", label=titles[key], linewidth=2.5 if ours else 1,
                color=OURS if ours else None,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("subscribers of one room", fontsize=9)
    axes.set_ylabel("lines delivered/s", fontsize=9)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _save(figure, path)


def _latency(results: Mapping[str, Any], titles: Mapping[str, str], path: Path) -> Path:
    figure, axes = pyplot.subplots(figsize=(WIDTH, 3))
    rows = [
        (f"{titles[key]} ({name})", results[name][key])
        for name in ("busy", "idle")
        for key in list(titles)[::-1]
        if key in results.get(name, {})
    ]
    for marker, share, title in (("o", "p50", "p50"), ("|", "p99", "p99"), ("x", "p999", "p99.9")):
        axes.plot([one[share] for _, one in rows], range(len(rows)), marker, color=OTHERS, label=title)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_xscale("log")
    axes.set_xlabel("µs from saying to seeing", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, frameon=False)
    return _save(figure, path)


def _growth(results: Mapping[str, Any], path: Path) -> Path:
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(WIDTH, 3))
    rows = results["by_lines"]
    for name, title, scale in (
        ("line_us", "a line, µs of CPU", 1.0),
        ("page_us", "a page of 500, µs of CPU", 1.0),
        ("start_s", "a start, ms", 1e3),
    ):
        left.plot(
            [row["lines"] for row in rows], [row[name] * scale for row in rows], marker="o", label=title
        )
    left.set_xlabel("lines stored", fontsize=9)
    more = results.get("by_subscribers", [])
    right.plot(
        [row["subscribers"] for row in more], [row["line_us"] for row in more], marker="o", color=OURS,
        label="a line, µs of CPU",
    )  # fmt: skip
    right.set_xlabel("subscribers", fontsize=9)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.legend(fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        axes.tick_params(labelsize=8, which="both")
    return _save(figure, path)


def _save(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path
