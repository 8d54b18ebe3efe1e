"""Cases into tables, from which they can be read again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import FileError
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
        held = list(cases)
        table = _Table(held, card)
        if suffix == ".xlsx":
            write_sheet(path, table.header, table.rows(held))
        else:
            with path.open("w", encoding="utf-8", newline="", errors="surrogatepass") as file:
                write_rows(file, ([guarded(cell) for cell in row] for row in (table.header, *table.rows(held))))
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


class _Table:
    """The columns that cases need."""

    def __init__(self, cases: Sequence[Case], card: Card | None) -> None:
        declared = {variable.name: variable for variable in card.variables} if card else {}
        used = dict.fromkeys(name for case in cases for name in case.variables)
        self._variables = {name: declared.get(name) for name in (*(n for n in declared if n in used), *used)}
        self._expected = max((len(_short(case) or ()) for case in cases), default=0)
        self._metadata = {
            key: all(_is_list(case.metadata[key]) for case in cases if key in case.metadata)
            for key in dict.fromkeys(key for case in cases for key in case.metadata)
        }
        more = {
            "__description": any(map(_shows_name, cases)),
            "__expected_output": any(case.expected_output is not None for case in cases),
            "__priority": any(case.priority != "medium" for case in cases),
            "__threshold": any(case.threshold is not None for case in cases),
            "__assertions": any(_short(case) is None for case in cases),
        }
        self._more = [name for name, needed in more.items() if needed]

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        expected = [f"__expected{number}" for number in range(1, self._expected + 1)]
        metadata = (f"__metadata:{key}[]" if lists else f"__metadata:{key}" for key, lists in self._metadata.items())
        return [*self._variables, *expected, *self._more, *metadata]

    def rows(self, cases: Iterable[Case]) -> Iterator[list[str]]:
        """Yield the cells of each case."""
        for case in cases:
            short = _short(case)
            expected = list(short or ())
            yield [
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
