"""Services that all tests share: one PostgreSQL and one Valkey for the session, a fresh workspace for each test."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import hypothesis
import pytest
import sqlalchemy as sa
from redis import Redis

from promptcard_ext.core.assertions import python
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.embedded import Services
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.services import workspaces
from server_ext.settings import Settings
from tests.support import Program, Tenant, new_tenant, temporary_home

# A job in the background of a shell ignores Ctrl-C, and so would every program that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# An example that takes long is one that another program took the processor from.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# What takes minutes comes first, so that no job still works on it when all others are done.
LONGEST = (
    "test_nth_failure", "test_isolation_machine", "test_naughty_http", "test_storm", "test_commands",
    "test_schemathesis", "test_responsive",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


NewActor = Callable[..., Actor]
StartWorker = Callable[..., Program]


@pytest.fixture(autouse=True)
def python_forbidden() -> Iterator[None]:
    """What one test allowed its process, as every run of the user's own does, must not hold for the next."""
    yield
    python.forbid()


@pytest.fixture(scope="session")
def settings() -> Iterator[Settings]:
    """The settings of the session's home."""
    with temporary_home() as home:
        yield Settings(home=home)


@pytest.fixture(scope="session")
def services(settings: Settings) -> Iterator[Services]:
    """The embedded servers, migrated."""
    with ready_services(settings) as services:
        yield services


@pytest.fixture(scope="session")
def database(services: Services, settings: Settings) -> Iterator[Database]:
    """The database as the application sees it."""
    with Database(services.database_url, pool_size=12, keys=load_ring(settings.keys_path)) as database:
        yield database


@pytest.fixture(scope="session")
def redis(services: Services) -> Iterator[Redis]:
    """The queue's server."""
    client = Redis.from_url(services.redis_url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def me(database: Database) -> Actor:
    """The lone user of this installation."""
    return workspaces.local_owner(database, "Ada")


@pytest.fixture
def new_actor(database: Database) -> NewActor:
    """A function that makes a user; with a tenant and a role, a member of that workspace."""

    def make(tenant: Tenant | None = None, role: str = "member") -> Actor:
        identity = sa.func.pc.resolve_identity("test", str(uuid.uuid4()), "Grace", type_=sa.Uuid)
        with database.transaction() as connection:
            user_id = connection.execute(sa.select(identity)).scalar_one()
        if tenant is not None:
            add = sa.text("insert into memberships (workspace_id, user_id, role) values (:workspace, :user, :role)")
            with database.transaction(tenant.id) as connection:
                connection.execute(add, {"workspace": tenant.id, "user": user_id, "role": role})
        return Actor(user_id, "Grace")

    return make


@pytest.fixture
def tenant(database: Database, me: Actor, redis: Redis) -> Iterator[Tenant]:
    """A fresh workspace of the lone user."""
    tenant = new_tenant(database, me)
    yield tenant
    tenant.give_up_runs()
    redis.flushall()


@pytest.fixture
def stranger(database: Database, new_actor: NewActor, redis: Redis) -> Iterator[Tenant]:
    """A fresh workspace of somebody else."""
    tenant = new_tenant(database, new_actor())
    yield tenant
    tenant.give_up_runs()


@pytest.fixture
def start_worker(settings: Settings, services: Services) -> Iterator[StartWorker]:
    """A function that starts a worker process of the session's home."""
    with ExitStack() as started:

        def start(*arguments: str, lease_s: float = 3.0, **more: str) -> Program:
            return started.enter_context(
                Program(settings.home, "worker", *arguments, PROMPTCARDS_LEASE_S=f"{lease_s:g}", **more)
            )

        yield start
