"""From cells of a table to values of the types that a card declares, and back."""

from __future__ import annotations

import json
import re
from typing import Any

from promptcard_ext.core.card import Variable
from promptcard_ext.core.identity import refuse_constant

_INTEGER = re.compile(r"[-+]?[0-9]{1,300}\Z")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?\Z")
_BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_TEXTS = frozenset({"string", "enum", "datetime", "secret"})

MISSING: Any = object()


def typed(cell: Any, variable: Variable | None) -> Any:
    """Return the value that a cell stands for.

    Args:
        cell: Text, or what a spreadsheet or a data frame has: a number, a boolean, a list; None is an empty cell.
        variable: As the card declares it; None takes the cell as it is.

    Returns:
        The value, or `MISSING` for an empty cell, which leaves the variable to its default. An empty cell of a text
        without a default is an empty text.

    Raises:
        ValueError: The cell cannot be read as that type; says what was expected.
    """
    if variable is None:
        return "" if cell is None else cell
    has_default = not _is_unset(variable.default)
    if cell is None or (isinstance(cell, str) and not cell.strip() and (has_default or variable.type not in _TEXTS)):
        return "" if variable.type == "string" and not has_default else MISSING
    if variable.type in _TEXTS:
        return cell if isinstance(cell, str) else _as_text(cell)
    return _READERS.get(variable.type, _json)(cell)


def _is_unset(value: Any) -> bool:
    import msgspec

    return value is msgspec.UNSET


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else json.dumps(value, ensure_ascii=False)


def _integer(cell: Any) -> int:
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell
    if isinstance(cell, str) and _INTEGER.match(cell.strip()):
        return int(cell)
    raise ValueError(f"{cell!r:.60} is no integer")


def _number(cell: Any) -> float | int:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return cell
    if isinstance(cell, str) and _INTEGER.match(cell.strip()):
        return int(cell)
    if isinstance(cell, str) and _NUMBER.match(cell.strip()):
        return float(cell)
    raise ValueError(f"{cell!r:.60} is no number (a decimal point is a point)")


def _boolean(cell: Any) -> bool:
    if isinstance(cell, bool):
        return cell
    value = _BOOLEANS.get(str(cell).strip().lower())
    if value is None:
        raise ValueError(f"{cell!r:.60} is neither true nor false")
    return value


def _list(cell: Any) -> Any:
    value = _parsed(cell) if isinstance(cell, str) else cell
    if not isinstance(value, list | tuple):
        raise ValueError(f"{cell!r:.60} is no JSON list")
    return value


def _json(cell: Any) -> Any:
    """Return JSON as its value; a text that is no JSON stands for itself."""
    if not isinstance(cell, str):
        return cell
    try:
        return _parsed(cell)
    except ValueError:
        return cell


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


_READERS = {"integer": _integer, "number": _number, "boolean": _boolean, "list": _list}


def cell_text(value: Any, variable: Variable | None = None) -> str:
    """Return the text of a cell from which `typed` makes ``value`` again.

    Example:
        >>> cell_text("7"), cell_text("7", Variable("n", "json")), cell_text([1, True])
        ('7', '"7"', '[1, true]')
    """
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if variable is not None and variable.type not in _TEXTS and (not value.strip() or _json(value) != value):
        # As it stands it would be read as something else than text.
        return json.dumps(value, ensure_ascii=False)
    return value
