"""Changes of a form as they come from a browser: pairs of a path and the value that is there now.

======================================= ===================================================================
path                                    value
======================================= ===================================================================
``["title"]``, ``["description"]``      text
``["tags"]``                            list of texts
``["settings", name]``                  text
``["messages", key, field]``            text; also of ``examples`` and ``variables``; a default may be null
``["messages"]``                        the whole list, in its new order
======================================= ===================================================================
"""

from __future__ import annotations

from typing import Any

from promptcard_ext.widgets.editing.form import NUMBERS, ROWS, TEXTS, Form, typed

Change = tuple[list[str], Any]
# Beyond any card that could be saved; what is longer is not taken.
MAX_CHARS = 1_200_000
MAX_ROWS = 300


def applied(form: Form, changes: Any) -> tuple[Form, list[Change]] | None:
    """Return a form with the changes made, and those that could be made; None when they are none of ours.

    A change of a row that is not there any more cannot be made.
    """
    if not isinstance(changes, list):
        return None
    made: list[Change] = []
    for change in changes:
        if not isinstance(change, list) or len(change) != 2 or not _fits(*change):
            return None
        path, value = change[0], typed(change[1])
        if len(path) < 3:
            form = {**form, path[0]: value} if len(path) == 1 else {**form, path[0]: {**form[path[0]], path[1]: value}}
        elif any(row["key"] == path[1] for row in form[path[0]]):
            rows = [{**row, path[2]: value} if row["key"] == path[1] else row for row in form[path[0]]]
            form = {**form, path[0]: rows}
        else:
            continue
        made.append((path, value))
    return None if _size(form) > MAX_CHARS else (form, made)


def between(before: Form, after: Form) -> list[Change]:
    """Return the changes that make ``after`` of ``before``, list by list."""
    return [([name], value) for name, value in after.items() if name != "settings" and value != before[name]] + [
        (["settings", name], value) for name, value in after["settings"].items() if value != before["settings"][name]
    ]


def same(one: Form, other: Form) -> bool:
    """Tell whether two forms say the same, whatever the keys of their rows."""
    return _bare(one) == _bare(other)


def _bare(form: Form) -> Form:
    return {**form, **{name: [{**row, "key": ""} for row in form[name]] for name in ROWS}}


def _fits(path: Any, value: Any) -> bool:
    if not isinstance(path, list) or not path or not all(isinstance(part, str) for part in path):
        return False
    name = path[0]
    if len(path) == 1:
        if name in TEXTS:
            return isinstance(value, str)
        if name == "tags":
            return isinstance(value, list) and len(value) <= MAX_ROWS and all(isinstance(tag, str) for tag in value)
        return name in ROWS and _are_rows(name, value)
    if len(path) == 2:
        return name == "settings" and path[1] in (*NUMBERS, "other") and isinstance(value, str)
    return len(path) == 3 and name in ROWS and path[2] in ROWS[name] and _is_field(path[2], value)


def _are_rows(name: str, rows: Any) -> bool:
    if not isinstance(rows, list) or len(rows) > MAX_ROWS:
        return False
    wanted = {"key", *ROWS[name]}
    for row in rows:
        if not isinstance(row, dict) or row.keys() != wanted or not all(_is_field(*field) for field in row.items()):
            return False
    keys = [row["key"] for row in rows]
    return len(set(keys)) == len(keys)


def _is_field(name: str, value: Any) -> bool:
    return isinstance(value, str) or (name == "default" and value is None)


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 0
