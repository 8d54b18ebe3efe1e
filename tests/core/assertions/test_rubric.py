"""Criteria in words: llm-rubric, model-graded-closedqa."""

from __future__ import annotations

from typing import Any

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.errors import CardError, TemplateError
from promptcard_ext.core.results import Outcome
from tests.core.judges.script import Bench, an_answer, judged, saying

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED


@pytest.mark.parametrize(
    ("said", "threshold", "outcome", "reason", "score"),
    [
        ({"reason": "Good.", "score": 0.9, "pass": True}, None, PASS, None, 0.9),
        ({"reason": "Bad.", "score": 0.9, "pass": False}, None, FAIL, "criterion_not_met", 0.9),
        ({"reason": "Good.", "score": 0, "pass": True}, None, PASS, None, 0.0),
        ({"reason": "Good.", "score": 0.8, "pass": "yes"}, 0.8, PASS, None, 0.8),
        ({"reason": "So so.", "score": 0.79, "pass": True}, 0.8, FAIL, "score_below_threshold", 0.79),
        ({"reason": "Bad.", "score": 1, "pass": False}, 0.8, FAIL, "criterion_not_met", 1.0),
    ],
)
def test_a_rubric_passes_when_the_judge_says_so_and_the_score_reaches_the_threshold(
    said: dict[str, Any], threshold: float | None, outcome: Outcome, reason: str | None, score: float
) -> None:
    one = judged(Assertion("llm-rubric", "Is kind.", threshold=threshold), "Hello.", Bench(saying(said)))
    assert (one.outcome, one.reason, one.score, one.message) == (outcome, reason, score, said["reason"])
    other = judged(Assertion("not-llm-rubric", "Is kind.", threshold=threshold), "Hello.", Bench(saying(said)))
    assert other.outcome is outcome.negated()
    assert other.score == pytest.approx(1 - score)


@pytest.mark.parametrize(
    "said",
    [
        {"reason": "Good.", "score": 1},
        {"reason": "Good.", "pass": True},
        {"reason": "Good.", "pass": True, "score": 7},
        {"reason": "Good.", "pass": True, "score": "9/10"},
        {"reason": "Good.", "pass": None, "score": 1},
        {"reason": ["Good."], "pass": True, "score": 1},
        '{"reason": "", "pass": true, "score": 1e999}',
        '{"reason": "", "pass": true, "score": -0.1}',
        '{"reason": "", "pass": true, "score": ' + "9" * 4000 + "}",
        "I would say that it passes.",
    ],
)
@pytest.mark.parametrize("kind", ["llm-rubric", "not-llm-rubric"])
def test_what_is_no_judgement_is_unscored_either_way(said: Any, kind: str) -> None:
    bench = Bench(saying(said))
    one = judged(Assertion(kind, "Is kind."), "Hello.", bench)
    assert (one.outcome, one.reason, one.score) == (UNSCORED, "judge_parse_error", None)
    assert len(bench.asked) == 2


def test_the_judge_sees_criterion_and_answer_between_marks() -> None:
    bench = Bench(saying({"reason": "", "score": 1, "pass": True}))
    judged(Assertion("llm-rubric", "Names {{ city }}."), an_answer("Paris.", city="Paris"), bench)
    (call,) = bench.asked
    assert (call.material("rubric"), call.material("output"), call.about) == ("Names Paris.", "Paris.", "rubric")


def test_several_criteria_are_numbered_and_a_mapping_is_json() -> None:
    bench = Bench(saying({"reason": "", "score": 1, "pass": True}))
    judged(Assertion("llm-rubric", ["Is kind.", {"tone": "fröhlich"}]), "Hello.", bench)
    assert bench.asked[0].material("rubric") == '1. Is kind.\n2. {"tone": "fröhlich"}'


def test_a_transform_is_what_is_judged() -> None:
    bench = Bench(saying({"reason": "", "score": 1, "pass": True}))
    judged(Assertion("llm-rubric", "Is kind.", transform="{{ json.text }}"), '{"text": "Hello."}', bench)
    assert bench.asked[0].material("output") == "Hello."


def test_a_prompt_of_the_users_may_ask_for_a_verdict_alone() -> None:
    bench = Bench(saying({"pass": False}))
    own = Assertion("llm-rubric", "kind", rubric_prompt="Is {{ output }} {{ rubric }}? Think of {{ city }}.")
    one = judged(own, an_answer("Hello.", city="Paris"), bench)
    assert (one.outcome, one.reason, one.score) == (FAIL, "criterion_not_met", None)
    assert bench.asked[0].messages[-1].content.endswith(" kind? Think of Paris.")
    strict = Assertion("llm-rubric", "kind", threshold=0.5, rubric_prompt="{{ output }}")
    assert judged(strict, "Hello.", bench).reason == "judge_parse_error"
    assert judged(Assertion("llm-rubric", rubric_prompt="Is {{ output }} kind?"), "x", bench).outcome is FAIL


def test_a_prompt_that_lacks_a_variable_is_our_error() -> None:
    own = Assertion("llm-rubric", "kind", rubric_prompt="{{ nobody }}")
    one = judged(own, "Hello.", Bench(saying({"pass": True})))
    assert (one.outcome, one.reason) == (ERROR, "missing_variable")


@pytest.mark.parametrize("said", [True, False])
def test_a_closed_question_has_no_score(said: bool) -> None:
    bench = Bench(saying({"reason": "So it is.", "pass": said}))
    one = judged(Assertion("model-graded-closedqa", "Names a city."), "Paris.", bench)
    assert (one.outcome, one.score, one.message) == (PASS if said else FAIL, None, "So it is.")
    assert one.reason == (None if said else "criterion_not_met")
    (call,) = bench.asked
    assert call.material("criteria") == "Names a city."
    assert call.material("query") == "What is the capital of France?"


@pytest.mark.parametrize("kind", ["llm-rubric", "model-graded-closedqa", "not-llm-rubric"])
def test_without_text_nobody_is_asked(kind: str) -> None:
    bench = Bench(saying({"pass": True, "score": 1}))
    one = judged(Assertion(kind, "Is kind."), None, bench)
    assert (one.outcome, one.reason, bench.asked) == (UNSCORED, "no_text", [])


@pytest.mark.parametrize(
    "more",
    [
        {"value": None},
        {"value": ""},
        {"value": []},
        {"value": ["a", 5]},
        {"threshold": 1.5},
        {"options": {"vote": "consensus"}},
        {"options": {"vote": ["all"]}},
        {"options": {"votes": "all"}},
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_asked(more: dict[str, Any]) -> None:
    with pytest.raises(CardError) as error:
        Assertion("llm-rubric", **({"value": "Is kind."} | more))
    assert error.value.code == "assertion_invalid"


def test_a_prompt_that_does_not_parse_is_refused() -> None:
    with pytest.raises(TemplateError):
        Assertion("llm-rubric", "kind", rubric_prompt="{{ output")


def test_what_is_too_long_is_not_judged() -> None:
    bench = Bench(saying({"pass": True, "score": 1}))
    one = judged(Assertion("llm-rubric", "Is kind."), "x" * 1_000_000, bench)
    assert (one.outcome, one.reason, bench.asked) == (UNSCORED, "too_long_to_judge", [])
