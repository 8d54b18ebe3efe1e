"""From one row of a table, or one JSON value, to a case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import FileError, PromptCardError
from promptcard_ext.interchange.cell_types import MISSING, typed
from promptcard_ext.interchange.table_columns import ColumnError, Columns, Row
from promptcard_ext.interchange.tables import Record

_CASE_FIELDS = frozenset(Case.__struct_fields__)
_PROMPTFOO_FIELDS = frozenset({"description", "vars", "assert", "threshold", "metadata"})


class CaseMaker:
    """Makes the cases of one table.

    Args:
        name: What to call the table in errors.
        card: For the types of its variables.
    """

    def __init__(self, name: str, card: Card | None = None) -> None:
        self.name = name
        self._declared = {variable.name: variable for variable in card.variables} if card else {}
        self._names = (list(self._declared) or sorted(card.used_variables)) if card else None
        self._columns: dict[tuple[str, ...], Columns] = {}
        self._assertions: dict[str, Assertion] = {}

    def case(self, record: Record) -> Case:
        """Return the case of one row.

        Raises:
            FileError: Something in it does not fit (``case_file_invalid``, or the code of what is wrong).
        """
        value = record.value
        try:
            if isinstance(value, Case):
                return value
            if not isinstance(value, Mapping):
                raise ValueError("it is no mapping of names to values")
            if isinstance(value.get("variables"), Mapping) and set(value) <= _CASE_FIELDS:
                return msgspec.convert(dict(value), Case)
            if isinstance(value.get("vars"), Mapping) and set(value) <= _PROMPTFOO_FIELDS:
                return self._promptfoo(value)
            return self._row(self._columns_of(value).row(value))
        except (ColumnError, ValueError, msgspec.ValidationError) as error:
            problem = str(error).rstrip(".")
            raise FileError(f"{self.name}, {record.where}: {problem}.", code="case_file_invalid") from None
        except PromptCardError as error:
            message = f"{self.name}, {record.where}: {error.message}"
            raise FileError(message, code=error.code, hint=error.hint) from None

    def _columns_of(self, value: Mapping[str, Any]) -> Columns:
        header = tuple(value)
        found = self._columns.get(header)
        if found is None:
            if len(self._columns) > 1_000:
                self._columns.clear()
            found = self._columns[header] = Columns(map(str, header), self._names)
        return found

    def _row(self, row: Row) -> Case:
        variables = {}
        for name, cell in row.variables.items():
            try:
                value = typed(cell, self._declared.get(name))
            except ValueError as error:
                raise ColumnError(name, str(error)) from None
            if value is not MISSING:
                variables[name] = value
        for affix in ("prefix", "suffix"):
            if text := getattr(row, affix):
                variables[self._affix(affix)] = text
        written = msgspec.convert(row.written, tuple[Assertion, ...])
        return Case(
            variables,
            (*map(self._assertion, row.specs), *written),
            row.name,
            row.expected_output,
            row.priority or "medium",
            row.threshold,
            row.metadata,
        )

    def _assertion(self, spec: dict[str, Any]) -> Assertion:
        # Thousands of rows share theirs, and the engine compiles one object once.
        key = repr(spec)
        found = self._assertions.get(key)
        if found is None:
            if len(self._assertions) >= 1_000:
                self._assertions.clear()
            found = self._assertions[key] = Assertion(**spec)
        return found

    def _affix(self, affix: str) -> str:
        name = f"prompt_{affix}"
        if self._names is not None and name not in self._names:
            raise ColumnError(f"__{affix}", f"the card has no variable '{name}' that could take it")
        return name

    def _promptfoo(self, value: Mapping[str, Any]) -> Case:
        specs = [dict(one) if isinstance(one, Mapping) else {"type": one} for one in value.get("assert") or ()]
        for spec in specs:
            if more := set(spec) - {"type", "value", "threshold", "weight", "metric"}:
                raise ValueError(f"its assertion has '{min(more)}'; import the whole configuration instead")
        return Case(
            dict(value["vars"]),
            tuple(Assertion(**spec) for spec in specs),
            str(value.get("description") or ""),
            threshold=value.get("threshold"),
            metadata=dict(value.get("metadata") or {}),
        )
