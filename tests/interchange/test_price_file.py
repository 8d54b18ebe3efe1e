"""Price files: what they may hold, where they are found, and where their mistakes are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import platformdirs
import pytest

from promptcard_ext.core.errors import FileError
from promptcard_ext.core.pricing import PriceBook, Tier, shipped_prices
from promptcard_ext.core.results import Tokens
from promptcard_ext.interchange.price_file import load_price_file, price_book

Write = Callable[[str], Path]
DAY = date(2026, 6, 1)
GOOD = """\
prices:
  - provider: openai
    model: gpt-4.1
    input_per_mtok: 0.15
    output_per_mtok: "6.40"
    valid_from: 2026-01-01
    valid_to: 2027-01-01
    source: our contract
  - {provider: openai@gpu.example:8000, model: "*", input_per_mtok: 0, output_per_mtok: 0, per_call: 0.002}
  - provider: openai
    model: long
    input_per_mtok: 1
    output_per_mtok: 2
    cached_input_per_mtok: 0.1
    cache_write_per_mtok: 1.25
    reasoning_per_mtok: 3
    tiers:
      - {from_tokens: 200001, input_per_mtok: 2, output_per_mtok: 3}
  - {provider: openai, model: embed, input_per_mtok: 0.5, output_per_mtok: null}
"""
LONG = "model: gpt-4.1\n    valid_from: 2026-01-01"
TWICE = GOOD.replace("model: long", LONG)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str, name: str = "prices.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write_file


@pytest.fixture(autouse=True)
def nobody_has_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PROMPTCARDS_PRICES", raising=False)
    folder = tmp_path / "config"
    monkeypatch.setattr(platformdirs, "user_config_path", lambda *_, **__: folder)
    return folder


def test_prices_are_exact_whatever_way_they_are_written(write: Write) -> None:
    contract, server, long, embed = load_price_file(write(GOOD))
    assert (contract.input_per_mtok, contract.output_per_mtok) == (Decimal("0.15"), Decimal("6.40"))
    assert (contract.valid_from, contract.valid_to) == (date(2026, 1, 1), date(2027, 1, 1))
    assert contract.source == "our contract"
    assert server.cost_of(Tokens()) == Decimal("0.002")
    assert "prices.yaml" in server.source
    assert long.tiers == (Tier(200_001, Decimal(2), Decimal(3)),)
    assert embed.cost_of(Tokens(input=1_000_000)) == Decimal("0.5")


def test_json_is_read_too(write: Write) -> None:
    text = '{"prices": [{"provider": "p", "model": "m", "input_per_mtok": 0.1, "output_per_mtok": 2e-1}]}'
    (price,) = load_price_file(write(text))
    assert (price.input_per_mtok, price.output_per_mtok) == (Decimal("0.1"), Decimal("0.2"))


def test_a_users_price_comes_before_the_shipped_one_and_has_an_id_of_its_own(write: Write) -> None:
    book, shipped = price_book(write(GOOD)), shipped_prices()
    own, listed = (one.find("openai", "gpt-4.1", DAY) for one in (book, shipped))
    assert own is not None
    assert listed is not None
    assert own.source == "our contract"
    assert own.id != listed.id
    assert book.with_id(own.id) is own
    assert book.find("openai", "gpt-4.1", date(2025, 6, 1)) == listed
    assert book.find("", "any", DAY, endpoint="http://gpu.example:8000/v1") is not None


def test_the_id_changes_with_the_price(write: Write) -> None:
    first = load_price_file(write(GOOD))
    assert [one.id for one in first] == [one.id for one in load_price_file(write(GOOD))]
    again = load_price_file(write(GOOD.replace("6.40", "6.50")))
    assert [one.id == other.id for one, other in zip(first, again, strict=True)] == [False, True, True, True]


def test_the_file_is_found_by_argument_then_environment_then_in_the_configuration_directory(
    write: Write, nobody_has_prices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def source(book: PriceBook) -> str:
        price = book.find("p", "m", DAY)
        return price.source if price else "none"

    row = "prices: [{{provider: p, model: m, input_per_mtok: 1, output_per_mtok: 1, source: {}}}]"
    assert source(price_book()) == "none"
    nobody_has_prices.mkdir()
    (nobody_has_prices / "prices.json").write_text(row.format("json"), "utf-8")
    assert source(price_book()) == "json"
    (nobody_has_prices / "prices.yaml").write_text(row.format("yaml"), "utf-8")
    assert source(price_book()) == "yaml"
    monkeypatch.setenv("PROMPTCARDS_PRICES", str(write(row.format("environment"))))
    assert source(price_book()) == "environment"
    argument = nobody_has_prices / "other.yaml"
    argument.write_text(row.format("argument"), "utf-8")
    assert source(price_book(argument)) == "argument"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("- 1\n", 1, "expected `object`"),
        ("prices: 5\n", 1, "expected `array`"),
        ("prices: []\nmore: 1\n", 1, "unknown field `more`"),
        ("prices:\n  - 5\n", 2, "expected `object`"),
        (GOOD.replace("0.15", "cheap"), 4, "input_per_mtok"),
        (GOOD.replace("0.15", "-1"), 2, "-1"),
        (GOOD.replace("0.15", ".nan"), 4, "input_per_mtok"),
        (GOOD.replace("0.15", "true"), 4, "input_per_mtok"),
        (GOOD.replace("2026-01-01", "January"), 6, "date"),
        (GOOD.replace("2027-01-01", "2025-01-01"), 2, "valid_to"),
        (GOOD.replace("200001", "0"), 10, "from_tokens"),
        (GOOD.replace("openai@gpu.example:8000", "openai@"), 9, "NAME@HOST"),
        (GOOD.replace("model: gpt-4.1", "modell: gpt-4.1"), 2, "model"),
        (TWICE, 10, "line 2"),
        (GOOD.replace(", output_per_mtok: null", ""), 19, "'output_per_mtok' is missing"),
        (GOOD.replace("source: our contract", "row_id: x"), 8, "row_id"),
        (GOOD.replace("source: our contract", "currency: EUR"), 8, "EUR"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_and_line(write: Write, text: str, line: int, says: str) -> None:
    with pytest.raises(FileError) as caught:
        load_price_file(write(text))
    assert caught.value.code == "price_file_invalid"
    assert f"prices.yaml, line {line}:" in caught.value.message
    assert says in caught.value.message


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(FileError) as caught:
        price_book("nowhere.yaml")
    assert caught.value.code == "file_unreadable"
