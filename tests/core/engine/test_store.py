"""Where answers come from: live, cache, replay, record_new; and answers that are known already."""

from typing import Any

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card, ModelSettings
from promptcard_ext.core.engine import EngineOptions, Mode, execute
from promptcard_ext.core.events import ItemFinished
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import Generation, ItemResult, Outcome
from tests.core.fakes import Fake, cases, plan
from tests.run_async import run_async


class Shelf:
    """A store in a dictionary that remembers which age it was asked for."""

    def __init__(self) -> None:
        self.kept: dict[str, Generation] = {}
        self.ages: set[float | None] = set()
        self.flushed = 0

    def get(self, key: str, max_age_s: float | None = None) -> Generation | None:
        self.ages.add(max_age_s)
        return self.kept.get(key)

    def put(self, key: str, generation: Generation) -> None:
        self.kept[key] = generation

    def flush(self) -> None:
        self.flushed += 1


async def numbered(request: Request, call: int) -> Reply:
    """Answer with the number of the call."""
    return Reply(str(call), 7.0)


def run(what: Plan, provider: Fake, mode: Mode, store: Any = None, **more: Any) -> list[ItemResult]:
    async def main() -> list[ItemResult]:
        events = execute(
            what.prepare(),
            lambda _: provider,
            prices=PriceBook([]),
            options=EngineOptions(mode=mode),
            store=store,
            **more,
        )
        return sorted([e.result async for e in events if isinstance(e, ItemFinished)], key=lambda r: r.ordinal)

    return run_async(main())


def outputs(results: list[ItemResult]) -> list[str | None]:
    return [result.generation.output if result.generation else None for result in results]


@pytest.mark.parametrize(("mode", "calls"), [(Mode.LIVE, 6), (Mode.CACHE, 3), (Mode.RECORD_NEW, 3)])
def test_a_second_run_calls_again_only_when_live(mode: Mode, calls: int) -> None:
    store, provider = Shelf(), Fake(numbered)
    first, second = run(plan(3), provider, mode, store), run(plan(3), provider, mode, store)
    assert len(provider.requests) == calls
    assert (outputs(first) == outputs(second)) == (mode is not Mode.LIVE)
    assert [result.cached for result in second] == [mode is not Mode.LIVE] * 3
    assert store.flushed == 2


def test_a_live_run_leaves_nothing_behind() -> None:
    store = Shelf()
    run(plan(3), Fake(), Mode.LIVE, store)
    assert store.kept == {}


def test_a_replay_makes_no_call_and_says_what_it_lacks() -> None:
    store, provider = Shelf(), Fake(numbered)
    run(plan(2), provider, Mode.RECORD_NEW, store)
    results = run(plan(4, Assertion("not-contains", "x")), provider, Mode.REPLAY, store)
    assert len(provider.requests) == 2
    assert [result.outcome for result in results] == [Outcome.PASS] * 2 + [Outcome.UNSCORED] * 2
    assert results[3].reason == "not_recorded"


def test_a_replay_without_a_store_makes_no_call_either() -> None:
    provider = Fake()
    assert run(plan(1), provider, Mode.REPLAY)[0].reason == "not_recorded"
    assert provider.requests == []


def test_repeats_are_answers_of_their_own_and_stay_so() -> None:
    store, provider = Shelf(), Fake(numbered)
    first = run(plan(1, repeats=4), provider, Mode.CACHE, store)
    assert sorted(outputs(first), key=str) == ["1", "2", "3", "4"]
    assert outputs(run(plan(1, repeats=4), provider, Mode.CACHE, store)) == outputs(first)
    assert len(provider.requests) == 4


def test_only_the_cache_minds_the_age_of_an_answer() -> None:
    for mode, ages in ((Mode.CACHE, {14 * 86_400.0}), (Mode.RECORD_NEW, {None}), (Mode.REPLAY, {None})):
        store = Shelf()
        run(plan(1), Fake(), mode, store)
        assert store.ages == ages


def test_another_setting_is_another_question() -> None:
    store, provider = Shelf(), Fake(numbered)
    for temperature in (0.0, 0.0, 0.5):
        card = Card("c", "{{ n }}", settings=ModelSettings(temperature=temperature))
        run(plan(1, card=card), provider, Mode.CACHE, store)
    assert len(provider.requests) == 2


def test_half_a_character_in_a_prompt_has_an_identity_too() -> None:
    store, provider = Shelf(), Fake(numbered)
    what = Plan([Card("c", "a\ud800 {{ n }}")], ["fake:m"], cases(1))
    assert outputs(run(what, provider, Mode.CACHE, store)) == outputs(run(what, provider, Mode.CACHE, store))


def test_a_stored_answer_is_judged_by_the_time_that_the_provider_took() -> None:
    store, slow = Shelf(), Assertion("latency", threshold=5)
    run(plan(1, slow), Fake(numbered), Mode.CACHE, store)
    (result,) = run(plan(1, slow), Fake(numbered), Mode.CACHE, store)
    assert (result.cached, result.outcome, result.reason) == (True, Outcome.FAIL, "too_slow")


def test_a_failed_call_is_not_stored() -> None:
    async def broken(request: Request, call: int) -> Reply:
        raise ValueError("bug")

    store = Shelf()
    run(plan(1), Fake(broken), Mode.CACHE, store)
    assert store.kept == {}


def test_an_answer_that_is_known_is_judged_and_not_called_for() -> None:
    known = Generation("p", "m", "h", "the old answer", 3.0)
    provider = Fake()
    results = run(
        plan(2, Assertion("contains", "old")), provider, Mode.LIVE, known=lambda item: known if item.case else None
    )
    assert [result.outcome for result in results] == [Outcome.FAIL, Outcome.PASS]
    assert [result.cached for result in results] == [False, True]
    assert results[1].generation == known
    assert len(provider.requests) == 1
