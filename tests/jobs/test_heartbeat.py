"""A worker that hears nothing from the database stops before its lease has run out, however the silence comes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from promptcard_ext.core.engine import Control
from promptcard_ext.core.errors import Unavailable
from server_ext.db.tables import tasks
from server_ext.embedded import Services
from server_ext.jobs import drain
from server_ext.jobs.context import Context
from server_ext.jobs.heartbeat import Heartbeat
from server_ext.keys import load_ring
from server_ext.settings import Settings
from tests.jobs.line import Line
from tests.jobs.test_recorder import line  # noqa: F401  a fixture
from tests.services.test_leases import lease_of, task_of
from tests.support import Tenant, wait_for

LEASE_S = 4.0


@pytest.fixture
def context(line: Line, services: Services, settings: Settings, tmp_path: Path) -> Iterator[Context]:  # noqa: F811
    context = Context(line.url, services.redis_url, "w", load_ring(settings.keys_path), lease_s=LEASE_S, home=tmp_path)
    yield context
    line.mend()
    context.close()


def begun(tenant: Tenant, context: Context) -> Heartbeat:
    return Heartbeat(context.lease_database, lease_of(tenant, task_of(tenant, tenant.start()), "w", LEASE_S), LEASE_S)


@pytest.mark.parametrize("how", ["silence", "cut"])
def test_half_a_lease_without_the_database_is_the_end(
    tenant: Tenant,
    context: Context,
    line: Line,  # noqa: F811
    how: str,
) -> None:
    control = Control()
    heartbeat = begun(tenant, context)
    heartbeat.steer(control, grace_s=600.0)
    with heartbeat:
        before = heartbeat._renewed
        wait_for(lambda: heartbeat._renewed > before)  # so it has its connection
        getattr(line, how)()
        cut = time.monotonic()
        wait_for(lambda: control.cancelled, LEASE_S)
        heard = time.monotonic()
    assert heartbeat.reason == "lost"
    assert 0 < heard - cut <= LEASE_S / 2 + 0.5
    assert time.monotonic() - heard < 1  # the end waits for no answer either


def test_a_job_whose_worker_died_before_the_first_beat_gives_its_task_back(
    tenant: Tenant, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "_worker", 1 << 30)  # a process that is neither this one nor its parent
    monkeypatch.setattr(drain, "requested", False)
    monkeypatch.setattr(drain, "_listener", None)
    before = signal.signal(drain.SIGNAL, lambda *_: drain.request())
    try:
        with begun(tenant, context) as heartbeat:
            drain.on_request(heartbeat.drain)
            wait_for(lambda: heartbeat.reason == "drain")
    finally:
        signal.signal(drain.SIGNAL, before)


def test_a_short_silence_is_survived(tenant: Tenant, context: Context, line: Line) -> None:  # noqa: F811
    with begun(tenant, context) as heartbeat:
        before = heartbeat._renewed
        wait_for(lambda: heartbeat._renewed > before)
        line.cut()
        cut = time.monotonic()
        wait_for(lambda: time.monotonic() > cut + LEASE_S / 4)
        line.mend()
        wait_for(lambda: heartbeat._renewed > cut)
        wait_for(lambda: time.monotonic() > cut + LEASE_S / 2)
        assert heartbeat.reason == ""


def test_renewals_wait_for_no_connection_of_others(tenant: Tenant, context: Context) -> None:
    heartbeat = begun(tenant, context)
    with ExitStack() as held:
        for _ in range(4):  # all that there are
            held.enter_context(context.database.transaction())
        with heartbeat:
            before = heartbeat._renewed
            wait_for(lambda: heartbeat._renewed > before, LEASE_S / 2)
    assert heartbeat.reason == ""


def test_a_worker_that_vanished_holds_its_locks_no_longer_than_a_lease(tenant: Tenant, context: Context) -> None:
    task_id = task_of(tenant, tenant.start())
    mine = sa.select(tasks.c.id).where(tasks.c.id == task_id).with_for_update(nowait=True)

    def free() -> bool:
        try:
            with tenant.scope() as scope:
                return scope.connection.execute(mine).scalar_one() == task_id
        except Unavailable:
            return False

    transaction = context.database.transaction(tenant.id)
    transaction.__enter__().execute(mine)
    assert not free()
    wait_for(free, LEASE_S + 2)
    with pytest.raises(Unavailable):
        transaction.__exit__(None, None, None)
