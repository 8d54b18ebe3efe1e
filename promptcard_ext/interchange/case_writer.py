"""Cases into tables, from which they can be read again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import FileError
from promptcard_ext.core.variables import Variable
from promptcard_ext.interchange.case_files import plain
from promptcard_ext.interchange.cell_types import cell_text
from promptcard_ext.interchange.csv_expected import format_expected
from promptcard_ext.interchange.csv_writer import write_rows
from promptcard_ext.interchange.formula_guard import guarded
from promptcard_ext.interchange.spreadsheet import write_sheet
from promptcard_ext.interchange.table_columns import join_list, split_list


def write_cases(path: str | Path, cases: Iterable[Case], card: Card | None = None) -> int:
    """Write cases to a file (.csv, .jsonl, .xlsx) and return their number.

    `load_cases` reads the same cases from it: from JSON Lines always, from tables when the card says what types its
    variables have, or when they are all text. A spreadsheet cannot hold control characters, carriage returns, and texts
    of more than 32,767 characters.

    Args:
        card: For the order of the columns, and the types of their cells.

    Raises:
        FileError: It cannot be written (``file_unwritable``), or has another ending (``file_format``).
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl", ".xlsx"):
        raise FileError(
            f"Cases cannot be written to '{path.name}'.", code="file_format", hint="Use .csv, .jsonl or .xlsx."
        )
    try:
        if suffix == ".jsonl":
            return _write_lines(path, cases)
        held, table = list(cases), CaseTable(card)
        for case in held:
            table.add(case)
        rows = map(table.row, held)
        if suffix == ".xlsx":
            write_sheet(path, table.header, rows)
        else:
            with path.open("w", encoding="utf-8", newline="", errors="surrogatepass") as file:
                write_rows(file, ([guarded(cell) for cell in row] for row in (table.header, *rows)))
        return len(held)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}.", code="file_unwritable") from None


def _write_lines(path: Path, cases: Iterable[Case]) -> int:
    number = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for case in cases:
            # Escaped, so that a lone surrogate, which has no UTF-8, is kept.
            file.write(json.dumps(msgspec.to_builtins(case)) + "\n")
            number += 1
    return number


class CaseTable:
    """The columns that cases need: those are added one by one, and then written one by one.

    Args:
        card: For the order of the columns, and the types of their cells.
    """

    def __init__(self, card: Card | None = None) -> None:
        self._declared = {variable.name: variable for variable in card.variables} if card else {}
        self._used: dict[str, None] = {}
        self._expected = 0
        self._metadata: dict[str, bool] = {}
        self._needed = dict.fromkeys(
            ("__description", "__expected_output", "__priority", "__threshold", "__assertions"), False
        )

    def add(self, case: Case) -> None:
        """Take note of the columns that a case needs."""
        short = _short(case)
        self._used |= dict.fromkeys(case.variables)
        self._expected = max(self._expected, len(short or ()))
        for key, value in case.metadata.items():
            self._metadata[key] = self._metadata.get(key, True) and _is_list(value)
        needed = (
            _shows_name(case),
            case.expected_output is not None,
            case.priority != "medium",
            case.threshold is not None,
            short is None,
        )
        for name, is_needed in zip(self._needed, needed, strict=True):
            self._needed[name] |= is_needed

    @property
    def _variables(self) -> dict[str, Variable | None]:
        order = (*(name for name in self._declared if name in self._used), *self._used)
        return {name: self._declared.get(name) for name in order}

    @property
    def _more(self) -> list[str]:
        return [name for name, is_needed in self._needed.items() if is_needed]

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        expected = [f"__expected{number}" for number in range(1, self._expected + 1)]
        metadata = (f"__metadata:{key}[]" if lists else f"__metadata:{key}" for key, lists in self._metadata.items())
        return [*self._variables, *expected, *self._more, *metadata]

    def row(self, case: Case) -> list[str]:
        """Return the cells of a case."""
        short = _short(case)
        expected = list(short or ())
        return [
            *(cell_text(case.variables[n], v) if n in case.variables else "" for n, v in self._variables.items()),
            *expected, *[""] * (self._expected - len(expected)),
            *(self._cell(name, case, short) for name in self._more),
            *(_metadata(case.metadata.get(key), lists) for key, lists in self._metadata.items()),
        ]  # fmt: skip

    def _cell(self, name: str, case: Case, short: Sequence[str] | None) -> str:
        if name == "__description":
            return case.name if _shows_name(case) else ""
        if name == "__expected_output":
            return case.expected_output or ""
        if name == "__priority":
            return case.priority
        if name == "__threshold":
            return "" if case.threshold is None else repr(case.threshold)
        written = [] if short is not None else msgspec.to_builtins(case.assertions)
        return json.dumps(written, ensure_ascii=False) if written else ""


def _shows_name(case: Case) -> bool:
    # Without it, a case whose texts are all empty would be an empty row, and those are passed over.
    return case.name != case.uid[:8] or all(value == "" for value in case.variables.values())


def _short(case: Case) -> tuple[str, ...] | None:
    """Return the short forms of all assertions, or None when one of them has none."""
    forms = tuple(format_expected(assertion) for assertion in case.assertions)
    return None if None in forms else tuple(filter(None, forms))


def _is_list(value: Any) -> bool:
    """Tell whether it is a list of texts that comes back from one cell."""
    texts = isinstance(value, list | tuple) and bool(value) and all(isinstance(one, str) for one in value)
    return texts and split_list(join_list(value)) == list(value)


def _metadata(value: Any, lists: bool) -> str:
    if lists:
        return join_list(value or ())
    value = plain(value)
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
