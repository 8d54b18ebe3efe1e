"""Cards, their drafts, versions, labels and tags, as the REST interface takes and gives them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from promptcard_ext.core.card import Card, Description, Tag, Tags, Title
from promptcard_ext.core.contract.provenance import Provenance
from promptcard_ext.core.shown import html_of

LATEST = "latest"
"""The label that every card has: it stands at the highest version and cannot be moved."""

LabelName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9._-]*\Z", max_length=100)]
Cursor = Annotated[str, Meta(max_length=2000)]
Limit = Annotated[int, Meta(ge=1, le=200)]


class CardQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which cards to list.

    Attributes:
        tag: Only cards that have this tag; given several times, all of them.
        label: Only cards that have this label on a version.
        archived: Archived cards instead of those in use.
        created_by: Only cards that this user made.
        updated_after: Only cards that were changed after this moment.
        cursor: ``next`` of the page before.
        limit: Cards on a page, 1 to 200.
    """

    tag: list[Tag] = []
    label: LabelName | None = None
    archived: bool = False
    created_by: UUID | None = None
    updated_after: datetime | None = None
    cursor: Cursor | None = None
    limit: Limit = 50


class CardHead(Struct, frozen=True):
    """A card without its content.

    Attributes:
        id: Its id.
        name: Its name in the workspace; never changes.
        title, description, tags: For people; not part of any version.
        created_by: Id of the user who made it; null for the system.
        created_at, updated_at: When it was made, and when anything of it last changed.
        latest_version: Number of the newest version.
        has_draft: Whether there is a draft.
        archived_at: Since when it is out of use; null for a card in use.
    """

    id: UUID
    name: str
    title: str
    description: str
    tags: list[str]
    latest_version: int
    has_draft: bool
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = None


class CardPatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What of a card's head to change. The name is its identity and stays.

    Attributes:
        title: At most 500 characters.
        description: At most 2,000 characters.
        tags: At most 20 of 1 to 50 characters.
    """

    title: Title | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET


class CardToSave(Card, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """A card, and where this version of it was made.

    Attributes:
        provenance: Kept with a new version; content that a version has already keeps what was said of it first.
    """

    provenance: Provenance | None = None


class Saved(Struct, frozen=True):
    """What came of saving a version.

    Attributes:
        card_id, version_id: Ids of card and version.
        version: Number of the version.
        created: False when a version had this content already; that version is the answer.
    """

    card_id: UUID
    version_id: UUID
    version: int
    created: bool


class Draft(Struct, frozen=True):
    """What somebody works on.

    Attributes:
        card: Name of the card.
        latest_version: Number of the newest version.
        content: The fields of a card without name and version; null when there is no draft.
        revision: Goes up with each draft and each version that is saved.
    """

    card: str
    content: dict[str, Any] | None
    latest_version: int
    revision: int


class VersionQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of a card's versions to list.

    Attributes:
        cursor: ``next`` of the page before.
        limit: Versions on a page, 1 to 200.
    """

    cursor: Cursor | None = None
    limit: Limit = 50


class SavedVersion(Struct, frozen=True):
    """A version of a card; it never changes.

    Attributes:
        id: Its id.
        card_id: Id of the card.
        version: Its number, from 1.
        created_by: Id of the user who saved it; null for the system.
        created_at: When.
        card: The whole card, with title and tags as they are now.
        content_hash: SHA-256 of the content, 64 hexadecimal digits.
        provenance: Where it was made, as whoever saved it says; null when nothing is known.
    """

    id: UUID
    card_id: UUID
    version: int
    card: Card
    content_hash: str
    created_by: UUID | None
    created_at: datetime
    provenance: Provenance | None = None

    def _repr_html_(self) -> str | None:
        return html_of(self)


