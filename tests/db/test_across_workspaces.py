"""The four functions that look across workspaces do their one thing, also when called twice at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from server_ext.db import tables
from server_ext.db.engine import Database

tasks = tables.tasks
NewWorkspace = Callable[[], uuid.UUID]


def resolve(database: Database, subject: str, name: str | None, provider: str = "hub") -> uuid.UUID | None:
    with database.transaction() as connection:
        return connection.scalar(sa.select(sa.func.pc.resolve_identity(provider, subject, name)))


def take(connection: sa.Connection, rows: int = 10_000) -> list[sa.Row[tuple[uuid.UUID, str, uuid.UUID]]]:
    return list(connection.execute(sa.text("select * from pc.take_outbox(:rows)"), {"rows": rows}))


def ring(database: Database, older_than: str = "15 seconds", rows: int = 10_000) -> set[uuid.UUID]:
    call = sa.text("select id from pc.tasks_to_ring(cast(:older_than as interval), :rows)")
    with database.transaction() as connection:
        return set(connection.scalars(call, {"older_than": older_than, "rows": rows}))


def task_of(database: Database, workspace_id: uuid.UUID, **change: object) -> uuid.UUID:
    """Change the task of a workspace and return its id."""
    with database.transaction(workspace_id) as connection:
        if change:
            connection.execute(sa.update(tasks).values(**change))
        return connection.scalar(sa.select(tasks.c.id))


def ago(seconds: float) -> sa.ColumnElement[object]:
    return sa.func.clock_timestamp() - sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)


LEASE = {"state": "leased", "lease_token": uuid.uuid4()}


def test_an_identity_is_one_user_for_ever(database: Database) -> None:
    subject = str(uuid.uuid4())
    assert resolve(database, subject, None) is None
    user_id = resolve(database, subject, "Ada")
    assert user_id is not None
    assert resolve(database, subject, "Another name") == user_id
    assert resolve(database, subject, None) == user_id
    assert resolve(database, subject, "Ada", provider="local") != user_id
    with database.transaction(user_id=user_id) as connection:
        assert connection.scalar(sa.select(tables.users.c.display_name)) == "Ada"


def test_first_logins_at_once_make_one_user(database: Database) -> None:
    for _ in range(10):
        subject, start = str(uuid.uuid4()), threading.Barrier(6)

        def login(n: int, subject: str = subject, start: threading.Barrier = start) -> uuid.UUID | None:
            start.wait()
            return resolve(database, subject, f"Ada {n}")

        with ThreadPoolExecutor(6) as pool:
            assert len(set(pool.map(login, range(6)))) == 1


def test_first_logins_at_once_leave_no_user_without_an_identity(database: Database, owner: sa.Engine) -> None:
    with owner.connect() as connection:
        lonely = sa.text("select count(*) from users where id not in (select user_id from user_identities)")
        assert connection.scalar(lonely) == 0


def test_provider_and_subject_are_not_run_together(database: Database) -> None:
    assert resolve(database, "b:c", "x", provider="a") != resolve(database, "c", "x", provider="a:b")


def test_an_empty_subject_is_refused(database: Database) -> None:
    with pytest.raises(DBAPIError, match="check constraint"):
        resolve(database, "", "Nobody")


def test_notes_are_taken_once_and_oldest_first(database: Database, new_workspace: NewWorkspace) -> None:
    with database.transaction() as connection:
        take(connection)
    workspaces = [new_workspace() for _ in range(3)]
    with database.transaction() as connection:
        assert [row.workspace_id for row in take(connection, 2)] == workspaces[:2]
        assert [row.workspace_id for row in take(connection, 2)] == workspaces[2:]
        assert take(connection) == []


def test_notes_come_back_when_the_taker_rolls_back(database: Database, workspace: uuid.UUID) -> None:
    with database.transaction() as connection:
        assert workspace in {row.workspace_id for row in take(connection)}
        connection.rollback()
    with database.transaction() as connection:
        assert workspace in {row.workspace_id for row in take(connection)}


def test_two_takers_at_once_never_get_the_same_note(database: Database, workspace: uuid.UUID) -> None:
    with database.transaction() as connection:
        take(connection)
    notes = [uuid.uuid4() for _ in range(600)]
    with database.transaction(workspace) as connection:
        rows = [{"workspace_id": workspace, "kind": "task", "ref_id": note} for note in notes]
        connection.execute(sa.insert(tables.outbox), rows)
    taken: list[uuid.UUID] = []
    start = threading.Barrier(4)

    def taker(_: int) -> None:
        start.wait()
        while True:
            with database.transaction() as connection:
                rows = take(connection, 7)
            if not rows:
                return
            taken.extend(row.ref_id for row in rows)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(taker, range(4)))
    assert sorted(taken) == sorted(notes)


def test_a_taker_does_not_wait_for_another(database: Database, workspace: uuid.UUID) -> None:
    with database.transaction() as first, database.transaction() as second:
        assert take(first)
        assert take(second) == []


def test_a_waiting_task_is_rung_and_not_again_at_once(database: Database, workspace: uuid.UUID) -> None:
    task = task_of(database, workspace)
    assert task in ring(database)
    assert task not in ring(database)
    task_of(database, workspace, rung_at=ago(16))
    assert task in ring(database)


def test_a_task_under_a_running_lease_is_left_alone(database: Database, workspace: uuid.UUID) -> None:
    task = task_of(database, workspace, **LEASE, lease_until=ago(-60))
    assert task not in ring(database)


def test_a_task_whose_lease_ran_out_is_rung_once(database: Database, workspace: uuid.UUID) -> None:
    task = task_of(database, workspace, **LEASE, lease_until=ago(1), rung_at=ago(5))
    assert task in ring(database)
    assert task not in ring(database)


@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
def test_a_finished_task_is_not_rung(database: Database, workspace: uuid.UUID, state: str) -> None:
    assert task_of(database, workspace, state=state) not in ring(database)


def test_sweepers_at_once_ring_a_task_once(database: Database, new_workspace: NewWorkspace) -> None:
    ring(database)
    waiting = {task_of(database, new_workspace()) for _ in range(10)}
    with ThreadPoolExecutor(4) as pool:
        rung = list(pool.map(lambda _: ring(database), range(4)))
    assert set().union(*rung) == waiting
    assert sum(map(len, rung)) == len(waiting)
