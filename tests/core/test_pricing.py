"""Prices: dated, exact, and none for what is not known."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.pricing import Price, PriceBook, shipped_prices


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
    [("m", "m"), ("m-2026-01-31", "m"), ("m-mini", "m-mini"), ("m-mini-2026-01-31", "m-mini"), ("m-2x", None),
     ("m2", None), ("mm", None), ("M", None)],
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
        assert row.input_per_mtok >= 0
        assert row.cached_input_per_mtok is None or row.cached_input_per_mtok <= row.input_per_mtok
        assert row.valid_to is None or row.valid_from < row.valid_to
    assert len({row.id for row in rows}) == len(rows)
    found = shipped_prices().find("openai", "gpt-4o-mini-2024-07-18", date(2026, 1, 1))
    assert found is not None
    assert found.cost(1_000_000, 1_000_000) == Decimal("0.75")
