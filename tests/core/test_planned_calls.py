"""How many calls an item is going to need, against what the engine then makes."""

from __future__ import annotations

from typing import Any

import pytest

from promptcard_ext.core.assertions import Assertion, metamorphic, similarity  # noqa: F401  (registers these two)
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.planned_calls import PlannedCall, calls_per_item
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.results import Tokens
from tests.core.fakes import Fake, run

RUBRIC = Assertion("llm-rubric", "It is polite.")
CHECK = Assertion("equals", "Hello")


def planned(*assertions: Assertion, **run_options: Any) -> tuple[PlannedCall, ...]:
    prepared = Plan([Card("c", "{{ n }}")], ["fake:m"], [Case({"n": 1}, assertions)]).prepare()
    return calls_per_item(prepared.case(0), **{"judges": ("fake:judge",)} | run_options)


def judged(*assertions: Assertion, **run_options: Any) -> list[tuple[str | None, float, float]]:
    return [(call.model, call.usual, call.most) for call in planned(*assertions, **run_options)]


def test_checks_need_no_call() -> None:
    assert planned(CHECK) == ()


def test_every_judge_is_asked_and_once_more_at_the_most() -> None:
    assert judged(RUBRIC) == [("fake:judge", 1, 2)]
    assert judged(RUBRIC, judges=("a:1", "b:2", "a:1")) == [("a:1", 1, 2), ("b:2", 1, 2), ("a:1", 1, 2)]
    assert judged(RUBRIC, judges=()) == []


def test_an_assertions_own_judges_come_before_the_runs() -> None:
    own = Assertion("not-llm-rubric", "It is rude.", provider=("a:1", "b:2"))
    assert judged(own) == [("a:1", 1, 2), ("b:2", 1, 2)]


@pytest.mark.parametrize(
    ("assertion", "usual"),
    [
        (Assertion("g-eval", "Clear."), 2),
        (Assertion("g-eval", ["Clear.", "Short.", "True."]), 6),
        (Assertion("context-faithfulness", options={"context": "Water is wet."}), 2),
        (Assertion("factuality", "Water is wet."), 1),
    ],
)
def test_some_kinds_ask_more_than_once(assertion: Assertion, usual: int) -> None:
    assert judged(assertion) == [("fake:judge", usual, 2 * usual)]


def test_every_turn_of_a_conversation_is_judged() -> None:
    assert judged(Assertion("conversation-relevance")) == [("fake:judge", 1, 2)]
    assert judged(Assertion("conversation-relevance"), turns=3) == [("fake:judge", 3, 6)]


def test_an_assertion_that_names_its_embedding_model_needs_none_of_the_run() -> None:
    own = Assertion("answer-relevance", options={"embedder": "fake:vectors"})
    prepared = Plan([Card("c", "{{ n }}")], ["fake:m"], [Case({"n": 1}, [own])]).prepare()
    assert (prepared.needs, prepared.named_models) == ({"judge"}, {"fake:vectors"})


def test_sets_and_cascades_are_taken_whole() -> None:
    inner = Assertion("cascade", assertions=(CHECK, RUBRIC))
    assert judged(Assertion("assert-set", assertions=(CHECK, RUBRIC, inner))) == [("fake:judge", 1, 2)] * 2


def test_what_needs_embeddings_gets_them_from_the_runs_model_or_its_own() -> None:
    relevance = Assertion("answer-relevance")
    assert judged(relevance, embedder="e:m") == [("fake:judge", 1, 2), ("e:m", 1, 1)]
    own = Assertion("answer-relevance", options={"embedder": "e:own"}, provider=("a:1", "b:2"))
    assert judged(own, embedder="e:m") == [("a:1", 1, 2), ("b:2", 1, 2), ("e:own", 2, 2)]


def test_changed_prompts_are_asked_of_the_model_itself() -> None:
    changes = Assertion("metamorphic", {"transforms": ["typo", "case"], "runs": 3})
    assert judged(changes) == [(None, 4, 4)]


def test_a_similarity_needs_one_embedding_from_its_own_model_or_the_runs() -> None:
    assert judged(Assertion("similar", "Hello"), embedder="e:m") == [("e:m", 1, 1)]
    assert judged(Assertion("similar", "Hello", provider="e:own"), embedder="e:m") == [("e:own", 1, 1)]


@pytest.mark.parametrize(("group", "usual"), [(1, 0), (2, 1), (3, 2), (5, 4)])
def test_an_answer_has_its_share_of_the_comparisons(group: int, usual: float) -> None:
    ((_, found, most),) = judged(Assertion("select-best", "The kindest."), group=group)
    assert (found, most) == (usual, 2 * usual)


def test_many_answers_are_compared_in_a_knockout_but_each_with_each_at_the_most() -> None:
    ((_, usual, most),) = judged(Assertion("select-best", "The kindest."), group=10)
    assert usual < 2 < most


def test_a_longer_criterion_costs_more() -> None:
    (short,), (long,) = planned(RUBRIC), planned(Assertion("llm-rubric", "It is polite. " * 50))
    assert short.beside.mid + 100 < long.beside.mid


async def judge(request: Request, _: int) -> Reply:
    if request.model == "judge":
        return Reply('{"reason": "so", "score": 1, "pass": true, "steps": ["look"]}', 1.0, Tokens(5, 5))
    return Reply("Hello", 1.0, Tokens(1, 1))


async def confused(request: Request, call: int) -> Reply:
    return Reply("Hello" if request.model != "judge" else "I cannot say", 1.0, Tokens(1, 1))


@pytest.mark.parametrize("assertion", [RUBRIC, Assertion("g-eval", ["Clear.", "Short."]), Assertion("llm-rubric", "x",
                         provider=("fake:judge", "fake:judge"))])  # fmt: skip
def test_the_engine_makes_as_many_calls_and_never_more_than_the_most(assertion: Assertion) -> None:
    plan = Plan([Card("c", "{{ n }}")], ["fake:m"], [Case({"n": 1}, (assertion,))])
    calls = planned(assertion)
    for provider, number in ((Fake(judge), "usual"), (Fake(confused), "most")):
        (result,), _ = run(plan, provider, judges=("fake:judge",))
        assert len(result.calls) <= sum(call.most for call in calls)
        if number == "usual":
            assert len(result.calls) == sum(call.usual for call in calls)
