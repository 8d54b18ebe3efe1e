"""Two workspaces in one database do not see, touch or refer to each other."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, ProgrammingError

from server_ext.db import tables
from server_ext.db.catalog import GLOBAL_TABLES
from server_ext.db.engine import Database

# Of attempts at logging in, and of workers, the application sees nothing at all, as `test_catalog` proves.
ISOLATED = [
    table
    for table in tables.metadata.sorted_tables
    if table.name not in GLOBAL_TABLES and table not in (tables.login_attempts, tables.workers)
]
OF_WORKSPACES = [table for table in ISOLATED if "workspace_id" in table.c]
NewWorkspace = Callable[[], uuid.UUID]


def count(connection: sa.Connection, table: sa.Table) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


@pytest.mark.parametrize("table", ISOLATED, ids=lambda table: table.name)
def test_without_a_workspace_nothing_is_seen(database: Database, workspace: uuid.UUID, table: sa.Table) -> None:
    with database.transaction() as connection:
        assert count(connection, table) == 0


@pytest.mark.parametrize("table", OF_WORKSPACES, ids=lambda table: table.name)
def test_a_workspace_sees_its_own_rows_only(database: Database, new_workspace: NewWorkspace, table: sa.Table) -> None:
    mine, _other = new_workspace(), new_workspace()
    with database.transaction(mine) as connection:
        assert connection.scalars(sa.select(table.c.workspace_id).distinct()).all() == [mine]


def test_the_setting_does_not_outlive_its_transaction(database: Database, workspace: uuid.UUID) -> None:
    for _ in range(20):
        with database.transaction(workspace) as connection:
            assert count(connection, tables.runs) == 1
        with database.transaction() as connection:
            assert count(connection, tables.runs) == 0


def test_a_transaction_that_failed_leaves_no_setting(database: Database, workspace: uuid.UUID) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction(workspace):
        raise ZeroDivisionError
    with database.transaction() as connection:
        assert count(connection, tables.runs) == 0


def test_a_savepoint_rolled_back_keeps_the_workspace(database: Database, workspace: uuid.UUID) -> None:
    with database.transaction(workspace) as connection:
        connection.begin_nested().rollback()
        assert count(connection, tables.runs) == 1


def test_no_row_is_written_for_another_workspace(database: Database, new_workspace: NewWorkspace) -> None:
    mine, other = new_workspace(), new_workspace()
    with pytest.raises(ProgrammingError, match="row-level security"), database.transaction(mine) as connection:
        connection.execute(sa.insert(tables.prompt_cards).values(workspace_id=other, name="planted"))


def test_no_row_is_moved_to_another_workspace(database: Database, new_workspace: NewWorkspace) -> None:
    mine, other = new_workspace(), new_workspace()
    with pytest.raises(ProgrammingError, match="row-level security"), database.transaction(mine) as connection:
        connection.execute(sa.update(tables.memberships).values(workspace_id=other))


def test_no_row_of_another_workspace_is_changed_or_deleted(database: Database, new_workspace: NewWorkspace) -> None:
    mine, other = new_workspace(), new_workspace()
    with database.transaction(mine) as connection:
        where = tables.test_cases.c.workspace_id == other
        assert connection.execute(sa.update(tables.test_cases).where(where).values(name="x")).rowcount == 0
        assert connection.execute(sa.delete(tables.test_cases).where(where)).rowcount == 0
    with database.transaction(other) as connection:
        assert connection.scalars(sa.select(tables.test_cases.c.name)).all() == ["one"]


def test_no_row_refers_to_a_row_of_another_workspace(database: Database, new_workspace: NewWorkspace) -> None:
    mine, other = new_workspace(), new_workspace()
    with database.transaction(other) as connection:
        card_id = connection.scalar(sa.select(tables.prompt_cards.c.id))
    with pytest.raises(IntegrityError, match="foreign key"), database.transaction(mine) as connection:
        connection.execute(
            sa.insert(tables.test_cases).values(
                workspace_id=mine, card_id=card_id, position=1, name="x", case_uid="x", input_variables={}
            )
        )


def test_a_label_does_not_point_at_a_version_of_another_card(database: Database, workspace: uuid.UUID) -> None:
    with database.transaction(workspace) as connection:
        version_id = connection.scalar(sa.select(tables.card_versions.c.id))
        insert_card = sa.insert(tables.prompt_cards).values(workspace_id=workspace, name="second")
        card_id = connection.scalar(insert_card.returning(tables.prompt_cards.c.id))
    label = {"workspace_id": workspace, "card_id": card_id, "label": "production", "version_id": version_id}
    with pytest.raises(IntegrityError, match="foreign key"), database.transaction(workspace) as connection:
        connection.execute(sa.insert(tables.card_labels).values(label))


def test_two_workspaces_may_have_the_same_slug_and_card_names(database: Database, new_workspace: NewWorkspace) -> None:
    first, second = new_workspace(), new_workspace()
    assert first != second
    with database.transaction(second) as connection:
        assert connection.execute(sa.select(tables.workspaces.c.id, tables.workspaces.c.slug)).all() == [
            (second, "acme")
        ]


def test_a_result_is_recorded_once_even_with_another_date(database: Database, workspace: uuid.UUID) -> None:
    results = tables.test_executions
    with database.transaction(workspace) as connection:
        row = connection.execute(sa.select(results)).mappings().one()
    again = {**row, "id": uuid.uuid4()}
    with pytest.raises(IntegrityError, match="duplicate key"), database.transaction(workspace) as connection:
        connection.execute(sa.insert(results).values(again))
    later = row["run_created_at"].replace(year=row["run_created_at"].year + 1)
    with pytest.raises(IntegrityError, match="foreign key"), database.transaction(workspace) as connection:
        connection.execute(sa.insert(results).values({**again, "run_created_at": later}))


def test_a_workspace_is_made_under_the_id_that_was_named_only(database: Database) -> None:
    named, another = uuid.uuid4(), uuid.uuid4()
    with pytest.raises(ProgrammingError, match="row-level security"), database.transaction(named) as connection:
        connection.execute(sa.insert(tables.workspaces).values(id=another, name="x", slug="x"))


def test_a_user_sees_their_own_memberships_and_workspaces(database: Database, new_workspace: NewWorkspace) -> None:
    first, second, foreign = new_workspace(), new_workspace(), new_workspace()
    with database.transaction(first) as connection:
        user_id = connection.scalar(sa.select(tables.memberships.c.user_id))
    with database.transaction(second) as connection:
        connection.execute(sa.insert(tables.memberships).values(workspace_id=second, user_id=user_id, role="viewer"))
    with database.transaction(user_id=user_id) as connection:
        assert set(connection.scalars(sa.select(tables.workspaces.c.id))) == {first, second}
        assert set(connection.scalars(sa.select(tables.memberships.c.workspace_id))) == {first, second}
        assert connection.scalars(sa.select(tables.users.c.id)).all() == [user_id]
        assert count(connection, tables.runs) == 0
        assert connection.execute(sa.update(tables.memberships).values(role="owner")).rowcount == 0
    assert foreign not in {first, second}


def test_a_user_sees_colleagues_and_changes_only_themselves(database: Database, new_workspace: NewWorkspace) -> None:
    mine, other = new_workspace(), new_workspace()
    with database.transaction(mine) as connection:
        me = connection.scalar(sa.select(tables.memberships.c.user_id))
        colleague = connection.scalar(sa.select(sa.func.pc.resolve_identity("test", str(uuid.uuid4()), "Bob")))
        connection.execute(sa.insert(tables.memberships).values(workspace_id=mine, user_id=colleague, role="member"))
    with database.transaction(other) as connection:
        stranger = connection.scalar(sa.select(tables.memberships.c.user_id))
    with database.transaction(mine, me) as connection:
        assert set(connection.scalars(sa.select(tables.users.c.id))) == {me, colleague}
        assert connection.execute(sa.update(tables.users).values(display_name="Changed")).rowcount == 1
        seen = connection.scalars(sa.select(tables.user_identities.c.user_id)).all()
    assert seen == [me]
    assert stranger not in {me, colleague}
