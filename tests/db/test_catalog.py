"""The check of the walls finds nothing in our schema, and finds every kind of hole when we make one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from promptcard_ext.core.errors import SetupError
from server_ext.db import tables
from server_ext.db.catalog import DEFINER_FUNCTIONS, check_role, check_tenancy
from server_ext.db.engine import Database
from server_ext.embedded import Services

GOOD_TABLE = """
    create table notes (
        workspace_id uuid not null references workspaces (id),
        id uuid not null default uuidv7(),
        card_id uuid,
        primary key (workspace_id, id),
        foreign key (workspace_id, card_id) references prompt_cards (workspace_id, id)
    );
    select pc.isolate('notes');
    grant select, insert on notes to pc_app
"""
WALL = "(workspace_id = (select nullif(current_setting('app.workspace_id', true), '')::uuid))"

HOLES = {
    "no_workspace": "create table loose (id uuid primary key)",
    "workspace_nullable": "create table loose (workspace_id uuid); select pc.isolate('loose')",
    "row_security_off": "alter table notes disable row level security",
    "row_security_not_forced": "alter table notes no force row level security",
    "policy_missing": "drop policy workspace on notes",
    "policy_missing for one command": "drop policy workspace on notes; "
    f"create policy workspace on notes for select to pc_app using {WALL}",
    "policy_form": "create policy wide on notes to pc_app using (true)",
    "policy_form of a check": f"create policy wide on notes to pc_app using {WALL} with check (true)",
    "policy_form for everybody": "create policy wide on notes for select using (card_id is null)",
    "policy_form asked once a row": "create policy slow on notes to pc_app "
    "using (workspace_id = nullif(current_setting('app.workspace_id', true), '')::uuid)",
    "policy_form that fails on an empty setting": "create policy brittle on notes to pc_app "
    "using (workspace_id = (select current_setting('app.workspace_id', true)::uuid))",
    "policy_form of users": "create policy wide on users for select to pc_app using (true)",
    "policy_role": "create policy other on notes to pc_backup using (true)",
    "owner_policy": "create policy owner on notes to pc_owner using (true)",
    "foreign_key_leaves_workspace": "create unique index other on prompt_cards (id); "
    "alter table notes add foreign key (card_id) references prompt_cards (id)",
    "foreign_key_leaves_workspace by crossing columns": "alter table notes add column w uuid; "
    "alter table notes add foreign key (w, card_id) references prompt_cards (workspace_id, id)",
    "index_order": "create index notes_card on notes (card_id)",
    "index_order of a unique constraint": "alter table notes add column slug text unique",
    "index_order of an expression": "create index notes_text on notes ((card_id::text))",
    "definer_function": "create function pc.peek() returns bigint language sql security definer "
    "set search_path = pg_catalog, pg_temp return 1; revoke execute on function pc.peek() from public",
    "definer_search_path": "alter function pc.take_outbox(integer) reset search_path",
    "definer_search_path with temporary tables first": "alter function pc.take_outbox(integer) "
    "set search_path = pg_catalog, public",
    "definer_public": "grant execute on function pc.take_outbox(integer) to public",
    "view_definer": "create view all_notes as select * from notes",
    "materialized_view": "create materialized view all_notes as select * from notes",
    "grant_public": "grant select on notes to public",
    "grant_verb": "grant truncate on notes to pc_app",
    "grant_global": "grant update on price_book to pc_app",
    "grant_partition": "grant select on test_executions_default to pc_app",
}  # fmt: skip


@pytest.fixture
def sandbox(owner: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction of the owner in which a new table was added properly; undone afterwards."""
    with owner.connect() as connection, connection.begin() as transaction:
        connection.execute(sa.text(GOOD_TABLE))
        yield connection
        transaction.rollback()


def test_the_schema_has_no_hole(database: Database) -> None:
    with database.transaction() as connection:
        assert check_tenancy(connection) == []


def test_a_table_added_properly_has_no_hole(sandbox: sa.Connection) -> None:
    assert check_tenancy(sandbox) == []


@pytest.mark.parametrize("hole", HOLES)
def test_a_hole_is_found(sandbox: sa.Connection, hole: str) -> None:
    for statement in HOLES[hole].split("; "):
        sandbox.exec_driver_sql(statement)
    rule = hole.split()[0]
    assert rule in {finding.rule for finding in check_tenancy(sandbox)}


def test_a_new_partition_without_a_wall_is_found(sandbox: sa.Connection) -> None:
    sandbox.exec_driver_sql(
        "create table test_executions_y2001m01 partition of test_executions "
        "for values from ('2001-01-01Z') to ('2001-02-01Z')"
    )
    found = {(finding.rule, finding.subject) for finding in check_tenancy(sandbox)}
    assert ("row_security_off", "test_executions_y2001m01") in found


def test_a_security_invoker_view_is_no_hole(sandbox: sa.Connection) -> None:
    sandbox.exec_driver_sql("create view my_notes with (security_invoker = true) as select * from notes")
    assert check_tenancy(sandbox) == []


def test_a_table_in_another_schema_is_found(sandbox: sa.Connection) -> None:
    sandbox.exec_driver_sql("create table pc.users (id uuid)")
    assert {finding.subject for finding in check_tenancy(sandbox)} == {"pc.users"}


def test_only_the_listed_functions_run_with_the_owners_rights(database: Database) -> None:
    with database.transaction() as connection:
        names = connection.scalars(
            sa.text(
                "select 'pc.' || proname || '(' || pg_get_function_identity_arguments(oid) || ')' "
                "from pg_proc where prosecdef and pronamespace = 'pc'::regnamespace"
            )
        )
        assert set(names) == set(DEFINER_FUNCTIONS)