class RegisteredCard(Struct, frozen=True):
    """A version of a card as a program fetches it.

    Attributes:
        card: The whole card.
        version: Number of the version.
        label: The label by which it was found; null when it was asked for by number.
        content_hash: SHA-256 of the content, 64 hexadecimal digits.
        etag: Changes when anything of it does.
    """

    card: Card
    version: int
    label: str | None
    content_hash: str
    etag: str = ""


class FetchQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which version of a card to fetch.

    Attributes:
        label: Name of a label; ``latest`` is the highest version.
        version: Number of a version, instead of a label.
    """

    label: Annotated[str, Meta(min_length=1, max_length=100)] = LATEST
    version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None

    @property
    def which(self) -> str:
        """Number or label."""
        return self.label if self.version is None else str(self.version)


class Label(Struct, frozen=True):
    """A name for a version that can be moved to another one.

    Attributes:
        label: Its name.
        version: Number of the version at which it stands.
        updated_at: When it was put there.
    """

    label: str
    version: int
    updated_at: datetime


class LabelTarget(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to put a label.

    Attributes:
        version: Number of the version.
    """

    version: Annotated[int, Meta(ge=1, le=2**31 - 1)]


class TextChange(Struct, frozen=True):
    """A text that differs.

    Attributes:
        change: What became of it.
        place: ``template``, ``system``, ``messages[2]``, ``examples[0].user`` or ``includes['style@1']``.
        unified: The difference as a unified diff, with three lines around each place.
    """

    place: str
    change: Literal["added", "removed", "changed"]
    unified: str


class FieldChange(Struct, frozen=True):
    """A variable or a setting that differs.

    Attributes:
        name: Of the variable or setting.
        change: What became of it.
        before: What it was; null when it is new.
        after: What it is; null when it is gone.
    """

    name: str
    change: Literal["added", "removed", "changed"]
    before: Any
    after: Any


class CardDiff(Struct, frozen=True):
    """How one state of a card differs from another.

    Attributes:
        base: What it is compared with: a number, a label or ``draft``.
        other: The same, of the other side.
        equal: Whether nothing differs.
        messages: Templates, system message, messages, examples and included texts.
        variables: By name.
        settings: By name, and the role of a message where it changed.
    """

    base: str
    other: str
    equal: bool
    messages: list[TextChange]
    variables: list[FieldChange]
    settings: list[FieldChange]


class DiffQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What to compare: numbers of versions, labels, ``latest`` or ``draft``.

    Attributes:
        base: What to compare with.
        other: What to compare.
    """

    base: Annotated[str, Meta(min_length=1, max_length=100)]
    other: Annotated[str, Meta(min_length=1, max_length=100)] = LATEST


class TagQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of the tags to list.

    Attributes:
        cursor: ``next`` of the page before.
        limit: Tags on a page, 1 to 200.
    """

    cursor: Cursor | None = None
    limit: Limit = 100


class TagCount(Struct, frozen=True):
    """A tag, and how many cards in use have it.

    Attributes:
        tag: The tag.
        cards: How many cards have it.
    """

    tag: str
    cards: int


class TagRename(Struct, frozen=True, forbid_unknown_fields=True):
    """The new name of a tag. Cards that have a tag of this name already keep one.

    Attributes:
        tag: The new name.
    """

    tag: Tag


class TagRenamed(Struct, frozen=True):
    """How many cards a renaming changed.

    Attributes:
        cards: How many.
    """

    cards: int


class SearchQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What to look for.

    Attributes:
        text: 1 to 200 characters: words, or the beginnings of words, that must all be there.
        cursor: ``next`` of the page before.
        limit: Cards on a page, 1 to 200; all pages together have at most 1,000.
    """

    text: Annotated[str, Meta(min_length=1, max_length=200)]
    cursor: Cursor | None = None
    limit: Limit = 20


class CardFound(Struct, frozen=True):
    """A card that a search found.

    Attributes:
        card: The card.
        rank: Higher is better: from 3 on the text is the card's name, from 2 on the words are in name, title or tags,
            from 1 on anywhere, below 1 the text only resembles them.
    """

    card: CardHead
    rank: float
