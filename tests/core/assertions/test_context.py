"""Context assertions: where the context comes from, claims, passages."""

from __future__ import annotations

from typing import Any

import pytest

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.context import passages_of
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import Outcome
from tests.core.judges.script import Asked, Bench, an_answer, judged, outage

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
FRANCE = "Paris is the capital of France. It lies on the Seine."


def judge(claims: list[str], supported: list[int], unsupported: list[int]) -> Bench:
    def say(asked: Asked) -> Any:
        if asked.about == "claims":
            return {"claims": claims}
        return {"reason": "Look.", "supported": supported, "unsupported": unsupported}

    return Bench(say)


@pytest.mark.parametrize(
    ("supported", "unsupported", "threshold", "outcome", "score"),
    [
        ([1, 2], [], 1.0, PASS, 1.0),
        ([1], [2], 0.5, PASS, 0.5),
        ([1], [2], 0.51, FAIL, 0.5),
        ([], [1, 2], None, PASS, 0.0),
        ([], [2, 1], 0.1, FAIL, 0.0),
    ],
)
def test_faithfulness_is_the_share_of_claims_that_follow(
    supported: list[int], unsupported: list[int], threshold: float | None, outcome: Outcome, score: float
) -> None:
    bench = judge(["Paris is the capital.", "Paris has 2 million people."], supported, unsupported)
    seen = an_answer("Paris, with 2 million people.", context=FRANCE)
    one = judged(Assertion("context-faithfulness", threshold=threshold), seen, bench)
    assert (one.outcome, one.score) == (outcome, score)
    assert one.reason == (None if outcome is PASS else "score_below_threshold")
    first, second = bench.asked
    assert first.material("text") == "Paris, with 2 million people."
    assert second.material("claims") == "1. Paris is the capital.\n2. Paris has 2 million people."
    assert "Seine" in second.material("context")


@pytest.mark.parametrize(
    ("supported", "unsupported"), [([1], []), ([1, 2], [2]), ([1, 3], [2]), ([], []), ([1, 1], [2])]
)
@pytest.mark.parametrize("kind", ["context-faithfulness", "not-context-faithfulness"])
def test_every_claim_must_be_judged_once(supported: list[int], unsupported: list[int], kind: str) -> None:
    seen = an_answer("Paris.", context=FRANCE)
    one = judged(Assertion(kind, threshold=0.5), seen, judge(["One.", "Two."], supported, unsupported))
    assert (one.outcome, one.reason) == (UNSCORED, "judge_parse_error")


@pytest.mark.parametrize("kind", ["context-faithfulness", "not-context-faithfulness"])
def test_an_answer_without_claims_is_neither_faithful_nor_not(kind: str) -> None:
    bench = judge([], [], [])
    one = judged(Assertion(kind, threshold=0.5), an_answer("Hello!", context=FRANCE), bench)
    assert (one.outcome, one.reason, len(bench.asked)) == (UNSCORED, "no_claims", 1)


def test_recall_looks_for_the_right_answer_in_the_context() -> None:
    bench = judge(["Guido created Python.", "It was in 1991."], [2], [1])
    recall = Assertion("context-recall", "{{ author }} created Python in 1991.", threshold=0.6)
    one = judged(recall, an_answer(None, author="Guido", context="Python was released in 1991."), bench)
    assert (one.outcome, one.score, one.reason) == (FAIL, 0.5, "score_below_threshold")
    assert bench.asked[0].material("text") == "Guido created Python in 1991."


@pytest.mark.parametrize(("needed", "score"), [([1], 1 / 3), ([], 0.0), ([3, 1, 2], 1.0)])
def test_relevance_is_the_share_of_passages_that_are_needed(needed: list[int], score: float) -> None:
    bench = Bench(lambda asked: {"reason": "", "needed": needed})
    context = "Paris is the capital. France has great wine.\nThe Eiffel Tower is in Paris."
    one = judged(Assertion("context-relevance", threshold=score), an_answer(None, context=context), bench)
    assert (one.outcome, one.score) == (PASS, pytest.approx(score))
    assert bench.asked[0].material("context").splitlines() == [
        "1. Paris is the capital.",
        "2. France has great wine.",
        "3. The Eiffel Tower is in Paris.",
    ]
    assert bench.asked[0].material("query") == "What is the capital of France?"


