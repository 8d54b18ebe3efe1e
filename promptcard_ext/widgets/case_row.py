"""Rows of the case table as the browser gets them."""

from __future__ import annotations

from typing import Any

from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.widgets.case_columns import Column
from promptcard_ext.widgets.case_draft import QUARANTINED, Draft
from promptcard_ext.widgets.case_sheet import Row, Sheet

MAX_CELL_CHARS = 300
MAX_CONFLICT_CHARS = 4_000


def column_state(column: Column) -> dict[str, Any]:
    """Return what the browser has to know of a column."""
    return {
        "id": column.id,
        "title": harmless(column.title),
        "kind": column.kind,
        "values": [harmless(value) for value in column.values],
        "open": column.open,
        "unknown": column.unknown,
        "hint": harmless(column.hint),
        "default": harmless(column.default),
    }


def row_state(sheet: Sheet, row: Row) -> list[Any]:
    """Return one row.

    It is: key, number in the table, ``new``, ``changed`` or an empty text, texts of the cells, problems by place of the
    column, places of columns without a value, places of texts that are cut or shown otherwise than they are edited,
    what is wrong with the row as a whole, whether it is in conflict, whether it is quarantined.
    """
    draft, columns = row.draft, sheet.columns
    texts = [column.shown(draft) for column in columns]
    lacking = {column.id for column in sheet.lacks(draft)}
    wrong = {str(at): draft.wrong[one.id].problem for at, one in enumerate(columns) if one.id in draft.wrong}
    shown = [harmless(text[:MAX_CELL_CHARS]) for text in texts]
    problem = sheet.notes.get(row.key) or ("" if wrong else sheet.blocked(row))
    return [
        row.key,
        sheet.places[row.key] + 1,
        sheet.state(row),
        shown,
        {at: harmless(text) for at, text in wrong.items()},
        [at for at, column in enumerate(columns) if column.id in lacking],
        [at for at, text in enumerate(texts) if text != shown[at] or columns[at].id == "assertions"],
        harmless(problem),
        row.key in sheet.conflicts,
        QUARANTINED in draft.tags,
    ]


def conflict_state(sheet: Sheet, row: Row) -> dict[str, Any]:
    """Return what differs between a row and what somebody else has saved: column, mine, theirs."""
    saved = sheet.conflicts[row.key]
    if saved is None:
        return {"gone": True, "cells": []}
    theirs = Draft.of(saved)
    pairs = ((column, column.text(row.draft), column.text(theirs)) for column in sheet.columns)
    cells = [[column.title, _cut(mine), _cut(other)] for column, mine, other in pairs if mine != other]
    return {"gone": False, "cells": cells}


def _cut(text: str) -> str:
    return harmless(text[:MAX_CONFLICT_CHARS] + ("…" if len(text) > MAX_CONFLICT_CHARS else ""))
