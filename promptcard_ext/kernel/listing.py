"""Cards and runs as lists that a notebook shows as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from promptcard_ext.core.results import Counts
from promptcard_ext.kernel.html_table import cut, esc, framed, name_of, table
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.stats.summary import cost_text

_ROOM = 60_000


class CardLine(NamedTuple):
    """A card in a list.

    Attributes:
        version: Number of the newest version.
        updated_at: When anything of it last changed.
    """

    name: str
    version: int
    title: str
    tags: tuple[str, ...]
    updated_at: datetime

    def has(self, text: str) -> bool:
        """Tell whether name, title or a tag has this text, in any case."""
        return any(text.casefold() in one.casefold() for one in (self.name, self.title, *self.tags))


class CardList(list[CardLine]):
    """Cards, by name."""

    def __repr__(self) -> str:
        return "\n".join(harmless(f"{one.name}@{one.version}  {one.title}".rstrip()) for one in self) or "<no card>"

    def _repr_html_(self) -> str:
        rows = (
            [
                name_of(f"{one.name}@{one.version}"),
                cut(one.title, 120),
                cut(", ".join(one.tags), 120),
                _time(one.updated_at),
            ]
            for one in self
        )
        return _shown(["card", "title", "tags", "changed"], rows, len(self), "No card.")


class RunLine(NamedTuple):
    """A run in a list.

    Attributes:
        id: Its id on the server; empty for a run of this kernel.
    """

    id: str
    name: str
    status: str
    counts: Counts
    models: tuple[str, ...]
    created_at: datetime


class RunList(list[RunLine]):
    """Runs, newest first."""

    def __repr__(self) -> str:
        lines = (
            f"{one.id or '(here)'}  {one.name}  {one.status}, {one.counts.done:,} of {one.counts.total:,}"
            for one in self
        )
        return "\n".join(map(harmless, lines)) or "<no run>"

    def _repr_html_(self) -> str:
        rows = (
            [
                name_of(one.name),
                esc(one.status),
                cut(", ".join(one.models), 120),
                _time(one.created_at),
                f"<small>{esc(one.id)}</small>",
                f"{one.counts.done:,} of {one.counts.total:,}",
                f"{one.counts.passed:,}",
                esc(cost_text(one.counts.cost_usd, one.counts.priced, one.counts.done)).replace(" (", "<br>(", 1),
            ]
            for one in self
        )
        names = ["run", "status", "models", "started", "id", "done", "passed", "cost"]
        return _shown(names, rows, len(self), "No run.", texts=5)


def _time(moment: datetime) -> str:
    return esc(f"{moment:%Y-%m-%d %H:%M}")


def _shown(names: list[str], rows: Iterable[Sequence[str]], number: int, nothing: str, *, texts: int = 99) -> str:
    if not number:
        return framed(f'<p class="pc-note">{nothing}</p>')
    return framed(table(names, rows, number, texts=texts, room=_ROOM))
