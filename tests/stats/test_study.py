"""The simulated study behind the intervals: it simulates what it says, with the package's own code."""

import numpy as np
import pytest

from bench.stats import DEFAULT, RATE_METHODS, SCORE_METHODS, beta_binomial, covers, draw, once
from promptcard_ext.stats.clusters import mean_score, rate

REPEATS = 5


@pytest.mark.parametrize("truth", [0.05, 0.5, 0.98])
@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.6, 0.9])
def test_passes_have_the_rate_and_the_correlation_asked_for(truth: float, correlation: float) -> None:
    chances, passes = beta_binomial(REPEATS, truth, correlation), np.arange(REPEATS + 1)
    mean = float(chances @ passes)
    variance = float(chances @ (passes - mean) ** 2)
    assert chances.sum() == pytest.approx(1)
    assert mean == pytest.approx(REPEATS * truth)
    assert variance == pytest.approx(REPEATS * truth * (1 - truth) * (1 + (REPEATS - 1) * correlation))


def test_the_default_is_the_code_that_users_get() -> None:
    values = np.arange(REPEATS + 1, dtype=np.float64)
    chance = np.random.default_rng(5)
    data = draw(chance, beta_binomial(REPEATS, 0.8, 0.3), values, 12, REPEATS, 40)
    low, high = RATE_METHODS[DEFAULT](data)
    again = np.random.default_rng(5).multinomial(12, beta_binomial(REPEATS, 0.8, 0.3), size=40)
    for place, counts in enumerate(again):
        found = rate([(passed, REPEATS) for passed, number in enumerate(counts) for _ in range(number)])
        assert found is not None
        assert (low[place], high[place]) == pytest.approx(found[1:])


def test_scores_too() -> None:
    values, chances = np.array([0.0, 0.5, 0.9]), np.array([0.2, 0.3, 0.5])
    low, high = SCORE_METHODS[DEFAULT](draw(np.random.default_rng(6), chances, values, 9, 1, 20))
    for place, counts in enumerate(np.random.default_rng(6).multinomial(9, chances, size=20)):
        found = mean_score([[value] for value, number in zip(values, counts, strict=True) for _ in range(number)])
        assert found is not None
        assert (low[place], high[place]) == pytest.approx(found[1:])


def test_with_one_repeat_coverage_is_the_sum_over_all_that_can_happen() -> None:
    # Wilson at n = 10 misses 0.5 only with 0, 1, 9 or 10 passes: 1 - 22/1024.
    assert once(10, 0.5).coverage == pytest.approx(1 - 22 / 1024)


def test_an_interval_covers_what_lies_in_it() -> None:
    ends = np.array([0.1, 0.5, 0.6]), np.array([0.4, 0.7, 0.9])
    assert covers(ends, 0.6) == pytest.approx(2 / 3)
