"""A spending limit: what it grants, what it refuses, and that the books are right afterwards."""

from __future__ import annotations

import asyncio
import threading
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from promptcard_ext.core.budget import UNLIMITED_OUTPUT, SpendLimit, upper_cost
from promptcard_ext.core.card import Card, Message, ModelSettings
from promptcard_ext.core.engine import EngineOptions, execute
from promptcard_ext.core.errors import RunError
from promptcard_ext.core.events import ItemFinished, RunEvent
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.pricing import Price, PriceBook, Tier
from promptcard_ext.core.results import Outcome, Tokens
from promptcard_ext.core.token_range import most_prompt_tokens
from tests.core.fakes import Fake, plan
from tests.run_async import run_async

AMOUNTS = st.decimals(0, 2, places=6)


class Books(RuleBasedStateMachine):
    """Any order of reserving and settling, beside a second set of books."""

    open_reservations = Bundle("open_reservations")

    def __init__(self) -> None:
        super().__init__()
        self.limit = SpendLimit(Decimal(5))
        self.spent = self.held = Decimal(0)

    @rule(target=open_reservations, usd=AMOUNTS)
    def reserve(self, usd: Decimal) -> Decimal | None:
        fits = usd == 0 or self.spent + self.held + usd <= 5
        assert run_async(self.limit.reserve(usd)) is fits
        if not fits:
            return None
        self.held += usd
        assert usd == 0 or self.limit.spent_usd + self.limit.reserved_usd <= self.limit.limit_usd
        return usd

    @rule(reserved=consumes(open_reservations), spent=AMOUNTS)
    def settle(self, reserved: Decimal | None, spent: Decimal) -> None:
        if reserved is not None:
            run_async(self.limit.settle(reserved, spent))
            self.held -= reserved
            self.spent += spent

    @invariant()
    def books_agree(self) -> None:
        assert (self.limit.spent_usd, self.limit.reserved_usd) == (self.spent, self.held)
        assert self.limit.left_usd == max(0, 5 - self.spent - self.held)


TestBooks = Books.TestCase


def test_threads_together_never_get_more_than_there_is() -> None:
    limit, granted = SpendLimit("1.00"), []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(100):
            if run_async(limit.reserve(Decimal("0.01"))):
                granted.append(1)
                run_async(limit.settle(Decimal("0.01"), Decimal("0.005")))
                assert limit.spent_usd + limit.reserved_usd <= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert limit.reserved_usd == 0
    assert limit.spent_usd == len(granted) * Decimal("0.005") <= 1
    assert limit.left_usd < Decimal("0.01")


def test_what_costs_more_than_was_set_aside_is_recorded_and_nothing_more_is_granted() -> None:
    limit = SpendLimit(1)
    assert run_async(limit.reserve(Decimal(1)))
    run_async(limit.settle(Decimal(1), Decimal("1.5")))
    assert (limit.spent_usd, limit.left_usd) == (Decimal("1.5"), 0)
    assert not run_async(limit.reserve(Decimal("0.000001")))
    assert run_async(limit.reserve(Decimal(0)))


def test_a_call_that_was_not_made_gives_its_money_back() -> None:
    limit = SpendLimit(1)
    run_async(limit.reserve(Decimal(1)))
    run_async(limit.settle(Decimal(1), Decimal(0)))
    assert (limit.spent_usd, limit.left_usd) == (0, 1)


def test_earlier_spending_counts() -> None:
    limit = SpendLimit("1.00", spent_usd="0.90")
    assert not run_async(limit.reserve(Decimal("0.11")))
    assert run_async(limit.reserve(Decimal("0.10")))


def test_a_reservation_is_settled_once() -> None:
    limit = SpendLimit(1)
    run_async(limit.reserve(Decimal("0.50")))
    run_async(limit.settle(Decimal("0.5"), Decimal("0.1")))
    with pytest.raises(ValueError, match="settled before"):
        run_async(limit.settle(Decimal("0.5"), Decimal("0.1")))
    assert (limit.spent_usd, limit.reserved_usd) == (Decimal("0.1"), 0)


