"""The backup role reads all of it and writes none of it."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from server_ext.db import tables
from server_ext.embedded import Services
from server_ext.embedded.binaries import postgres_bin

NewWorkspace = Callable[[], uuid.UUID]


@pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=lambda table: table.name)
def test_it_reads_every_row_and_writes_none(backup: sa.Engine, new_workspace: NewWorkspace, table: sa.Table) -> None:
    mine, other = new_workspace(), new_workspace()
    with backup.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(table))
        if "workspace_id" in table.c:
            assert {mine, other} <= set(connection.scalars(sa.select(table.c.workspace_id)))
    for statement in ("delete from {}", "insert into {} default values", "truncate {}"):
        with pytest.raises(ProgrammingError, match="permission denied"), backup.connect() as connection:
            connection.exec_driver_sql(statement.format(table.name))


def test_a_dump_holds_the_rows_of_every_workspace(services: Services, new_workspace: NewWorkspace) -> None:
    workspaces = [new_workspace() for _ in range(2)]
    dump = run_pg_dump(services.backup_database_url)
    assert all(f"{workspace_id}\t" in dump for workspace_id in workspaces)
    assert "CREATE POLICY workspace ON public.audit_log" in dump


def run_pg_dump(url: str) -> str:
    program = postgres_bin(None) / "pg_dump"
    parsed = sa.make_url(url)
    libpq = {"PGHOST": parsed.query["host"], "PGPORT": parsed.query["port"], "PGDATABASE": parsed.database}
    login = {"PGUSER": parsed.username, "PGPASSWORD": parsed.password}
    done = subprocess.run([program], env={**os.environ, **libpq, **login}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
