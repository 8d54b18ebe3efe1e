"""What the columns of a table of cases mean: variables, and the reserved ones that begin with two underscores."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from promptcard_ext.core.identity import refuse_constant
from promptcard_ext.interchange.csv_expected import parse_expected

_EXPECTED = re.compile(r"__expected(\d*)\Z")
_CONFIG = re.compile(r"__config:__expected(\d*):(threshold|metric|weight|provider)\Z")
_METADATA = re.compile(r"__metadata:(.+?)(\[\])?\Z")
_SINGLE = {
    "__description": "name",
    "__name": "name",
    "__expected_output": "expected_output",
    "__priority": "priority",
    "__prefix": "prefix",
    "__suffix": "suffix",
    "__threshold": "threshold",
    "__metric": "metric",
    "__assertions": "assertions",
}
# Without the underscores they are meant too, where the card has no variable of that name.
_PLAIN = {"name": "name", "expected_output": "expected_output", "priority": "priority"}
_NUMBERS = ("threshold", "weight")


class ColumnError(Exception):
    """Something in one cell, or one column, cannot be used."""

    def __init__(self, column: str, problem: str) -> None:
        super().__init__(f"column '{column!s:.60}': {problem}")


class Row(NamedTuple):
    """A row of a table of cases, taken apart.

    Attributes:
        variables: Cells of the columns that are variables, as they are in the table.
        specs: Assertions of the ``__expected`` columns: type, value, threshold, metric, weight, provider.
        written: Assertions of the ``__assertions`` column, as they are in a card file.
    """

    variables: dict[str, Any]
    specs: list[dict[str, Any]]
    written: list[Any]
    metadata: dict[str, Any]
    name: str = ""
    expected_output: str | None = None
    priority: str = ""
    prefix: str = ""
    suffix: str = ""
    threshold: float | None = None


class Columns:
    """The columns of a table.

    Args:
        header: Their names.
        variables: Names of the card's variables; None when there is no card, and every plain column is a variable.

    Raises:
        ColumnError: A name begins with two underscores and means nothing.
    """

    def __init__(self, header: Iterable[str], variables: Sequence[str] | None = None) -> None:
        self.names = list(header)
        self._variables: list[str] = []
        self._single: dict[str, str] = {}
        self._expected: dict[str, str] = {}
        self._config: list[tuple[str, str, str]] = []
        self._metadata: list[tuple[str, str, bool]] = []
        for name in self.names:
            self._sort(name, variables)

    def _sort(self, name: str, variables: Sequence[str] | None) -> None:
        if expected := _EXPECTED.match(name):
            self._expected[name] = expected[1]
        elif config := _CONFIG.match(name):
            self._config.append((name, config[1], config[2]))
        elif metadata := _METADATA.match(name):
            self._metadata.append((name, metadata[1], bool(metadata[2])))
        elif name in _SINGLE:
            self._single[name] = _SINGLE[name]
        elif name.startswith("__"):
            raise ColumnError(name, "names with two underscores are reserved, and this one means nothing")
        elif variables is not None and name not in variables and name in _PLAIN:
            self._single[name] = _PLAIN[name]
        elif variables is not None and name not in variables and name.startswith("metadata."):
            self._metadata.append((name, name.removeprefix("metadata."), False))
        elif name:
            self._variables.append(name)

    def row(self, cells: Mapping[str, Any]) -> Row:
        """Take a row apart.

        Raises:
            ColumnError: A threshold or weight is no number, or ``__assertions`` is no JSON list.
        """
        single: dict[str, Any] = {}
        for column, field in self._single.items():
            if not _empty(cells.get(column)):
                single[field] = cells[column]
        metric = single.pop("metric", None)
        written = _json_list("__assertions", single.pop("assertions", None))
        threshold = single.pop("threshold", None)
        fields: dict[str, Any] = {field: str(value) for field, value in single.items()}
        return Row(
            {name: cells.get(name) for name in self._variables},
            self._specs(cells, None if metric is None else str(metric)),
            written,
            self._metadata_of(cells),
            threshold=None if threshold is None else _number("__threshold", threshold),
            **fields,
        )

    def _specs(self, cells: Mapping[str, Any], metric: str | None) -> list[dict[str, Any]]:
        specs: list[dict[str, Any]] = []
        for column, number in self._expected.items():
            if _empty(cells.get(column)):
                continue
            spec = parse_expected(str(cells[column])) | ({"metric": metric} if metric else {})
            for name, wanted, field in self._config:
                # Without a number it holds for all of them.
                if wanted in ("", number) and not _empty(cells.get(name)):
                    spec[field] = _number(name, cells[name]) if field in _NUMBERS else str(cells[name])
            specs.append(spec)
        return specs

    def _metadata_of(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for column, key, many in self._metadata:
            value = cells.get(column)
            if not _empty(value):
                found[key] = split_list(str(value)) if many else value
        return found


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _number(column: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ColumnError(column, f"{value!r:.60} is no number") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise ColumnError(column, f"{value!r:.60} is no number")
    return number


def _json_list(column: str, text: Any) -> list[Any]:
    if text is None:
        return []
    try:
        value = json.loads(str(text), parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise ColumnError(column, "it is no JSON") from None
    if not isinstance(value, list):
        raise ColumnError(column, "it is no list of assertions")
    return value


def join_list(texts: Iterable[str]) -> str:
    r"""Return texts as one cell: between commas, where ``\,`` is a comma."""
    return ",".join(text.replace(",", "\\,") for text in texts)


def split_list(text: str) -> list[str]:
    r"""Split at commas; ``\,`` is a comma."""
    return [part.replace("\\,", ",").strip() for part in re.split(r"(?<!\\),", text) if part.strip()]
