"""Cases from data frames: importing this gives every pandas data frame ``df.pc.to_cases(…)``."""

from __future__ import annotations

import datetime
import difflib
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import CardError, PromptCardError
from promptcard_ext.core.shown import Listing
from promptcard_ext.interchange.csv_expected import parse_expected
from promptcard_ext.interchange.frames import ledger_frame, results_frame, summary_frame
from promptcard_ext.interchange.table_columns import split_list

__all__ = ["CaseFrame", "ledger_frame", "results_frame", "summary_frame", "to_cases"]

Names = str | Sequence[str]
_MISSING = object()


def to_cases(
    frame: pd.DataFrame,
    vars: Sequence[str] | Mapping[str, str] | None = None,  # noqa: A002  as everybody calls them
    *,
    expect: Names | Mapping[str, str] | None = None,
    name: str | None = None,
    tags: Names | None = None,
    group: str | None = None,
) -> list[Case]:
    """Return the cases in a data frame, one for each different set of variables.

    Rows with the same variables are one case; they must not expect different things. A missing value (None, NaN, NaT)
    leaves its variable out. Numbers of NumPy become plain ones; whole numbers that pandas has made floats because one
    of their column is missing become whole again. Dates and times become texts in ISO 8601.

    Args:
        vars: Columns that are variables, or a mapping from variable to column; default all columns that are nothing
            else.
        expect: Columns with assertions in their short form (``contains: Rome``; a plain text must be equal), or a
            mapping from kind to column: ``{"contains": "answer"}``. An empty cell asserts nothing.
        name: Column with names of cases.
        tags: Columns with tags, as lists or as texts between commas; they come into the metadata.
        group: Column that says which cases belong together; it comes into the metadata.

    Raises:
        CardError: There is no such column, or two of that name (``frame_column``); a value is not JSON, or an assertion
            makes no sense (the message names row and column); rows with the same variables expect different things
            (``case_twice``).

    Example:
        >>> frame = pd.DataFrame({"city": ["Rome", "Oslo"], "days": [3, None], "want": ["contains: Rome", None]})
        >>> [(case.variables, len(case.assertions)) for case in to_cases(frame, expect="want")]
        [({'city': 'Rome', 'days': 3}, 1), ({'city': 'Oslo'}, 0)]
    """
    table = _CaseTable(frame, vars, expect, name, tags, group)
    found: dict[str, tuple[Case, int]] = {}
    for row in range(len(frame)):
        case = table.case(row)
        known, first = found.setdefault(case.uid, (case, row))
        if known.assertions != case.assertions:
            raise CardError(
                f"Rows {_where(frame, first)} and {_where(frame, row)} have the same variables and expect different "
                "things.",
                hint="Put everything that must hold into one row, or add the column that tells them apart to 'vars'.",
                code="case_twice",
            )
    return Listing(case for case, _ in found.values())


