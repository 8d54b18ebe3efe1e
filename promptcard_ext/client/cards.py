"""Cards of a workspace, and searching for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from promptcard_ext.client.noun import Noun, Ref, Tagged
from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.cards import (
    LATEST,
    CardFound,
    CardHead,
    CardPatch,
    CardQuery,
    CardToSave,
    FetchQuery,
    RegisteredCard,
    Saved,
    SearchQuery,
)
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.provenance import Provenance


class Cards(Noun):
    """The cards of a workspace, by name or id."""

    def list(
        self,
        *,
        tag: Sequence[str] = (),
        label: str | None = None,
        archived: bool = False,
        created_by: UUID | None = None,
        updated_after: datetime | None = None,
    ) -> Iterator[CardHead]:
        """Yield cards without their content, by name; the filters are those of `CardQuery`."""
        query = CardQuery([*tag], label, archived, created_by, updated_after, limit=200)
        return self._pages(Page[CardHead], "cards", query=query)

    def search(self, text: str) -> Iterator[CardFound]:
        """Yield cards that have all words of ``text``, the best first, at most 1,000."""
        return self._pages(Page[CardFound], "search", query=SearchQuery(text, limit=100))

    def save(self, card: Card, provenance: Provenance | None = None) -> Saved:
        """Save a card as its next version, unless a version has this content already.

        Args:
            provenance: Where it was made; kept with a new version.
        """
        body: Card = card
        if provenance is not None:
            fields = {name: getattr(card, name) for name in Card.__struct_fields__}
            body = CardToSave(**fields, provenance=provenance)
        return self._read(Saved, "POST", "cards", body=body, once=True)

    def get(self, card: Ref) -> Tagged[CardHead]:
        """Return a card without its content."""
        return self._read_tagged(CardHead, "GET", "cards", card)

    def update(self, card: Ref, patch: CardPatch, *, etag: str) -> Tagged[CardHead]:
        """Change title, description or tags."""
        return self._read_tagged(CardHead, "PATCH", "cards", card, body=patch, etag=etag)

    def archive(self, card: Ref, *, etag: str) -> None:
        """Take a card out of use; it can be restored."""
        self._ask("DELETE", "cards", card, etag=etag)

    def restore(self, card: Ref) -> Tagged[CardHead]:
        """Take an archived card into use again."""
        return self._read_tagged(CardHead, "POST", "cards", card, "restore")

    def fetch(self, card: Ref, *, label: str = LATEST, version: int | None = None) -> RegisteredCard:
        """Return a version for use in a program: by number, by label, or the latest."""
        return self._read(RegisteredCard, "GET", "cards", card, "fetch", query=FetchQuery(label, version))
