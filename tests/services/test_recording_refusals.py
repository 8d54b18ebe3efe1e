"""A result that PostgreSQL refuses takes no other one with it, and what it cost is known."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace
from sqlalchemy.exc import DBAPIError

from promptcard_ext.core.contract.runs import ItemQuery
from promptcard_ext.core.results import Outcome, Tokens
from server_ext.services import items, storing
from server_ext.services import tasks as task_service
from server_ext.services.recording import Recorded
from tests.services.test_leases import lease_of, states, task_of
from tests.services.test_recording import begin, check_sums, result_of
from tests.support import Tenant

COST = Decimal("0.5")


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def spoiled(one: Recorded, **values: Any) -> Recorded:
    """Return a result whose answer has these values, and cost half a dollar."""
    answer = result_of_answer(one)
    result = replace(one.result, outcome=Outcome.PASS, generation=replace(answer, cost_usd=COST, **values))
    return replace(one, result=result)


def result_of_answer(one: Recorded) -> Any:
    assert one.result.generation is not None
    return one.result.generation


BAD = {
    "more tokens than a bigint holds": {"tokens": Tokens(2**70, 1)},
    "calls that are none": {"attempts": 0},
    "nested too deeply": {"tool_calls": nested(100_000)},
    "a price that is in no book": {"price_id": str(uuid4())},
}


@pytest.mark.parametrize("values", BAD.values(), ids=BAD)
def test_one_refused_result_is_an_error_and_all_others_are_stored(tenant: Tenant, values: dict[str, Any]) -> None:
    run_id, lease, shard = begin(tenant, 40)
    task_service.open_attempts(tenant.database, lease, list(range(40)))
    batch = [result_of(shard, ordinal) for ordinal in range(40)]
    batch[13] = spoiled(batch[13], **values)
    stored = storing.store(tenant.database, lease, batch)
    assert stored.refused == (batch[13],)
    check_sums(tenant, run_id, set(range(40)))
    with tenant.scope() as scope:
        found = {item.ordinal: item for item in items.list_items(scope, run_id, ItemQuery(limit=100)).items}
    refused = found.pop(13)
    assert (refused.outcome, refused.reason, refused.cost_usd) == (Outcome.ERROR, "result_not_storable", COST)
    assert not any(item.reason == "result_not_storable" for item in found.values())
    assert {state for _, _, state in states(tenant, run_id)} == {"recorded"}
    assert stored.seq == tenant.run(run_id).event_seq


def test_many_refused_results_are_found_one_by_one(tenant: Tenant) -> None:
    run_id, lease, shard = begin(tenant, 40)
    bad = {0, 1, 5, 17, 38}
    batch = [result_of(shard, n if n not in bad else 1) for n in range(40)]
    batch = [
        spoiled(replace(one, result=replace(one.result, ordinal=n)), attempts=0) if n in bad else one
        for n, one in enumerate(batch)
    ]
    stored = storing.store(tenant.database, lease, batch)
    assert {one.result.ordinal for one in stored.refused} == bad
    check_sums(tenant, run_id, set(range(40)))


def test_what_is_wrong_with_the_run_is_not_blamed_on_its_results(tenant: Tenant) -> None:
    _, lease, shard = begin(tenant, 4)
    unknown = UUID(int=1)
    batch = [replace(result_of(shard, n), version_id=unknown) for n in range(4)]
    with pytest.raises(DBAPIError):
        storing.store(tenant.database, lease, batch)


def test_recorders_that_write_the_same_rows_in_any_order_all_succeed(tenant: Tenant) -> None:
    begun = [begin(tenant, 24) for _ in range(3)]
    work = [
        (lease, [result_of(shard, n) for n in range(start, start + 6)][:: (-1) ** turn])
        for turn in range(2)
        for _, lease, shard in begun
        for start in range(0, 24, 3)
        if start + 6 <= 24
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: storing.store(tenant.database, *one), work))
    for run_id, _, _ in begun:
        assert tenant.recorded(run_id) == 24


def test_calls_that_were_sent_and_not_recorded_are_unknown_and_all_others_released(tenant: Tenant) -> None:
    run_id, lease, shard = begin(tenant, 4)
    task_service.open_attempts(tenant.database, lease, [0, 1, 2, 3])
    storing.store(tenant.database, lease, [result_of(shard, 0)])
    assert task_service.release(tenant.database, lease, sent={0, 2})
    assert states(tenant, run_id) == [(0, 1, "recorded"), (1, 1, "released"), (2, 1, "unknown"), (3, 1, "released")]
    again = lease_of(tenant, task_of(tenant, run_id))
    task_service.open_attempts(tenant.database, again, [1])
    assert task_service.finish(tenant.database, again, "failed", sent=[1])
    assert (1, 2, "unknown") in states(tenant, run_id)
