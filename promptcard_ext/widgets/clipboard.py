r"""Cells of a spreadsheet as text of the clipboard, in and out.

Spreadsheets copy cells with tabs between them and a line for each row; a cell with a tab, a line break or a quotation
mark in it stands in quotation marks, which are doubled inside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from promptcard_ext.core.errors import CardError
from promptcard_ext.interchange.formula_guard import guarded, unguarded

MAX_CHARS = 10_000_000
MAX_CELLS = 1_000_000
SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";"}
# A quoted cell ends at a separator or a line's end. What begins with a quotation mark and does not end so is a text
# that begins with one. Possessive: no text makes it look twice.
_QUOTED = {mark: re.compile(rf'"((?:[^"]++|"")*+)"(?=[{mark}\r\n]|\Z)') for mark in SEPARATORS.values()}
_PLAIN = {mark: re.compile(rf"[^{mark}\r\n]*") for mark in SEPARATORS.values()}
_LINE_END = re.compile(r"\r\n|\r|\n")


def parse(text: str, separator: str = "") -> list[list[str]]:
    r"""Return the rows of a copied table; they may differ in length.

    Args:
        separator: ``tab``, ``comma`` or ``semicolon``; empty takes the tab where there is one. Without any, commas or
            semicolons separate when every one of several lines has the same number of them; otherwise each line is one
            cell.

    Raises:
        CardError: The text has more than 10,000,000 characters or 1,000,000 cells (``paste_too_large``).

    Example:
        >>> parse('Ada\t"two\nlines"\nBob\tone\n')
        [['Ada', 'two\nlines'], ['Bob', 'one']]
    """
    if len(text) > MAX_CHARS:
        raise _too_large()
    if separator:
        return _parsed(text, SEPARATORS[separator])
    by_tab = _parsed(text, "\t")
    if any(len(row) > 1 for row in by_tab):
        return by_tab
    for mark in (",", ";"):
        rows = _parsed(text, mark)
        if len(rows) > 1 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1:
            return rows
    return by_tab


def _parsed(text: str, mark: str) -> list[list[str]]:
    quoted, plain = _QUOTED[mark], _PLAIN[mark]
    rows: list[list[str]] = []
    row: list[str] = []
    at, cells = 0, 0
    while at < len(text) or row:
        cell = quoted.match(text, at)
        if cell is not None:
            row.append(unguarded(cell[1].replace('""', '"')))
        else:
            cell = plain.match(text, at)
            assert cell is not None, "it matches nothing, too"
            row.append(unguarded(cell[0]))
        at, cells = cell.end(), cells + 1
        if cells > MAX_CELLS:
            raise _too_large()
        if text[at : at + 1] == mark:
            at += 1
            continue
        rows.append(row)
        row = []
        if end := _LINE_END.match(text, at):
            at = end.end()
    return rows


def _too_large() -> CardError:
    return CardError(
        f"This is more than {MAX_CHARS:,} characters or {MAX_CELLS:,} cells.",
        hint="Save it as a file, and load that with pc.load_cases.",
        code="paste_too_large",
    )


def written(rows: Sequence[Sequence[str]]) -> str:
    r"""Return rows as a spreadsheet takes them from the clipboard; no cell is taken for a formula.

    Example:
        >>> written([["Ada", "two\nlines"], ["Bob", "=1+1"]])
        'Ada\t"two\nlines"\nBob\t\'=1+1\n'
    """
    return "".join("\t".join(map(_cell, row)) + "\n" for row in rows)


def _cell(text: str) -> str:
    text = guarded(text)
    if text.startswith('"') or any(mark in text for mark in "\t\r\n"):
        return '"' + text.replace('"', '""') + '"'
    return text
