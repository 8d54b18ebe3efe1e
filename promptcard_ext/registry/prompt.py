"""A prompt, as a program uses it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from promptcard_ext.core.card import Card, Message, ModelSettings
from promptcard_ext.core.contract.cards import LATEST


class Wanted(NamedTuple):
    """Which version of which card.

    Attributes:
        version: Number of a version; it comes before the label.
    """

    name: str
    label: str
    version: int | None

    @property
    def key(self) -> str:
        """What the server calls it when it changes: ``triage``, ``triage/production``."""
        return self.name if self.version is not None or self.label == LATEST else f"{self.name}/{self.label}"

    def __str__(self) -> str:
        return f"{self.name}@{self.label if self.version is None else self.version}"


@dataclass(frozen=True)
class RegisteredPrompt:
    """A version of a card, fetched from a server.

    Attributes:
        card: The whole card.
        version: Its number.
        label: The label by which it was asked for; None when it was by number.
        content_hash: SHA-256 of the content.
        fetched_at: When the server was last heard to say so.
        stale: Whether the server could not be asked whether it is still so.
    """

    card: Card
    version: int
    label: str | None
    content_hash: str
    fetched_at: datetime
    stale: bool = False

    @property
    def settings(self) -> ModelSettings:
        """Temperature and the like, as saved with the card."""
        return self.card.settings

    def render(self, /, **variables: Any) -> tuple[Message, ...]:
        """Return the messages for the model.

        Raises:
            CardError: A variable is missing, unknown, or not of its type.
            TemplateError: The template cannot be filled in with these.
        """
        return self.card.render(variables, f"the call of '{self.card.name}'")

    def __repr__(self) -> str:
        return f"<RegisteredPrompt {self.card.name}@{self.version}{f' {self.label}' if self.label else ''}>"
