"""Rounds to figures and ratios."""

from __future__ import annotations

import math

from bench.figures import Sample, figure, percentile, ratio, rounded


def sample(units: float, *, cpu: float = 0.5, lost: float = 0.0) -> Sample:
    return Sample(units, wall_s=2.0, server_cpu_s=cpu, load_cpu_s=0.2, lost=lost, peak_kib=2_048)


def test_a_figure_is_the_median_of_its_rounds_and_their_worst_loss() -> None:
    one = figure([sample(100), sample(300, lost=0.1), sample(200)])
    assert one.per_s == 100
    assert one.rounds == [50, 150, 100]
    assert one.lost == 0.1
    assert one.peak_mib == 2
    assert one.server_busy == 0.25


def test_a_ratio_compares_rounds_that_were_taken_side_by_side() -> None:
    assert ratio([10, 40, 30], [5, 20, 10]) == 2
    assert math.isnan(ratio([1], [0]))


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(1, 1_001)]
    assert percentile(values, 0.5) == 500
    assert percentile(values, 0.99) == 990
    assert percentile(values, 0.999) == 999
    assert percentile([7.0], 0.999) == 7
    assert math.isnan(percentile([], 0.5))


def test_what_is_kept_has_four_digits() -> None:
    assert rounded({"a": [1234567.8, 1], "b": "x"}) == {"a": [1235000.0, 1], "b": "x"}
