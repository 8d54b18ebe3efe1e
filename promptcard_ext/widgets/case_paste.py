"""What a paste from a spreadsheet would do: cells that change, rows that are new, and what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.widgets.case_columns import Column
from promptcard_ext.widgets.case_draft import Draft
from promptcard_ext.widgets.case_sheet import Sheet

MAX_SHOWN = 200
MAX_SHOWN_CHARS = 200


class Place(NamedTuple):
    """Where it goes: the selected cells, by place; ``last_row`` and ``last_column`` are among them."""

    row: int
    column: int
    last_row: int
    last_column: int


class Change(NamedTuple):
    """A cell that becomes another; ``row`` counts from 1 as the table does."""

    row: int
    column: str
    before: str
    after: str


class Misfit(NamedTuple):
    """A pasted cell that does not fit, and why."""

    row: int
    column: str
    text: str
    problem: str


class Paste(NamedTuple):
    """A paste that has not been done yet.

    Attributes:
        edition: Of the sheet that it was made for.
        drafts: Rows that change, by key.
        added: Rows that are new.
        fitting, fitting_added: The same without the cells that do not fit, which stay as they are.
        header: Whether the first pasted row names the columns.
    """

    edition: int
    drafts: dict[int, Draft]
    added: list[Draft]
    fitting: dict[int, Draft]
    fitting_added: list[Draft]
    changes: list[Change]
    misfits: list[Misfit]
    header: bool

    def state(self) -> dict[str, Any]:
        """Return it for the browser, with the first of its changes and of what does not fit."""
        return {
            "rows": len(self.drafts),
            "added": len(self.added),
            "changed": len(self.changes),
            "misfits": len(self.misfits),
            "header": self.header,
            "changes": [_shown(one) for one in self.changes[:MAX_SHOWN]],
            "problems": [_shown(one) for one in self.misfits[:MAX_SHOWN]],
        }


def _shown(parts: Sequence[Any]) -> list[Any]:
    return [_text(part) if isinstance(part, str) else part for part in parts]


def _text(text: str) -> str:
    return harmless(text[:MAX_SHOWN_CHARS] + ("…" if len(text) > MAX_SHOWN_CHARS else ""))


def planned(sheet: Sheet, cells: Sequence[Sequence[str]], place: Place, *, header: bool | None = None) -> Paste:
    """Return what pasting these cells there would do.

    One row is repeated over all selected rows, and one column over all selected columns. Rows that are not there are
    made.

    Args:
        header: Whether the first row names the columns; by default it does when all of it are names of columns.
    """
    named = _named(sheet.columns, cells[0]) if cells else None
    has_header = named is not None and len(cells) > 1 and len(cells[0]) > 1 if header is None else header
    made = _Plan(sheet, place)
    if has_header:
        made.columns = named if named is not None else _by_name(sheet.columns, cells[0])
        cells = cells[1:]
    if len(cells) == 1:
        cells = [cells[0]] * max(1, place.last_row - place.row + 1)
    rows = sheet.seen(place.row, place.row + len(cells))
    for number, row_cells in enumerate(cells):
        row = rows[number] if number < len(rows) else None
        made.take(place.row + number + 1, row.key if row else None, row.draft if row else Draft(), row_cells)
    return Paste(
        sheet.edition, made.drafts, made.added, made.fitting, made.fitting_added, made.changes, made.misfits, has_header
    )


def _named(columns: Sequence[Column], cells: Sequence[str]) -> list[Column | None] | None:
    found = _by_name(columns, cells)
    return found if cells and None not in found else None


def _by_name(columns: Sequence[Column], cells: Sequence[str]) -> list[Column | None]:
    known = {column.id: column for column in columns} | {f"__{column.title}": column for column in columns}
    # A variable may be called as a field is: a plain name means the variable.
    known |= {column.title: column for column in sorted(columns, key=lambda column: column.name != "")}
    return [known.get(cell.strip()) for cell in cells]


class _Plan:
    """Collects what becomes of each row."""

    def __init__(self, sheet: Sheet, place: Place) -> None:
        self._place = place
        self.columns: list[Column | None] = list(sheet.columns[place.column :])
        self._wide = max(1, place.last_column - place.column + 1)
        self.drafts: dict[int, Draft] = {}
        self.fitting: dict[int, Draft] = {}
        self.added: list[Draft] = []
        self.fitting_added: list[Draft] = []
        self.changes: list[Change] = []
        self.misfits: list[Misfit] = []

    def take(self, number: int, key: int | None, before: Draft, cells: Sequence[str]) -> None:
        """Put the cells of one pasted row into one row of the table."""
        if len(cells) == 1:
            cells = [cells[0]] * self._wide
        draft = fitting = before
        for at, text in enumerate(cells):
            column = self.columns[at] if at < len(self.columns) else None
            if column is None:
                if text:
                    self.misfits.append(Misfit(number, f"column {at + 1}", text, "The table has no such column."))
                continue
            old = column.text(draft)
            draft = column.put(draft, text)
            if column.id in draft.wrong:
                self.misfits.append(Misfit(number, column.title, text, draft.wrong[column.id].problem))
                continue
            fitting = column.put(fitting, text)
            if column.text(draft) != old:
                self.changes.append(Change(number, column.title, old, column.text(draft)))
        self._keep(key, before, draft, fitting)

    def _keep(self, key: int | None, before: Draft, draft: Draft, fitting: Draft) -> None:
        if key is None:
            self.added.append(draft)
            self.fitting_added.append(fitting)
        else:
            if draft.differs(before):
                self.drafts[key] = draft
            if fitting.differs(before):
                self.fitting[key] = fitting
