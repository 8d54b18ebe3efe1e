"""Prices: the book of the installation, and a workspace's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from promptcard_ext.client.noun import Noun, Ref, Tagged
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.prices import (
    PriceOut,
    PriceOverrideOut,
    PriceOverridePatch,
    PriceOverrideQuery,
    PriceOverrideSpec,
    PriceQuery,
)


class Prices(Noun):
    """What models cost in a workspace."""

    def list(
        self, *, on: date | None = None, provider: str | None = None, model: str | None = None
    ) -> Iterator[PriceOut]:
        """Yield the prices that hold on a day, by default today; the filters are those of `PriceQuery`."""
        return self._pages(Page[PriceOut], "prices", query=PriceQuery(on, provider, model, limit=500))


class PriceOverrides(Noun):
    """A workspace's own prices, by id."""

    def list(self) -> Iterator[PriceOverrideOut]:
        """Yield them, by provider, model and first day."""
        return self._pages(Page[PriceOverrideOut], "price-overrides", query=PriceOverrideQuery(limit=200))

    def create(self, spec: PriceOverrideSpec) -> Tagged[PriceOverrideOut]:
        """Add one; it prices what is taken up from now on."""
        return self._read_tagged(PriceOverrideOut, "POST", "price-overrides", body=spec, once=True)

    def get(self, price: Ref) -> Tagged[PriceOverrideOut]:
        """Return one."""
        return self._read_tagged(PriceOverrideOut, "GET", "price-overrides", price)

    def update(self, price: Ref, patch: PriceOverridePatch, *, etag: str) -> Tagged[PriceOverrideOut]:
        """Change when a price ends, or its source."""
        return self._read_tagged(PriceOverrideOut, "PATCH", "price-overrides", price, body=patch, etag=etag)

    def withdraw(self, price: Ref, *, etag: str) -> None:
        """Take a price back; what was priced by it keeps its cost."""
        self._ask("DELETE", "price-overrides", price, etag=etag)
