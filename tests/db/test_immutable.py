"""What is written once stays as it was written, for every role."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, ProgrammingError

from server_ext.db import tables
from server_ext.db.engine import Database
from server_ext.db.errors import IMMUTABLE, sqlstate

GUARDED = ["card_versions", "generations", "audit_log"]
INSERT_ONLY = [
    *GUARDED, "run_cases", "run_events", "outbox", "test_executions", "analytics_events", "performance_metrics",
]  # fmt: skip


@pytest.mark.parametrize("table", GUARDED)
@pytest.mark.parametrize(
    "statement", ["update {} set workspace_id = workspace_id", "delete from {}", "truncate {} cascade"]
)
def test_even_the_owner_is_refused(owner: sa.Engine, workspace: uuid.UUID, table: str, statement: str) -> None:
    with pytest.raises(DBAPIError) as refused, owner.begin() as connection:
        connection.exec_driver_sql(f"alter table {table} no force row level security; {statement.format(table)}")
    assert sqlstate(refused.value) == IMMUTABLE


@pytest.mark.parametrize("table", INSERT_ONLY)
@pytest.mark.parametrize("statement", ["update {} set workspace_id = workspace_id", "delete from {}", "truncate {}"])
def test_the_application_has_no_right_to_change_it(
    database: Database, workspace: uuid.UUID, table: str, statement: str
) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), database.transaction(workspace) as connection:
        connection.exec_driver_sql(statement.format(table))


def test_an_upsert_does_not_change_a_version(database: Database, workspace: uuid.UUID) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), database.transaction(workspace) as connection:
        connection.exec_driver_sql(
            "insert into card_versions select * from card_versions "
            "on conflict (workspace_id, id) do update set note = 'x'"
        )
    with database.transaction(workspace) as connection:
        assert connection.scalars(sa.select(tables.card_versions.c.note)).all() == [""]
