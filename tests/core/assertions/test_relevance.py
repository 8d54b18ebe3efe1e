"""Relevance of answers and of turns in a conversation."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Message
from promptcard_ext.core.errors import CardError, ProviderError
from promptcard_ext.core.results import Outcome
from tests.core.judges.script import Asked, Bench, an_answer, judged, outage, saying

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
MADE = {"questions": ["near", "far", "opposite"], "evasive": False}
VECTORS = {"near": (2.0, 0.0), "far": (0.0, 1.0), "opposite": (-1.0, 0.0)}


def bench(said: Any = MADE, embedder: str | None = "e:model", vectors: Any = VECTORS) -> Bench:
    return Bench(saying(said), embedder=embedder, vectors=lambda text: vectors.get(text, (1.0, 0.0)))


@pytest.mark.parametrize(
    ("questions", "score"),
    [
        (["near"], 1.0),
        (["near", "far"], 0.5),
        (["far"], 0.0),
        (["opposite"], 0.0),
        (["near", "near", "opposite"], 1 / 3),
    ],
)
def test_the_score_is_the_mean_similarity_of_the_questions(questions: list[str], score: float) -> None:
    used = bench({"questions": questions, "evasive": False})
    one = judged(Assertion("answer-relevance", threshold=0.4), "Paris.", used)
    assert one.score == pytest.approx(score)
    assert one.outcome is (PASS if score >= 0.4 else FAIL)
    assert used.embedded == ["What is the capital of France?", *questions]


def test_the_judge_does_not_see_what_was_asked() -> None:
    used = bench()
    judged(Assertion("answer-relevance"), "Paris.", used)
    assert "France" not in used.asked[0].text


def test_an_evasive_answer_has_no_relevance() -> None:
    used = bench({"questions": [], "evasive": True})
    one = judged(Assertion("answer-relevance", threshold=0.1), "Who knows.", used)
    assert (one.outcome, one.score, used.embedded) == (FAIL, 0.0, [])
    assert judged(Assertion("answer-relevance"), "Who knows.", used).outcome is PASS


def test_the_variable_query_comes_before_the_prompt() -> None:
    used = bench()
    judged(Assertion("answer-relevance"), an_answer("Paris.", query="near"), used)
    assert used.embedded[0] == "near"


def test_the_embedding_model_may_be_the_assertions() -> None:
    used = bench(embedder=None)
    without = judged(Assertion("answer-relevance"), "Paris.", used)
    assert (without.outcome, without.reason, used.asked) == (UNSCORED, "no_embedder", [])
    other = bench(embedder="other:model")
    assert judged(Assertion("answer-relevance", options={"embedder": "other:model"}), "Paris.", other).outcome is PASS


@pytest.mark.parametrize("vector", [(0.0, 0.0), (1.0,), (math.nan, 1.0), (math.inf, 1.0), ()])
@pytest.mark.parametrize("kind", ["answer-relevance", "not-answer-relevance"])
def test_vectors_that_cannot_be_compared_decide_nothing(vector: tuple[float, ...], kind: str) -> None:
    one = judged(Assertion(kind, threshold=0.5), "Paris.", bench(vectors=dict.fromkeys(VECTORS, vector)))
    assert (one.outcome, one.reason) == (ERROR, "embedding_invalid")


def test_an_outage_of_the_embedding_model_is_an_error() -> None:
    def broken(text: str) -> tuple[float, ...]:
        raise ProviderError("No embeddings here.", code="no_embeddings")

    used = Bench(saying(MADE), embedder="e:model", vectors=broken)
    one = judged(Assertion("answer-relevance"), "Paris.", used)
    assert (one.outcome, one.reason) == (ERROR, "no_embeddings")


def test_without_text_or_question_nobody_is_asked() -> None:
    used = bench()
    assert judged(Assertion("answer-relevance"), None, used).reason == "no_text"
    assert judged(Assertion("answer-relevance"), an_answer("x")._replace(messages=()), used).reason == "no_query"
    assert used.asked == []


@pytest.mark.parametrize("said", [{"questions": [], "evasive": False}, {"questions": ["a"] * 11, "evasive": False}, {}])
def test_a_judge_without_questions_has_not_judged(said: Any) -> None:
    assert judged(Assertion("answer-relevance"), "Paris.", bench(said)).reason == "judge_parse_error"


# -- conversations ---------------------------------------------------------------------------------------------------

TALK = (
    Message("system", "Be brief."),
    Message("user", "What is 2+2?"),
    Message("assistant", "4"),
    Message("user", "What about 3+3?"),
    Message("assistant", "Paris."),
    Message("user", "And 5+5?"),
)


def listening(asked: Asked) -> Any:
    return {"reason": f"Said {asked.material('output')}", "relevant": asked.material("output") != "Paris."}


@pytest.mark.parametrize(("threshold", "outcome"), [(None, PASS), (0.66, PASS), (0.7, FAIL)])
def test_the_share_of_relevant_turns_counts(threshold: float | None, outcome: Outcome) -> None:
    one = judged(Assertion("conversation-relevance", threshold=threshold), an_answer("10", *TALK), Bench(listening))
    assert (one.outcome, one.score) == (outcome, pytest.approx(2 / 3))
    assert one.message == "2 of 3 turns are relevant. Said Paris."


@pytest.mark.parametrize(("window", "last"), [(1, ["And 5+5?"]), (2, ["What about 3+3?", "Paris.", "And 5+5?"])])
def test_a_turn_is_seen_with_those_before_it(window: int, last: list[str]) -> None:
    used = Bench(listening)
    judged(Assertion("conversation-relevance", options={"window_size": window}), an_answer("10", *TALK), used)
    assert [asked.material("output") for asked in used.asked] == ["4", "Paris.", "10"]
    assert [said["content"] for said in json.loads(used.asked[-1].material("conversation"))] == last
    assert "Be brief." not in used.asked[0].text


def test_a_single_question_is_a_conversation() -> None:
    one = judged(Assertion("conversation-relevance"), "Lyon.", Bench(listening))
    assert (one.outcome, one.score) == (PASS, 1.0)
    assert judged(Assertion("conversation-relevance"), "Paris.", Bench(listening)).outcome is FAIL


def test_one_turn_that_nobody_judged_leaves_the_whole_undecided() -> None:
    def say(asked: Asked) -> Any:
        return outage() if asked.material("output") == "4" else listening(asked)

    used = Bench(say)
    one = judged(Assertion("conversation-relevance", threshold=0.1), an_answer("10", *TALK), used)
    assert (one.outcome, one.reason, len(used.asked)) == (ERROR, "provider_5xx_exhausted", 3)


def test_messages_that_are_not_known_are_no_conversation() -> None:
    used = Bench(listening)
    unknown = judged(Assertion("not-conversation-relevance"), an_answer("10")._replace(messages=()), used)
    assert (unknown.outcome, unknown.reason) == (UNSCORED, "no_conversation")
    assert judged(Assertion("conversation-relevance"), None, used).reason == "no_text"
    assert used.asked == []


def test_promptfoos_spelling_of_the_window_is_understood() -> None:
    used = Bench(listening)
    judged(Assertion("conversation-relevance", options={"windowSize": 1}), an_answer("10", *TALK), used)
    assert [said["content"] for said in json.loads(used.asked[-1].material("conversation"))] == ["And 5+5?"]


@pytest.mark.parametrize("window", [0, 101, 1.5, True, "5"])
def test_a_window_is_a_whole_number(window: Any) -> None:
    with pytest.raises(CardError, match="window_size"):
        Assertion("conversation-relevance", options={"window_size": window})


def test_an_embedder_is_a_reference() -> None:
    with pytest.raises(CardError, match="embedder"):
        Assertion("answer-relevance", options={"embedder": 5})
