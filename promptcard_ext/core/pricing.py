"""What a call cost: dated prices, exact decimals, and no price for what we do not know."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

from msgspec import Struct, convert

_MTOK = Decimal(1_000_000)
_NAMESPACE = uuid.UUID("5c1ab0de-72f4-4d0c-9a5e-6d7f3f0e2b11")


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens of one model from a day on.

    Attributes:
        row_id: Key of the row in a database, when it comes from one.
        model: Name of the model; dated snapshots of it (``model-2026-01-31``) cost the same. ``*`` is every model.
        valid_to: First day on which the price no longer holds, or None.
        source: Where the price was read, and when.
    """

    provider: str
    model: str
    input_per_mtok: Decimal
    output_per_mtok: Decimal
    valid_from: date
    source: str
    valid_to: date | None = None
    cached_input_per_mtok: Decimal | None = None
    row_id: str | None = None

    @property
    def id(self) -> str:
        """Stable id: a shipped row has the same id in every installation; a database's own row has its key."""
        return self.row_id or str(uuid.uuid5(_NAMESPACE, f"{self.provider}/{self.model}/{self.valid_from.isoformat()}"))

    def cost(self, tokens_input: int, tokens_output: int, tokens_cached: int = 0) -> Decimal:
        """Return the cost in USD. ``tokens_cached`` are part of ``tokens_input``."""
        cached_price = self.input_per_mtok if self.cached_input_per_mtok is None else self.cached_input_per_mtok
        fresh = tokens_input - tokens_cached
        return (
            fresh * self.input_per_mtok + tokens_cached * cached_price + tokens_output * self.output_per_mtok
        ) / _MTOK

    def covers(self, model: str, day: date) -> bool:
        """Tell whether this price holds for ``model`` on ``day``."""
        named = self.model in (model, "*") or (model.startswith(self.model + "-2") and model[-1:].isdigit())
        return named and self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


class PriceBook:
    """All known prices.

    Example:
        >>> PriceBook([]).find("openai", "unheard-of") is None
        True
    """

    def __init__(self, prices: list[Price]) -> None:
        self._by_provider: dict[str, list[Price]] = {}
        for price in prices:
            self._by_provider.setdefault(price.provider, []).append(price)
        self._found: dict[tuple[str, str, date], Price | None] = {}

    def __iter__(self) -> Any:
        return (price for prices in self._by_provider.values() for price in prices)

    def find(self, provider: str, model: str, day: date | None = None) -> Price | None:
        """Return the price of ``model`` on ``day`` (default today, UTC), or None when it is not known."""
        day = day or datetime.now(UTC).date()
        key = (provider, model, day)
        if key not in self._found:
            fitting = [price for price in self._by_provider.get(provider, ()) if price.covers(model, day)]
            # The longest name wins: gpt-4o-mini before gpt-4o, and both before *; then the latest price.
            self._found[key] = max(fitting, key=lambda p: (p.model != "*", len(p.model), p.valid_from), default=None)
        return self._found[key]


@cache
def shipped_prices() -> PriceBook:
    """Return the price book in the package; every row has its source and its date."""
    text = resources.files("promptcard_ext.core").joinpath("prices.json").read_text("utf-8")
    return PriceBook(convert(json.loads(text), list[Price], strict=False))
