"""Results are recorded once, and every sum agrees with the rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from promptcard_ext.core.results import Generation, ItemResult, Outcome, Tokens, Verdict
from server_ext.db import rollups
from server_ext.db.ids import new_id
from server_ext.db.tables import attempts, generations, rollup_histograms, rollup_hours, runs, test_executions
from server_ext.services import items, recording, shards
from server_ext.services import tasks as task_service
from server_ext.services.recording import Recorded
from server_ext.services.shards import Shard
from server_ext.services.tasks import Lease
from tests.services.test_leases import expired_lease, lease_of, states, task_of
from tests.support import Tenant, new_tenant

OUTCOMES = tuple(Outcome)


def result_of(shard: Shard, ordinal: int, said: str = "Hello") -> Recorded:
    """Return what one worker has for an item; every fourth was never answered."""
    item = shard.plan.item(ordinal)
    case = shard.plan.cases[item.case]
    outcome = OUTCOMES[ordinal % 4]
    generation = Generation(
        provider="simulated",
        model="echo",
        request_hash="a" * 64,
        output=said,
        latency_ms=10.0 * (ordinal + 1),
        tokens=Tokens(ordinal + 1, 2 * ordinal),
        cost_usd=Decimal("0.001") * ordinal if ordinal % 2 else None,
    )
    result = ItemResult(
        ordinal, "greet", 1, "greet@1", "simulated:echo", case.name, case.uid, item.repeat, outcome,
        generation=None if outcome is Outcome.ERROR else generation,
    )  # fmt: skip
    return recording.recorded(shard.plan.prepare(), item, result, shard.version_ids[item.card])


def record(tenant: Tenant, lease: Lease, shard: Shard, ordinals: Iterable[int], said: str = "Hello") -> int:
    batch = [result_of(shard, ordinal, said) for ordinal in ordinals]
    with tenant.database.transaction(tenant.id) as connection:
        return recording.record(connection, lease, batch).seq


def begin(tenant: Tenant, count: int) -> tuple[str, Lease, Shard]:
    run_id = tenant.start(count=count)
    lease = lease_of(tenant, task_of(tenant, run_id))
    return run_id, lease, shards.load(tenant.database, lease)


def check_sums(tenant: Tenant, run_id: str, ordinals: set[int]) -> None:
    """Compare the run's counts and the sums by hour with the rows themselves."""
    e = test_executions.c
    with tenant.scope() as scope:
        rows = scope.connection.execute(sa.select(test_executions).where(e.run_id == UUID(run_id))).all()
        run = scope.connection.execute(sa.select(runs).where(runs.c.id == UUID(run_id))).one()
        hours = scope.connection.execute(sa.select(rollup_hours)).all()
        histograms = scope.connection.execute(sa.select(rollup_histograms.c.counts)).scalars().all()
    assert sorted(row.ordinal for row in rows) == sorted(ordinals)
    costs = [row.cost_usd for row in rows if row.cost_usd is not None]
    assert (run.recorded, run.priced, run.cost_usd) == (len(rows), len(costs), sum(costs))
    for column, outcome in (("passed", "pass"), ("failed", "fail"), ("errored", "error"), ("unscored", "unscored")):
        expected = sum(row.outcome == outcome for row in rows)
        assert getattr(run, column) == expected
        assert sum(getattr(hour, column) for hour in hours) == expected
    latencies = [row.latency_ms for row in rows if row.latency_ms is not None]
    assert sum(hour.n for hour in hours) == len(rows)
    assert sum(hour.latency_n for hour in hours) == len(latencies) == sum(map(sum, histograms))
    assert sum(hour.latency_ms_sum for hour in hours) == pytest.approx(sum(latencies))
    assert sum(hour.cost_usd for hour in hours) == sum(costs)
    assert sum(hour.tokens_input for hour in hours) == sum(row.tokens_input or 0 for row in rows)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.integers(0, 11), unique=True, max_size=12), min_size=1, max_size=6))
def test_whatever_comes_twice_counts_once(tenant: Tenant, batches: list[list[int]]) -> None:
    fresh = new_tenant(tenant.database, tenant.actor)
    run_id, lease, shard = begin(fresh, 12)
    seen: set[int] = set()
    for batch in batches:
        seq = record(fresh, lease, shard, batch) if batch else 0
        assert bool(seq) == bool(set(batch) - seen)
        seen |= set(batch)
        check_sums(fresh, run_id, seen)
    fresh.give_up_runs()


def test_two_recorders_at_once_record_each_item_once(tenant: Tenant) -> None:
    run_id, lease, shard = begin(tenant, 60)
    batches = [list(range(start, start + 20)) for start in (0, 10, 20, 30, 40, 5, 15, 25, 35, 0)]
    with ThreadPoolExecutor(8) as pool:
        sequence = list(pool.map(lambda batch: record(tenant, lease, shard, batch), batches))
    check_sums(tenant, run_id, set(range(60)))
    brought = [seq for seq in sequence if seq]
    assert len(set(brought)) == len(brought)
    with tenant.scope() as scope:
        events, run = items.events_after(scope, run_id, 0)
    assert [event.seq for event in events] == list(range(1, run.event_seq + 1))
    assert sorted(item.ordinal for event in events for item in event.items) == list(range(60))