@pytest.mark.parametrize("needed", [[4], [0], [1, 1], ["1"], [True], None])
def test_a_passage_that_does_not_exist_is_no_judgement(needed: Any) -> None:
    bench = Bench(lambda asked: {"reason": "", "needed": needed})
    one = judged(Assertion("context-relevance"), an_answer("x", context=["a", "b", "c"]), bench)
    assert (one.outcome, one.reason) == (UNSCORED, "judge_parse_error")


JSON = '{"answer": "Paris", "context": {"chunks": ["One. Two.", {"text": "Three."}, " "]}}'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["From the case."]),
        ({"context": "Given."}, ["Given."]),
        ({"context": ["A.", "B. C."]}, ["A.", "B. C."]),
        ({"context": "{{ context }} And more."}, ["From the case.", "And more."]),
        ({"context_transform": "json.context.chunks"}, ["One. Two.", '{"text": "Three."}']),
        ({"context_transform": "output.context.chunks.0"}, ["One.", "Two."]),
        ({"context_transform": "vars.context"}, ["From the case."]),
        ({"context_transform": "json.nothing.here"}, []),
        ({"context_transform": "json.context.chunks.9"}, []),
        ({"context_transform": "json.context"}, []),
    ],
)
def test_where_the_context_comes_from(options: dict[str, Any], expected: list[str]) -> None:
    assertion = Assertion("context-faithfulness", options=options, transform="{{ json.answer }}")
    bench = judge(["One."], [1], [])
    one = judged(assertion, an_answer(JSON, context="From the case."), bench)
    if expected:
        assert bench.asked[0].material("text") == "Paris"
        assert bench.asked[1].material("context") == "\n\n".join(expected)
    else:
        assert (one.outcome, one.reason) == (UNSCORED, "no_context")


def test_the_whole_output_may_be_the_context() -> None:
    assertion = Assertion("context-relevance", options={"context_transform": "output"})
    assert passages_of(assertion, an_answer("One. Two.")) == ["One.", "Two."]
    assert passages_of(assertion, an_answer(None)) == []


@pytest.mark.parametrize("kind", ["context-faithfulness", "context-recall", "context-relevance"])
@pytest.mark.parametrize("context", [None, "", " \n", [], ["", " "], 5, {"a": 1}])
@pytest.mark.parametrize("negated", [False, True])
def test_without_context_nobody_is_asked(kind: str, context: Any, negated: bool) -> None:
    bench = judge(["One."], [1], [])
    value = "x" if kind == "context-recall" else None
    one = judged(Assertion("not-" * negated + kind, value), an_answer("x", context=context), bench)
    assert (one.outcome, one.reason, bench.asked) == (UNSCORED, "no_context", [])


def test_without_text_or_question_there_is_nothing_to_judge() -> None:
    bench = judge(["One."], [1], [])
    faithful = judged(Assertion("context-faithfulness"), an_answer(None, context=FRANCE), bench)
    assert (faithful.outcome, faithful.reason) == (UNSCORED, "no_text")
    seen: Answer = an_answer("x", context=FRANCE)._replace(messages=())
    relevant = judged(Assertion("context-relevance"), seen, bench)
    assert (relevant.outcome, relevant.reason) == (UNSCORED, "no_query")
    assert bench.asked == []


@pytest.mark.parametrize("kind", ["context-faithfulness", "not-context-faithfulness"])
def test_an_outage_in_either_step_is_an_error(kind: str) -> None:
    for broken in ("claims", "support"):

        def say(asked: Asked, broken: str = broken) -> Any:
            return outage("timeout") if asked.about == broken else {"claims": ["One."]}

        one = judged(Assertion(kind), an_answer("x", context=FRANCE), Bench(say))
        assert (one.outcome, one.reason) == (ERROR, "timeout")


@pytest.mark.parametrize("path", ["context", "json[0]", "{{ json.x }}", "output.context || ''", 5, ""])
def test_a_transform_is_a_path(path: Any) -> None:
    with pytest.raises((CardError, ValueError), match="context"):
        judged(Assertion("context-relevance", options={"context_transform": path}), an_answer("x"), judge([], [], []))