class _CaseTable:
    """The columns of a frame that matter, as plain values; the arguments are those of `to_cases`."""

    def __init__(
        self,
        frame: pd.DataFrame,
        variables: Sequence[str] | Mapping[str, str] | None,
        expect: Names | Mapping[str, str] | None,
        name: str | None,
        tags: Names | None,
        group: str | None,
    ) -> None:
        self._frame, self._name, self._group = frame, name, group
        self._expected = _expected_columns(expect)
        self._tags = [tags] if isinstance(tags, str) else list(tags or ())
        other = [*(column for _, column in self._expected), *self._tags, *filter(None, [name, group])]
        if isinstance(variables, Mapping):
            self._variables = dict(variables)
        else:
            free = [column for column in frame.columns if column not in other]
            self._variables = {str(column): column for column in (free if variables is None else variables)}
        columns = dict.fromkeys([*self._variables.values(), *other])
        self._cells = {column: _cells(frame, column) for column in columns}

    def case(self, row: int) -> Case:
        """Return the case of a row."""
        given = {variable: self._cells[column][row] for variable, column in self._variables.items()}
        variables = {name: value for name, value in given.items() if value is not _MISSING}
        assertions = tuple(
            _assertion(kind, column, value, self._frame, row)
            for kind, column in self._expected
            if (value := self._cells[column][row]) is not _MISSING and value != ""
        )
        name = _MISSING if self._name is None else self._cells[self._name][row]
        try:
            return Case(variables, assertions, "" if name is _MISSING else str(name), metadata=self._metadata(row))
        except PromptCardError as error:
            message = f"Row {_where(self._frame, row)}: {error.message}"
            raise CardError(message, code=error.code, hint=error.hint) from None

    def _metadata(self, row: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        tags: dict[str, None] = {}
        for column in self._tags:
            value = self._cells[column][row]
            if value is not _MISSING:
                parts = split_list(value) if isinstance(value, str) else value if isinstance(value, list) else [value]
                tags.update(dict.fromkeys(map(str, parts)))
        if tags:
            metadata["tags"] = list(tags)
        if self._group is not None and (group := self._cells[self._group][row]) is not _MISSING:
            metadata["group"] = group
        return metadata


def _expected_columns(expect: Names | Mapping[str, str] | None) -> list[tuple[str | None, str]]:
    """Return kind and column of each assertion; without a kind the cell names it."""
    if isinstance(expect, Mapping):
        return list(expect.items())
    return [(None, column) for column in ([expect] if isinstance(expect, str) else expect or ())]


def _cells(frame: pd.DataFrame, column: str) -> list[Any]:
    if column not in frame.columns:
        close = difflib.get_close_matches(str(column), [str(one) for one in frame.columns], 1)
        names = ", ".join(map(str, list(frame.columns)[:10]))
        raise CardError(
            f"The data frame has no column '{column!s:.60}'.",
            hint=f"Did you mean '{close[0]}'?" if close else f"It has: {names}.",
            code="frame_column",
        )
    if list(frame.columns).count(column) > 1:
        raise CardError(f"The data frame has several columns '{column!s:.60}'.", code="frame_column")
    series = frame[column]
    cells = []
    for row, value in enumerate(series):
        try:
            cells.append(_plain(value))
        except ValueError as error:
            raise _invalid(frame, row, column, str(error)) from None
    if pd.api.types.is_float_dtype(series.dtype) and _MISSING in cells:
        floats = [value for value in cells if value is not _MISSING]
        if all(value.is_integer() for value in floats):
            return [value if value is _MISSING else int(value) for value in cells]
    return cells


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, or `_MISSING`.

    Raises:
        ValueError: JSON has nothing like it.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _inner(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [_inner(one) for one in (sorted(value) if isinstance(value, set) else value)]
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return _MISSING
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int):
        return value
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not JSON")
        return value
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, pd.Timedelta | datetime.timedelta):
        return pd.Timedelta(value).isoformat()
    if isinstance(value, pd.Period | pd.Interval):
        return str(value)
    raise ValueError(f"a {type(value).__name__} is not JSON")


def _inner(value: Any) -> Any:
    plain = _plain(value)
    return None if plain is _MISSING else plain


def _assertion(kind: str | None, column: str, value: Any, frame: pd.DataFrame, row: int) -> Assertion:
    try:
        return Assertion(**parse_expected(str(value))) if kind is None else Assertion(kind, value)
    except PromptCardError as error:
        raise _invalid(frame, row, column, error.message.rstrip("."), error.code, error.hint) from None


def _invalid(
    frame: pd.DataFrame, row: int, column: str, problem: str, code: str = "case_invalid", hint: str = ""
) -> CardError:
    return CardError(f"Row {_where(frame, row)}, column '{column!s:.60}': {problem}.", code=code, hint=hint)


def _where(frame: pd.DataFrame, row: int) -> str:
    """Return the number of a row from 0, and its label where that is something else."""
    label = frame.index[row]
    return f"{row}" if label == row else f"{row} ({label!s:.40})"


@pd.api.extensions.register_dataframe_accessor("pc")
class CaseFrame:
    """What every data frame has as ``df.pc``."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def to_cases(
        self,
        vars: Sequence[str] | Mapping[str, str] | None = None,  # noqa: A002  as everybody calls them
        *,
        expect: Names | Mapping[str, str] | None = None,
        name: str | None = None,
        tags: Names | None = None,
        group: str | None = None,
    ) -> list[Case]:
        """Return the cases in this data frame, one for each different set of variables; as `to_cases` says."""
        return to_cases(self._frame, vars, expect=expect, name=name, tags=tags, group=group)
