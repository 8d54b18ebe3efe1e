"""A database that holds results already is brought to this schema, and its usage is summed up by user and by case."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import command

from server_ext.db import migrate, tables
from server_ext.db.catalog import check_tenancy
from server_ext.db.engine import Database, make_engine
from server_ext.embedded import Services

_RESULTS = """
    insert into workspaces (id, name, slug) values (:w, 'Acme', 'acme');
    insert into prompt_cards (workspace_id, id, name) values (:w, :w, 'greet');
    insert into card_versions (workspace_id, id, card_id, version, content, content_hash)
        values (:w, :w, :w, 1, '{}', repeat('a', 64));
    insert into runs (workspace_id, id, card_id, plan, total, created_by) values (:w, :w, :w, '{}', 3, :u);
    insert into test_executions (
        workspace_id, run_id, run_created_at, ordinal, card_version_id, case_position, case_uid, model, provider,
        repeat, outcome, tokens_input, tokens_output, cost_usd, attempt, event_seq
    ) select :w, :w, created_at, n, :w, 0, 'c', 'm', 'p', n, (array['pass', 'pass', 'error'])[n + 1], 10,
        nullif(n, 2) * 5, nullif(n, 2) * 0.25, 1, 2 from runs, generate_series(0, 2) as n where id = :w;
"""


def test_results_of_an_older_schema_are_summed_up_by_user_and_case(empty_services: Services) -> None:
    owner = make_engine(empty_services.owner_database_url)
    with owner.begin() as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002_judging")
        connection.execute(sa.text("select pc.ensure_partitions(1)"))
    with Database(empty_services.database_url) as database:
        with database.transaction() as connection:
            user_id = connection.scalar(sa.select(sa.func.pc.resolve_identity("test", "ada", "Ada", type_=sa.Uuid)))
        workspaces = [uuid.uuid4(), uuid.uuid4()]
        for workspace_id, by in zip(workspaces, (user_id, None), strict=True):
            with database.transaction(workspace_id) as connection:
                for statement in _RESULTS.split(";")[:-1]:
                    connection.execute(sa.text(statement), {"w": workspace_id, "u": by})
        migrate.upgrade(empty_services.owner_database_url)

        for workspace_id, by in zip(workspaces, (user_id, uuid.UUID(int=0)), strict=True):
            with database.transaction(workspace_id) as connection:
                (row,) = connection.execute(sa.select(tables.rollup_users)).all()
                (case,) = connection.execute(sa.select(tables.rollup_cases)).all()
                (day,) = connection.execute(sa.select(tables.rollup_case_days)).all()
                assert check_tenancy(connection) == []  # row security is forced again
            assert (row.user_id, row.n, row.passed, row.errored) == (by, 3, 2, 1)
            assert (row.tokens_input, row.tokens_output, float(row.cost_usd), row.priced) == (30, 5, 0.25, 2)
            assert row.hour.minute == 0
            assert (case.card_id, case.case_uid, case.run_id, case.case_position) == (
                workspace_id,
                "c",
                workspace_id,
                0,
            )
            for sums in (case, day):
                assert (sums.n, sums.passed, sums.errored, float(sums.cost_usd), sums.priced) == (3, 2, 1, 0.25, 2)
            assert day.day == row.hour.date()
    owner.dispose()
