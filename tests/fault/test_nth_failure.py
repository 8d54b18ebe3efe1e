"""Every statement, command and call of one run fails in turn, in each of three ways; the invariants hold at each point.

The worker is this process, so that its connections can be reached; whatever it raises is the end of a job, and the time
until its lease has run out is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import psycopg
import pytest
import redis as redis_client
import sqlalchemy as sa
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from promptcard_ext.core.contract.runs import FINAL, RunSpec
from server_ext.db.tables import tasks
from server_ext.embedded import Services
from server_ext.jobs import context, work
from server_ext.jobs.context import Context
from server_ext.keys import load_ring
from server_ext.services import runs
from server_ext.settings import Settings
from tests.fault.invariants import Evidence, ordinals, violations
from tests.fault.place import MODEL
from tests.fault.referee import Referee
from tests.support import Tenant

CASES = 20
# Far more jobs than one failure can cost.
MOST_JOBS = 12
How = Literal["error", "timeout", "done"]
HOWS: tuple[How, ...] = ("error", "timeout", "done")


class Nth:
    """Lets the n-th thing that is done fail; counts all of them.

    Args:
        n: Which; 0 lets none fail.
    """

    def __init__(self, n: int, how: How) -> None:
        self._n, self._how = n, how
        self.count = 0
        self.armed = False

    def around(self, do: Callable[..., Any], fail: Callable[[Any, How], BaseException]) -> Callable[..., Any]:
        """Return a method that is counted, and fails when its turn has come."""

        def done(this: Any, *given: Any, **named: Any) -> Any:
            if not self.armed:
                return do(this, *given, **named)
            self.count += 1
            if self.count != self._n:
                return do(this, *given, **named)
            if self._how == "done":
                do(this, *given, **named)
            raise fail(this, self._how)

        return done


def _statement_failed(cursor: Any, how: How) -> BaseException:
    if how == "timeout":
        return psycopg.errors.QueryCanceled("canceling statement due to statement timeout")
    connection = cursor if isinstance(cursor, psycopg.Connection) else cursor.connection
    connection.close()
    return psycopg.OperationalError("server closed the connection unexpectedly")


def _command_failed(_: Any, how: How) -> BaseException:
    return RedisConnectionError("Connection reset") if how == "error" else RedisTimeoutError("Timeout reading")


@pytest.fixture
def worker(services: Services, settings: Settings) -> Iterator[Context]:
    """This process as a worker."""
    keys = load_ring(settings.keys_path)
    made = Context(services.database_url, services.redis_url, "here", keys, lease_s=20, home=settings.home)
    before = context._current
    context.install(made)
    yield made
    made.database.close()
    made.redis.close()
    context._current = before


@contextmanager
def injected(monkeypatch: pytest.MonkeyPatch, layer: str, nth: Nth) -> Iterator[None]:
    with monkeypatch.context() as patch:
        if layer == "database":
            patch.setattr(psycopg.Cursor, "execute", nth.around(psycopg.Cursor.execute, _statement_failed))
            patch.setattr(psycopg.Connection, "commit", nth.around(psycopg.Connection.commit, _statement_failed))
        else:
            command = redis_client.Redis.execute_command
            patch.setattr(redis_client.Redis, "execute_command", nth.around(command, _command_failed))
        yield


def begin(tenant: Tenant, timeout_s: float = 10.0) -> str:
    with tenant.scope() as scope:
        spec = RunSpec(card="greet", models=[MODEL], concurrency=8, timeout_s=timeout_s)
        return str(runs.create(scope, spec).id)


def carry_out(tenant: Tenant, run_id: str, nth: Nth) -> None:
    """Take up jobs until the run has ended; each failure is the end of one."""
    for _ in range(MOST_JOBS):
        nth.armed = True
        with suppress(Exception):
            work.do(str(tenant.id), run_id)
        nth.armed = False
        if tenant.status(run_id) in FINAL:
            return
        lapse(tenant)


def lapse(tenant: Tenant) -> None:
    """Let the time of all leases, offers and waits be over."""
    ago = sa.func.clock_timestamp() - sa.text("interval '1 second'")
    with tenant.scope() as scope:
        live = tasks.c.state.in_(("queued", "leased"))
        lease = sa.case((tasks.c.state == "leased", ago), else_=None)
        values = {"lease_until": lease, "offered_until": None, "not_before": None}
        scope.connection.execute(sa.update(tasks).where(live).values(values))


def check(tenant: Tenant, other: Tenant, run_id: str, referee: Referee, before: Any, most: int = 1) -> list[str]:
    calls = ordinals(referee.calls() - before)
    evidence = Evidence(run_id, CASES, calls, most=most, in_flight=CASES)
    # The sums of a workspace are over all of its runs, and so `sums_agree` compares them.
    return [line for line in violations(tenant, other, evidence) if not line.startswith("7: results")]


def sums_agree(tenant: Tenant) -> bool:
    """Tell whether results, runs and sums by hour of all runs agree."""
    query = sa.text(
        """with run as (select sum(recorded)::numeric as n, sum(cost_usd) as cost from runs where workspace_id = :w),
            hours as (select sum(n)::numeric as n, sum(cost_usd) as cost from rollup_hours where workspace_id = :w),
            results as (
                select count(*)::numeric as n, sum(cost_usd) as cost from test_executions where workspace_id = :w
            )
        select run = hours and run = results from run, hours, results"""
    )
    with tenant.scope() as scope:
        return bool(scope.connection.execute(query, {"w": tenant.id}).scalar_one())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("layer", ["database", "redis"])
def test_invariants_hold_wherever_a_service_fails(
    place: Tenant,
    stranger: Tenant,
    referee: Referee,
    worker: Context,
    monkeypatch: pytest.MonkeyPatch,
    layer: str,
    how: How,
) -> None:
    place.fill(CASES)
    wrong: dict[int, list[str]] = {}
    n, points = 0, 0
    while n <= points:
        before = referee.calls()
        nth = Nth(n, how)
        run_id = begin(place)
        with injected(monkeypatch, layer, nth):
            carry_out(place, run_id, nth)
        found = check(place, stranger, run_id, referee, before)
        if place.status(run_id) != "completed":
            found.append(place.status(run_id))
        if not sums_agree(place):
            found.append("sums")
        if found:
            wrong[n] = found
        # The first time through, nothing fails, and all is counted.
        points = points or nth.count
        n += 1
    print(f"{layer}, {how}: {points} points, {len(wrong)} of them wrong")
    assert points
    assert not wrong


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", ["503", "silence", "reset"])
def test_invariants_hold_whichever_call_fails(
    place: Tenant, stranger: Tenant, referee: Referee, worker: Context, fault: str
) -> None:
    place.fill(CASES)
    for n in range(CASES):
        before = referee.calls()
        referee.plan((f"Ada {n}.", fault, 1))
        run_id = begin(place, timeout_s=1.0)
        carry_out(place, run_id, Nth(0, "error"))
        assert place.status(run_id) == "completed"
        assert check(place, stranger, run_id, referee, before, most=2) == [], n
        assert sums_agree(place), n
