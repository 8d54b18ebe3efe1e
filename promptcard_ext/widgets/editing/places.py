"""Where a card that is edited is kept; what there is of that is in `server_place` and `local_place`."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.pricing import PriceBook

MAX_VERSIONS = 200
MAX_CASES = 200


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
