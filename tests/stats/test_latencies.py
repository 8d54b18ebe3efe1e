"""Percentiles in bounded memory."""

import random

import pytest

from promptcard_ext.stats import latencies
from promptcard_ext.stats.intervals import percentile
from promptcard_ext.stats.latencies import EXACT, Latencies


def filled(values: list[float]) -> Latencies:
    found = Latencies()
    for value in values:
        found.add(value)
    return found


def test_few_are_exact() -> None:
    chance = random.Random(1)
    values = [chance.lognormvariate(6, 1) for _ in range(EXACT)]
    for share in (0, 0.5, 0.95, 1):
        assert filled(values).percentile(share) == percentile(values, share)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.95, 0.999, 1])
def test_many_are_within_one_percent(share: float) -> None:
    chance = random.Random(2)
    values = [chance.lognormvariate(6, 1.5) for _ in range(3 * EXACT)]
    found, exact = filled(values), percentile(values, share)
    assert found.count == 3 * EXACT
    assert found.percentile(share) == pytest.approx(exact, rel=0.011)


def test_many_take_no_more_memory() -> None:
    found = filled([float(i % 5000 + 1) for i in range(5 * EXACT)])
    assert not found._values
    assert len(found._buckets) < 500


def test_odd_numbers_do_no_harm() -> None:
    found = filled([0.0, -1.0, float("nan"), float("inf"), 1e-300] + [5.0] * EXACT)
    assert found.count == EXACT + 3
    assert found.percentile(0.5) == pytest.approx(5.0, rel=0.01)
    assert found.percentile(0) == -1.0 or found.percentile(0) == 0.0


def test_nothing_has_no_percentile_and_a_share_is_a_share() -> None:
    assert Latencies().percentile(0.5) is None
    for found in (Latencies(), filled([1.0] * (latencies.EXACT + 1))):
        with pytest.raises(ValueError):
            found.percentile(1.1)
