"""What an editor of cards is to those who call for one."""

from __future__ import annotations

from typing import Protocol

from promptcard_ext.core.card import Card


class Editor(Protocol):
    """An editor of a card; in a notebook it is a widget."""

    @property
    def card(self) -> Card:
        """The card as it is edited."""

    def save(self, note: str = "") -> Card:
        """Save a version and return it."""

    def close(self) -> None:
        """Let go of everything; a draft that is kept stays."""
