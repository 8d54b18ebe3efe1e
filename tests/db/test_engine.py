"""Transactions: what they set, and what becomes of errors."""

from __future__ import annotations

import multiprocessing
import os
import uuid
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from promptcard_ext.core.errors import Unavailable
from server_ext.db import tables
from server_ext.db.engine import Database
from server_ext.embedded import Services


def show(connection: sa.Connection, setting: str) -> str:
    return connection.scalar(sa.select(sa.func.current_setting(setting, True)))


def test_a_transaction_names_its_workspace_and_user(database: Database) -> None:
    workspace_id, user_id = uuid.uuid4(), uuid.uuid4()
    with database.transaction(workspace_id, user_id) as connection:
        assert show(connection, "app.workspace_id") == str(workspace_id)
        assert show(connection, "app.user_id") == str(user_id)
    with database.transaction() as connection:
        assert show(connection, "app.workspace_id") == ""
        assert show(connection, "app.user_id") == ""


def test_naming_them_is_one_statement(database: Database) -> None:
    statements = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sa.event.listen(database._engine, "before_cursor_execute", note)
    try:
        with database.transaction(uuid.uuid4(), uuid.uuid4()):
            pass
    finally:
        sa.event.remove(database._engine, "before_cursor_execute", note)
    assert len(statements) == 1


def test_connections_have_time_limits(database: Database) -> None:
    with database.transaction() as connection:
        assert show(connection, "statement_timeout") == "30s"
        assert show(connection, "idle_in_transaction_session_timeout") == "1min"
        assert show(connection, "jit") == "off"
        assert show(connection, "timezone") == "UTC"


def test_a_block_that_raises_is_undone(database: Database, workspace: uuid.UUID) -> None:
    with suppress(ZeroDivisionError), database.transaction(workspace) as connection:
        connection.execute(sa.update(tables.runs).values(name="undone"))
        raise ZeroDivisionError
    with database.transaction(workspace) as connection:
        assert connection.scalar(sa.select(tables.runs.c.name)) == ""


def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"postgresql://pc_app:secret@/promptcards?host={tmp_path}")
    with pytest.raises(Unavailable) as refused, database.transaction():
        pass
    assert refused.value.code == "database_unavailable"
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("53100", "disk_full"),
        ("53300", "database_busy"),
        ("40P01", "database_busy"),
        ("40001", "database_busy"),
        ("57P01", "database_unavailable"),
        ("25006", "database_read_only"),
    ],
)
def test_what_means_not_now_is_unavailable(database: Database, state: str, code: str) -> None:
    with pytest.raises(Unavailable) as refused, database.transaction() as connection:
        connection.exec_driver_sql(f"do $$ begin raise exception 'tenant data' using errcode = '{state}'; end $$")
    assert refused.value.code == code
    assert "tenant data" not in str(refused.value)


def test_a_statement_that_takes_too_long_is_given_up(services: Services) -> None:
    database = Database(services.database_url, statement_timeout_s=0.05)
    with pytest.raises(Unavailable) as refused, database, database.transaction() as connection:
        connection.execute(sa.select(sa.func.pg_sleep(5)))
    assert refused.value.code == "database_timeout"


def test_a_mistake_of_ours_is_not_called_unavailable(database: Database) -> None:
    with pytest.raises(ProgrammingError), database.transaction() as connection:
        connection.exec_driver_sql("select no_such_column")


def test_values_are_not_in_error_messages(database: Database) -> None:
    with pytest.raises(ProgrammingError) as refused, database.transaction() as connection:
        connection.execute(sa.text("select no_such_column, :value"), {"value": "a secret prompt"})
    assert "a secret prompt" not in str(refused.value)


def test_a_connection_that_the_server_dropped_is_replaced(database: Database, superuser: sa.Engine) -> None:
    with database.transaction() as connection:
        pid = connection.scalar(sa.select(sa.func.pg_backend_pid()))
    with superuser.connect() as connection:
        assert connection.scalar(sa.select(sa.func.pg_terminate_backend(pid, 5000)))
    with database.transaction() as connection:
        assert connection.scalar(sa.select(sa.func.pg_backend_pid())) != pid


def test_a_connection_dropped_in_mid_transaction_is_unavailable(database: Database, superuser: sa.Engine) -> None:
    def use_after_it_is_dropped() -> None:
        with database.transaction() as connection, superuser.connect() as other:
            pid = connection.scalar(sa.select(sa.func.pg_backend_pid()))
            assert other.scalar(sa.select(sa.func.pg_terminate_backend(pid, 5000)))
            connection.execute(sa.select(1))

    with pytest.raises(Unavailable) as refused:
        use_after_it_is_dropped()
    assert refused.value.code == "database_unavailable"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_connection_in_use_when_everything_is_closed_is_closed_when_it_is_given_back(services: Services) -> None:
    database = Database(services.database_url)
    with database.transaction() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        database.close()
        connection.exec_driver_sql("select 1")
        assert not driver.closed
    assert driver.closed


def test_a_forked_child_uses_connections_of_its_own(services: Services) -> None:
    with Database(services.database_url) as database:
        with database.transaction() as connection:
            parent_pid = connection.scalar(sa.select(sa.func.pg_backend_pid()))
        reader, writer = os.pipe()
        child = multiprocessing.get_context("fork").Process(target=_report_backend, args=(database, writer))
        child.start()
        os.close(writer)
        child.join(30)
        child_pid = int(os.read(reader, 20))
        os.close(reader)
        assert child.exitcode == 0
        assert child_pid != parent_pid
        with database.transaction() as connection:
            assert connection.scalar(sa.select(sa.func.pg_backend_pid())) == parent_pid


def _report_backend(database: Database, writer: int) -> None:
    database.dispose_after_fork()
    with database.transaction() as connection:
        os.write(writer, str(connection.scalar(sa.select(sa.func.pg_backend_pid()))).encode())
    database.close()


def test_json_and_null_are_stored_as_they_are(database: Database, workspace: uuid.UUID) -> None:
    generations = tables.generations
    values = {"workspace_id": workspace, "request_hash": "d" * 64, "provider": "p", "model": "m"}
    odd = {"text": "\0 \ud83d \ufdd0", "score": float("inf")}
    with database.transaction(workspace) as connection:
        insert = sa.insert(generations).values(**values, request=odd, output="a\0b", error=None)
        row = connection.execute(insert.returning(generations)).one()
        assert connection.scalar(sa.select(generations.c.id).where(generations.c.output == "a\0b")) == row.id
        assert connection.scalar(sa.select(generations.c.error.is_(sa.null())).where(generations.c.id == row.id))
    assert (row.request, row.output, row.error) == (odd, "a\0b", None)