def test_runs_that_share_their_sums_do_not_block_each_other_for_good(tenant: Tenant) -> None:
    begun = [begin(tenant, 24) for _ in range(4)]
    work = [(lease, shard, start) for _, lease, shard in begun for start in range(0, 24, 4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: record(tenant, one[0], one[1], range(one[2], one[2] + 4)), work))
    with tenant.scope() as scope:
        assert scope.connection.execute(sa.select(sa.func.sum(rollup_hours.c.n))).scalar_one() == 96


def test_a_late_result_keeps_its_generation_and_changes_nothing_else(tenant: Tenant) -> None:
    run_id = tenant.start(count=2)
    task_id = task_of(tenant, run_id)
    slow = lease_of(tenant, task_id, "slow")
    shard = shards.load(tenant.database, slow)
    assert task_service.open_attempts(tenant.database, slow, [0, 1])
    record(tenant, slow, shard, [1], "first")
    expire(tenant, task_id)
    quick = lease_of(tenant, task_id, "quick")
    assert task_service.open_attempts(tenant.database, quick, [0])
    record(tenant, quick, shard, [0], "quick")

    assert record(tenant, slow, shard, [0], "late") == 0  # paid for all the same
    with tenant.scope() as scope:
        found = {
            item.ordinal: item.generation.output for item in items.list_items(scope, run_id).items if item.generation
        }
        paid = scope.connection.execute(sa.select(generations.c.output)).scalars().all()
    assert found == {0: "quick", 1: "first"}
    assert sorted(paid) == ["first", "late", "quick"]
    assert states(tenant, run_id) == [(0, 1, "late"), (0, 2, "recorded"), (1, 1, "recorded")]
    check_sums(tenant, run_id, {0, 1})


def expire(tenant: Tenant, task_id: UUID) -> None:
    with tenant.scope() as scope:
        statement = sa.text("update tasks set lease_until = clock_timestamp() - interval '1 s' where id = :id")
        scope.connection.execute(statement, {"id": task_id})


def test_a_late_result_wins_where_there_is_none(tenant: Tenant) -> None:
    run_id = tenant.start(count=1)
    lost = expired_lease(tenant, task_of(tenant, run_id))
    taken = lease_of(tenant, task_of(tenant, run_id), "b")
    shard = shards.load(tenant.database, taken)
    assert record(tenant, lost, shard, [0], "late") > 0
    assert shards.load(tenant.database, taken).pending == []
    assert task_service.finish(tenant.database, taken, "done")
    assert tenant.status(run_id) == "completed"


def test_answers_that_postgresql_refuses_are_recorded(tenant: Tenant) -> None:
    run_id, lease, shard = begin(tenant, 1)
    said = "a\x00b\ud800c\ufdd0"
    record(tenant, lease, shard, [0], said)
    with tenant.scope() as scope:
        (item,) = items.list_items(scope, run_id).items
    assert item.generation is not None
    assert item.generation.output == said


def test_the_ledger_of_calls_has_a_row_for_each(tenant: Tenant) -> None:
    run_id, lease, shard = begin(tenant, 3)
    task_service.open_attempts(tenant.database, lease, [0, 1, 2])
    record(tenant, lease, shard, [0, 2])
    task_service.finish(tenant.database, lease, "failed")
    with tenant.scope() as scope:
        open_rows = sa.select(sa.func.count()).select_from(attempts).where(attempts.c.state == "open")
        assert scope.connection.execute(open_rows).scalar_one() == 0
    assert states(tenant, run_id) == [(0, 1, "recorded"), (1, 1, "released"), (2, 1, "recorded")]


def test_numbers_that_json_does_not_have_are_recorded(tenant: Tenant) -> None:
    run_id, lease, shard = begin(tenant, 1)
    one = result_of(shard, 0)
    assert one.result.generation is not None
    odd = replace(one.result.generation, logprobs=(-math.inf, -0.5), tool_calls=[{"x": math.inf}], ttft_ms=math.inf)
    verdict = Verdict("u", "levenshtein", Outcome.FAIL, "too_far", score=math.inf)
    one = replace(one, result=replace(one.result, generation=odd, verdicts=(verdict,), score=math.inf))
    with tenant.database.transaction(tenant.id) as connection:
        recording.record(connection, lease, [one])
    with tenant.scope() as scope:
        (item,) = items.list_items(scope, run_id).items
    assert item.generation is not None
    found = item.generation
    assert (found.logprobs, found.tool_calls, found.ttft_ms) == ((-math.inf, -0.5), [{"x": math.inf}], math.inf)
    assert (item.score, item.verdicts[0].score) == (math.inf, math.inf)


def test_latencies_are_counted_in_the_buckets_that_they_belong_to(tenant: Tenant) -> None:
    _, lease, shard = begin(tenant, 40)
    # On both sides of the edges, and where there is no bucket.
    latencies = [0.0, 0.5, 1.0, *(rollups.BASE**n * (1 + side) for n in range(5, 500, 30) for side in (-1e-9, 1e-9))]
    batch = []
    for ordinal, latency in enumerate(latencies):
        one = result_of(shard, 0)
        assert one.result.generation is not None
        answer = replace(one.result.generation, latency_ms=latency)
        batch.append(
            replace(one, result=replace(one.result, ordinal=ordinal, generation=answer), answer_ids=(new_id(),))
        )
    with tenant.database.transaction(tenant.id) as connection:
        recording.record(connection, lease, batch)
    with tenant.scope() as scope:
        (row,) = scope.connection.execute(sa.select(rollup_histograms)).all()
    found = dict(zip(row.buckets, row.counts, strict=True))
    assert found == Counter(map(rollups.bucket, latencies))
