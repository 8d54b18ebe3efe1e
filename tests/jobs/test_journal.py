"""What waits in the journal is stored once, whole, and by one process only."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from promptcard_ext.core.errors import Unavailable
from promptcard_ext.core.results import Call, Outcome, Verdict
from server_ext.db.engine import Database
from server_ext.db.tables import generations
from server_ext.db.text import load_json
from server_ext.embedded import Services
from server_ext.jobs import journal
from server_ext.jobs.journal import Entry
from server_ext.jobs.queue import Doorbell
from server_ext.jobs.relay import Relay
from server_ext.services import items
from server_ext.services import tasks as task_service
from server_ext.services.recording import Recorded
from server_ext.services.shards import Shard
from server_ext.services.tasks import Lease
from tests.services.test_leases import lease_of, states, task_of
from tests.services.test_recording import begin, check_sums, expire, result_of
from tests.support import Tenant, wait_for

NOWHERE = "postgresql+psycopg://nobody@/nothing?host=/nowhere"


def written(home: Path, lease: Lease, batch: list[Recorded]) -> Path:
    """Write a journal as a worker that is killed then leaves it."""
    with journal.of_lease(home, lease) as one:
        one.append(Entry(lease, recorded) for recorded in batch)
    return one.path


def results(shard: Shard, *ordinals: int, said: str = "Hello") -> list[Recorded]:
    return [result_of(shard, ordinal, said) for ordinal in ordinals]


def outputs(tenant: Tenant) -> list[Any]:
    with tenant.scope() as scope:
        return sorted(scope.connection.execute(sa.select(generations.c.output)).scalars())


def test_what_is_written_is_stored_and_the_file_is_gone(tenant: Tenant, tmp_path: Path) -> None:
    run_id, lease, shard = begin(tenant, 12)
    path = written(tmp_path, lease, results(shard, *range(12)))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert journal.replay_all(tmp_path, tenant.database)[lease] > 0
    check_sums(tenant, run_id, set(range(12)))
    assert list(path.parent.iterdir()) == []
    assert journal.replay_all(tmp_path, tenant.database) == {}


def test_results_come_back_as_they_were(tenant: Tenant, tmp_path: Path) -> None:
    _, lease, shard = begin(tenant, 1)
    (one,) = results(shard, 0, said="a\x00b\ud800c\ufdd0\n\u2028")
    answer = one.result.generation
    assert answer is not None
    odd = replace(
        answer, cost_usd=Decimal("0.10"), tool_calls=[{"x": math.inf}], logprobs=(-math.inf, -0.5), raw="\udcff"
    )
    verdict = Verdict(
        "u", "contains", Outcome.FAIL, "not_contained", score=0.5, parts=(Verdict("v", "x", Outcome.PASS),)
    )
    result = replace(one.result, generation=odd, verdicts=(verdict,), score=0.25, calls=(Call("judge", answer),))
    one = replace(one, result=result, answer_ids=(*one.answer_ids, one.answer_ids[0]), final=False)
    path = written(tmp_path, lease, [one])
    entry = msgspec.convert(load_json(path.read_bytes()), Entry)
    assert entry == Entry(lease, one)
    assert entry.key == (tenant.id, lease.run_id, 0, 1)


def test_lines_that_are_stored_already_change_nothing(tenant: Tenant, tmp_path: Path) -> None:
    run_id, lease, shard = begin(tenant, 6)
    task_service.open_attempts(tenant.database, lease, list(range(6)))
    batch = results(shard, *range(6))
    for _ in range(3):
        written(tmp_path, lease, [*batch, *batch])
        journal.replay_all(tmp_path, tenant.database)
    check_sums(tenant, run_id, set(range(6)))
    assert len(outputs(tenant)) == sum(one.result.generation is not None for one in batch)
    assert {state for _, _, state in states(tenant, run_id)} == {"recorded"}


def test_an_item_that_has_a_result_by_then_keeps_it(tenant: Tenant, tmp_path: Path) -> None:
    run_id, slow, shard = begin(tenant, 1)
    task_id = task_of(tenant, run_id)
    task_service.open_attempts(tenant.database, slow, [0])
    written(tmp_path, slow, results(shard, 0, said="late"))
    expire(tenant, task_id)
    quick = lease_of(tenant, task_id, "quick")
    task_service.open_attempts(tenant.database, quick, [0])
    written(tmp_path / "other", quick, results(shard, 0, said="quick"))
    journal.replay_all(tmp_path / "other", tenant.database)
    journal.replay_all(tmp_path, tenant.database)
    assert outputs(tenant) == ["late", "quick"]
    assert states(tenant, run_id) == [(0, 1, "late"), (0, 2, "recorded")]
    check_sums(tenant, run_id, {0})
    with tenant.scope() as scope:
        (item,) = items.list_items(scope, run_id).items
    assert item.generation is not None
    assert item.generation.output == "quick"


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_damaged_end_loses_no_other_line(tenant: Tenant, tmp_path: Path, cut: int) -> None:
    run_id, lease, shard = begin(tenant, 4)
    path = written(tmp_path, lease, results(shard, *range(4)))
    whole = path.read_bytes()
    path.write_bytes(whole[: -cut - 1])
    journal.replay_all(tmp_path, tenant.database)
    check_sums(tenant, run_id, {0, 1, 2})
    (kept,) = path.parent.iterdir()
    assert kept.suffix == ".kept"
    assert kept.read_bytes().strip() in whole
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_file_that_somebody_has_is_left_to_them(tenant: Tenant, tmp_path: Path) -> None:
    run_id, lease, shard = begin(tenant, 2)
    with journal.of_lease(tmp_path, lease) as held:
        held.append(Entry(lease, one) for one in results(shard, 0, 1))
        assert journal.replay_all(tmp_path, tenant.database) == {}
        assert tenant.recorded(run_id) == 0
    journal.replay_all(tmp_path, tenant.database)
    check_sums(tenant, run_id, {0, 1})


def test_without_a_database_nothing_is_lost(tenant: Tenant, tmp_path: Path) -> None:
    run_id, lease, shard = begin(tenant, 2)
    path = written(tmp_path, lease, results(shard, 0, 1))
    before = path.read_bytes()
    with Database(NOWHERE) as away, pytest.raises(Unavailable):
        journal.replay_all(tmp_path, away)
    assert path.read_bytes() == before
    journal.replay_all(tmp_path, tenant.database)
    check_sums(tenant, run_id, {0, 1})


def test_results_of_an_unknown_run_are_kept_and_keep_nobody_else_waiting(tenant: Tenant, tmp_path: Path) -> None:
    run_id, lease, shard = begin(tenant, 2)
    # As of another database: its name sorts before the other's, so it comes first.
    elsewhere = replace(lease, run_id=lease.task_id, token=type(lease.token)(int=0))
    path = written(tmp_path, elsewhere, results(shard, 0))
    written(tmp_path, lease, results(shard, 0, 1))
    journal.replay_all(tmp_path, tenant.database)
    check_sums(tenant, run_id, {0, 1})
    assert list(path.parent.iterdir()) == [path.with_suffix(".kept")]


def test_a_worker_that_has_nothing_to_do_brings_in_what_waits(
    tenant: Tenant, services: Services, tmp_path: Path
) -> None:
    run_id, lease, shard = begin(tenant, 6)
    path = written(tmp_path, lease, results(shard, *range(6)))
    doorbell = Doorbell(services.redis_url)
    relay = Relay(tenant.database, doorbell, home=tmp_path)
    relay.start()
    wait_for(lambda: not path.exists())
    relay.close()
    doorbell.close()
    check_sums(tenant, run_id, set(range(6)))
