"""A recorder writes down what it cannot store, before it waits, and stores it once the database is back."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from promptcard_ext.core.errors import Unavailable
from server_ext.db.tables import generations
from server_ext.embedded import Services
from server_ext.jobs import journal, recorder
from server_ext.jobs.context import Context
from server_ext.jobs.recorder import Recorder
from server_ext.keys import load_ring
from server_ext.services import tasks as task_service
from server_ext.services.shards import Shard
from server_ext.services.tasks import Lease
from server_ext.settings import Settings
from tests.jobs.line import Line
from tests.services.test_leases import states
from tests.services.test_recording import begin, check_sums, result_of
from tests.support import Tenant

COUNT = 30


@pytest.fixture
def line(services: Services) -> Iterator[Line]:
    # A socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="pc-line-"))
    with Line(services.database_url, folder) as line:
        yield line
    shutil.rmtree(folder)


@pytest.fixture
def context(line: Line, services: Services, settings: Settings, tmp_path: Path) -> Iterator[Context]:
    context = Context(line.url, services.redis_url, "w", load_ring(settings.keys_path), home=tmp_path)
    yield context
    context.close()
    context.redis.close()


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not look():
            await asyncio.sleep(0.01)


async def add(recorder: Recorder, shard: Shard, ordinals: range) -> None:
    for ordinal in ordinals:
        one = result_of(shard, ordinal)
        await recorder.add(shard.plan.item(ordinal), one.result)


def new_recorder(context: Context, lease: Lease, shard: Shard) -> Recorder:
    return Recorder(context, lease, shard.plan.prepare(), shard.version_ids)


def check_stored(tenant: Tenant, run_id: str) -> None:
    """Every item has its result, every answer is there once, and every call is accounted for."""
    check_sums(tenant, run_id, set(range(COUNT)))
    with tenant.scope() as scope:
        stored = scope.connection.execute(sa.select(sa.func.count()).select_from(generations)).scalar_one()
    assert stored == sum(ordinal % 4 != 2 for ordinal in range(COUNT))
    assert {state for _, _, state in states(tenant, run_id)} == {"recorded"}


@pytest.mark.parametrize("fault", ["cut", "silence"])
def test_what_is_answered_in_an_outage_is_on_the_disk_and_stored_afterwards(
    tenant: Tenant, context: Context, line: Line, fault: str
) -> None:
    run_id, lease, shard = begin(tenant, COUNT)
    task_service.open_attempts(tenant.database, lease, list(range(COUNT)))
    path = journal.of_lease(context.home, lease).path
    lines: list[int] = []

    async def work() -> None:
        async with new_recorder(context, lease, shard) as recorder:
            await add(recorder, shard, range(10))
            await until(lambda: tenant.recorded(run_id) == 10)
            getattr(line, fault)()
            await add(recorder, shard, range(10, 20))
            await until(path.exists)
            await add(recorder, shard, range(20, COUNT))
            await until(lambda: path.read_bytes().count(b"\n") == 20)
            lines.append(tenant.recorded(run_id))
            line.mend()

    asyncio.run(work())
    assert lines == [10]
    check_stored(tenant, run_id)
    assert not path.exists()


def test_a_recorder_that_gives_up_leaves_its_answers_to_the_next(
    tenant: Tenant, context: Context, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "PATIENCE_S", 0.5)
    run_id, lease, shard = begin(tenant, COUNT)
    task_service.open_attempts(tenant.database, lease, list(range(COUNT)))
    line.cut()

    async def work() -> None:
        async with new_recorder(context, lease, shard) as recorder:
            await add(recorder, shard, range(COUNT))

    with pytest.raises(Unavailable):
        asyncio.run(work())
    assert tenant.recorded(run_id) == 0
    line.mend()
    assert journal.replay_all(context.home, context.database)[lease] > 0
    check_stored(tenant, run_id)


def test_without_room_for_the_journal_answers_wait_in_memory(tenant: Tenant, context: Context, line: Line) -> None:
    run_id, lease, shard = begin(tenant, COUNT)
    task_service.open_attempts(tenant.database, lease, list(range(COUNT)))
    # A file is where the folder should be: nothing can be written there.
    (context.home / journal.FOLDER).write_text("in the way")
    line.cut()

    async def work() -> None:
        async with new_recorder(context, lease, shard) as recorder:
            await add(recorder, shard, range(COUNT))
            await until(lambda: recorder._away_since is not None)
            line.mend()

    asyncio.run(work())
    check_stored(tenant, run_id)
