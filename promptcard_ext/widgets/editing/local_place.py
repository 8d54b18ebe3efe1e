"""A card that only this process keeps, without drafts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from msgspec import structs

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case, as_cases
from promptcard_ext.core.contract.cards import LATEST
from promptcard_ext.core.errors import NotFound
from promptcard_ext.core.pricing import PriceBook, shipped_prices
from promptcard_ext.widgets.editing.places import MAX_CASES, MAX_VERSIONS, Stored, Version


class LocalPlace:
    """A card of this process: what is saved is a version in memory.

    Args:
        cases: Cases to look at it with.
    """

    keeps_drafts = False
    where = "this notebook"

    def __init__(self, card: Card, cases: Iterable[Case | Mapping[str, Any]] = ()) -> None:
        self.key = f"local/{card.name}/{card.content_hash[:16]}"
        self._saved = [(card, datetime.now(UTC))]
        self._cases = as_cases(cases)

    def load(self) -> Stored:
        """Return the card as it was saved last."""
        return Stored(self._saved[-1][0])

    def keep(self, draft: Card | None) -> None:
        """Do nothing: there is nowhere to keep it."""

    def save(self, card: Card, note: str) -> tuple[Card, Stored]:
        """Make the card the latest one."""
        self._saved.append((structs.replace(card, note=note), datetime.now(UTC)))
        return self._saved[-1][0], self.load()

    def compose(self, card: Card) -> Card:
        """Return the card as it is."""
        return card

    def versions(self) -> list[Version]:
        """Return what was saved here, newest first; number 0 is the card as it was given."""
        found = [Version(place, at.isoformat(), "", card.note, []) for place, (card, at) in enumerate(self._saved)]
        return found[: -MAX_VERSIONS - 1 : -1]

    def version(self, which: str) -> Card:
        """Return what was saved, by its number in `versions`."""
        if which == LATEST:
            return self._saved[-1][0]
        if not which.isdecimal() or int(which) >= len(self._saved):
            raise NotFound(f"There is no version '{which:.60}'.")
        return self._saved[int(which)][0]

    def cases(self, text: str) -> list[Case]:
        """Return the cases that were given."""
        wanted = text.casefold()
        fitting = (one for one in self._cases if wanted in f"{one.name} {one.variables}".casefold())
        return list(islice(fitting, MAX_CASES))

    def prices(self) -> PriceBook:
        """Return the prices in the package."""
        return shipped_prices()
