"""Factuality: five categories, their scores, and what passes."""

from __future__ import annotations

from typing import Any

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import Outcome
from tests.core.judges.script import Bench, judged, outage, saying

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
REFERENCE = "Sacramento is the capital of California."
OWN = {"factuality": {"subset": 0.8, "superset": 0.6, "differButFactual": 0}}


def put(category: Any, kind: str = "factuality", **more: Any) -> Any:
    bench = Bench(saying({"reason": "Look.", "category": category}))
    return judged(Assertion(kind, REFERENCE, **more), "It is Sacramento.", bench)


@pytest.mark.parametrize("kind", ["factuality", "model-graded-factuality"])
@pytest.mark.parametrize(("category", "outcome"), [("A", PASS), ("B", PASS), ("C", PASS), ("D", FAIL), ("E", PASS)])
def test_only_a_contradiction_fails_unless_told_otherwise(kind: str, category: str, outcome: Outcome) -> None:
    one = put(category, kind)
    assert (one.outcome, one.score) == (outcome, float(outcome is PASS))
    assert one.reason == (None if outcome is PASS else "facts_disagree")
    assert one.message.startswith(f"{category} (")
    assert put(category, f"not-{kind}").outcome is outcome.negated()


@pytest.mark.parametrize(
    ("category", "threshold", "outcome", "score"),
    [
        ("A", None, PASS, 0.8),
        ("B", None, PASS, 0.6),
        ("B", 0.7, FAIL, 0.6),
        ("C", 1, PASS, 1.0),
        ("E", None, FAIL, 0.0),
    ],
)
def test_scores_can_be_given(category: str, threshold: float | None, outcome: Outcome, score: float) -> None:
    one = put(category, threshold=threshold, options=OWN)
    assert (one.outcome, one.score) == (outcome, score)
    assert one.reason == (None if outcome is PASS else "facts_differ")


@pytest.mark.parametrize("category", ["F", "AB", "", None, 1, "A: subset"])
@pytest.mark.parametrize("kind", ["factuality", "not-factuality"])
def test_another_category_is_no_judgement(category: Any, kind: str) -> None:
    one = put(category, kind)
    assert (one.outcome, one.reason) == (UNSCORED, "judge_parse_error")


@pytest.mark.parametrize("kind", ["factuality", "not-factuality", "model-graded-closedqa"])
def test_an_outage_of_the_judge_is_no_fail(kind: str) -> None:
    one = judged(Assertion(kind, REFERENCE), "x", Bench(saying(outage())))
    assert (one.outcome, one.reason) == (ERROR, "provider_5xx_exhausted")


def test_the_judge_sees_answer_and_reference() -> None:
    bench = Bench(saying({"reason": "", "category": "(c)"}))
    assert judged(Assertion("factuality", REFERENCE), "It is Sacramento.", bench).outcome is PASS
    assert bench.asked[0].material("reference") == REFERENCE
    assert bench.asked[0].material("output") == "It is Sacramento."


@pytest.mark.parametrize(
    "more",
    [
        {"value": None},
        {"value": ["a"]},
        {"options": {"factuality": {"partly": 1}}},
        {"options": {"factuality": {"subset": 2}}},
        {"options": {"factuality": {"subset": True}}},
        {"options": {"factuality": [1]}},
    ],
)
def test_what_does_not_fit_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(CardError, match="factuality"):
        Assertion("factuality", **({"value": REFERENCE} | more))
