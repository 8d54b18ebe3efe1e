"""Judges inside a run: their calls are counted, stored, recorded and replayed; a run never ends because of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.engine import EngineOptions, Mode, execute
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.events import ItemFinished
from promptcard_ext.core.judges import asking
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import Generation, ItemResult, Outcome, Tokens
from tests.core.fakes import Fake
from tests.run_async import run_async

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
CRITERIA = ["Is kind.", "Is short."]


class Shelf(dict[str, Generation]):
    """A store in memory."""

    def get(self, key: str, max_age_s: float | None = None) -> Generation | None:  # type: ignore[override]
        return super().get(key)

    def put(self, key: str, generation: Generation) -> None:
        self[key] = generation

    def flush(self) -> None:
        pass


class Judge(Fake):
    """A provider that judges by length, and takes no schema unless told that it does."""

    name = endpoint = "judge"

    def __init__(self, schema: bool = True) -> None:
        super().__init__(self.judge)
        self.schema = schema

    async def judge(self, request: Request, _: int) -> Reply:
        if request.settings.response_format is not None and not self.schema:
            raise ProviderError("It refuses the request (400): response_format.", code="provider_refused")
        told = request.messages[0].content
        said: dict[str, Any] = {"reason": "Counted.", "score": 9, "pass": True, "best": "A"}
        if '"steps"' in told and '"score"' not in told:
            said = {"steps": ["Count."]}
        elif '"best"' in told:
            first, second = (request.messages[1].content.index(f"model {name}") for name in ("m1", "m2"))
            said["best"] = "B" if first < second else "A"
        return Reply(json.dumps(said), 1.0, Tokens(100, 10))


def run(
    assertions: Sequence[Assertion],
    judge: Fake | None = None,
    *,
    models: Sequence[str] = ("fake:m1",),
    mode: Mode = Mode.LIVE,
    store: Any = None,
    values: Sequence[int] = (1, 2),
) -> list[ItemResult]:
    class Answers(Fake):
        async def generate(self, request: Request) -> Reply:
            return Reply(f"I am model {request.model}.", 1.0, Tokens(1, 1))

    async def main() -> list[ItemResult]:
        fakes = {"fake": Answers(), "judge": judge or Judge()}
        events = execute(
            Plan([Card("c", "{{ n }}")], models, [Case({"n": n}, tuple(assertions)) for n in values]).prepare(),
            lambda reference: fakes[reference.partition(":")[0]],
            prices=PriceBook([]),
            options=EngineOptions(judges=("judge:j",), mode=mode, backoff_s=0.001),
            store=store,
        )
        found = [event.result async for event in events if isinstance(event, ItemFinished)]
        return sorted(found, key=lambda result: result.ordinal)

    asking._refused.clear()
    return run_async(main())


def test_every_call_of_a_judge_is_in_the_result() -> None:
    one, other = run([Assertion("g-eval", CRITERIA)])
    assert [one.outcome, other.outcome] == [PASS, PASS]
    assert one.verdicts[0].score == 0.9
    assert len(one.calls) == len(other.calls) == 4
    assert {call.purpose for call in one.calls} == {"judge"}


def test_what_was_asked_before_comes_from_the_store_steps_included() -> None:
    shelf, judge = Shelf(), Judge()
    run([Assertion("g-eval", CRITERIA)], judge, mode=Mode.CACHE, store=shelf, values=[1])
    asked = len(judge.requests)
    (again,) = run([Assertion("g-eval", CRITERIA)], judge, mode=Mode.CACHE, store=shelf, values=[1])
    (new,) = run([Assertion("g-eval", CRITERIA)], judge, mode=Mode.CACHE, store=shelf, values=[3])
    assert [call.cached for call in again.calls] == [True] * 4
    assert sum(call.cached for call in new.calls) == 2
    assert (asked, len(judge.requests)) == (4, 6)


def test_a_judge_that_takes_no_schema_is_recorded_and_replayed() -> None:
    shelf, judge = Shelf(), Judge(schema=False)
    live = run([Assertion("llm-rubric", "Is kind.")], judge, mode=Mode.RECORD_NEW, store=shelf)
    # 9 is no score of a rubric, and stays none: each item asks, is refused, asks again, and asks for a repair.
    assert [result.reason for result in live] == ["judge_parse_error"] * 2
    silent = Judge()
    replayed = run([Assertion("llm-rubric", "Is kind.")], silent, mode=Mode.REPLAY, store=shelf)
    assert silent.requests == []
    assert [result.reason for result in replayed] == ["judge_parse_error"] * 2
    assert all(call.cached for result in replayed for call in result.calls)


def test_a_replay_without_the_judges_record_is_unscored() -> None:
    shelf = Shelf()
    run([Assertion("contains", "model")], mode=Mode.RECORD_NEW, store=shelf)
    found = run([Assertion("not-llm-rubric", "Is kind.")], Judge(), mode=Mode.REPLAY, store=shelf)
    assert [(result.outcome, result.reason) for result in found] == [(UNSCORED, "not_recorded")] * 2


def test_models_compete_and_the_comparison_is_paid_once() -> None:
    found = run([Assertion("select-best", "The later one."), Assertion("max-score"), Assertion("contains", "model")],
                models=["fake:m1", "fake:m2"], values=[1])  # fmt: skip
    assert [result.verdicts[0].outcome for result in found] == [FAIL, PASS]
    assert [result.verdicts[1].outcome for result in found] == [PASS, PASS]
    assert [len(result.calls) for result in found] == [2, 0]


def test_a_run_goes_on_without_its_judge() -> None:
    async def down(request: Request, call: int) -> Reply:
        raise ProviderError("It is down.", code="provider_auth")

    judged = [Assertion("not-factuality", "So."), Assertion("contains", "model"), Assertion("select-best", "Any.")]
    found = run(judged, Fake(down), models=["fake:m1", "fake:m2"])
    assert [[verdict.reason for verdict in result.verdicts] for result in found] == [
        ["provider_auth", None, "provider_auth"]
    ] * 4
    assert {result.outcome for result in found} == {ERROR}
