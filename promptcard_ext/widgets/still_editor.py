"""An editor where nobody types, as in papermill's output and in scripts: it shows the card, and nothing moves."""

from __future__ import annotations

from typing import Any

from promptcard_ext.core.card import Card
from promptcard_ext.core.errors import PromptCardError
from promptcard_ext.kernel.card_html import card_html, card_text
from promptcard_ext.kernel.html_table import esc
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.widgets.editing.desk import Desk
from promptcard_ext.widgets.editing.places import Place


class StillEditor:
    """Shows a card or its draft, and saves it; the same as a `CardEditor` for code.

    Args:
        place: Where the card is kept.
        mine: What is edited, when that is not what is stored.
    """

    def __init__(self, place: Place, mine: Card | None = None) -> None:
        self._desk = Desk(place, mine, _nothing, _nothing)

    @property
    def card(self) -> Card:
        """The card or its draft; see `CardEditor.card`."""
        return self._desk.card

    def save(self, note: str = "") -> Card:
        """Save a version and return it; see `CardEditor.save`."""
        return self._desk.save(note)

    def close(self) -> None:
        """Let go of everything."""
        self._desk.close()

    def __repr__(self) -> str:
        return named(self._desk)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return still(self._desk), {}


def named(desk: Desk) -> str:
    """Return what an editor is called in plain text."""
    now = desk.draft.now()
    return f"<CardEditor '{now.base.name}' of {desk.place.where}{', changed' if now.changed else ''}>"


def still(desk: Desk) -> dict[str, str]:
    """Return the card that is edited for readers without a kernel, as HTML without scripts and as plain text."""
    try:
        card, problem = desk.card, ""
    except PromptCardError as error:
        card, problem = desk.draft.now().base, f"The draft is not a card yet: {error}"
    note = f"<p>{esc(problem)}</p>" if problem else ""
    return {"text/plain": harmless(f"{problem}\n{card_text(card)}".strip()), "text/html": note + card_html(card)}


def _nothing(*_: Any) -> None:
    pass
