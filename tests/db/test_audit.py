"""The audit trail tells when somebody changed it, even somebody with every right."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from server_ext.db import tables
from server_ext.db.engine import Database

log = tables.audit_log


def write(database: Database, workspace_id: uuid.UUID, action: str, **values: object) -> None:
    with database.transaction(workspace_id) as connection:
        connection.execute(
            sa.insert(log).values(workspace_id=workspace_id, actor_kind="system", action=action, **values)
        )


def verify(database: Database, workspace_id: uuid.UUID) -> int | None:
    with database.transaction(workspace_id) as connection:
        return connection.scalar(sa.select(sa.func.pc.audit_verify(workspace_id)))


def tamper(owner: sa.Engine, workspace_id: uuid.UUID, *statements: str) -> int | None:
    """Do as the owner who switched everything off, return what the check says, and undo it."""
    with owner.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql("alter table audit_log no force row level security")
        connection.exec_driver_sql("alter table audit_log disable trigger immutable")
        for statement in statements:
            changed = connection.execute(sa.text(statement), {"w": workspace_id}).rowcount
            assert changed == 1
        broken = connection.scalar(sa.select(sa.func.pc.audit_verify(workspace_id)))
        transaction.rollback()
    return broken


@pytest.fixture
def trail(database: Database, workspace: uuid.UUID) -> uuid.UUID:
    """A workspace with five entries."""
    for action in ("card.create", "card.publish", "run.create", "run.cancel"):
        write(database, workspace, action, detail={"what": action})
    return workspace


def test_entries_are_numbered_and_the_chain_is_whole(database: Database, trail: uuid.UUID) -> None:
    assert verify(database, trail) is None
    with database.transaction(trail) as connection:
        entries = connection.execute(sa.select(log).order_by(log.c.seq)).all()
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.prev_hash for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]
    assert entries[0].prev_hash == b""


def test_an_empty_trail_is_whole(database: Database) -> None:
    assert verify(database, uuid.uuid4()) is None


@pytest.mark.parametrize(
    "edit",
    [
        "action = 'nothing'",
        "actor_id = gen_random_uuid()",
        "detail = '{}'",
        "at = at - interval '1 microsecond'",
        "object_type = '', object_id = ''",
        "hash = sha256('')",
    ],
)
def test_an_edit_is_found(owner: sa.Engine, trail: uuid.UUID, edit: str) -> None:
    assert tamper(owner, trail, f"update audit_log set {edit} where workspace_id = :w and seq = 3") == 3


def test_an_edit_with_its_hash_made_anew_is_found_at_the_next_entry(owner: sa.Engine, trail: uuid.UUID) -> None:
    edits = (
        "update audit_log set action = 'nothing' where workspace_id = :w and seq = 3",
        "update audit_log set hash = pc.audit_hash(audit_log) where workspace_id = :w and seq = 3",
    )
    assert tamper(owner, trail, *edits) == 4


def test_a_deleted_entry_is_found(owner: sa.Engine, trail: uuid.UUID) -> None:
    assert tamper(owner, trail, "delete from audit_log where workspace_id = :w and seq = 3") == 4
    assert tamper(owner, trail, "delete from audit_log where workspace_id = :w and seq = 1") == 2


def test_a_deleted_entry_whose_gap_was_closed_is_found(owner: sa.Engine, trail: uuid.UUID) -> None:
    edits = (
        "delete from audit_log where workspace_id = :w and seq = 3",
        "update audit_log set seq = 3 where workspace_id = :w and seq = 4",
        "update audit_log set seq = 4 where workspace_id = :w and seq = 5",
    )
    assert tamper(owner, trail, *edits) == 3


def test_two_entries_that_changed_places_are_found(owner: sa.Engine, trail: uuid.UUID) -> None:
    edits = (
        "update audit_log set seq = 99 where workspace_id = :w and seq = 2",
        "update audit_log set seq = 2 where workspace_id = :w and seq = 3",
        "update audit_log set seq = 3 where workspace_id = :w and seq = 99",
    )
    assert tamper(owner, trail, *edits) == 2


def test_what_the_writer_gives_for_number_time_and_hash_is_not_used(database: Database, trail: uuid.UUID) -> None:
    write(database, trail, "forged", seq=77, hash=b"x", prev_hash=b"x", at=sa.text("'2001-01-01Z'"))
    assert verify(database, trail) is None
    with database.transaction(trail) as connection:
        last = connection.execute(sa.select(log).order_by(log.c.seq.desc()).limit(1)).one()
    assert last.seq == 6
    assert last.at.year > 2001


def test_several_entries_in_one_statement_are_chained(database: Database, trail: uuid.UUID) -> None:
    with database.transaction(trail) as connection:
        connection.execute(
            sa.insert(log).values(
                [{"workspace_id": trail, "actor_kind": "system", "action": f"bulk.{n}"} for n in range(10)]
            )
        )
    assert verify(database, trail) is None


def test_writers_at_the_same_time_make_one_chain(database: Database, workspace: uuid.UUID) -> None:
    start = threading.Barrier(6)

    def many(worker: int) -> None:
        start.wait()
        for n in range(20):
            write(database, workspace, f"worker.{worker}.{n}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(many, range(6)))
    assert verify(database, workspace) is None
    with database.transaction(workspace) as connection:
        assert connection.scalar(sa.select(sa.func.max(log.c.seq))) == 121


def test_the_trail_of_another_workspace_is_refused_rather_than_called_whole(
    database: Database, trail: uuid.UUID
) -> None:
    with pytest.raises(ProgrammingError, match="not visible"), database.transaction() as connection:
        connection.scalar(sa.select(sa.func.pc.audit_verify(trail)))


def test_the_backup_role_verifies_any_trail(backup: sa.Engine, trail: uuid.UUID) -> None:
    with backup.connect() as connection:
        assert connection.scalar(sa.select(sa.func.pc.audit_verify(trail))) is None
