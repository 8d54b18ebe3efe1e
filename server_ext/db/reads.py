"""Reads that take one way to the server and back, instead of one each for begin, query and commit.

Where a list of ten rows is asked for, the ways are most of the work: each puts the thread to sleep and wakes it again,
and all threads of a server wait for one another when they wake. So the whole transaction is sent as one text, with the
values written into it by the driver. PostgreSQL then plans the query each time, which costs it less than it saves here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

T = TypeVar("T")
Row = tuple[Any, ...]
_Convert = Callable[[Any], Any]

_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]
# Read-only, so that whatever a statement calls, nothing is written where nobody looks for it.
_TEXT = "begin read only; set local app.workspace_id = {}; set local app.user_id = {}; {}; commit"
_RESULT = 3


class Read:
    """A query that is compiled once and asked with different values.

    Args:
        query: Its values are named by `sqlalchemy.bindparam`; lists of values for ``IN`` are not possible.

    Example::

        NAMES = Read(sa.select(cards.c.name).where(cards.c.workspace_id == sa.bindparam("workspace")))
        database.read(workspace_id, user_id, NAMES, {"workspace": workspace_id})
    """

    def __init__(self, query: sa.Select[Any]) -> None:
        compiled = query.compile(dialect=_DIALECT)
        self.query = query
        self._fixed = dict(compiled.params)
        self._text = _TEXT.format("%(pc_workspace_id)s", "%(pc_user_id)s", compiled)
        self._written = {
            name: convert
            for name, bind in compiled.binds.items()
            if (convert := bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)) is not None
        }
        read = [c.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None) for c in query.selected_columns]
        self._read: list[tuple[int, _Convert]] = [(n, convert) for n, convert in enumerate(read) if convert is not None]

    def ask(
        self,
        connection: psycopg.Connection[Any],
        workspace_id: UUID | None,
        user_id: UUID | None,
        values: Mapping[str, Any],
    ) -> Sequence[Row]:
        """Return the rows that a transaction of this workspace and user sees.

        Raises:
            psycopg.Error: They could not be read.
        """
        with psycopg.ClientCursor(connection) as cursor:
            cursor.execute(self._text, self._given(workspace_id, user_id, values))
            return self._restored(cursor.set_result(_RESULT).fetchall())

    async def ask_on_loop(
        self,
        connection: psycopg.AsyncConnection[Any],
        workspace_id: UUID | None,
        user_id: UUID | None,
        values: Mapping[str, Any],
    ) -> Sequence[Row]:
        """As `ask`, without keeping a thread."""
        async with psycopg.AsyncClientCursor(connection) as cursor:
            await cursor.execute(self._text, self._given(workspace_id, user_id, values))
            return self._restored(await (await cursor.set_result(_RESULT)).fetchall())

    def within(self, connection: sa.Connection, values: Mapping[str, Any]) -> Sequence[Row]:
        """Return the rows that an open transaction sees."""
        return [tuple(row) for row in connection.execute(self.query, dict(values))]

    def _given(self, workspace_id: UUID | None, user_id: UUID | None, values: Mapping[str, Any]) -> dict[str, Any]:
        given = {**self._fixed, **values}
        for name, convert in self._written.items():
            given[name] = convert(given[name])
        # Texts, so that a setting is never anything but one literal.
        given["pc_workspace_id"] = str(workspace_id or "")
        given["pc_user_id"] = str(user_id or "")
        return given

    def _restored(self, rows: Sequence[Row]) -> Sequence[Row]:
        return [self._restored_row(row) for row in rows] if self._read else rows

    def _restored_row(self, row: Row) -> Row:
        values = list(row)
        for place, convert in self._read:
            values[place] = convert(values[place])
        return tuple(values)


@dataclass(frozen=True)
class Question(Generic[T]):
    """What a use case wants to know that reads by a single query; where and how it is asked is not its business.

    Attributes:
        values: What `read` is asked with.
        answer: Makes of the rows what the use case returns.
    """

    read: Read
    values: Mapping[str, Any]
    answer: Callable[[Sequence[Row]], T]
