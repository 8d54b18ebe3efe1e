"""Intervals with repeats."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.stats.clusters import Clusters, Sums, interval, mean_score, rate
from promptcard_ext.stats.intervals import wilson

CASE = st.integers(1, 20).flatmap(lambda judged: st.tuples(st.integers(0, judged), st.just(judged)))
CASES = st.lists(CASE, min_size=1, max_size=40)
SCORES = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), min_size=1, max_size=30)


@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_without_repeats_it_is_wilsons_interval_exactly(passes: list[bool]) -> None:
    assert rate([(int(passed), 1) for passed in passes]) == wilson(sum(passes), len(passes))


@given(CASES)
def test_it_contains_the_rate_and_stays_between_all_independent_and_one_trial_per_case(
    cases: list[tuple[int, int]],
) -> None:
    found = rate(cases)
    passed, judged = sum(case[0] for case in cases), sum(case[1] for case in cases)
    independent = wilson(passed, judged)
    assert found is not None
    assert independent is not None
    assert 0 <= found.low <= found.rate <= found.high <= 1
    assert found.rate == pytest.approx(passed / judged)
    assert found.low <= independent.low + 1e-12
    assert found.high >= independent.high - 1e-12


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 20))
def test_repeats_that_always_end_alike_tell_no_more_than_one(passes: list[bool], repeats: int) -> None:
    found = rate([(repeats * passed, repeats) for passed in passes])
    assert found == pytest.approx(wilson(sum(passes), len(passes)))


@given(CASES)
def test_passes_and_fails_mirror_each_other(cases: list[tuple[int, int]]) -> None:
    one, other = rate(cases), rate([(judged - passed, judged) for passed, judged in cases])
    assert one is not None
    assert other is not None
    assert one.low == pytest.approx(1 - other.high, abs=1e-9)
    assert one.high == pytest.approx(1 - other.low, abs=1e-9)


@given(CASES, st.randoms(use_true_random=False))
def test_one_trial_at_a_time_gives_the_same_in_any_order(cases: list[tuple[int, int]], chance: random.Random) -> None:
    trials = [(case, i < passed) for case, (passed, judged) in enumerate(cases) for i in range(judged)]
    chance.shuffle(trials)
    clusters = Clusters()
    for case, passed in trials:
        clusters.add(case, passed)
    assert clusters.cases == len(cases)
    assert clusters.interval() == pytest.approx(rate(cases))


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.5, 1.0, 3.0])), max_size=20))
def test_cases_that_come_once_need_not_be_remembered(scores: list[tuple[float, float]]) -> None:
    remembered, once = Clusters(), Clusters(once=True)
    for case, (points, weight) in enumerate(scores):
        remembered.add(case, points, weight)
        once.add(case, points, weight)
    assert (once.interval(), once.cases) == (remembered.interval(), remembered.cases)


def test_more_correlated_repeats_make_it_wider() -> None:
    widths = []
    for cases in ([(8, 10)] * 20, [(10, 10)] * 12 + [(5, 10)] * 8, [(10, 10)] * 16 + [(0, 10)] * 4):
        found = rate(cases)
        assert found is not None
        assert found.rate == pytest.approx(0.8)
        widths.append(found.high - found.low)
    assert widths == sorted(widths)
    assert widths[0] < widths[2] / 2


def test_cases_that_were_never_judged_are_no_cases() -> None:
    assert rate([(1, 1), (0, 0), (0, 1)]) == wilson(1, 2)
    assert rate([(0, 0)]) is None
    assert rate([]) is None


@pytest.mark.parametrize("case", [(2, 1), (-1, 1), (1, 0), (0, -1)])
def test_counts_that_make_no_sense_are_refused(case: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        rate([case])


@given(SCORES)
def test_a_mean_score_lies_within_its_interval(cases: list[list[float]]) -> None:
    found = mean_score(cases)
    scores = [score for case in cases for score in case]
    assert found is not None
    assert found.rate == pytest.approx(sum(scores) / len(scores))
    assert 0 <= found.low <= found.rate <= found.high <= 1
    assert found.low < found.high


def test_scores_that_are_all_0_or_1_are_passes() -> None:
    assert mean_score([[1, 1], [0, 1], [1, 1]]) == pytest.approx(rate([(2, 2), (1, 2), (2, 2)]))
    assert mean_score([[1], [0], [1]]) == wilson(2, 3)


def test_scores_close_to_each_other_make_it_narrow_but_never_a_point() -> None:
    close, same, one = mean_score([[0.8], [0.82], [0.78]] * 10), mean_score([[0.8]] * 30), mean_score([[0.8] * 30])
    assert close is not None
    assert same is not None
    assert one is not None
    assert 0 < same.high - same.low < close.high - close.low < 0.1
    # However often it was asked, it is one case.
    assert one.high - one.low > 0.8


def test_heavier_cases_count_for_more() -> None:
    clusters = Clusters()
    clusters.add("light", 0.0)
    clusters.add("heavy", 1.0, weight=3)
    found = clusters.interval()
    assert found is not None
    assert found.rate == 0.75


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_what_is_no_score_is_refused(score: float) -> None:
    with pytest.raises(ValueError):
        mean_score([[score]])


def test_nothing_has_no_mean() -> None:
    assert mean_score([]) is None
    assert mean_score([[]]) is None
    assert interval(Sums()) is None


def test_it_covers_the_truth_when_cases_were_not_judged_equally_often() -> None:
    """Cases that pass by themselves or toss a coin, each judged one to eight times; the truth is 0.7."""
    chance, covered, rounds = random.Random(7), 0, 1500
    for _ in range(rounds):
        cases = []
        for _ in range(40):
            easiness, judged = chance.choices((1.0, 0.5, 0.0), (0.5, 0.4, 0.1))[0], chance.randint(1, 8)
            cases.append((sum(chance.random() < easiness for _ in range(judged)), judged))
        found = rate(cases)
        assert found is not None
        covered += found.low <= 0.7 <= found.high
    assert 0.93 <= covered / rounds <= 0.97
