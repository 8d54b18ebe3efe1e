"""Prices: dated, exact, and none for what is not known."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.pricing import Price, PriceBook, Tier, shipped_prices
from promptcard_ext.core.results import Tokens


def price(model: str = "m", start: date = date(2025, 1, 1), end: date | None = None, **more: Decimal) -> Price:
    rates = {"input_per_mtok": Decimal(1), "output_per_mtok": Decimal(2)} | more
    return Price("p", model, rates.pop("input_per_mtok"), rates.pop("output_per_mtok"), start, "test", end, **rates)


RATES = st.decimals(0, 1000, places=4)
TOKENS = st.integers(0, 2**31 - 1)


@given(RATES, RATES, st.none() | RATES, TOKENS, TOKENS, TOKENS)
def test_a_cost_is_exact(
    fresh: Decimal, out: Decimal, cached: Decimal | None, given_in: int, hit: int, made: int
) -> None:
    hit = min(hit, given_in)
    row = Price("p", "m", fresh, out, date(2025, 1, 1), "test", None, cached)
    wanted = Fraction(given_in - hit) * Fraction(fresh) + Fraction(hit) * Fraction(fresh if cached is None else cached)
    wanted = (wanted + made * Fraction(out)) / 1_000_000
    got = row.cost(given_in, made, hit)
    assert isinstance(got, Decimal)
    assert Fraction(got) == wanted


def test_what_is_not_known_has_no_price() -> None:
    book = PriceBook([price()])
    assert book.find("p", "other") is None
    assert book.find("q", "m") is None
    assert book.find("", "m") is None


@pytest.mark.parametrize(
    ("model", "found"),
    [("m", "m"), ("m-2026-01-31", "m"), ("m-20260131", "m"), ("m-mini", "m-mini"), ("m-mini-2026-01-31", "m-mini"),
     ("m-2x", None), ("m-2", None), ("m-2026-0131", None), ("m2", None), ("mm", None), ("M", None)],
)  # fmt: skip
def test_a_dated_snapshot_costs_what_its_model_costs(model: str, found: str | None) -> None:
    row = PriceBook([price("m"), price("m-mini")]).find("p", model, date(2026, 2, 1))
    assert (row.model if row else None) == found


def test_a_price_holds_from_its_day_to_the_day_before_its_end() -> None:
    old, new = price(end=date(2025, 6, 1)), price(start=date(2025, 6, 1), input_per_mtok=Decimal(3))
    book = PriceBook([new, old])
    assert book.find("p", "m", date(2024, 12, 31)) is None
    assert book.find("p", "m", date(2025, 1, 1)) is old
    assert book.find("p", "m", date(2025, 5, 31)) is old
    assert book.find("p", "m", date(2025, 6, 1)) is new


def test_a_price_for_every_model_gives_way_to_one_of_its_own_and_has_its_dates() -> None:
    every, one = price("*"), price("m")
    book = PriceBook([every, one])
    assert book.find("p", "m", date(2026, 1, 1)) is one
    assert book.find("p", "x", date(2026, 1, 1)) is every
    assert book.find("p", "x", date(2024, 1, 1)) is None


def test_ids_are_the_same_everywhere_and_of_one_price() -> None:
    assert price().id == price(input_per_mtok=Decimal(9)).id == "9115c867-facc-5ed6-b164-802d8b2f03fa"
    assert len({price().id, price("n").id, price(start=date(2025, 2, 1)).id}) == 3


def test_every_shipped_price_has_a_source_and_makes_sense() -> None:
    rows = list(shipped_prices())
    assert rows
    for row in rows:
        assert row.source
        assert row.as_of is not None
        assert row.valid_from <= row.as_of
        assert row.cached_input_per_mtok is None or row.cached_input_per_mtok <= row.input_per_mtok
    assert len({row.id for row in rows}) == len(rows)
    found = shipped_prices().find("openai", "gpt-4o-mini-2024-07-18", date(2026, 1, 1))
    assert found is not None
    assert found.cost(1_000_000, 1_000_000) == Decimal("0.75")


def test_the_ids_of_shipped_prices_stay_what_they_were() -> None:
    ids = {f"{row.provider}:{row.model}": row.id for row in shipped_prices()}
    assert {name: ids[name] for name in SHIPPED_FIRST} == SHIPPED_FIRST


SHIPPED_FIRST = {
    "openai:gpt-4o": "5b7e3b39-a6f7-5c95-97cd-0b74d731f750",
    "openai:gpt-4o-mini": "055476ce-59af-588b-b776-e326cc9bc960",
    "openai:gpt-4.1": "46d79b66-bc11-5a4e-8602-22f06116482b",
    "openai:gpt-4.1-mini": "f848f22c-aa4f-5862-a560-aad3269cca94",
    "openai:gpt-4.1-nano": "619ddf13-1f93-5e7f-9b33-b853b1ca5f36",
    "ollama:*": "d525ffa1-1931-533f-8a8c-d011a1355a4a",
    "simulated:steady": "4f82d9e4-2789-5c50-9805-0f41aeafe444",
}


# -- kinds of tokens -------------------------------------------------------------------------------------------------


@given(
    st.lists(RATES, min_size=5, max_size=5), RATES, TOKENS, TOKENS, st.fractions(0, 1), st.fractions(0, 1),
    st.fractions(0, 1),
)  # fmt: skip
def test_every_kind_of_token_has_its_own_price_and_the_sum_is_exact(
    rates: list[Decimal], per_call: Decimal, given_in: int, made: int, hit: Fraction, write: Fraction, think: Fraction
) -> None:
    fresh, cached, written, out, reasoned = rates
    row = Price(
        "p", "m", fresh, out, date(2025, 1, 1), "test", cached_input_per_mtok=cached, cache_write_per_mtok=written,
        reasoning_per_mtok=reasoned, per_call=per_call,
    )  # fmt: skip
    hits = int(given_in * hit)
    writes, thoughts = int((given_in - hits) * write), int(made * think)
    got = row.cost_of(Tokens(given_in, made, hits, thoughts, writes))
    wanted = (given_in - hits - writes) * Fraction(fresh) + hits * Fraction(cached) + writes * Fraction(written)
    wanted += (made - thoughts) * Fraction(out) + thoughts * Fraction(reasoned)
    assert got is not None
    assert Fraction(got) == wanted / 1_000_000 + Fraction(per_call)
    assert got <= row.most(given_in, made)


def test_a_kind_without_a_price_costs_what_it_is_part_of() -> None:
    row = price()
    assert row.cost_of(Tokens(1000, 1000, 500, 500, 250)) == row.cost_of(Tokens(1000, 1000)) == Decimal("0.003")


@pytest.mark.parametrize(
    "tokens",
    [Tokens(), Tokens(1, None), Tokens(None, 1), Tokens(5, 1, cached=6), Tokens(5, 1, cached=3, cache_write=3),
     Tokens(5, 1, reasoning=2), Tokens(-1, 1), Tokens(5, 1, cached=-1), Tokens(5, 1, reasoning=-1)],
)  # fmt: skip
def test_missing_and_contradictory_counts_have_no_cost(tokens: Tokens) -> None:
    assert price().cost_of(tokens) is None


def test_contradictory_counts_are_refused_where_they_are_given_one_by_one() -> None:
    with pytest.raises(ValueError, match="cannot be priced"):
        price().cost(5, 1, 6)


def test_what_costs_nothing_needs_no_count() -> None:
    free = price(input_per_mtok=Decimal(0), output_per_mtok=Decimal(0))
    assert free.cost_of(Tokens()) == 0
    assert price(output_per_mtok=Decimal(0)).cost_of(Tokens(input=1_000_000)) == 1
    assert price(input_per_mtok=Decimal(0), cached_input_per_mtok=Decimal(1)).cost_of(Tokens(output=1)) is None


def test_an_embedding_model_has_input_only() -> None:
    row = shipped_prices().find("openai", "text-embedding-3-small", date(2026, 1, 1))
    assert row is not None
    assert row.cost_of(Tokens(input=1_000_000)) == row.cost_of(Tokens(1_000_000, 0)) == Decimal("0.02")
    assert row.cost_of(Tokens(input=1_000_000, output=1)) is None


class TestTiers:
    row = Price(
        "p", "m", Decimal(1), Decimal(10), date(2025, 1, 1), "test", cached_input_per_mtok=Decimal("0.1"),
        tiers=(Tier(1001, Decimal(2), Decimal(15)), Tier(5001, Decimal(4), Decimal(20), Decimal(3))),
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("given_in", "cached", "per_million"),
        [(1000, 0, 11_000), (1001, 0, 2002 + 15_000), (1001, 1000, 2002 + 15_000), (5000, 0, 10_000 + 15_000),
         (5001, 1, 4 * 5000 + 3 + 20_000)],
    )  # fmt: skip
    def test_the_whole_request_has_the_tiers_price(self, given_in: int, cached: int, per_million: int) -> None:
        assert self.row.cost_of(Tokens(given_in, 1000, cached)) == Decimal(per_million) / 1_000_000

    def test_without_the_input_nobody_knows_the_tier(self) -> None:
        assert self.row.cost_of(Tokens(output=5)) is None

    @given(st.integers(0, 10_000), st.integers(0, 10_000), st.fractions(0, 1))
    def test_the_most_is_never_less_than_a_call_of_that_size_or_less(
        self, given_in: int, made: int, share: Fraction
    ) -> None:
        for smaller in (given_in, int(given_in * share)):
            cost = self.row.cost_of(Tokens(smaller, made, int(smaller * share)))
            assert cost is not None
            assert cost <= self.row.most(given_in, made)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"input_per_mtok": Decimal(-1)}, "input_per_mtok is -1"),
        ({"cached_input_per_mtok": Decimal("NaN")}, "NaN"),
        ({"per_call": Decimal("Infinity")}, "per_call"),
        ({"valid_to": date(2025, 1, 1)}, "valid_to"),
        ({"tiers": (Tier(10, Decimal(1), Decimal(1)), Tier(10, Decimal(2), Decimal(1)))}, "shortest first"),
        ({"tiers": (Tier(0, Decimal(1), Decimal(1)),)}, "above 0"),
        ({"tiers": (Tier(5, Decimal(-2), Decimal(1)),)}, "-2"),
        ({"tiers": (Tier(5, Decimal(1)),)}, "output_per_mtok"),
        ({"provider": ""}, "empty"),
        ({"model": ""}, "empty"),
        ({"provider": "openai@"}, "NAME@HOST"),
        ({"provider": "@host"}, "NAME@HOST"),
        ({"provider": "openai@host/v1"}, "NAME@HOST"),
        ({"provider": "openai@host:99999"}, "[Pp]ort"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused(change: dict[str, Any], says: str) -> None:
    fields = {
        "provider": "p", "model": "m", "input_per_mtok": Decimal(1), "output_per_mtok": Decimal(1),
        "valid_from": date(2025, 1, 1), "source": "test",
    }  # fmt: skip
    with pytest.raises(ValueError, match=says):
        Price(**fields | change)


# -- which price -----------------------------------------------------------------------------------------------------


def named(provider: str, model: str = "m", source: str = "test", start: date = date(2025, 1, 1)) -> Price:
    return Price(provider, model, Decimal(1), Decimal(1), start, source)


@pytest.mark.parametrize(
    ("endpoint", "found"),
    [
        ("http://gpu.example:8000/v1", "openai@GPU.example:8000"),
        ("http://gpu.example:9000/v1", "openai@gpu.example"),
        ("https://gpu.example/v1", "openai@gpu.example:443"),
        ("http://[::1]:8000/v1", "openai@[::1]:8000"),
        ("https://elsewhere.example/v1", None),
        ("http://host:99999", None),
        ("", None),
    ],
)
def test_an_endpoint_may_have_its_own_price(endpoint: str, found: str | None) -> None:
    rows = ["openai@GPU.example:8000", "openai@gpu.example", "openai@gpu.example:443", "openai@[::1]:8000", "openai"]
    row = PriceBook([named(provider) for provider in rows]).find("", "m", endpoint=endpoint)
    assert (row.provider if row else None) == found


def test_a_price_of_the_endpoint_comes_before_one_of_the_provider() -> None:
    own, general = named("openai@api.openai.com", "*"), named("openai", "m")
    book = PriceBook([own, general])
    assert book.find("openai", "m", endpoint="https://api.openai.com/v1") is own
    assert book.find("openai", "m") is general


def test_a_users_own_price_comes_before_the_shipped_one_whichever_is_later() -> None:
    shipped, own = named("p", source="list", start=date(2026, 1, 1)), named("p", source="contract")
    book = PriceBook([shipped]).overridden([own])
    assert book.find("p", "m", date(2026, 6, 1)) is own
    assert book.overridden([]).find("p", "m", date(2026, 6, 1)) is own
    assert set(book) == {shipped, own}


def test_a_longer_name_comes_before_a_users_own_price() -> None:
    exact = named("p", "m-2026-01-31")
    assert PriceBook([exact]).overridden([named("p")]).find("p", "m-2026-01-31", date(2026, 6, 1)) is exact


def test_a_price_is_found_by_its_id() -> None:
    row = price()
    assert PriceBook([row]).with_id(row.id) is row
    assert PriceBook([row]).with_id("") is None


def test_a_snapshot_that_stayed_dearer_has_its_own_price() -> None:
    first = shipped_prices().find("openai", "gpt-4o-2024-05-13", date(2026, 1, 1))
    later = shipped_prices().find("openai", "gpt-4o-2024-08-06", date(2026, 1, 1))
    assert first is not None
    assert later is not None
    assert (first.input_per_mtok, later.input_per_mtok) == (5, Decimal("2.5"))


def test_a_price_holds_from_its_day() -> None:
    book = shipped_prices()
    before, after = (book.find("openai", "o3", day) for day in (date(2025, 6, 9), date(2025, 6, 10)))
    assert before is None
    assert after is not None
    assert after.cost(1_000_000, 0) == 2
