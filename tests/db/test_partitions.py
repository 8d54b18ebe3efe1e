"""Facts go to the partition of their month, and none is ever refused for want of one."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, ProgrammingError

from server_ext.db import tables
from server_ext.db.catalog import check_tenancy
from server_ext.db.engine import Database

metrics = tables.performance_metrics


def month(ahead: int) -> datetime:
    """Return the middle of a month, counted from this one."""
    now = datetime.now(UTC)
    years, index = divmod(now.month - 1 + ahead, 12)
    return datetime(now.year + years, index + 1, 15, 12, tzinfo=UTC)


def partition(of: sa.Table, moment: datetime) -> str:
    return f"{of.name}_y{moment:%Y}m{moment:%m}"


def measure(connection: sa.Connection, workspace_id: uuid.UUID, moment: datetime) -> str:
    """Insert a measurement and return the name of the partition that it went to."""
    insert = sa.insert(metrics).values(workspace_id=workspace_id, metric_name="m", metric_value=1, timestamp=moment)
    return connection.scalar(insert.returning(sa.literal_column("tableoid::regclass::text")))


def ensure(database: Database, months: int) -> set[str]:
    with database.transaction() as connection:
        return set(connection.scalars(sa.select(sa.func.pc.ensure_partitions(months))))


def test_rows_go_to_the_partition_of_their_month(database: Database, workspace: uuid.UUID) -> None:
    with database.transaction(workspace) as connection:
        for ahead in (0, 1, 2, 3):
            assert measure(connection, workspace, month(ahead)) == partition(metrics, month(ahead))


def test_months_end_at_midnight_in_utc(database: Database, workspace: uuid.UUID) -> None:
    first = month(1).replace(day=1, hour=0)
    with database.transaction(workspace) as connection:
        connection.exec_driver_sql("set local timezone = 'America/New_York'")
        assert measure(connection, workspace, first) == partition(metrics, first)
        before = first - timedelta(microseconds=1)
        assert measure(connection, workspace, before) == partition(metrics, before)


def test_a_row_of_no_month_goes_to_the_default_partition(database: Database, workspace: uuid.UUID) -> None:
    with database.transaction(workspace) as connection:
        assert measure(connection, workspace, datetime(2001, 1, 1, tzinfo=UTC)) == "performance_metrics_default"


def test_partitions_are_added_once_and_behind_the_wall(database: Database) -> None:
    made = ensure(database, 5)
    assert {partition(metrics, month(5)), partition(tables.test_executions, month(5))} <= made
    assert ensure(database, 5) == set()
    with database.transaction() as connection:
        assert check_tenancy(connection) == []


def test_rows_that_came_before_their_partition_move_into_it(database: Database, workspace: uuid.UUID) -> None:
    late = month(9)
    with database.transaction(workspace) as connection:
        assert measure(connection, workspace, late) == "performance_metrics_default"
    ensure(database, 9)
    with database.transaction(workspace) as connection:
        found = sa.select(sa.literal_column("tableoid::regclass::text")).where(metrics.c.timestamp == late)
        assert connection.scalars(found.select_from(metrics)).all() == [partition(metrics, late)]


def test_the_application_does_not_reach_a_partition_but_through_its_table(
    database: Database, workspace: uuid.UUID
) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), database.transaction(workspace) as connection:
        connection.exec_driver_sql(f"select * from {partition(metrics, month(0))}")


def test_even_the_owner_sees_no_rows_in_a_partition(owner: sa.Engine, workspace: uuid.UUID) -> None:
    with owner.connect() as connection:
        table = partition(tables.test_executions, datetime.now(UTC))
        assert connection.scalar(sa.text(f"select count(*) from {table}")) == 0


@pytest.mark.parametrize("months", [-1, 25, None])
def test_a_number_of_months_that_makes_no_sense_is_refused(database: Database, months: int | None) -> None:
    with pytest.raises(DBAPIError, match="between 0 and 24"):
        ensure(database, months)
