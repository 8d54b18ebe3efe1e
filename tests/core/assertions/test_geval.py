"""G-eval: steps from the criterion, then a grade by them."""

from __future__ import annotations

from typing import Any

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import Outcome
from tests.core.judges.script import Asked, Bench, judged, outage

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
STEPS = {"steps": ["Read it.", "Look for a greeting."]}


def grading(*scores: Any, steps: Any = STEPS) -> Bench:
    """Return a judge that gives these scores, by the last word of the criterion: ``… 0`` gets the first one."""

    def say(asked: Asked) -> Any:
        if asked.about == "steps":
            return steps
        score = scores[int(asked.material("criteria").rpartition(" ")[2])]
        return score if isinstance(score, Exception) else {"reason": f"I give {score}.", "score": score}

    return Bench(say)


@pytest.mark.parametrize(
    ("said", "score", "outcome"),
    [(7, 0.7, PASS), (6.9, 0.69, FAIL), (0, 0.0, FAIL), (10, 1.0, PASS), ("8/10", 0.8, PASS), ("8", 0.8, PASS)],
)
def test_a_grade_from_0_to_10_must_reach_seven_tenths(said: Any, score: float, outcome: Outcome) -> None:
    one = judged(Assertion("g-eval", "Is kind 0"), "Hello.", grading(said))
    assert (one.outcome, one.score) == (outcome, pytest.approx(score))
    assert one.reason == (None if outcome is PASS else "score_below_threshold")
    assert judged(Assertion("not-g-eval", "Is kind 0"), "Hello.", grading(said)).outcome is outcome.negated()


def test_the_mean_over_several_criteria_counts() -> None:
    several = ["Is kind 0", "Is short 1", "Is true 2"]
    one = judged(Assertion("g-eval", several), "Hello.", grading(6, 7, 8))
    assert (one.outcome, one.score) == (PASS, pytest.approx(0.7))
    assert one.message == "I give 6. / I give 7. / I give 8."
    assert judged(Assertion("g-eval", several, threshold=0.71), "Hello.", grading(6, 7, 8)).outcome is FAIL


def test_the_grade_is_by_the_steps_and_the_steps_do_not_know_the_answer() -> None:
    bench = grading(9)
    judged(Assertion("g-eval", "Is kind 0"), "Hello.", bench)
    first, second = bench.asked
    assert "Hello." not in first.text
    assert second.material("steps") == "1. Read it.\n2. Look for a greeting."
    assert second.material("output") == "Hello."


def test_a_prompt_of_the_users_stands_for_the_grading() -> None:
    bench = grading(9)
    own = Assertion("g-eval", "Is kind 0", rubric_prompt="{{ steps }} by {{ criteria }}: {{ output }}")

    def say(asked: Asked) -> Any:
        return STEPS if asked.about == "steps" else {"score": 9}

    bench = Bench(say)
    assert judged(own, "Hello.", bench).outcome is PASS
    assert bench.asked[1].messages[-1].content.startswith("1. Read it.\n2. Look for a greeting. by Is kind 0: <<begin")


@pytest.mark.parametrize("said", [11, -1, "7/5", True, None, "high"])
def test_a_grade_off_the_scale_is_none(said: Any) -> None:
    for kind in ("g-eval", "not-g-eval"):
        one = judged(Assertion(kind, "Is kind 0"), "Hello.", grading(said))
        assert (one.outcome, one.reason) == (UNSCORED, "judge_parse_error")


@pytest.mark.parametrize("steps", [{"steps": []}, {"steps": "Read it."}, {"steps": [1]}, {}])
def test_without_steps_nothing_is_graded(steps: Any) -> None:
    bench = grading(9, steps=steps)
    one = judged(Assertion("g-eval", "Is kind 0"), "Hello.", bench)
    assert (one.outcome, one.reason) == (UNSCORED, "judge_parse_error")
    assert {asked.about for asked in bench.asked} == {"steps"}


def test_one_criterion_that_nobody_graded_leaves_the_whole_undecided() -> None:
    bench = grading(10, outage(), 10)
    one = judged(Assertion("g-eval", ["Is kind 0", "Is short 1", "Is true 2"], threshold=0.1), "Hello.", bench)
    assert (one.outcome, one.reason) == (ERROR, "provider_5xx_exhausted")
    assert len([asked for asked in bench.asked if asked.about == "score"]) == 3


def test_an_empty_list_of_criteria_is_refused() -> None:
    with pytest.raises(CardError, match="g-eval"):
        Assertion("g-eval", [])
