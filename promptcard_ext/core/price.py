"""What one model costs from a day on: exact decimals per kind of token."""

from __future__ import annotations

import re
import uuid
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

from promptcard_ext.core.results import Tokens

_MTOK = Decimal(1_000_000)
_NAMESPACE = uuid.UUID("5c1ab0de-72f4-4d0c-9a5e-6d7f3f0e2b11")
_SNAPSHOT = re.compile(r"-20\d\d(-?)\d\d\1\d\d")


class Rates(NamedTuple):
    """USD per million tokens of each kind; ``output`` and ``reasoning`` are None where nothing is written."""

    input: Decimal
    cached: Decimal
    cache_write: Decimal
    output: Decimal | None
    reasoning: Decimal | None


class Tier(Struct, frozen=True, forbid_unknown_fields=True):
    """The prices of requests with ``from_tokens`` input tokens or more: of the whole request, not of what lies above.

    That is how providers bill long contexts. A kind without a price of its own falls back as it does in `Price`,
    to this tier's prices.

    Attributes:
        from_tokens: From how many input tokens on.
        input_per_mtok, output_per_mtok: USD per million tokens.
        cached_input_per_mtok, cache_write_per_mtok, reasoning_per_mtok: As in `Price`.
    """

    from_tokens: int
    input_per_mtok: Decimal
    output_per_mtok: Decimal | None = None
    cached_input_per_mtok: Decimal | None = None
    cache_write_per_mtok: Decimal | None = None
    reasoning_per_mtok: Decimal | None = None


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens of one model from a day on.

    Attributes:
        provider: Name of the provider, or ``openai@HOST`` or ``openai@HOST:PORT`` for one endpoint, whatever the name
            before the ``@``.
        model: Name of the model; dated snapshots of it (``model-2026-01-31``) cost the same. ``*`` is every model.
        output_per_mtok: None for a model that writes nothing, such as an embedding model.
        source: Where the price was read.
        valid_to: First day on which the price no longer holds, or None.
        cached_input_per_mtok: Input read from the provider's cache; default as input.
        row_id: Key of the row, when it is none of the shipped ones.
        cache_write_per_mtok: Input written to the provider's cache; default as input.
        reasoning_per_mtok: Hidden thinking; default as output.
        per_call: USD for each call, whatever its tokens.
        tiers: Other prices for long inputs, shortest first.
        as_of: When the price was read.

    Raises:
        ValueError: A name is empty or no address, a price is negative or no number, or days or tiers are out of order.
    """

    provider: str
    model: str
    input_per_mtok: Decimal
    output_per_mtok: Decimal | None
    valid_from: date
    source: str
    valid_to: date | None = None
    cached_input_per_mtok: Decimal | None = None
    row_id: str | None = None
    cache_write_per_mtok: Decimal | None = None
    reasoning_per_mtok: Decimal | None = None
    per_call: Decimal = Decimal(0)
    tiers: tuple[Tier, ...] = ()
    as_of: date | None = None
    currency: Literal["USD"] = "USD"

    def __post_init__(self) -> None:
        if not book_key(self.provider) or not self.model:
            raise ValueError("provider and model must not be empty")
        rows: tuple[Price | Tier, ...] = (self, *self.tiers)
        for row in rows:
            for name in row.__struct_fields__:
                value = getattr(row, name)
                if isinstance(value, Decimal) and not (value.is_finite() and value >= 0):
                    raise ValueError(f"{name} is {value}, and not a number of 0 or more")
            if (row.output_per_mtok is None) != (self.output_per_mtok is None):
                raise ValueError("output_per_mtok must be given in all tiers, or in none and not in the row either")
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError(f"valid_to is {self.valid_to}, which is not after valid_from")
        starts = [0, *(tier.from_tokens for tier in self.tiers)]
        if any(later <= earlier for earlier, later in pairwise(starts)):
            raise ValueError("tiers must have a from_tokens above 0, and come shortest first")

    @property
    def id(self) -> str:
        """Stable id: a shipped row has the same id in every installation; any other row has its key."""
        return self.row_id or str(uuid.uuid5(_NAMESPACE, f"{self.provider}/{self.model}/{self.valid_from.isoformat()}"))

    def rates(self, tokens_input: int = 0) -> Rates:
        """Return the prices of a request with this many input tokens."""
        row: Price | Tier = self
        for tier in self.tiers:
            if tokens_input >= tier.from_tokens:
                row = tier
        return _rates(row)

    def cost_of(self, tokens: Tokens) -> Decimal | None:
        """Return the exact cost in USD, or None when it cannot be known.

        It is unknown when a count that matters is missing, when counts contradict each other (more cached than input,
        more reasoning than output), and when a model without an output price wrote something. A count whose price is 0
        does not matter. Cached, written and reasoning tokens that are not told are none.

        Example:
            >>> price = Price("p", "m", Decimal("2.50"), Decimal(10), date(2026, 1, 1), "list", None, Decimal("1.25"))
            >>> price.cost_of(Tokens(input=1000, output=200, cached=600))
            Decimal('0.00375')
            >>> price.cost_of(Tokens(input=1000)) is None
            True
        """
        if self.tiers and tokens.input is None:
            return None
        rates = self.rates(tokens.input or 0)
        cached, written, reasoned = tokens.cached or 0, tokens.cache_write or 0, tokens.reasoning or 0
        read = _total(tokens.input, rates.input, (cached, rates.cached), (written, rates.cache_write))
        if rates.output is None or rates.reasoning is None:
            made = Decimal(0) if not tokens.output and not reasoned else None
        else:
            made = _total(tokens.output, rates.output, (reasoned, rates.reasoning))
        return None if read is None or made is None else (read + made) / _MTOK + self.per_call

    def cost(self, tokens_input: int, tokens_output: int, tokens_cached: int = 0) -> Decimal:
        """Return the cost in USD. ``tokens_cached`` are part of ``tokens_input``.

        Raises:
            ValueError: The counts contradict each other, or the model has no output price.
        """
        cost = self.cost_of(Tokens(tokens_input, tokens_output, tokens_cached))
        if cost is None:
            raise ValueError(f"{tokens_input}, {tokens_output} and {tokens_cached} tokens cannot be priced")
        return cost

    def most(self, tokens_input: int, tokens_output: int) -> Decimal:
        """Return the most in USD that a call with at most this many tokens can cost, whatever their kinds."""
        rows = [_rates(self), *(_rates(tier) for tier in self.tiers if tokens_input >= tier.from_tokens)]
        dearest = max(
            tokens_input * max(rates.input, rates.cached, rates.cache_write)
            + tokens_output * max(rates.output or Decimal(0), rates.reasoning or Decimal(0))
            for rates in rows
        )
        return dearest / _MTOK + self.per_call

    def covers(self, model: str, day: date) -> bool:
        """Tell whether this price holds for ``model`` on ``day``."""
        named = self.model in (model, "*") or (
            model.startswith(self.model) and _SNAPSHOT.fullmatch(model, len(self.model)) is not None
        )
        return named and self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


def _rates(row: Price | Tier) -> Rates:
    fresh, out = row.input_per_mtok, row.output_per_mtok
    cached, written, reasoned = row.cached_input_per_mtok, row.cache_write_per_mtok, row.reasoning_per_mtok
    return Rates(
        fresh,
        fresh if cached is None else cached,
        fresh if written is None else written,
        out,
        out if reasoned is None else reasoned,
    )


def _total(count: int | None, rate: Decimal, *parts: tuple[int, Decimal]) -> Decimal | None:
    """Return ``count`` tokens at ``rate``, those of them that are ``parts`` at theirs; None when it is not known."""
    if count is None:
        free = rate == 0 and all(part_rate == 0 for _, part_rate in parts)
        return Decimal(0) if free else None
    rest = count - sum(part for part, _ in parts)
    if rest < 0 or any(part < 0 for part, _ in parts):
        return None
    return rest * rate + sum((part * part_rate for part, part_rate in parts), Decimal(0))


def book_key(provider: str) -> str:
    """Return under what a price is looked up: the provider's name, or ``@HOST`` or ``@HOST:PORT``."""
    name, at, address = provider.partition("@")
    if not at:
        return name
    parts = urlsplit(f"//{address}")
    if not name or not parts.hostname or parts.path or parts.query:
        raise ValueError(f"provider {provider!r:.100} is not of the form NAME@HOST or NAME@HOST:PORT")
    return f"@{parts.hostname}:{parts.port}" if parts.port else f"@{parts.hostname}"
