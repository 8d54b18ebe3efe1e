"""Labels of cards."""

from __future__ import annotations

from collections.abc import Iterator

from promptcard_ext.client.noun import Noun, Ref, Tagged
from promptcard_ext.core.contract.cards import Label, LabelTarget
from promptcard_ext.core.contract.page import Page


class Labels(Noun):
    """The names that versions of cards have, such as ``production``."""

    def list(self, card: Ref) -> Iterator[Label]:
        """Yield the labels of a card, by name; ``latest`` is not among them."""
        yield from self._read(Page[Label], "GET", "cards", card, "labels").items

    def get(self, card: Ref, label: str) -> Tagged[Label]:
        """Return where a label stands."""
        return self._read_tagged(Label, "GET", "cards", card, "labels", label)

    def set(self, card: Ref, label: str, version: int, *, etag: str | None = None) -> Tagged[Label]:
        """Put a label on a version, or move it there.

        Args:
            etag: Of the label, which moving needs; ``*`` moves it from wherever it is.
        """
        return self._read_tagged(Label, "PUT", "cards", card, "labels", label, body=LabelTarget(version), etag=etag)

    def delete(self, card: Ref, label: str, *, etag: str) -> None:
        """Take a label off."""
        self._ask("DELETE", "cards", card, "labels", label, etag=etag)
