"""Which tables and columns a SQL statement touches, and whether they are on the list.

A table is written ``{how}::{database}::{table}`` and a column ``{how}::{table}::{column}``, with ``null`` for what the
statement does not say and ``*`` for all columns; ``how`` is select, insert, update or delete, or what the statement is:
create, drop, alter, truncatetable. An entry of a list is a pattern that must match the whole of one, in any case.

What is unclear counts as touched. Every table that an UPDATE or DELETE names outside of a query counts as updated or
deleted, and a name is one of a common table expression only where SQL says that it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from promptcard_ext.core.assertions.base import Assertion
from promptcard_ext.core.assertions.text import compile_pattern, utf8

if TYPE_CHECKING:
    from sqlglot import exp

MAX_ENTRIES = 500


class Access(NamedTuple):
    """What may be touched; None: anything."""

    tables: tuple[Any, ...] | None
    columns: tuple[Any, ...] | None

    def refused(self, statement: exp.Expr) -> str | None:
        """Return the first table or column that the statement touches and may not, or None."""
        if self.tables is None and self.columns is None:
            return None
        touched = _Touched(statement)
        if self.tables is not None and (table := _first_refused(touched.tables(), self.tables)) is not None:
            return table
        return None if self.columns is None else _first_refused(touched.columns(), self.columns)


def access_of(assertion: Assertion, tables: Any, columns: Any) -> Access:
    """Return what ``allowedTables`` and ``allowedColumns`` allow.

    Raises:
        CardError: One is not a list of patterns (``assertion_invalid``).
    """
    return Access(_patterns(assertion, "allowedTables", tables), _patterns(assertion, "allowedColumns", columns))


def _patterns(assertion: Assertion, name: str, entries: Any) -> tuple[Any, ...] | None:
    if entries is None:
        return None
    if not isinstance(entries, list | tuple) or len(entries) > MAX_ENTRIES:
        raise assertion.invalid(f"'{name}' must be a list of at most {MAX_ENTRIES} patterns")
    if not all(isinstance(entry, str) and entry for entry in entries):
        raise assertion.invalid(f"an entry of '{name}' is empty or not a text")
    return tuple(compile_pattern(assertion, f"(?i)(?:{entry})") for entry in entries)


def _first_refused(touched: Iterable[Sequence[str]], patterns: tuple[Any, ...]) -> str | None:
    """Return the first of ``touched`` that no pattern matches under any of its names."""
    for names in touched:
        if not any(pattern.fullmatch(utf8(name)) for name in names for pattern in patterns):
            return names[0]
    return None


class _Touched:
    """The tables of one statement, by the query or change that names them."""

    def __init__(self, statement: exp.Expr) -> None:
        from sqlglot import exp

        self._statement = statement
        self._named: dict[int, list[exp.Table]] = defaultdict(list)
        self._aliases: dict[str, set[str]] = defaultdict(set)
        for table in statement.find_all(exp.Table):
            if table.name and not _is_cte(table):
                self._named[id(_place(table))].append(table)
                self._aliases[(table.alias or table.name).lower()].add(table.name)

    def tables(self) -> Iterator[list[str]]:
        """Yield each table, as its one name in a list."""
        for tables in self._named.values():
            for table in tables:
                for how in _how(table):
                    yield [f"{how}::{table.db or 'null'}::{table.name}"]

    def columns(self) -> Iterator[list[str]]:
        """Yield each column, by all names that it may go under."""
        from sqlglot import exp

        for column in self._statement.find_all(exp.Column):
            how = "update" if _is_set(column) else "select"
            yield from self._column(column, how, "*" if column.is_star else column.name)
        for star in self._statement.find_all(exp.Star):
            if isinstance(star.parent, exp.Select):
                yield from self._all_of(star, "select")
        for join in self._statement.find_all(exp.Join):
            yield from ([f"select::null::{shared.name}"] for shared in join.args.get("using") or ())
        for change in self._statement.find_all(exp.Delete):
            yield from self._all_of(change.this, "delete")
        for insert in self._statement.find_all(exp.Insert):
            yield from _inserted(insert)

    def _column(self, column: exp.Column, how: str, name: str) -> Iterator[list[str]]:
        if column.table:
            # None for a name of a subquery, whose own columns are looked at where they are.
            for table in self._aliases.get(column.table.lower(), ()):
                yield [f"{how}::{table}::{name}"]
            return
        near = self._named[id(_place(column))]
        names = [f"{how}::null::{name}"]
        yield [*names, f"{how}::{near[0].name}::{name}"] if len(near) == 1 else names

    def _all_of(self, node: exp.Expr, how: str) -> Iterator[list[str]]:
        for table in self._named[id(_place(node))]:
            yield [f"{how}::{table.name}::*", f"{how}::null::*"]


def _inserted(insert: exp.Insert) -> Iterator[list[str]]:
    from sqlglot import exp

    target, names = insert.this, ["*"]
    if isinstance(target, exp.Schema):
        target, names = target.this, [column.name for column in target.expressions]
    for name in names:
        yield [f"insert::{target.name}::{name}", f"insert::null::{name}"]


def _place(node: exp.Expr) -> exp.Expr:
    """Return the query or change that a table or column is named in."""
    from sqlglot import exp

    place = node.parent
    while place is not None and place.parent is not None:
        if isinstance(place, exp.Select | exp.SetOperation | exp.DML | exp.Merge | exp.Into):
            return place
        place = place.parent
    return place or node


def _how(table: exp.Table) -> list[str]:
    from sqlglot import exp

    place = _place(table)
    if isinstance(place, exp.Into):
        return ["insert"]
    if isinstance(place, exp.Merge):
        if table is not place.this:
            return ["select"]
        return sorted({_change(when) for when in place.find_all(exp.When)})
    if isinstance(place, exp.Query) or place is table:
        return ["select"]
    return [place.key]


def _change(when: exp.When) -> str:
    """Return what a MERGE does: its update and insert are expressions, its delete is a name."""
    from sqlglot import exp

    then = when.args.get("then")
    return then.key if isinstance(then, exp.DML) else "delete"


def _is_set(column: exp.Column) -> bool:
    """Tell whether the column is the left side of a SET."""
    from sqlglot import exp

    change = column.parent
    return (
        isinstance(change, exp.EQ)
        and change.this is column
        and isinstance(change.parent, exp.Update | exp.OnConflict)
        and change.arg_key == "expressions"
    )


def _is_cte(table: exp.Table) -> bool:
    """Tell whether the name is one of a common table expression that can be seen where it stands."""
    from sqlglot import exp

    if table.db:
        return False
    node: exp.Expr = table
    while (parent := node.parent) is not None:
        if isinstance(parent, exp.With):
            seen = parent.expressions if parent.args.get("recursive") else parent.expressions[: node.index]
        else:
            withs = [part for part in parent.args.values() if isinstance(part, exp.With) and part is not node]
            seen = [cte for with_ in withs for cte in with_.expressions]
        if _has(seen, table.name):
            return True
        node = parent
    return False


def _has(ctes: Iterable[exp.Expr], name: str) -> bool:
    return any(cte.alias.lower() == name.lower() for cte in ctes)
