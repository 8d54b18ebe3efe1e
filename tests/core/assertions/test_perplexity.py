"""Perplexity from log-probabilities."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import Verdict
from tests.core.assertions.judged import FAIL, PASS, UNSCORED, answer, verdict


def of(kind: str, threshold: float | None, *probabilities: float) -> Verdict:
    logs = tuple(math.log(one) for one in probabilities)
    return verdict(Assertion(kind, threshold=threshold), answer("x", logprobs=logs or None))


def test_perplexity_is_one_over_the_geometric_mean() -> None:
    one = of("perplexity", 2.0, 0.5, 0.5)
    assert one.outcome is PASS
    assert one.score == pytest.approx(0.5)
    assert of("perplexity", 1.9, 0.5, 0.5).reason == "too_perplexed"
    assert of("not-perplexity", 1.9, 0.5, 0.5).outcome is PASS
    assert of("perplexity", 1, 1.0).outcome is PASS


def test_its_score_is_half_at_most() -> None:
    assert of("perplexity-score", 0.5, 1.0).score == 0.5
    assert of("perplexity-score", 0.26, 1 / 3).reason == "too_perplexed"
    assert of("perplexity-score", 0.25, 1 / 3).outcome is PASS


@pytest.mark.parametrize("kind", ["perplexity", "perplexity-score"])
def test_without_a_threshold_it_is_measured_only(kind: str) -> None:
    one = of(kind, None, 0.001)
    assert one.outcome is PASS
    assert one.score is not None
    with pytest.raises(CardError):
        Assertion(f"not-{kind}")


@pytest.mark.parametrize("kind", ["perplexity", "not-perplexity", "perplexity-score", "not-perplexity-score"])
@pytest.mark.parametrize("logprobs", [None, (), (math.nan,), (math.inf,), (0.5,), (-math.inf, math.inf)])
def test_no_log_probabilities_are_no_evidence_either_way(kind: str, logprobs: Any) -> None:
    threshold = 0.5 if kind.endswith("score") else 2.0
    one = verdict(Assertion(kind, threshold=threshold), answer("x", logprobs=logprobs))
    assert (one.outcome, one.reason) == (UNSCORED, "no_logprobs")


def test_an_impossible_token_is_a_fail_and_no_crash() -> None:
    one = verdict(Assertion("perplexity", threshold=2), answer("x", logprobs=(-math.inf, -1.0)))
    assert (one.outcome, one.score) == (FAIL, 0.0)
    assert verdict(Assertion("perplexity-score", threshold=0.1), answer("x", logprobs=(-1e9,))).outcome is FAIL


@pytest.mark.parametrize(("kind", "threshold"), [("perplexity", 0.5), ("perplexity-score", 1.5)])
def test_a_threshold_that_nothing_reaches_is_refused(kind: str, threshold: float) -> None:
    with pytest.raises(CardError):
        Assertion(kind, threshold=threshold)


@given(st.lists(st.floats(1e-6, 1), min_size=1), st.floats(1, 1e6))
def test_both_kinds_agree(probabilities: list[float], limit: float) -> None:
    perplexity = math.exp(-math.fsum(map(math.log, probabilities)) / len(probabilities))
    if abs(perplexity - limit) > 1e-6 * limit:
        both = [of("perplexity", limit, *probabilities), of("perplexity-score", 1 / (1 + limit), *probabilities)]
        assert {one.outcome for one in both} == {PASS if perplexity < limit else FAIL}
