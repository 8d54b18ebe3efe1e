"""Which cell made a version of a card: what was told when it was saved, shown in a notebook."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from promptcard_ext.core.contract.cards import SavedVersion
from promptcard_ext.core.contract.provenance import Provenance
from promptcard_ext.kernel.html_table import cut, esc, framed, name_of, table
from promptcard_ext.kernel.safe_text import harmless

_HASH_DIGITS = 12


class Origin(NamedTuple):
    """Where a version came from. What is not known is None; what is known was told by whoever saved it.

    Attributes:
        label: Such as ``greet@14``.
        note: What was new in it.
        created_at: When it was saved.
        provenance: Notebook, cell, packages, commit.
    """

    label: str
    note: str
    created_at: datetime
    provenance: Provenance

    @classmethod
    def of(cls, saved: SavedVersion) -> Origin:
        """Return the origin of a version."""
        return cls(saved.card.label, saved.card.note, saved.created_at, saved.provenance or Provenance())

    @property
    def place(self) -> str:
        """Notebook and cell in words; ``unknown`` when neither is known."""
        cell = self.provenance.cell_id or (self.provenance.cell_hash or "")[:_HASH_DIGITS]
        parts = [self.provenance.notebook or "", f"cell {cell}" if cell else ""]
        return ", ".join(part for part in parts if part) or "unknown"

    @property
    def commit(self) -> str:
        """The commit in words; empty when it is not known."""
        if self.provenance.git_commit is None:
            return ""
        return self.provenance.git_commit[:_HASH_DIGITS] + (" with changes" if self.provenance.git_dirty else "")

    def __repr__(self) -> str:
        said = f"<{self.label} from {self.place}, saved {self.created_at:%Y-%m-%d %H:%M}"
        return harmless(f"{said}, commit {self.commit}>" if self.commit else f"{said}>")

    def _repr_html_(self) -> str:
        packages = (self.provenance.environment_hash or "")[:_HASH_DIGITS]
        facts = (
            ("notebook and cell", self.place),
            ("saved", f"{self.created_at:%Y-%m-%d %H:%M}"),
            ("commit", self.commit),
            ("packages", packages),
            ("note", self.note),
        )
        rows = [[name, cut(value)] for name, value in facts if value]
        return framed(f"<h4>{name_of(self.label)}</h4>{table(['', ''], rows, len(rows), small=True)}")


class History(list[Origin]):
    """The versions of a card with where they came from, newest first; a notebook shows them as a table."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "<no version>"

    def _repr_html_(self) -> str:
        rows = (
            [
                name_of(one.label),
                esc(f"{one.created_at:%Y-%m-%d %H:%M}"),
                cut(one.note, 120),
                name_of(one.place),
                esc(one.commit),
            ]
            for one in self
        )
        return framed(table(["version", "saved", "note", "notebook and cell", "commit"], rows, len(self), room=60_000))
