"""A machine is gone with all that ran on it: how long it takes until another worker has its task."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from uuid import UUID

import sqlalchemy as sa
from redis import Redis

from server_ext.db.engine import Database
from server_ext.db.tables import tasks
from server_ext.jobs.context import DEFAULT_LEASE_S
from server_ext.keys import load_ring
from server_ext.runtime import ready_services
from server_ext.services import workspaces
from server_ext.settings import Settings
from tests.support import Program, Tenant, new_tenant, temporary_home, wait_for

ENDLESS = "simulated:steady?latency_ms=600000&spread=0"
# What the decision on leases promises by default.
MOST_S = 75.0


def registered(redis: Redis, count: int) -> None:
    """Wait until RQ has so many workers on its list, the dead included."""
    wait_for(lambda: redis.scard("rq:workers") == count, 60)


def attempt_of(tenant: Tenant, run_id: str) -> int:
    """Return how often the one task of a run was leased."""
    query = sa.select(tasks.c.attempt).where(tasks.c.run_id == UUID(run_id))
    with tenant.scope() as scope:
        return int(scope.connection.execute(query).scalar_one())


def seconds_to_lease(tenant: Tenant, run_id: str, lost: Program, *, unheard: bool, most_s: float) -> float:
    """Kill a worker with all it has started; return how long it takes until another one has its task.

    Args:
        unheard: Whether the bell that is rung when the lease has run out is heard by nobody.
    """
    lost.kill_all()
    killed = time.monotonic()
    if unheard:
        just_rung = tasks.c.lease_until + sa.text("interval '1 millisecond'")
        with tenant.scope() as scope:
            scope.connection.execute(sa.update(tasks).where(tasks.c.run_id == UUID(run_id)).values(rung_at=just_rung))
    wait_for(lambda: attempt_of(tenant, run_id) == 2, most_s)
    return time.monotonic() - killed


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("hostloss", help="time from a machine's loss to the next lease", description=__doc__)
    parser.add_argument("--lease", type=float, default=DEFAULT_LEASE_S, metavar="S")
    parser.set_defaults(command=_host_loss)


def _host_loss(arguments: argparse.Namespace) -> int:
    found = [_once(arguments.lease, unheard=unheard) for unheard in (False, True)]
    print(f"lease {arguments.lease:g} s: {found[0]:.1f} s, with a bell that nobody heard {found[1]:.1f} s")
    return 0 if max(found) <= MOST_S else 1


def _once(lease_s: float, *, unheard: bool) -> float:
    with temporary_home() as home, ExitStack() as stack:
        settings = Settings(home=home)
        services = stack.enter_context(ready_services(settings))
        database = stack.enter_context(Database(services.database_url, pool_size=4, keys=load_ring(settings.keys_path)))
        redis = stack.enter_context(Redis.from_url(services.redis_url))
        tenant = new_tenant(database, workspaces.local_owner(database, "Ada"))
        run_id = tenant.start([ENDLESS])
        first = _started(stack, settings, lease_s)
        wait_for(lambda: attempt_of(tenant, run_id) == 1, 60)
        _started(stack, settings, lease_s)
        registered(redis, 2)
        return seconds_to_lease(tenant, run_id, first, unheard=unheard, most_s=10 * lease_s)


def _started(stack: ExitStack, settings: Settings, lease_s: float) -> Program:
    return stack.enter_context(Program(settings.home, "worker", "--lease", f"{lease_s:g}"))
