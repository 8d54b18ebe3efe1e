"""What a run would have cost at other prices, or on another model, from the tokens it used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from promptcard_ext.core.pricing import Price, PriceBook
from promptcard_ext.core.results import Generation, ItemResult, Tokens

OTHER_TOKENIZER = (
    "The tokens are those that the models of this run counted; another model cuts the same text into another number "
    "of tokens, and writes another answer."
)
NO_CACHE = "All input is priced in full: what one provider had in its cache says nothing about another's."
REASONING = "Some answers contain hidden reasoning, which is priced as output; another model may reason more or less."


class Recosted(NamedTuple):
    """One result with its old and its new cost in USD; None is unknown."""

    result: ItemResult
    old_usd: Decimal | None
    new_usd: Decimal | None


class CostChange(Struct):
    """Totals over results. Sums are over those with a known cost only, which is what the counts say.

    Attributes:
        both: Items priced before and now; ``old_of_both_usd`` and ``new_of_both_usd`` may be compared with each other.
        caveats: What to keep in mind, as sentences.
    """

    items: int = 0
    priced_before: int = 0
    priced_now: int = 0
    both: int = 0
    old_usd: Decimal = Decimal(0)
    new_usd: Decimal = Decimal(0)
    old_of_both_usd: Decimal = Decimal(0)
    new_of_both_usd: Decimal = Decimal(0)
    caveats: tuple[str, ...] = ()

    def add(self, recosted: Recosted) -> None:
        """Count one more result."""
        _, old, new = recosted
        self.items += 1
        if old is not None:
            self.priced_before += 1
            self.old_usd += old
        if new is not None:
            self.priced_now += 1
            self.new_usd += new
        if old is not None and new is not None:
            self.both += 1
            self.old_of_both_usd += old
            self.new_of_both_usd += new


def recost(
    results: Iterable[ItemResult],
    book: PriceBook,
    day: date | None = None,
    *,
    keys: Mapping[str, str] | None = None,
) -> Iterator[Recosted]:
    """Yield each result with what its answer and its further calls cost at the prices of ``book`` on ``day``.

    Args:
        day: Default today (UTC).
        keys: Under which provider the book has the models of each provider, by its name in the results:
            ``{"openai": "openai"}``, or ``{"openai": "openai@localhost:8000"}``. It is needed for calls that had no
            price, or one that is not in ``book``: a server of your own may lend a model any name, so its calls are not
            priced by their names alone.
    """
    for result in results:
        costs = [_again(generation, book, day, keys or {}) for generation in _generations(result)]
        yield Recosted(result, result.cost_usd, _sum(costs))


def what_if(
    results: Iterable[ItemResult], model: str, book: PriceBook, day: date | None = None, *, endpoint: str = ""
) -> CostChange:
    """Return what the run would have cost had ``model`` given the answers.

    Judges and embeddings stay what they were, at what they cost then. Answers to changed prompts are answers.

    Args:
        model: Reference, such as ``openai:gpt-4.1``; its provider is looked up in ``book`` under that name.
        endpoint: For a price of a single endpoint, its URL.
    """
    connection, _, name = model.partition(":")
    provider = connection.partition("/")[0]
    price = book.find(provider, name, day, endpoint=endpoint)
    change = CostChange()
    reasoning = False
    for result in results:
        new = None if price is None else _on(price, result)
        change.add(Recosted(result, result.cost_usd, new))
        reasoning = reasoning or any(generation.tokens.reasoning for generation in _answers(result))
    change.caveats = (OTHER_TOKENIZER, NO_CACHE, REASONING) if reasoning else (OTHER_TOKENIZER, NO_CACHE)
    return change


def total(recosted: Iterable[Recosted]) -> CostChange:
    """Return the totals of what `recost` yields."""
    change = CostChange()
    for one in recosted:
        change.add(one)
    return change


def _again(generation: Generation, book: PriceBook, day: date | None, keys: Mapping[str, str]) -> Decimal | None:
    old = book.with_id(generation.price_id) if generation.price_id else None
    key = old.provider if old else keys.get(generation.provider, "")
    name, at, address = key.partition("@")
    price = book.find(name, generation.model, day, endpoint=f"//{address}" if at else "")
    return None if price is None else price.cost_of(generation.tokens)


def _on(price: Price, result: ItemResult) -> Decimal | None:
    answers = [price.cost_of(Tokens(one.tokens.input, one.tokens.output)) for one in _answers(result)]
    others = [call.generation.cost_usd for call in result.calls if call.purpose != "variant"]
    return _sum([*answers, *others])


def _answers(result: ItemResult) -> list[Generation]:
    own = [] if result.generation is None else [result.generation]
    return own + [call.generation for call in result.calls if call.purpose == "variant"]


def _generations(result: ItemResult) -> list[Generation]:
    own = [] if result.generation is None else [result.generation]
    return own + [call.generation for call in result.calls]


def _sum(costs: list[Decimal | None]) -> Decimal | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) if costs and len(known) == len(costs) else None
