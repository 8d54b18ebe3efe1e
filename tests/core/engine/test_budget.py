"""A run never spends more than it may."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptcard_ext.core.budget import SpendLimit
from promptcard_ext.core.card import Card, ModelSettings
from promptcard_ext.core.engine import EngineOptions, execute
from promptcard_ext.core.errors import ProviderError, RunError
from promptcard_ext.core.events import ItemFinished, RunFinished
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.pricing import Price, PriceBook
from promptcard_ext.core.results import Outcome, Tokens
from tests.core.fakes import Fake, cases
from tests.run_async import run_async

BOOK = PriceBook([Price("priced", "m", Decimal(0), Decimal(1_000_000), date(2020, 1, 1), "test")])  # $1 a token
CARD = Card("c", "{{ n }}", settings=ModelSettings(max_tokens=5))


class Priced(Fake):
    price_key = "priced"


def spend(budget: SpendLimit, provider: Fake, number: int = 10, **options: Any) -> list[Any]:
    async def main() -> list[Any]:
        events = execute(
            Plan([CARD], ["fake:m"], cases(number)).prepare(),
            lambda _: provider,
            prices=BOOK,
            options=EngineOptions(**{"backoff_s": 0.001} | options),
            budget=budget,
        )
        async with asyncio.timeout(10):
            return [event async for event in events]

    return run_async(main())


async def two_tokens(request: Request, call: int) -> Reply:
    await asyncio.sleep(0)
    return Reply("x", 1.0, Tokens(3, 2))


def test_what_is_left_is_used_and_the_rest_is_unscored() -> None:
    budget = SpendLimit("9")
    events = spend(budget, Priced(two_tokens), concurrency=1)
    reasons = [event.result.reason for event in events if isinstance(event, ItemFinished)]
    # A call may cost 5 and costs 2: after three there are 3 left, which is not enough to start another.
    assert reasons.count("budget_exhausted") == 7
    assert budget.spent_usd == 6
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert (last.counts.unscored, last.counts.spent_usd, last.cancelled) == (10, Decimal(6), False)


def test_calls_wait_for_what_others_give_back_before_they_are_refused() -> None:
    provider = Priced(two_tokens)
    events = spend(SpendLimit("20"), provider, concurrency=10)
    outcomes = [event.result.reason for event in events if isinstance(event, ItemFinished)]
    # Only four reservations fit at once; all but the last few calls are made all the same.
    assert outcomes.count("budget_exhausted") == 2
    assert provider.peak <= 4


def test_a_budget_without_a_price_does_not_begin() -> None:
    provider = Fake()
    with pytest.raises(RunError) as caught:
        spend(SpendLimit("1"), provider)
    assert (caught.value.code, provider.requests) == ("budget_unpriced", [])


@pytest.mark.parametrize(
    ("error", "spent"),
    [
        (ProviderError("refused", code="provider_429", retryable=True), 0),
        (ProviderError("cut off", code="broken_reply", retryable=False), 5),
        (ProviderError("no connection", code="provider_unreachable", sent=False), 0),
    ],
)
def test_a_call_that_may_have_been_paid_for_counts_as_paid(error: ProviderError, spent: int) -> None:
    async def fail(request: Request, call: int) -> Reply:
        raise error

    budget = SpendLimit("100")
    spend(budget, Priced(fail), number=1, max_calls=1)
    assert (budget.spent_usd, budget.reserved_usd) == (spent, 0)


@given(
    limit=st.integers(0, 60),
    costs=st.lists(st.sampled_from([0, 1, 4, 5, "429", "broken"]), min_size=1, max_size=25),
    concurrency=st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_nothing_is_overspent_whatever_the_calls_cost(limit: int, costs: list[Any], concurrency: int) -> None:
    async def behave(request: Request, call: int) -> Reply:
        await asyncio.sleep(0)
        cost = costs[int(request.messages[-1].content)]
        if cost == "429":
            raise ProviderError("later", code="provider_429", retryable=True)
        if cost == "broken":
            raise ProviderError("cut off", code="broken_reply", retryable=True)
        return Reply("x", 1.0, Tokens(1, cost))

    budget = SpendLimit(limit)
    events = spend(budget, Priced(behave), number=len(costs), concurrency=concurrency, max_calls=2)
    results = [event.result for event in events if isinstance(event, ItemFinished)]
    assert len(results) == len(costs)
    assert budget.spent_usd <= limit
    assert budget.reserved_usd == 0
    assert all(result.outcome in (Outcome.UNSCORED, Outcome.ERROR) for result in results)