@pytest.mark.parametrize("usd", ["-0.01", "NaN", "Infinity"])
def test_only_amounts_are_moved(usd: str) -> None:
    limit = SpendLimit(1)
    with pytest.raises(ValueError, match="amount"):
        run_async(limit.reserve(Decimal(usd)))
    run_async(limit.reserve(Decimal(1)))
    with pytest.raises(ValueError, match="amount"):
        run_async(limit.settle(Decimal(1), Decimal(usd)))
    assert limit.reserved_usd == 1


@pytest.mark.parametrize("limit", [-1, "-0.5", "much", float("nan"), "Infinity", ""])
def test_a_limit_that_is_no_amount_is_refused(limit: float | str) -> None:
    with pytest.raises(RunError, match="0 or more") as refused:
        SpendLimit(limit)
    assert refused.value.code == "budget_invalid"
    with pytest.raises(RunError, match="earlier"):
        SpendLimit(1, limit)


def test_a_float_means_what_it_says() -> None:
    assert SpendLimit(0.1).limit_usd == Decimal("0.1")


# -- the reservation of a call ---------------------------------------------------------------------------------------

PRICE = Price(
    "p", "m", Decimal(1), Decimal(10), date(2025, 1, 1), "test", cache_write_per_mtok=Decimal("1.25"),
    tiers=(Tier(1000, Decimal(2), Decimal(15)),),
)  # fmt: skip


@given(st.text(max_size=2000), st.integers(1, 5000), st.fractions(0, 1), st.fractions(0, 1))
def test_a_call_within_its_limits_never_costs_more_than_was_set_aside(
    text: str, max_tokens: int, read: float, written: float
) -> None:
    # One token per byte and no more than that is what a tokenizer of bytes can do; most texts have far fewer.
    words = [Message("user", text)]
    tokens_in = int(most_prompt_tokens(words) * read)
    cost = PRICE.cost_of(Tokens(tokens_in, max_tokens, cache_write=int(tokens_in * written)))
    assert cost is not None
    assert cost <= upper_cost(PRICE, words, ModelSettings(max_tokens=max_tokens))


def test_without_a_limit_an_assumed_length_is_set_aside() -> None:
    hello = [Message("user", "Hello")]
    assert upper_cost(PRICE, hello, ModelSettings()) == upper_cost(
        PRICE, hello, ModelSettings(max_tokens=UNLIMITED_OUTPUT)
    )


def test_a_price_per_call_is_set_aside_too() -> None:
    per_call = Price("p", "m", Decimal(0), Decimal(0), date(2025, 1, 1), "test", per_call=Decimal("0.02"))
    assert upper_cost(per_call, [Message("user", "Hello")], ModelSettings()) == Decimal("0.02")


# -- a run -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 7, 64])
def test_a_run_never_spends_more_than_its_budget(concurrency: int) -> None:
    async def answer(request: Request, _: int) -> Reply:
        await asyncio.sleep(0)
        return Reply("x", 1.0, Tokens(5, 50))

    provider = Fake(answer)
    provider.price_key = "p"
    budget = SpendLimit("0.02")
    card = Card("c", "{{ n }}", settings=ModelSettings(max_tokens=50))
    events = run_async(_run(plan(200, card=card), provider, budget, concurrency))
    results = [event.result for event in events if isinstance(event, ItemFinished)]
    paid = [result for result in results if result.generation is not None]
    refused = [result for result in results if result.generation is None]
    # A call costs 505 millionths, and at most a few more are set aside for it.
    assert len(paid) == 39
    assert {(result.outcome, result.reason) for result in refused} == {(Outcome.UNSCORED, "budget_exhausted")}
    assert budget.spent_usd == sum(result.spent_usd for result in results) == 39 * Decimal("0.000505")
    assert (budget.reserved_usd, len(provider.requests)) == (0, 39)


async def _run(what: Plan, provider: Fake, budget: SpendLimit, concurrency: int) -> list[RunEvent]:
    options = EngineOptions(concurrency=concurrency)
    book = PriceBook([PRICE])
    running = execute(what.prepare(), lambda _: provider, prices=book, options=options, budget=budget)
    return [event async for event in running]
