"""Assertions that make further calls, and those that compare answers."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import Assertion, base
from promptcard_ext.core.assertions.base import Contender, Contested, Finding, Graded
from promptcard_ext.core.card import Card, Message, ModelSettings
from promptcard_ext.core.engine import Control, EngineOptions, execute
from promptcard_ext.core.errors import ProviderError, RunError
from promptcard_ext.core.events import ItemFinished
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.ports import Asker, Embeddings, Reply, Request
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import ItemResult, Outcome, Tokens
from tests.core.fakes import Fake, cases
from tests.run_async import run_async

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED


@pytest.fixture
def new_kind(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Register a kind for one test."""

    def add(name: str, made: Any, *needs: str) -> None:
        monkeypatch.setitem(base._COMPILERS, name, lambda _: made)
        monkeypatch.setitem(base._NEEDS, name, frozenset(needs))
        monkeypatch.setattr(base, "_CACHE", {})

    return add


async def yes_or_no(answer: Answer, asker: Asker) -> Finding:
    """Pass what the judge calls good."""
    judgement = await asker.ask(asker.judges[0], [Message("user", f"Is it good: {answer.output}")])
    return Finding(PASS if judgement.output == "good" else FAIL, "bad")


class Judge(Fake):
    name = endpoint = "judge"

    async def embed(self, model: str, texts: Sequence[str]) -> Embeddings:
        return Embeddings(tuple((float(len(text)),) for text in texts), 1.0, Tokens(3, 0))


def run(
    assertions: Sequence[Assertion],
    judge: Fake,
    *,
    models: Sequence[str] = ("fake:m",),
    number: int = 1,
    repeats: int = 1,
    control: Control | None = None,
    answers: Fake | None = None,
    cards: Sequence[Card] = (Card("c", "{{ n }}"),),
    **options: Any,
) -> list[ItemResult]:
    async def main() -> list[ItemResult]:
        fake = answers or Fake()
        events = execute(
            Plan(cards, models, cases(number, *assertions), repeats).prepare(),
            lambda reference: judge if reference.startswith("judge") else fake,
            prices=PriceBook([]),
            options=EngineOptions(**{"judges": ("judge:j",), "backoff_s": 0.001} | options),
            control=control,
        )
        async with asyncio.timeout(10):
            return sorted([e.result async for e in events if isinstance(e, ItemFinished)], key=lambda r: r.ordinal)

    return run_async(main())


async def good(request: Request, call: int) -> Reply:
    return Reply("good", 1.0, Tokens(5, 1))


class TestJudges:
    @pytest.fixture(autouse=True)
    def _kind(self, new_kind: Callable[..., None]) -> None:
        new_kind("good", Graded(yes_or_no), "judge")

    def test_their_calls_are_part_of_the_result(self) -> None:
        (result,) = run([Assertion("good")], Judge(good))
        assert (result.outcome, len(result.calls)) == (PASS, 1)
        call = result.calls[0]
        assert (call.purpose, call.generation.model, call.generation.tokens.input) == ("judge", "j", 5)

    def test_an_outage_is_an_error_also_under_negation(self) -> None:
        async def away(request: Request, call: int) -> Reply:
            raise ProviderError("away", code="provider_5xx", retryable=True)

        judge = Judge(away)
        for kind in ("good", "not-good"):
            (result,) = run([Assertion(kind)], judge, max_calls=3)
            assert (result.outcome, result.reason) == (ERROR, "provider_5xx_exhausted")
            assert result.generation is not None
        assert len(judge.requests) == 6

    def test_a_judge_that_crashes_spoils_one_verdict_and_not_the_run(self) -> None:
        async def bug(request: Request, call: int) -> Reply:
            raise ZeroDivisionError("bug")

        results = run([Assertion("good"), Assertion("contains", "1")], Judge(bug), number=2)
        assert [result.outcome for result in results] == [FAIL, ERROR]
        assert results[1].reason == "assertion_crashed"

    def test_a_run_without_the_judge_it_needs_does_not_begin(self) -> None:
        fake = Fake()
        with pytest.raises(RunError) as caught:
            run([Assertion("good")], Judge(good), judges=(), answers=fake)
        assert (caught.value.code, fake.requests) == ("no_judge", [])
        assert run([Assertion("good", provider="judge:own")], Judge(good), judges=("judge:j",))

    def test_the_same_question_is_asked_once_when_answers_are_kept(self) -> None:
        from promptcard_ext.core.engine import Mode
        from tests.core.engine.test_store import Shelf

        judge, store = Judge(good), Shelf()

        async def same(request: Request, call: int) -> Reply:
            return Reply("always", 1.0)

        async def main() -> list[ItemResult]:
            events = execute(
                Plan([Card("c", "{{ n }}")], ["fake:m"], cases(1, Assertion("good")), 3).prepare(),
                lambda reference: judge if reference.startswith("judge") else Fake(same),
                prices=PriceBook([]),
                options=EngineOptions(judges=("judge:j",), mode=Mode.CACHE, concurrency=1),
                store=store,
            )
            return [e.result async for e in events if isinstance(e, ItemFinished)]

        results = run_async(main())
        assert len(judge.requests) == 1
        assert sorted(result.calls[0].cached for result in results) == [False, True, True]

    def test_an_answer_is_kept_when_the_run_is_stopped_while_it_is_judged(self) -> None:
        control = Control()

        async def stopper(request: Request, call: int) -> Reply:
            control.cancel()
            await asyncio.Event().wait()
            raise AssertionError

        (result,) = run([Assertion("contains", "0"), Assertion("good")], Judge(stopper), control=control)
        assert (result.outcome, result.reason) == (UNSCORED, "interrupted")
        assert result.generation is not None
        assert [verdict.outcome for verdict in result.verdicts] == [PASS, UNSCORED]

    def test_an_answer_is_judged_when_the_run_is_to_finish_meanwhile(self) -> None:
        control = Control()

        async def slow(request: Request, call: int) -> Reply:
            control.finish(60)
            await asyncio.sleep(0.05)  # by then the order was carried out
            return await good(request, call)

        asked = Fake()
        checks = [Assertion("good"), Assertion("good", "again")]
        results = run(checks, Judge(slow), control=control, number=20, concurrency=1, answers=asked)
        assert 0 < len(results) == len(asked.requests) < 20
        assert {verdict.outcome for result in results for verdict in result.verdicts} == {PASS}


