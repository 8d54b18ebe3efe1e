"""Cards, and searching for them."""

from __future__ import annotations

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
from server_ext.api.operation import Call, Operations
from server_ext.db.reads import Question
from server_ext.services import card_search, card_versions, cards
from server_ext.services.scope import as_uuid

operations = Operations("cards")
CARDS = "workspaces/{workspace}/cards"
CARD = CARDS + "/{card}"


@operations.get(CARDS, action="prompt:read", query=CardQuery, answer=Page[CardHead], glances=True)
def list_cards(call: Call) -> Question[Page[CardHead]]:
    """List cards, by name."""
    return cards.listed(call.glance, call.query)


@operations.post(CARDS, action="prompt:create", body=CardToSave, answer=Saved, status=201, also=(200,), idempotent=True)
def save_card(call: Call) -> Saved:
    """Save a card as its next version.

    201 when there is a new version, 200 when one had this content already. Title, description and tags belong to the
    card and not to the version; they are taken over in any case. An archived card is in use again.
    """
    saved = cards.save_version(call.scope, call.body, call.body.provenance)
    call.status = 201 if saved.created else 200
    return saved


@operations.get("workspaces/{workspace}/search", action="prompt:read", query=SearchQuery, answer=Page[CardFound])
def search_cards(call: Call) -> Page[CardFound]:
    """Search for cards, the best first.

    All words must be in name, title, tags, description or latest version, or begin a word there; when no name, title
    or tag has them, those that resemble the text come last.
    """
    return card_search.search(call.scope, call.query)


@operations.get(CARD, action="prompt:read", answer=CardHead, etag=True)
def get_card(call: Call) -> CardHead:
    """Return a card without its content, by name or id."""
    return cards.get(call.scope, call.path["card"])


@operations.patch(CARD, action="prompt:update", body=CardPatch, answer=CardHead, conditional=True, etag=True)
def update_card(call: Call) -> CardHead:
    """Change title, description or tags."""
    return cards.update(call.scope, call.path["card"], call.body, call.match)


@operations.delete(CARD, action="prompt:delete", conditional=True)
def archive_card(call: Call) -> None:
    """Take a card out of use.

    Its versions stay for the runs that used them, its name stays taken, and it can be restored.
    """
    cards.archive(call.scope, call.path["card"], call.match)


@operations.post(CARD + "/restore", action="prompt:update", answer=CardHead, etag=True)
def restore_card(call: Call) -> CardHead:
    """Take an archived card into use again."""
    return cards.restore(call.scope, call.path["card"])


def _fetch_key(path: dict[str, str], query: FetchQuery) -> str | None:
    """Return what changes of the answer are announced under; by an id or a number there is nothing announced."""
    if query.version is not None or as_uuid(path["card"]):
        return None
    return path["card"] if query.label == LATEST else f"{path['card']}/{query.label}"


@operations.get(
    CARD + "/fetch", action="prompt:read", query=FetchQuery, answer=RegisteredCard, etag=True, cached=_fetch_key
)
def fetch_card(call: Call) -> RegisteredCard:
    """Fetch a version of a card for use in a program: by number, by label, or the latest."""
    return card_versions.resolve(call.scope, call.path["card"], call.query.which)
