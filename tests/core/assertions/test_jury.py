"""Who is asked, how several vote, and what becomes of judges that break."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.results import Outcome
from tests.core.judges.script import Asked, Bench, each, judged, outage, saying

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
YES = {"reason": "Yes.", "score": 0.9, "pass": True}
NO = {"reason": "No.", "score": 0.2, "pass": False}


def panel(*said: Any, kind: str = "llm-rubric", **more: Any) -> Any:
    judges = tuple(f"j{number}:m" for number in range(len(said)))
    bench = Bench(each(dict(zip(judges, said, strict=True))), judges)
    return judged(Assertion(kind, "Is kind.", **more), "Hello.", bench)


def test_the_assertions_judges_come_before_the_runs() -> None:
    bench = Bench(saying(YES), judges=("run:judge",))
    judged(Assertion("llm-rubric", "Is kind."), "x", bench)
    judged(Assertion("llm-rubric", "Is kind.", provider="own:judge"), "x", bench)
    judged(Assertion("llm-rubric", "Is kind.", provider=("a:1", "b:2")), "x", bench)
    assert [asked.model for asked in bench.asked] == ["run:judge", "own:judge", "a:1", "b:2"]


def test_a_judge_named_twice_answers_twice() -> None:
    bench = Bench(saying(YES))
    judged(Assertion("llm-rubric", "Is kind.", provider=("a:1", "a:1", "b:2")), "x", bench)
    assert [(asked.model, asked.repeat) for asked in bench.asked] == [("a:1", 0), ("a:1", 1), ("b:2", 0)]


@pytest.mark.parametrize("kind", ["llm-rubric", "not-llm-rubric", "g-eval", "factuality", "context-relevance"])
def test_without_a_judge_it_is_unscored(kind: str) -> None:
    value = None if kind == "context-relevance" else "Is kind."
    options = {"context": "Some."} if kind == "context-relevance" else {}
    one = judged(Assertion(kind, value, options=options), "Hello.", Bench(saying(YES), judges=()))
    assert (one.outcome, one.reason) == (UNSCORED, "no_judge")


@pytest.mark.parametrize(
    ("said", "vote", "outcome", "reason", "score"),
    [
        ((YES, YES, NO), "majority", PASS, None, 2 / 3),
        ((YES, NO, NO), "majority", FAIL, "criterion_not_met", 1.3 / 3),
        ((YES, NO), "majority", UNSCORED, "panel_undecided", None),
        ((YES, NO, NO), "any", PASS, None, 1.3 / 3),
        ((YES, YES, NO), "all", FAIL, "criterion_not_met", 2 / 3),
        ((YES, YES, NO), "mean", PASS, None, 2 / 3),
        ((YES, NO, NO), "mean", FAIL, "score_below_threshold", 1.3 / 3),
        ((YES, YES, outage()), "majority", PASS, None, None),
        ((NO, "gibberish", NO), "majority", FAIL, "criterion_not_met", None),
        ((YES, NO, outage()), "majority", UNSCORED, "panel_undecided", None),
        ((YES, outage(), "gibberish"), "majority", UNSCORED, "panel_undecided", None),
        ((YES, YES, outage()), "all", UNSCORED, "panel_undecided", None),
        ((NO, NO, outage()), "any", UNSCORED, "panel_undecided", None),
        ((YES, outage()), "mean", UNSCORED, "panel_undecided", None),
    ],
)
def test_how_a_panel_decides(
    said: tuple[Any, ...], vote: str, outcome: Outcome, reason: str | None, score: float | None
) -> None:
    one = panel(*said, options={"vote": vote})
    assert (one.outcome, one.reason) == (outcome, reason)
    assert one.score == (None if score is None else pytest.approx(score))


def test_those_that_did_not_judge_are_named_with_the_reason() -> None:
    one = panel(YES, YES, outage(), "gibberish", YES)
    assert one.outcome is PASS
    assert "3 of 3 judges" in one.message
    assert "Not counted: j2:m (provider_5xx_exhausted), j3:m (judge_parse_error)." in one.message


@pytest.mark.parametrize(
    ("said", "outcome", "reason"),
    [
        ((outage(),), ERROR, "provider_5xx_exhausted"),
        ((outage("budget_exhausted"),), UNSCORED, "budget_exhausted"),
        ((outage("not_recorded"),), UNSCORED, "not_recorded"),
        (("",), UNSCORED, "judge_no_text"),
        (("gibberish", outage("timeout")), ERROR, "timeout"),
        (("gibberish", ""), UNSCORED, "judge_parse_error"),
    ],
)
@pytest.mark.parametrize("kind", ["llm-rubric", "not-llm-rubric"])
def test_when_nobody_judges_it_is_what_kept_them(
    said: tuple[Any, ...], outcome: Outcome, reason: str, kind: str
) -> None:
    one = panel(*said, kind=kind)
    assert (one.outcome, one.reason, one.score) == (outcome, reason, None)


def test_the_other_judges_are_heard_when_one_breaks() -> None:
    heard: list[str] = []

    def say(asked: Asked) -> Any:
        heard.append(asked.model)
        return outage() if asked.model == "j0:m" else YES

    bench = Bench(say, ("j0:m", "j1:m", "j2:m"))
    assert judged(Assertion("llm-rubric", "Is kind."), "x", bench).outcome is PASS
    assert heard == ["j0:m", "j1:m", "j2:m"]


def test_what_each_judge_said_is_a_part_and_the_score_is_open_while_one_is_missing() -> None:
    one = panel(YES, outage(), YES)
    assert (one.outcome, one.score, one.points) == (PASS, None, None)
    assert [(part.outcome, part.reason) for part in one.parts] == [
        (PASS, None), (PASS, None), (ERROR, "provider_5xx_exhausted")
    ]  # fmt: skip
    assert one.parts[2].message.startswith("j1:m: ")
    assert len({part.uid for part in panel(YES, YES).parts}) == 2
    assert panel(YES).parts == ()


def test_a_panel_without_degrees_has_the_share_as_its_score() -> None:
    said = [{"reason": "", "pass": True}, {"reason": "", "pass": True}, {"reason": "", "pass": False}]
    bench = Bench(each(dict(zip(("a:1", "b:2", "c:3"), said, strict=True))), ("a:1", "b:2", "c:3"))
    one = judged(Assertion("model-graded-closedqa", "Names a city."), "Paris", bench)
    assert (one.outcome, one.score) == (PASS, pytest.approx(2 / 3))


verdicts = st.sampled_from([YES, NO, "gibberish", "", outage(), outage("budget_exhausted")])


@given(st.lists(verdicts, min_size=1, max_size=5), st.sampled_from(["majority", "all", "any", "mean"]), st.booleans())
def test_an_outage_never_makes_a_pass_or_a_fail(said: list[Any], vote: str, negated: bool) -> None:
    kind = "not-llm-rubric" if negated else "llm-rubric"
    one = panel(*said, kind=kind, options={"vote": vote})
    if one.outcome in (ERROR, UNSCORED):
        return
    for instead in (YES, NO):
        repaired = [instead if vote_ not in (YES, NO) else vote_ for vote_ in said]
        assert panel(*repaired, kind=kind, options={"vote": vote}).outcome is one.outcome