def test_vectors_are_asked_for_and_not_kept_in_the_result(new_kind: Callable[..., None]) -> None:
    async def long_enough(answer: Answer, asker: Asker) -> Finding:
        (vector,) = await asker.embed(asker.embedder or "", [answer.output or ""])
        return Finding(PASS if vector[0] >= 1 else FAIL)

    new_kind("long", Graded(long_enough), "embedder")
    (result,) = run([Assertion("long")], Judge(), embedder="judge:e")
    assert result.outcome is PASS
    assert (result.calls[0].purpose, result.calls[0].generation.output) == ("embedding", None)
    with pytest.raises(RunError, match="embedding"):
        run([Assertion("long")], Judge())


def test_a_provider_without_embeddings_is_an_error_that_says_so(new_kind: Callable[..., None]) -> None:
    async def embed(answer: Answer, asker: Asker) -> Finding:
        await asker.embed("fake:e", ["x"])
        return Finding(PASS)

    new_kind("long", Graded(embed))
    (result,) = run([Assertion("long")], Judge())
    assert (result.outcome, result.reason) == (ERROR, "no_embeddings")


def test_a_changed_prompt_is_rendered_with_the_same_card(new_kind: Callable[..., None]) -> None:
    async def changed(answer: Answer, asker: Asker) -> Finding:
        other = await asker.ask(asker.model, answer.variant({"n": 7}), ModelSettings(), purpose="variant")
        return Finding(PASS if (answer.output, other.output) == ("0", "7") else FAIL)

    new_kind("changed", Graded(changed), "variables")
    (result,) = run([Assertion("changed")], Judge())
    assert (result.outcome, result.calls[0].purpose) == (PASS, "variant")


class TestContests:
    @pytest.fixture(autouse=True)
    def _kind(self, new_kind: Callable[..., None]) -> None:
        self.seen: list[list[str | None]] = []

        async def longest(contenders: Sequence[Contender], asker: Asker) -> list[Finding]:
            texts = [one.answer.output if one.answer else None for one in contenders]
            self.seen.append(texts)
            best = max(len(text or "") for text in texts)
            if asker.judges:
                await asker.ask(asker.judges[0], [Message("user", "?")])
            return [Finding(PASS if len(text or "") == best else FAIL, "shorter") for text in texts]

        new_kind("longest", Contested(longest))

    CARDS = (Card("a", "{{ n }}"), Card("b", "long {{ n }}"))

    def test_all_versions_and_models_compete_case_by_case(self) -> None:
        checks = [Assertion("not-contains", "zzz"), Assertion("longest"), Assertion("contains", "0")]
        results = run(checks, Judge(good), cards=self.CARDS, models=("fake:m", "fake:o"), number=20, repeats=2, claim=3)
        assert [result.ordinal for result in results] == list(range(160))
        assert len(self.seen) == 40
        assert all(len(texts) == 4 for texts in self.seen)
        for result in results:
            assert [verdict.type for verdict in result.verdicts] == ["not-contains", "longest", "contains"]
            assert result.verdicts[1].outcome is (PASS if result.card == "b" else FAIL)
        assert sum(len(result.calls) for result in results) == 40

    def test_one_whose_call_failed_does_not_compete_and_stays_an_error(self) -> None:
        async def half(request: Request, call: int) -> Reply:
            if request.messages[-1].content.startswith("long"):
                raise ProviderError("no", code="provider_refused")
            return Reply("x", 1.0)

        results = run([Assertion("longest")], Judge(good), cards=self.CARDS, answers=Fake(half))
        assert [(result.outcome, result.reason) for result in results] == [(PASS, None), (ERROR, "provider_refused")]
        assert self.seen == [["x", None]]

    def test_answers_whose_rivals_never_came_are_kept_and_not_compared(self) -> None:
        control = Control()

        async def behave(request: Request, call: int) -> Reply:
            if request.messages[-1].content.startswith("long"):
                control.cancel()
                await asyncio.Event().wait()
            return Reply("x", 1.0)

        (result,) = run([Assertion("longest")], Judge(good), cards=self.CARDS, answers=Fake(behave), control=control)
        assert (result.outcome, result.reason) == (UNSCORED, "group_incomplete")
        assert result.generation is not None

    def test_answers_are_kept_when_the_run_is_stopped_while_they_are_compared(self) -> None:
        control = Control()

        async def stopper(request: Request, call: int) -> Reply:
            control.cancel()
            await asyncio.Event().wait()
            raise AssertionError

        results = run([Assertion("longest")], Judge(stopper), cards=self.CARDS, control=control)
        assert [result.reason for result in results] == ["group_incomplete"] * 2

    def test_a_broken_comparison_is_an_error_for_everybody(self) -> None:
        async def away(request: Request, call: int) -> Reply:
            raise ProviderError("away", code="provider_auth")

        results = run([Assertion("longest")], Judge(away), cards=self.CARDS)
        assert [(result.outcome, result.reason) for result in results] == [(ERROR, "provider_auth")] * 2
