"""A migrated PostgreSQL 18 for the tests of the database layer, and a workspace to play in."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from server_ext.db import migrate, tables
from server_ext.db.engine import Database, make_engine
from server_ext.embedded import Services, attach, remove_home, roles
from server_ext.embedded.home import find_home
from server_ext.settings import Settings

NewWorkspace = Callable[[], uuid.UUID]


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The embedded servers, migrated, in a home that lasts as long as the tests do."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    try:
        with attach(settings) as services:
            migrate.upgrade(services.owner_database_url)
            yield services
    finally:
        # As root the database lies outside the temporary folder.
        remove_home(settings)


@pytest.fixture(scope="session")
def database(services: Services) -> Iterator[Database]:
    """The database as the application sees it."""
    with Database(services.database_url) as database:
        yield database


@pytest.fixture(scope="session")
def owner(services: Services) -> Iterator[sa.Engine]:
    """The database as its owner sees it."""
    engine = make_engine(services.owner_database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def backup(services: Services) -> Iterator[sa.Engine]:
    """The database as the backup sees it."""
    engine = make_engine(services.backup_database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def superuser(services: Services) -> Iterator[sa.Engine]:
    """The database as its superuser sees it, which nothing in the product does once it runs."""
    home = find_home(services.home)
    engine = make_engine(roles.url(home, "postgres"))
    yield engine
    engine.dispose()


@pytest.fixture
def empty_services(tmp_path: Path) -> Iterator[Services]:
    """Servers of their own, without any table."""
    with attach(Settings(home=tmp_path / "home")) as services:
        yield services


@pytest.fixture
def new_workspace(database: Database) -> NewWorkspace:
    """A function that makes a workspace with one card, version, case, run, task and result, and returns its id."""

    def make() -> uuid.UUID:
        workspace_id = uuid.uuid4()
        with database.transaction(workspace_id) as connection:
            fill_workspace(connection, workspace_id)
            # Of no workspace, and there all the same.
            connection.execute(sa.text("select pc.beat_worker('a worker', 'here', 1, '1', 'idle', null)"))
        return workspace_id

    return make


@pytest.fixture
def workspace(new_workspace: NewWorkspace) -> uuid.UUID:
    """A workspace with a row in every table."""
    return new_workspace()


def fill_workspace(connection: sa.Connection, workspace_id: uuid.UUID) -> None:
    """Put one row into every table that a workspace has."""

    def add(table: sa.Table, **values: object) -> sa.Row[tuple[object, ...]]:
        return connection.execute(
            sa.insert(table).values(workspace_id=workspace_id, **values).returning(*table.c)
        ).one()

    connection.execute(sa.insert(tables.workspaces).values(id=workspace_id, name="Acme", slug="acme"))
    user_id = connection.scalar(sa.select(sa.func.pc.resolve_identity("test", str(uuid.uuid4()), "Ada")))
    add(tables.memberships, user_id=user_id, role="owner")
    secret = {"secret_hash": bytes(32), "expires_at": sa.func.now() + sa.text("interval '1 day'")}
    add(tables.invitations, email="grace@example.com", role="member", created_by=user_id, **secret)
    add(tables.api_tokens, user_id=user_id, name="one", purpose="api", last_four="abcd", **secret)
    add(tables.idempotency_keys, key_hash=bytes(32), request_hash=bytes(32), status=201, body=b"{}")
    add(tables.provider_credentials, provider="openai", name="default", base_url="https://api.openai.com/v1")
    add(tables.network_rules, host="ollama.lan", port=11434)
    webhook = add(tables.webhooks, url="https://example.com/hook", key_id="k", sealed=bytes(40))
    add(tables.webhook_deliveries, webhook_id=webhook.id, type="run.finished", data={"id": "r"})
    day = sa.func.now() + sa.text("interval '1 day'")
    connection.execute(sa.select(sa.func.set_config("app.user_id", str(user_id), True)))
    connection.execute(sa.insert(tables.sessions).values(user_id=user_id, kind="human", expires_at=day))
    connection.execute(sa.select(sa.func.pc.admit_login(workspace_id.bytes * 2, workspace_id.bytes * 2)))
    card = add(tables.prompt_cards, name="greet", latest_version=1, created_by=user_id)
    version = add(tables.card_versions, card_id=card.id, version=1, content={"messages": []}, content_hash="a" * 64)
    add(tables.card_labels, card_id=card.id, label="production", version_id=version.id)
    add(tables.test_cases, card_id=card.id, position=0, name="one", case_uid="c" * 64, input_variables={"who": "Ada"})
    run = add(tables.runs, card_id=card.id, plan={"models": ["m"]}, total=1)
    add(tables.run_cases, run_id=run.id, position=0, case_uid="c" * 64, name="one", input_variables={"who": "Ada"})
    add(tables.run_events, run_id=run.id, seq=1, kind="queued")
    add(tables.reports, run_id=run.id, kind="html")
    task = add(tables.tasks, kind="run_shard", run_id=run.id, first_ordinal=0, last_ordinal=0)
    add(
        tables.attempts,
        run_id=run.id, ordinal=0, attempt=1, task_id=task.id, lease_token=uuid.uuid4(), worker="w",
    )  # fmt: skip
    add(tables.provider_batches, run_id=run.id, task_id=task.id, attempt=1, model="openai:m", ordinals=[0])
    add(tables.outbox, kind="task", ref_id=task.id)
    add(tables.spend_rules, scope="workspace", span="day", hard=True, limit_usd=5)
    add(tables.spending, at=run.created_at, user_id=user_id, model="m", usd=1)
    reserved = {"upper_usd": 2, "most_usd": 1, "reserved_usd": 2}
    add(tables.run_reservations, run_id=run.id, model="m", user_id=user_id, **reserved)
    add(tables.run_purses, run_id=run.id, lease_token=uuid.uuid4(), task_id=task.id)
    generation = add(tables.generations, request_hash="b" * 64, request={}, provider="p", model="m", output="Hello")
    add(
        tables.test_executions,
        run_id=run.id, run_created_at=run.created_at, ordinal=0, card_version_id=version.id, case_position=0,
        case_uid="c" * 64, model="m", provider="p", repeat=0, generation_id=generation.id, outcome="pass", attempt=1,
        event_seq=2,
    )  # fmt: skip
    hour = {"hour": run.created_at, "card_version_id": version.id, "model": "m", "provider": "p"}
    add(tables.rollup_hours, **hour, n=1)
    add(tables.rollup_histograms, **hour, buckets=[10], counts=[1])
    case = {"card_id": card.id, "case_uid": "c" * 64}
    add(tables.rollup_cases, **case, run_id=run.id, case_position=0, n=1)
    add(tables.rollup_case_days, **case, day=run.created_at.date(), n=1)
    add(tables.rollup_users, hour=run.created_at, user_id=user_id, n=1)
    add(
        tables.price_overrides,
        provider="p", model="m", input_per_mtok=1, output_per_mtok=2, valid_from=run.created_at.date(), source="s",
    )  # fmt: skip
    add(tables.analytics_events, event_type="card_opened", user_id=user_id)
    add(tables.performance_metrics, metric_name="queue_depth", metric_value=3)
    add(tables.audit_log, actor_id=user_id, actor_kind="user", action="workspace.create")
