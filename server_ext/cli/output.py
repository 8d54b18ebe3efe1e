"""What operators' commands print: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, json

from promptcard_ext.core import wire


def print_list(items: Sequence[Struct], columns: Iterable[str], *, as_json: bool, empty: str) -> None:
    """Print things, a line each.

    Args:
        columns: The fields that a table shows; JSON has all.
        empty: What to say when there is none.
    """
    if as_json:
        print_json(items)
    elif not items:
        print(empty)
    else:
        _print_table(list(columns), [[_text(getattr(item, name)) for name in columns] for item in items])


def print_one(item: Struct, *, as_json: bool) -> None:
    """Print one thing, a field a line."""
    if as_json:
        print_json(item)
    else:
        for name in item.__struct_fields__:
            print(f"{name.replace('_', ' '):<16} {_text(getattr(item, name))}")


def print_done(sentence: str, *, as_json: bool, **facts: Any) -> None:
    """Print that something was done."""
    if as_json:
        print_json(facts)
    else:
        print(sentence)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.format(wire.encode(value), indent=2).decode())


def _print_table(columns: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(header_style="bold")
    for name in columns:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console = Console()
    # A file or a pipe has no width; 80 columns would break the table for nobody's benefit.
    (console if console.is_terminal else Console(width=200)).print(table)


def _text(value: Any) -> str:
    """Return a value as a terminal may show it: a name may hold control codes, which it must not obey."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value) or "–"
    if isinstance(value, dict):
        return ", ".join(f"{key}={_text(item)}" for key, item in value.items()) or "–"
    return "".join(char if char.isprintable() else "·" for char in str(value))
