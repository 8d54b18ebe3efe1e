"""Which cell made a version of a card: what was told when it was saved, shown in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

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
        return place_of(self.provenance) or "unknown"

    @property
    def commit(self) -> str:
        """The commit in words; empty when it is not known."""
        return commit_of(self.provenance)

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


def place_of(provenance: Provenance) -> str:
    """Return notebook and cell in words; empty when neither is known."""
    cell = provenance.cell_id or (provenance.cell_hash or "")[:_HASH_DIGITS]
    parts = [provenance.notebook or "", f"cell {cell}" if cell else ""]
    return ", ".join(part for part in parts if part)


def commit_of(provenance: Provenance) -> str:
    """Return the commit in words; empty when it is not known."""
    commit = (provenance.git_commit or "")[:_HASH_DIGITS]
    return f"{commit} with changes" if commit and provenance.git_dirty else commit


def kept_origin(options: Mapping[str, Any]) -> str:
    """Return in words where a run on this machine was started; empty when nothing is known.

    Args:
        options: Of its head, which may have been written by anybody.
    """
    try:
        found = msgspec.convert(options.get("provenance"), Provenance | None)
    except msgspec.ValidationError:
        return ""
    if found is None:
        return ""
    commit = commit_of(found)
    return ", ".join(part for part in (place_of(found), f"commit {commit}" if commit else "") if part)


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
