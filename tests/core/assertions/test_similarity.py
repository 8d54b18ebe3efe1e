"""Similarity by embeddings: the best reference counts, and vectors that say nothing are no verdict."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.base import needs
from promptcard_ext.core.assertions.similarity import _cosine
from promptcard_ext.core.errors import CardError, ProviderError
from promptcard_ext.core.results import Outcome
from tests.core.assertions.asker import Asks, graded, text

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
KINDS = ("similar", "similar:cosine", "similar:dot", "similar:euclidean")
PLACES = {
    "east": (1.0, 0.0),
    "far east": (3.0, 0.0),
    "north": (0.0, 1.0),
    "west": (-1.0, 0.0),
    "north-east": (0.6, 0.8),
}


def places() -> Asks:
    return Asks(vectors=PLACES.__getitem__)


@pytest.mark.parametrize(
    ("kind", "value", "output", "threshold", "outcome", "score"),
    [
        ("similar", "east", "far east", None, PASS, 1.0),
        ("similar", "east", "north-east", None, FAIL, 0.6),
        ("similar", "east", "north-east", 0.6, PASS, 0.6),
        ("similar", "east", "west", None, FAIL, 0.0),
        ("similar", "east", "west", -1.0, PASS, 0.0),
        ("similar", ["west", "north", "east"], "north-east", None, PASS, 0.8),
        ("similar:cosine", "north", "north-east", 0.81, FAIL, 0.8),
        ("similar:dot", "east", "far east", None, PASS, 1.0),
        ("similar:dot", "east", "far east", 3.0, PASS, 1.0),
        ("similar:dot", "east", "far east", 3.1, FAIL, 1.0),
        ("similar:dot", "east", "north", None, FAIL, 0.0),
        ("similar:euclidean", "east", "east", 0.0, PASS, 1.0),
        ("similar:euclidean", "east", "far east", None, FAIL, 1 / 3),
        ("similar:euclidean", "east", "far east", 2.0, PASS, 1 / 3),
        ("similar:euclidean", ["west", "east"], "far east", 2.0, PASS, 1 / 3),
    ],
)
def test_what_is_near_enough_and_what_is_not(
    kind: str, value: Any, output: str, threshold: float | None, outcome: Outcome, score: float
) -> None:
    one = graded(Assertion(kind, value, threshold), text(output), places())
    assert one.outcome is outcome
    assert one.score == pytest.approx(score)
    assert one.reason == (None if outcome is PASS else "not_similar")
    other = graded(Assertion(f"not-{kind}", value, threshold), text(output), places())
    assert other.outcome is outcome.negated()
    assert other.score == pytest.approx(1 - score)


def test_the_model_is_the_runs_or_the_assertions_own_and_is_called_once() -> None:
    asks = places()
    graded(Assertion("similar", ["east", "north"]), text("west"), asks)
    graded(Assertion("similar", "east", provider="own:model"), text("west"), asks)
    assert asks.embedded == [("e:m", ["west", "east", "north"]), ("own:model", ["west", "east"])]
    assert needs(Assertion("similar", "a")) == {"embedder"}
    assert needs(Assertion("similar:dot", "a", provider="own:model")) == set()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefix", ["", "not-"])
def test_without_text_or_model_nobody_judges(kind: str, prefix: str) -> None:
    one = graded(Assertion(prefix + kind, "east"), text(None), places())
    assert (one.outcome, one.reason) == (UNSCORED, "no_text")
    one = graded(Assertion(prefix + kind, "east"), text("west"), Asks(embedder=None))
    assert (one.outcome, one.reason) == (UNSCORED, "no_embedder")


def test_an_empty_answer_is_not_similar_and_costs_nothing() -> None:
    asks = places()
    assert graded(Assertion("similar", "east"), text(" \n"), asks).reason == "not_similar"
    assert asks.embedded == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefix", ["", "not-"])
@pytest.mark.parametrize(
    "vector",
    [
        (0.0, 0.0),
        (1.0,),
        (),
        (1.0, 2.0, 3.0),
        (math.nan, 1.0),
        (math.inf, 1.0),
        (None, 1.0),
        ("1", 1.0),
        (10**400, 1),
        None,
    ],
    ids=repr,
)
def test_vectors_that_cannot_be_compared_are_an_error(kind: str, prefix: str, vector: Any) -> None:
    asks = Asks(vectors=lambda one: vector if one == "odd" else (1.0, 0.0))
    for value, output in (("odd", "x"), ("x", "odd"), (["x", "odd"], "x")):
        one = graded(Assertion(prefix + kind, value), text(output), asks)
        assert (one.outcome, one.reason) == (ERROR, "embedding_invalid")
        assert len(one.message) < 300


@pytest.mark.parametrize("prefix", ["", "not-"])
@pytest.mark.parametrize(("code", "outcome"), [("provider_5xx", ERROR), ("budget_exhausted", UNSCORED)])
def test_an_outage_is_no_verdict(prefix: str, code: str, outcome: Outcome) -> None:
    asks = Asks(vectors=lambda _: ProviderError("down", code=code))
    one = graded(Assertion(prefix + "similar", "x"), text("x"), asks)
    assert (one.outcome, one.reason) == (outcome, code)


PARTS = st.floats(-1e300, 1e300, allow_nan=False) | st.floats(-1, 1)
VECTORS = st.lists(PARTS, min_size=3, max_size=3).filter(any)


@given(VECTORS, VECTORS, st.floats(1e-3, 1e3))
def test_the_cosine_is_one_for_the_same_direction_and_never_out_of_range(
    one: list[float], other: list[float], factor: float
) -> None:
    assert -1 <= _cosine(one, other) <= 1
    assert _cosine(one, other) == _cosine(other, one)
    assert _cosine(one, one) == pytest.approx(1)
    if all(abs(part) > 1e-200 or not part for part in one):
        assert _cosine([part * factor for part in one], one) == pytest.approx(1)


def test_the_largest_numbers_are_compared_or_refused() -> None:
    asks = Asks(vectors=lambda _: (1e308, 1e308))
    assert graded(Assertion("similar", "x"), text("x"), asks).outcome is PASS
    assert graded(Assertion("similar:euclidean", "x"), text("x"), asks).outcome is PASS
    assert graded(Assertion("similar:dot", "x"), text("x"), asks).reason == "embedding_invalid"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"value": ""},
        {"value": []},
        {"value": ["a", " "]},
        {"value": [1]},
        {"value": {"a": 1}},
        {"value": ["a"] * 101},
        {"value": "a", "threshold": math.inf},
        {"value": "a", "provider": ["a:b", "c:d"]},
        {"value": "a", "options": {"metric": "dot"}},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_specification_that_does_not_fit_is_refused(kind: str, fields: dict[str, Any]) -> None:
    with pytest.raises(CardError) as caught:
        Assertion(kind, **fields)
    assert caught.value.code == "assertion_invalid"


def test_a_distance_below_zero_is_refused() -> None:
    with pytest.raises(CardError):
        Assertion("similar:euclidean", "a", -0.1)
