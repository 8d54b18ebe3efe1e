"""Where a card that is edited is kept: on the server, or only in this process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import structs

from promptcard_ext.client.api import WorkspaceApi
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case, as_cases
from promptcard_ext.core.contract.cards import LATEST, SavedVersion
from promptcard_ext.core.contract.prices import PriceOut
from promptcard_ext.core.errors import NotFound, PromptCardError
from promptcard_ext.core.pricing import Price, PriceBook, shipped_prices

MAX_VERSIONS = 200
MAX_CASES = 200
_HEAD = ("name", "version", "note")


class Stored(NamedTuple):
    """What is stored of a card at a moment.

    Attributes:
        card: Its latest version; version 0 when nothing of it is saved yet.
        draft: What somebody works on, when that is stored and can be read.
    """

    card: Card
    draft: Card | None = None


class Version(NamedTuple):
    """A line of the history: number, when (ISO 8601), who, what is new, and the labels that stand there."""

    version: int
    at: str
    by: str
    note: str
    labels: list[str]


class Place(Protocol):
    """Where a card is kept. One call at a time; all of them may take as long as HTTP does.

    Attributes:
        key: Names the card among all that a browser may have seen.
        where: For people, such as ``workspace 'Personal'``.
        keeps_drafts: Whether drafts are kept somewhere else than in this process.
    """

    key: str
    where: str
    keeps_drafts: bool

    def load(self) -> Stored:
        """Return what is stored, which is from now on what changes are based on.

        Raises:
            NotFound: There is no such card.
        """

    def keep(self, draft: Card | None) -> None:
        """Store a draft, or none.

        Raises:
            Conflict: Somebody stored a draft or a version since `load`.
        """

    def save(self, card: Card, note: str) -> tuple[Card, Stored]:
        """Save a version and return it, and what is stored then; another version may have been the same already.

        Raises:
            Conflict: As `keep` says.
        """

    def compose(self, card: Card) -> Card:
        """Return the card with the texts that it includes."""

    def versions(self) -> list[Version]:
        """Return the latest versions, newest first."""

    def version(self, which: str) -> Card:
        """Return a version by number or label."""

    def cases(self, text: str) -> list[Case]:
        """Return the first cases that have this text somewhere."""

    def prices(self) -> PriceBook:
        """Return what models cost here."""


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
            number = self._api.cards.save(card).version
            return structs.replace(card, version=number), self.load()
        # Versions are saved whoever saved one before; it is the draft that is refused when somebody was quicker.
        before = self._api.drafts.save(self._name, _fields(card), etag=self._etag)
        self._etag = before.etag
        saved = self._api.cards.save(card)
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
