"""Old results at other prices and on other models."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from promptcard_ext.core.pricing import Price, PriceBook
from promptcard_ext.core.recost import NO_CACHE, OTHER_TOKENIZER, REASONING, recost, total, what_if
from promptcard_ext.core.results import Call, Generation, ItemResult, Outcome, Tokens

THEN = Price("openai", "m", Decimal(1), Decimal(2), date(2025, 1, 1), "then", date(2026, 1, 1), Decimal("0.5"))
NOW = Price("openai", "m", Decimal(2), Decimal(4), date(2026, 1, 1), "now")
OTHER = Price("openai", "z", Decimal(10), Decimal(20), date(2025, 1, 1), "other", None, Decimal(1))
LOCAL = Price("openai@localhost:8000", "m", Decimal(100), Decimal(100), date(2025, 1, 1), "own server")
BOOK = PriceBook([THEN, NOW, OTHER, LOCAL])
DAY = date(2026, 6, 1)


def generation(tokens: Tokens, price: Price | None = THEN, provider: str = "openai") -> Generation:
    cost = price.cost_of(tokens) if price else None
    price_id = price.id if price and cost is not None else None
    return Generation(provider, "m", "0" * 64, "x", 1.0, tokens, cost_usd=cost, price_id=price_id)


def result(ordinal: int, answer: Generation | None, *calls: Call) -> ItemResult:
    return ItemResult(ordinal, "c", 1, "c@1", "openai:m", "case", "u", 0, Outcome.PASS, generation=answer, calls=calls)


MILLION = Tokens(1_000_000, 1_000_000)


def test_results_get_the_price_of_the_day() -> None:
    results = [result(0, generation(MILLION)), result(1, generation(Tokens(1_000_000, None)))]
    assert [(one.old_usd, one.new_usd) for one in recost(results, BOOK, DAY)] == [(3, 6), (None, None)]
    assert [one.new_usd for one in recost(results, BOOK, date(2025, 6, 1))] == [3, None]
    assert [one.new_usd for one in recost(results, BOOK, date(2024, 6, 1))] == [None, None]


def test_judges_are_priced_again_too() -> None:
    judge = Call("judge", generation(MILLION))
    (one,) = recost([result(0, generation(MILLION), judge)], BOOK, DAY)
    assert (one.old_usd, one.new_usd) == (6, 12)
    (one,) = recost([result(0, generation(MILLION), Call("judge", generation(MILLION, None)))], BOOK, DAY)
    assert (one.old_usd, one.new_usd) == (None, None)


def test_a_call_without_a_price_then_needs_to_be_told_whose_it_was() -> None:
    results = [result(0, generation(MILLION, None))]
    assert [one.new_usd for one in recost(results, BOOK, DAY)] == [None]
    assert [one.new_usd for one in recost(results, BOOK, DAY, keys={"openai": "openai"})] == [6]
    assert [one.new_usd for one in recost(results, BOOK, DAY, keys={"openai": "openai@localhost:8000"})] == [200]


def test_a_call_of_an_endpoint_stays_one_of_that_endpoint() -> None:
    results = [result(0, generation(MILLION, LOCAL))]
    assert [one.new_usd for one in recost(results, BOOK, DAY, keys={"openai": "openai"})] == [200]


def test_totals_say_how_many_are_priced_and_compare_like_with_like() -> None:
    results = [
        result(0, generation(MILLION)),
        result(1, generation(MILLION, None, "other")),
        result(2, None),
        result(3, generation(Tokens(1_000_000, 0, cached=1_000_000))),
    ]
    change = total(recost(results, BOOK, DAY, keys={"other": "openai"}))
    assert (change.items, change.priced_before, change.priced_now, change.both) == (4, 2, 3, 2)
    assert (change.old_usd, change.new_usd) == (Decimal("3.5"), 14)
    assert (change.old_of_both_usd, change.new_of_both_usd) == (Decimal("3.5"), 8)


def test_results_are_taken_one_at_a_time() -> None:
    taken: list[int] = []

    def source() -> Iterator[ItemResult]:
        for ordinal in range(3):
            taken.append(ordinal)
            yield result(ordinal, generation(MILLION))

    found = recost(source(), BOOK, DAY)
    next(found)
    assert taken == [0]


def test_another_model_gets_the_answers_and_the_judges_stay() -> None:
    judge = Call("judge", generation(MILLION))
    variant = Call("variant", generation(MILLION))
    change = what_if([result(0, generation(MILLION), judge, variant)], "openai:z", BOOK, DAY)
    assert (change.old_usd, change.new_usd) == (9, 30 + 30 + 3)
    assert change.caveats == (OTHER_TOKENIZER, NO_CACHE)


def test_another_models_cache_is_not_assumed() -> None:
    cached = result(0, generation(Tokens(1_000_000, 0, cached=1_000_000)))
    assert what_if([cached], "openai:z", BOOK, DAY).new_usd == 10


def test_hidden_reasoning_is_said() -> None:
    thought = result(0, generation(Tokens(0, 1_000_000, reasoning=900_000)))
    change = what_if([thought], "openai:z", BOOK, DAY)
    assert change.new_usd == 20
    assert REASONING in change.caveats


def test_a_model_without_a_price_has_no_cost_and_not_none() -> None:
    change = what_if([result(0, generation(MILLION))], "openai:unheard", BOOK, DAY)
    assert (change.items, change.priced_before, change.priced_now, change.new_usd) == (1, 1, 0, 0)


def test_another_model_may_be_one_of_an_endpoint() -> None:
    change = what_if([result(0, generation(MILLION))], "other:m", BOOK, DAY, endpoint="http://localhost:8000/v1")
    assert change.new_usd == 200
