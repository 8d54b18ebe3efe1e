"""Levenshtein distance, against a slow one of our own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.distance import MAX_CHARS
from promptcard_ext.core.errors import CardError
from tests.core.assertions.judged import FAIL, PASS, UNSCORED, of


def slowly(one: str, two: str) -> int:
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        before, row = row, [i]
        for j, b in enumerate(two, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
    return row[-1]


@given(st.text(max_size=12), st.text(max_size=12), st.integers(0, 12))
def test_the_distance_is_the_distance(one: str, two: str, limit: int) -> None:
    distance = slowly(one, two)
    verdict = of("levenshtein", two, one, threshold=limit)
    assert verdict.outcome is (PASS if distance <= limit else FAIL)
    assert verdict.score == pytest.approx(1 - distance / max(len(one), len(two), 1))


def test_five_characters_are_the_default_and_none_can_be_asked_for() -> None:
    assert of("levenshtein", "kitten", "kitten12345").outcome is PASS
    assert of("levenshtein", "kitten", "kitten123456").reason == "too_different"
    assert of("levenshtein", "kitten", "kittem", threshold=0).outcome is FAIL
    assert of("not-levenshtein", "kitten", "kittem", threshold=0).outcome is PASS


def test_an_answer_too_long_to_be_near_is_not_read() -> None:
    verdict = of("levenshtein", "kitten", "k" * 10_000_000)
    assert (verdict.outcome, verdict.reason, verdict.score) == (FAIL, "too_different", 0.0)


@pytest.mark.parametrize("prefix", ["", "not-"])
def test_one_that_may_be_near_and_is_too_long_is_unscored(prefix: str) -> None:
    verdict = of(f"{prefix}levenshtein", "kitten", "k" * 1_000_000, threshold=2_000_000)
    assert (verdict.outcome, verdict.reason) == (UNSCORED, "answer_too_long")


@pytest.mark.parametrize(("value", "threshold"), [(None, None), (5, None), ("a", -1), ("a" * (MAX_CHARS + 1), None)])
def test_what_cannot_be_used_is_refused(value: object, threshold: float | None) -> None:
    with pytest.raises(CardError):
        Assertion("levenshtein", value, threshold)
