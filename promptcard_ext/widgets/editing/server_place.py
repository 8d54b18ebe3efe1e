"""A card that a workspace of the server keeps, with a draft."""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec
from msgspec import structs

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cards import SavedVersion
from promptcard_ext.core.contract.prices import PriceOut
from promptcard_ext.core.errors import NotFound, PromptCardError
from promptcard_ext.core.pricing import Price, PriceBook
from promptcard_ext.kernel.provenance import staying
from promptcard_ext.widgets.editing.places import MAX_CASES, MAX_VERSIONS, Stored, Version

# What is no part of a draft.
_HEAD = ("name", "version", "note")


class ServerPlace:
    """A card of a workspace.

    Args:
        named: What to call the workspace.
    """

    keeps_drafts = True

    def __init__(self, api: WorkspaceApi, name: str, named: str) -> None:
        self._api, self._name = api, name
        self.key = f"{api.session.address.url}{api.workspace}/{name}"
        self.where = f"workspace '{named}'"
        # None while there is no such card.
        self._etag: str | None = None
        self._provenance = staying()
        self._names: dict[Any, str] | None = None

    def load(self) -> Stored:
        """Return the latest version and the draft."""
        tagged = self._api.drafts.get(self._name)
        # By its number: another version may come between the two requests.
        card = self._api.versions.get(self._name, tagged.value.latest_version).value.card
        self._etag = tagged.etag
        return Stored(card, None if tagged.value.content is None else _as_card(self._name, tagged.value.content))

    def keep(self, draft: Card | None) -> None:
        """Store a draft, or none; while there is no card of this name there is no draft of it either."""
        if self._etag is None:
            raise NotFound(f"There is no card '{self._name}' yet.", hint="Its first version makes it.")
        if draft is not None:
            self._etag = self._api.drafts.save(self._name, _fields(draft), etag=self._etag).etag
        else:
            self._api.drafts.delete(self._name, etag=self._etag)
            self._etag = self._api.drafts.get(self._name).etag

    def save(self, card: Card, note: str) -> tuple[Card, Stored]:
        """Save a version, unless somebody stored something since, and throw the draft away."""
        card = structs.replace(card, note=note)
        if self._etag is None:
            number = self._api.cards.save(card, self._provenance()).version
            return structs.replace(card, version=number), self.load()
        # Versions are saved whoever saved one before; it is the draft that is refused when somebody was quicker.
        before = self._api.drafts.save(self._name, _fields(card), etag=self._etag)
        self._etag = before.etag
        saved = self._api.cards.save(card, self._provenance())
        after = self._api.drafts.get(self._name)
        self._etag = after.etag
        if after.value.revision == before.value.revision + saved.created:
            self.keep(None)
        return structs.replace(card, version=saved.version), self.load()

    def compose(self, card: Card) -> Card:
        """Return the card with the texts that it includes from this workspace."""

        def find(name: str, version: int) -> Card | None:
            try:
                return self._api.versions.get(name, version).value.card
            except NotFound:
                return None

        return structs.replace(card, includes={}).compose(find)

    def versions(self) -> list[Version]:
        """Return the latest versions, newest first."""
        if self._etag is None:
            return []
        labels: dict[int, list[str]] = {}
        for label in self._api.labels.list(self._name):
            labels.setdefault(label.version, []).append(label.label)
        found = list(self._api.versions.list(self._name))[-MAX_VERSIONS:]
        return [self._line(saved, labels.get(saved.version, [])) for saved in reversed(found)]

    def _line(self, saved: SavedVersion, labels: list[str]) -> Version:
        by = self._people().get(saved.created_by, "")
        return Version(saved.version, saved.created_at.isoformat(), by, saved.card.note, labels)

    def _people(self) -> dict[Any, str]:
        if self._names is None:
            try:
                self._names = {member.id: member.name for member in self._api.members.list()}
            except PromptCardError:
                self._names = {}
        return self._names

    def version(self, which: str) -> Card:
        """Return a version by number or label."""
        return self._api.versions.get(self._name, which).value.card

    def cases(self, text: str) -> list[Case]:
        """Return the first cases that have this text in their name or a variable."""
        if self._etag is None:
            return []
        found = islice(self._api.cases.list(self._name, text=text[:200] or None), MAX_CASES)
        return [Case(one.variables, name=one.name) for one in found]

    def prices(self) -> PriceBook:
        """Return the prices that hold in the workspace today."""
        return PriceBook([_price(row) for row in self._api.prices.list()])


def _fields(card: Card) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(card)
    return {name: value for name, value in fields.items() if name not in _HEAD}


def _as_card(name: str, content: dict[str, Any]) -> Card | None:
    try:
        return msgspec.convert({**content, "name": name}, Card)
    except (msgspec.ValidationError, PromptCardError):
        # Of a version of this program that knows more.
        return None


def _price(row: PriceOut) -> Price:
    known = {name: getattr(row, name) for name in Price.__struct_fields__ if hasattr(row, name)}
    return Price(**known | {"tiers": tuple(row.tiers)})
