"""Benches and brokers for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.bench import Bench, Broker, bench_in


@pytest.fixture
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench for one test."""
    yield from bench_in(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench that the tests of a module share; each has rooms and names of its own."""
    yield from bench_in(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def broker(house: Bench) -> Iterator[Broker]:
    """The house's broker, which outlives every test."""
    one = house.broker()
    yield one
    assert one.runs, one.err
