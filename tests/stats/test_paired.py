"""Mean paired differences with intervals."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.stats.paired import Difference, PairedValues, paired_interval, t975

SCORE = st.floats(0, 1)
PAIRS = st.lists(st.tuples(st.integers(0, 15), SCORE, SCORE), min_size=1, max_size=60)


def difference(pairs: list[tuple[int, float, float]], *, bounded: bool = True) -> Difference:
    values = PairedValues(bounded=bounded)
    for case, a, b in pairs:
        values.add(case, a, b)
    found = values.difference()
    assert found is not None
    return found


@given(PAIRS, st.booleans())
def test_the_interval_contains_the_mean_and_stays_within_what_is_possible(
    pairs: list[tuple[int, float, float]], bounded: bool
) -> None:
    found = difference(pairs, bounded=bounded)
    assert found.mean == pytest.approx(found.b - found.a, abs=1e-9)
    assert (found.pairs, found.cases) == (len(pairs), len({case for case, _, _ in pairs}))
    if found.low is None or found.high is None:
        assert found.cases == 1
        assert not bounded
        return
    assert found.low <= found.mean <= found.high
    assert not bounded or -1 <= found.low <= found.high <= 1


@given(PAIRS, st.booleans())
def test_the_other_way_round_it_is_the_same_with_the_other_sign(
    pairs: list[tuple[int, float, float]], bounded: bool
) -> None:
    one = difference(pairs, bounded=bounded)
    other = difference([(case, b, a) for case, a, b in pairs], bounded=bounded)
    assert other.mean == -one.mean
    assert (one.low is None) == (other.high is None)
    if one.low is not None and one.high is not None:
        assert (other.low, other.high) == (-one.high, -one.low)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80), st.integers(2, 6))
def test_repeats_that_always_end_alike_tell_no_more_than_one(outcomes: list[tuple[bool, bool]], repeats: int) -> None:
    once = [(case, float(a), float(b)) for case, (a, b) in enumerate(outcomes)]
    one, many = difference(once), difference(once * repeats)
    assert (many.mean, many.low, many.high) == pytest.approx((one.mean, one.low, one.high))


def test_repeats_that_scatter_tell_more_than_one_each() -> None:
    chance = random.Random(3)
    trials = [(case, chance.random() < 0.5, chance.random() < 0.9) for case in range(30) for _ in range(8)]
    found = difference([(case, float(a), float(b)) for case, a, b in trials])
    once = difference([(case, float(a), float(b)) for case, a, b in trials[::8]])
    assert found.low is not None
    assert once.low is not None
    assert found.mean - found.low < (once.mean - once.low) / 2
    assert found.sign == 1


def test_without_any_flip_it_is_not_certain_that_there_is_no_difference() -> None:
    few, many = (difference([(case, 1.0, 1.0) for case in range(number)]) for number in (10, 1000))
    for found in (few, many):
        assert (found.mean, found.sign) == (0, 0)
        assert found.low is not None
    assert few.low is not None
    assert many.low is not None
    assert few.low < -0.2
    assert -0.01 < many.low < -0.001


def test_latencies_of_one_case_say_nothing_of_others() -> None:
    found = difference([(0, 10.0, 20.0), (0, 11.0, 30.0)], bounded=False)
    assert (found.mean, found.low, found.high, found.sign) == (14.5, None, None, 0)


def test_it_is_the_paired_t_interval_where_every_case_comes_once() -> None:
    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0]
    found = paired_interval(range(6), values)
    mean = sum(values) / 6
    half = 2.570582 * math.sqrt(sum((x - mean) ** 2 for x in values) / 5 / 6)
    assert found == pytest.approx((mean - half, mean + half), rel=1e-3)


@pytest.mark.parametrize(
    ("degrees", "expected"), [(1, 12.7062), (4, 2.7764), (5, 2.5706), (9, 2.2622), (30, 2.0423), (10**6, 1.95997)]
)
def test_quantiles_are_those_of_the_tables(degrees: int, expected: float) -> None:
    assert t975(degrees) == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize(
    ("cases", "repeats", "alike"), [(8, 1, False), (30, 1, False), (30, 5, False), (30, 5, True), (200, 1, False)]
)
def test_two_sides_that_do_not_differ_are_rarely_said_to(cases: int, repeats: int, alike: bool) -> None:
    chance = random.Random(cases * 10 + repeats)
    studies, wrong = 600, 0
    for _ in range(studies):
        pairs = []
        for case in range(cases):
            hard = chance.betavariate(2, 1)
            a, b = (chance.random() < hard for _ in "ab")
            for _ in range(repeats):
                if not alike:
                    a, b = (chance.random() < hard for _ in "ab")
                pairs.append((case, float(a), float(b)))
        wrong += difference(pairs).sign != 0
    # 5 %, and three times what chance makes of it in so many studies.
    assert wrong / studies <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


def test_a_real_difference_is_found() -> None:
    chance = random.Random(1)
    found = 0
    for _ in range(100):
        found += (
            difference([(case, float(chance.random() < 0.6), float(chance.random() < 0.9)) for case in range(80)]).sign
            == 1
        )
    assert found >= 90