def test_the_server_works_as_the_application(database: Database) -> None:
    with database.transaction() as connection:
        check_role(connection)


def test_the_server_refuses_to_work_as_the_owner(owner: sa.Engine) -> None:
    with pytest.raises(SetupError, match="pc_owner") as refused, owner.connect() as connection:
        check_role(connection)
    assert refused.value.code == "role_owns_tables"


def test_the_server_refuses_to_work_as_the_backup_role(backup: sa.Engine) -> None:
    with pytest.raises(SetupError, match="pc_backup") as refused, backup.connect() as connection:
        check_role(connection)
    assert refused.value.code == "role_bypasses_rls"


def test_the_server_refuses_to_work_as_a_superuser(superuser: sa.Engine) -> None:
    with pytest.raises(SetupError, match="superuser") as refused, superuser.connect() as connection:
        check_role(connection)
    assert refused.value.code == "role_superuser"


@pytest.mark.parametrize(
    ("group", "code"),
    [("postgres", "role_superuser"), ("pc_backup", "role_bypasses_rls"), ("pc_owner", "role_owns_tables")],
)
def test_the_server_refuses_a_role_that_can_become_such_a_role(superuser: sa.Engine, group: str, code: str) -> None:
    with superuser.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql(f"grant {group} to pc_app")
        connection.exec_driver_sql("set local session authorization pc_app")
        with pytest.raises(SetupError) as refused:
            check_role(connection)
        assert refused.value.code == code
        transaction.rollback()


def test_a_superuser_in_the_guise_of_the_application_is_refused(superuser: sa.Engine) -> None:
    with superuser.connect() as connection, connection.begin():
        connection.exec_driver_sql("set local role pc_app")
        with pytest.raises(SetupError) as refused:
            check_role(connection)
    assert refused.value.code == "role_superuser"


VERBS = {
    "workspaces": "INSERT SELECT UPDATE",
    "users": "SELECT UPDATE",
    "user_identities": "DELETE INSERT SELECT",
    "memberships": "DELETE INSERT SELECT UPDATE",
    "sessions": "DELETE INSERT SELECT UPDATE",
    "login_attempts": "",
    "workers": "",
    "invitations": "INSERT SELECT",
    "api_tokens": "INSERT SELECT",
    "provider_credentials": "DELETE INSERT SELECT UPDATE",
    "network_rules": "DELETE INSERT SELECT",
    "provider_batches": "INSERT SELECT UPDATE",
    "webhooks": "DELETE INSERT SELECT UPDATE",
    "webhook_deliveries": "DELETE INSERT SELECT UPDATE",
    "idempotency_keys": "DELETE INSERT SELECT",
    "prompt_cards": "INSERT SELECT UPDATE",
    "card_versions": "INSERT SELECT",
    "card_labels": "DELETE INSERT SELECT UPDATE",
    "card_search": "DELETE INSERT SELECT",
    "test_cases": "DELETE INSERT SELECT UPDATE",
    "spend_rules": "DELETE INSERT SELECT UPDATE",
    "spending": "DELETE INSERT SELECT UPDATE",
    "run_reservations": "INSERT SELECT UPDATE",
    "run_purses": "INSERT SELECT UPDATE",
    "runs": "INSERT SELECT UPDATE",
    "run_cases": "INSERT SELECT",
    "run_events": "INSERT SELECT",
    "reports": "INSERT SELECT UPDATE",
    "tasks": "INSERT SELECT UPDATE",
    "attempts": "INSERT SELECT UPDATE",
    "outbox": "INSERT SELECT",
    "price_book": "SELECT",
    "price_overrides": "INSERT SELECT",
    "generations": "INSERT SELECT",
    "test_executions": "INSERT SELECT",
    "rollup_cases": "INSERT SELECT UPDATE",
    "rollup_case_days": "INSERT SELECT UPDATE",
    "rollup_hours": "INSERT SELECT UPDATE",
    "rollup_histograms": "INSERT SELECT UPDATE",
    "rollup_users": "INSERT SELECT UPDATE",
    "analytics_events": "INSERT SELECT",
    "performance_metrics": "INSERT SELECT",
    "audit_log": "INSERT SELECT",
}


def test_the_application_has_exactly_the_verbs_it_needs(database: Database) -> None:
    assert set(VERBS) == set(tables.metadata.tables)
    granted = sa.text(
        "select relname, string_agg(privilege_type, ' ' order by privilege_type) from pg_class, aclexplode(relacl) "
        "where pg_get_userbyid(grantee) = 'pc_app' and relname <> 'alembic_version' group by relname"
    )
    with database.transaction() as connection:
        assert dict(connection.execute(granted).all()) == {name: verbs for name, verbs in VERBS.items() if verbs}


def test_the_application_creates_nothing_that_stays(database: Database) -> None:
    with database.transaction() as connection:
        may_create = connection.execute(
            sa.text(
                "select has_database_privilege(current_database(), 'create'), "
                "has_schema_privilege('public', 'create'), has_schema_privilege('pc', 'create')"
            )
        ).one()
    assert tuple(may_create) == (False, False, False)


def test_a_temporary_table_does_not_stand_in_for_a_real_one(database: Database, services: Services) -> None:
    with database.transaction() as connection:
        if not connection.scalar(sa.text("select has_database_privilege(current_database(), 'temporary')")):
            return
        connection.exec_driver_sql("create temporary table outbox on commit drop as select uuidv7() as workspace_id, "
                                   "0::bigint as id, 'fake' as kind, uuidv7() as ref_id")  # fmt: skip
        kinds = connection.scalars(sa.text("select kind from pc.take_outbox(100)")).all()
        connection.rollback()
    assert "fake" not in kinds
