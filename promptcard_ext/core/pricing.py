"""The price book: which price holds for a call on a day, and none for what we do not know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from functools import cache
from importlib import resources
from urllib.parse import urlsplit

from msgspec import convert

from promptcard_ext.core.price import Price, Rates, Tier, book_key

__all__ = ["Price", "PriceBook", "Rates", "Tier", "shipped_prices"]

_PORTS = {"http": 80, "https": 443}


class PriceBook:
    """All known prices.

    Of several prices that fit a call, one for its endpoint comes before one for its provider; then the longest name
    (``gpt-4o-mini`` before ``gpt-4o``, both before ``*``); then an override; then the latest ``valid_from``.

    Args:
        overrides: Prices of the user's own.

    Example:
        >>> PriceBook([]).find("openai", "unheard-of") is None
        True
    """

    def __init__(self, prices: Iterable[Price], overrides: Iterable[Price] = ()) -> None:
        self._rows: dict[str, list[tuple[bool, Price]]] = {}
        for own, rows in ((False, prices), (True, overrides)):
            for price in rows:
                self._rows.setdefault(book_key(price.provider), []).append((own, price))
        self._found: dict[tuple[str, str, date, str], Price | None] = {}
        self._by_id: dict[str, Price] | None = None

    def __iter__(self) -> Iterator[Price]:
        return (price for rows in self._rows.values() for _, price in rows)

    def find(self, provider: str, model: str, day: date | None = None, *, endpoint: str = "") -> Price | None:
        """Return the price of ``model`` on ``day`` (default today, UTC), or None when it is not known.

        Args:
            provider: What the provider calls itself here (its ``price_key``); empty for one without known prices.
            endpoint: Where it calls, as a URL, for prices of single endpoints.
        """
        day = day or datetime.now(UTC).date()
        key = (provider, model, day, endpoint)
        if key not in self._found:
            self._found[key] = self._search(key)
        return self._found[key]

    def with_id(self, price_id: str) -> Price | None:
        """Return the price with this id, or None."""
        if self._by_id is None:
            self._by_id = {price.id: price for price in self}
        return self._by_id.get(price_id)

    def overridden(self, prices: Iterable[Price]) -> PriceBook:
        """Return this book with prices of the user's own over its own."""
        rows = [row for rows in self._rows.values() for row in rows]
        shipped, own = ([price for mine, price in rows if mine is kind] for kind in (False, True))
        return PriceBook(shipped, [*own, *prices])

    def _search(self, key: tuple[str, str, date, str]) -> Price | None:
        provider, model, day, endpoint = key
        for name in (*_addresses(endpoint), provider):
            fitting = [(own, price) for own, price in self._rows.get(name, ()) if price.covers(model, day)]
            if fitting:
                return max(fitting, key=lambda f: (f[1].model != "*", len(f[1].model), f[0], f[1].valid_from))[1]
        return None


def _addresses(endpoint: str) -> list[str]:
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return []
    return [f"@{host}:{port}", f"@{host}"] if host else []


@cache
def shipped_prices() -> PriceBook:
    """Return the price book in the package; every row has its source and its date."""
    text = resources.files("promptcard_ext.core").joinpath("prices.json").read_text("utf-8")
    return PriceBook(convert(json.loads(text), list[Price], strict=False))
