"""Intervals and percentiles."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.stats.intervals import percentile, wilson

COUNTS = st.integers(1, 10_000_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS)
def test_an_interval_contains_its_rate_and_lies_between_0_and_1(counts: tuple[int, int]) -> None:
    found = wilson(*counts)
    assert found is not None
    assert 0 <= found.low <= found.rate <= found.high <= 1
    assert found.rate == counts[0] / counts[1]
    assert found.low < found.high


@given(COUNTS)
def test_successes_and_failures_mirror_each_other(counts: tuple[int, int]) -> None:
    successes, trials = counts
    one, other = wilson(successes, trials), wilson(trials - successes, trials)
    assert one is not None
    assert other is not None
    assert one.low == pytest.approx(1 - other.high, abs=1e-12)
    assert one.high == pytest.approx(1 - other.low, abs=1e-12)


@given(COUNTS)
def test_more_trials_at_the_same_rate_make_it_narrower(counts: tuple[int, int]) -> None:
    few, many = wilson(*counts), wilson(counts[0] * 10, counts[1] * 10)
    assert few is not None
    assert many is not None
    assert many.high - many.low < few.high - few.low


@given(COUNTS, st.floats(0.1, 3), st.floats(0.1, 3))
def test_more_confidence_makes_it_wider(counts: tuple[int, int], z: float, more: float) -> None:
    narrow, wide = wilson(*counts, z=z), wilson(*counts, z=z + more)
    assert narrow is not None
    assert wide is not None
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe, "Two-sided confidence intervals for the single proportion", Stat Med 17 (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_it_agrees_with_published_values(successes: int, trials: int, low: float, high: float) -> None:
    found = wilson(successes, trials)
    assert found is not None
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_no_trial_has_no_rate() -> None:
    assert wilson(0, 0) is None


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (1, 0), (0, -1)])
def test_counts_that_make_no_sense_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError):
        wilson(successes, trials)


VALUES = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50)


@given(VALUES, st.floats(0, 1), st.randoms(use_true_random=False))
def test_a_percentile_lies_within_the_values_whatever_their_order(
    values: list[float], share: float, chance: object
) -> None:
    found = percentile(values, share)
    assert found is not None
    assert min(values) - 1e-6 <= found <= max(values) + 1e-6
    chance.shuffle(values)  # type: ignore[attr-defined]
    assert percentile(values, share) == found


@given(VALUES)
def test_the_ends_and_the_middle(values: list[float]) -> None:
    assert percentile(values, 0) == min(values)
    assert percentile(values, 1) == pytest.approx(max(values))
    assert percentile(values, 0.5) == pytest.approx(statistics.median(values), abs=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_quarters_are_those_of_the_standard_library(values: list[float]) -> None:
    ours = [percentile(values, share) for share in (0.25, 0.5, 0.75)]
    assert ours == pytest.approx(statistics.quantiles(values, n=4, method="inclusive"), abs=1e-6)


def test_nothing_has_no_percentile_and_a_share_is_a_share() -> None:
    assert percentile([], 0.5) is None
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError):
            percentile([1.0], share)
