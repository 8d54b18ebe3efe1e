"""A database is brought to this program's schema once, whoever asks and how often."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from promptcard_ext.core.errors import SetupError
from promptcard_ext.core.pricing import shipped_prices
from server_ext.db import migrate, tables
from server_ext.db.engine import Database, make_engine
from server_ext.embedded import Services


def differences(connection: sa.Connection, metadata: sa.MetaData) -> list[object]:
    context = MigrationContext.configure(
        connection,
        opts={
            "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, kind, _: not (kind == "table" and tables.is_partition(name)),
        },
    )
    return list(compare_metadata(context, metadata))


def test_the_migrations_make_the_tables_that_the_program_knows(owner: sa.Engine) -> None:
    with owner.connect() as connection:
        assert differences(connection, tables.metadata) == []


@pytest.mark.parametrize(
    "change",
    [
        "alter table runs add column extra text",
        "alter table runs alter column name drop not null",
        "alter table runs alter column name set default 'x'",
        "alter table generations alter column tokens_input type integer",
        "alter table card_labels drop constraint card_labels_workspace_id_card_id_version_id_fkey",
        "alter table card_versions drop constraint card_versions_workspace_id_card_id_version_key",
        "drop index runs_card_idx",
    ],
)
def test_a_difference_between_tables_and_program_is_found(owner: sa.Engine, change: str) -> None:
    with owner.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql(change)
        assert differences(connection, tables.metadata)
        transaction.rollback()


def test_partitions_of_a_table_are_told_by_their_names() -> None:
    assert tables.is_partition("test_executions_y2026m07")
    assert tables.is_partition("performance_metrics_default")
    assert not tables.is_partition("test_executions")
    assert not tables.is_partition("runs_default")


def test_upgrading_twice_changes_nothing(services: Services, owner: sa.Engine) -> None:
    catalog = sa.text("select oid, relname, relacl::text, xmin::text from pg_class order by oid")
    with owner.connect() as connection:
        before = connection.execute(catalog).all()
    state = migrate.upgrade(services.owner_database_url)
    with owner.connect() as connection:
        assert connection.execute(catalog).all() == before
    assert state == migrate.MigrationState(migrate.head(), migrate.head())


def test_servers_that_start_at_once_migrate_once(empty_services: Services) -> None:
    url = empty_services.owner_database_url
    assert migrate.current(url) is None
    with ThreadPoolExecutor(5) as pool:
        states = list(pool.map(migrate.upgrade, [url] * 5))
    assert {state.current for state in states} == {migrate.head()}
    assert migrate.check(empty_services.database_url).current == migrate.head()


def test_a_migration_that_fails_leaves_nothing_behind(
    empty_services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_connection: sa.Connection) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(migrate, "_add_shipped_prices", fail)
    with pytest.raises(ZeroDivisionError):
        migrate.upgrade(empty_services.owner_database_url)
    engine = make_engine(empty_services.owner_database_url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()


def test_cards_saved_before_there_was_a_search_are_found(
    empty_services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_revision = migrate.command.upgrade
    with monkeypatch.context() as earlier:
        earlier.setattr(migrate.command, "upgrade", lambda config, _head: to_revision(config, "0002_judging"))
        migrate.upgrade(empty_services.owner_database_url)
    workspace_id, card_id = uuid4(), uuid4()
    content = {"messages": [{"role": "user", "content": "You know zoology."}]}
    of_card = {"workspace_id": workspace_id, "card_id": card_id}
    with Database(empty_services.database_url) as database:
        with database.transaction(workspace_id) as connection:
            connection.execute(sa.insert(tables.workspaces).values(id=workspace_id, name="Acme", slug="acme"))
            head = {"workspace_id": workspace_id, "id": card_id, "name": "greet", "latest_version": 1}
            connection.execute(sa.insert(tables.prompt_cards).values(head))
            version = {**of_card, "version": 1, "content": content, "content_hash": "a" * 64}
            connection.execute(sa.insert(tables.card_versions).values(version))
        migrate.upgrade(empty_services.owner_database_url)
        with database.transaction(workspace_id) as connection:
            found = connection.scalars(sa.text("select card_id from pc.search_cards('zoology', 10)")).all()
    assert found == [card_id]


def test_an_empty_database_is_refused_with_the_command_to_run(empty_services: Services) -> None:
    with pytest.raises(SetupError, match="jupyter promptcards db upgrade") as refused:
        migrate.check(empty_services.database_url)
    assert refused.value.code == "schema_outdated"


def test_a_database_of_a_newer_program_is_refused(services: Services, owner: sa.Engine) -> None:
    set_revision = sa.text("update alembic_version set version_num = :revision")
    with owner.begin() as connection:
        connection.execute(set_revision, {"revision": "9999_from_the_future"})
    try:
        for refused_by, url in (
            (migrate.check, services.database_url),
            (migrate.upgrade, services.owner_database_url),
        ):
            with pytest.raises(SetupError, match="9999_from_the_future") as refused:
                refused_by(url)
            assert refused.value.code == "schema_newer"
    finally:
        with owner.begin() as connection:
            connection.execute(set_revision, {"revision": migrate.head()})


def test_only_the_owner_migrates(services: Services) -> None:
    with pytest.raises(SetupError, match="pc_app") as refused:
        migrate.upgrade(services.database_url)
    assert refused.value.code == "wrong_owner"


def test_a_missing_role_is_named(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "BACKUP", "pc_missing")
    with pytest.raises(SetupError, match="pc_missing") as refused:
        migrate.upgrade(services.owner_database_url)
    assert refused.value.code == "roles_missing"


def test_there_is_no_way_back() -> None:
    assert not hasattr(migrate, "downgrade")
    script = migrate.ScriptDirectory.from_config(migrate._config()).get_revision(migrate.head())
    with pytest.raises(NotImplementedError, match="backup"):
        script.module.downgrade()


def test_the_shipped_prices_are_in_the_price_book(owner: sa.Engine) -> None:
    with owner.connect() as connection:
        rows = {str(row.id): row for row in connection.execute(sa.select(tables.price_book))}
    assert {price.id for price in shipped_prices() if migrate.fits(price)} <= set(rows)
    for price in shipped_prices():
        if price.tiers:
            assert price.id not in rows  # its prices for long inputs have no column
            continue
        row = rows[price.id]
        assert (row.provider, row.model, row.input_per_mtok) == (price.provider, price.model, price.input_per_mtok)
        assert row.output_per_mtok == (price.output_per_mtok or 0)


def test_a_price_that_was_corrected_by_hand_stays(services: Services, owner: sa.Engine) -> None:
    book = tables.price_book
    first = next(iter(shipped_prices()))
    correct = sa.update(book).where(book.c.id == first.id)
    with owner.begin() as connection:
        connection.execute(correct.values(source="our contract"))
    migrate.upgrade(services.owner_database_url)
    with owner.begin() as connection:
        assert connection.scalar(sa.select(book.c.source).where(book.c.id == first.id)) == "our contract"
        connection.execute(correct.values(source=first.source))
