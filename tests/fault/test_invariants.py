"""The invariants hold of a run that went well, and each is seen when it is broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from server_ext.embedded import Services
from tests.conftest import StartWorker
from tests.fault.invariants import Evidence, ordinals, queries, violations
from tests.fault.place import MODEL
from tests.fault.referee import Referee
from tests.support import Tenant, wait_for

CASES = 6
LEASE = (
    "update tasks set state = 'leased', lease_token = gen_random_uuid(),"
    " lease_until = clock_timestamp() - interval '{}', finished_at = null where workspace_id = :workspace"
)


@pytest.fixture
def evidence(place: Tenant, referee: Referee, start_worker: StartWorker) -> Evidence:
    """A run of six items that went well."""
    run_id = place.start([MODEL], count=CASES)
    worker = start_worker()
    wait_for(lambda: place.status(run_id) == "completed")
    worker.stop()  # it would take up what the test gives an old lease
    return Evidence(run_id, CASES, ordinals(referee.calls()))


@pytest.fixture(scope="module")
def owner(services: Services) -> Iterator[sa.Engine]:
    """The owner of the tables, whom nothing keeps from breaking them."""
    assert services.owner_database_url is not None
    url = sa.make_url(services.owner_database_url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


def spoil(owner: sa.Engine, tenant: Tenant, statement: str) -> None:
    """Break something behind the application's back: no policies, no triggers."""
    table = statement.split()[2 if statement.startswith("delete") else 1]
    with owner.begin() as connection:
        connection.execute(sa.text(f"alter table {table} disable trigger user, no force row level security"))
        connection.execute(sa.text(statement), {"workspace": tenant.id})
        connection.execute(sa.text(f"alter table {table} enable trigger user, force row level security"))


def numbers(found: list[str]) -> set[int]:
    return {int(line.partition(":")[0]) for line in found}


def test_there_are_ten() -> None:
    assert list(queries()) == list(range(1, 11))


def test_they_hold_of_a_run_that_went_well_and_each_is_seen_when_it_is_broken(
    place: Tenant, stranger: Tenant, evidence: Evidence, owner: sa.Engine
) -> None:
    assert violations(place, stranger, evidence) == []
    twice = {**evidence.calls, 3: 2}
    assert numbers(violations(place, stranger, replace(evidence, executions=CASES + 1))) == {1, 3}
    assert numbers(violations(place, stranger, replace(evidence, calls=twice))) == {4, 5, 6}
    assert numbers(violations(place, stranger, replace(evidence, calls=twice, in_flight=1))) == {4, 6}
    assert numbers(violations(place, stranger, replace(evidence, calls={}))) == {4}
    # To itself a workspace is the other one: then everything is seen.
    assert numbers(violations(place, place, evidence)) == {10}

    broken = [
        ({9}, "update audit_log set action = 'other' where workspace_id = :workspace and seq = 2"),
        ({7, 9}, "update rollup_hours set cost_usd = cost_usd - 1 where workspace_id = :workspace"),
        ({2, 7, 9}, LEASE.format("10 seconds")),
        ({2, 7, 8, 9}, LEASE.format("20 seconds")),
        ({2, 3, 7, 8, 9}, "update attempts set state = 'open' where workspace_id = :workspace and ordinal = 2"),
        (
            {1, 2, 3, 4, 7, 8, 9},
            "delete from test_executions where workspace_id = :workspace and ordinal = 4",
        ),
    ]
    for expected, statement in broken:
        spoil(owner, place, statement)
        assert numbers(violations(place, stranger, evidence)) == expected, statement
