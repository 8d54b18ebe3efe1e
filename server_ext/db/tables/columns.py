"""Columns that many tables share, and the type of text that somebody else wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from server_ext.db.text import pg_restore, pg_safe

metadata = sa.MetaData()

Timestamp = sa.DateTime(timezone=True)


class SafeText(sa.types.TypeDecorator[str]):
    """Text from users and models: whatever they wrote is stored and comes back exactly."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Escape what PostgreSQL refuses."""
        return None if value is None else pg_safe(value)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], str | None]:
        """Return what undoes the escapes: one call for each of the many texts in a page of results."""
        return _restored


def _restored(value: str | None) -> str | None:
    return None if value is None else pg_restore(value)


def tenant(*, by_parent: bool = False) -> sa.Column[Any]:
    """Return the column that every table of a workspace starts with.

    Args:
        by_parent: Whether the rows that a row refers to make sure that there is such a workspace. A reference of its
            own would cost a check for each row.
    """
    references = () if by_parent else (sa.ForeignKey("workspaces.id"),)
    return sa.Column("workspace_id", sa.Uuid, *references, primary_key=True)


def key() -> sa.Column[Any]:
    """Return the ``id`` of a row within its workspace."""
    return sa.Column("id", sa.Uuid, primary_key=True, server_default=sa.text("uuidv7()"))


def author() -> sa.Column[Any]:
    """Return ``created_by``; null for what the system made."""
    return sa.Column("created_by", sa.Uuid, sa.ForeignKey("users.id"))


def moment(name: str) -> sa.Column[Any]:
    """Return a time that is set on insert."""
    return sa.Column(name, Timestamp, nullable=False, server_default=sa.text("now()"))


def measured(name: str) -> sa.Column[Any]:
    """Return a time by the clock of the statement, not of the transaction."""
    return sa.Column(name, Timestamp, nullable=False, server_default=sa.text("clock_timestamp()"))


def counter(name: str, kind: type[sa.Integer] = sa.Integer) -> sa.Column[Any]:
    """Return a number that starts at 0."""
    return sa.Column(name, kind, nullable=False, server_default=sa.text("0"))


def document(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[Any]:
    """Return a ``jsonb`` column. None is stored as SQL NULL."""
    server_default = None if default is None else sa.text(f"'{default}'::jsonb")
    return sa.Column(name, JSONB(none_as_null=True), nullable=nullable, server_default=server_default)


def short(
    name: str, default: str | None = None, *, nullable: bool = False, primary_key: bool = False
) -> sa.Column[Any]:
    """Return a column for codes and names; ``default`` is the text of it."""
    server_default = None if default is None else sa.text(f"'{default}'::text")
    return sa.Column(
        name, SafeText, nullable=nullable and not primary_key, primary_key=primary_key, server_default=server_default
    )


def within(columns: str, target: str, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    """Return a foreign key that stays in the workspace: ``within("card_id", "prompt_cards.id")``.

    Both sides may name several columns, separated by spaces; ``workspace_id`` is put before them.
    """
    table, _, key_columns = target.partition(".")
    return sa.ForeignKeyConstraint(
        ["workspace_id", *columns.split()],
        [f"{table}.{name}" for name in ("workspace_id", *key_columns.split())],
        ondelete=ondelete,
    )
