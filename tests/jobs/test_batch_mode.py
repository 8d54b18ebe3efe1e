"""Runs that can wait: given to a stand-in for OpenAI's Batch API, whatever becomes of workers and answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.credentials import NewCredential, NewNetworkRule
from promptcard_ext.core.contract.prices import PriceOverrideSpec
from promptcard_ext.core.contract.runs import FINAL, ItemQuery, RunPatch, RunSpec
from promptcard_ext.core.errors import CardError, Conflict, OverBudget
from promptcard_ext.core.results import ItemResult
from promptcard_ext.providers.openai_compatible import provider
from server_ext.db.tables import attempts, generations, provider_batches, tasks
from server_ext.embedded import Services
from server_ext.jobs import batch_steps, stint, work
from server_ext.jobs.context import Context
from server_ext.keys import load_ring
from server_ext.services import cards, cases, credentials, items, network_rules, price_overrides, run_control, runs
from server_ext.services import tasks as task_service
from server_ext.settings import Settings
from tests.conftest import StartWorker
from tests.providers.batch_stub import BatchStub, Line, answered, failed, result
from tests.support import GREET, Tenant, greetings, wait_for

MINI, LARGE = "openai:gpt-4.1-mini", "openai:gpt-4.1"


@pytest.fixture
def stub() -> Iterator[BatchStub]:
    with BatchStub() as stub:
        yield stub


@pytest.fixture
def context(services: Services, settings: Settings) -> Iterator[Context]:
    keys = load_ring(settings.keys_path)
    context = Context(services.database_url, services.redis_url, "w", keys, home=settings.home)
    yield context
    context.close()


@pytest.fixture
def place(tenant: Tenant, stub: BatchStub) -> Tenant:
    """A workspace with a card, three cases and a credential that leads to the stub."""
    tenant.fill(3)
    with tenant.scope() as scope:
        network_rules.create(scope, NewNetworkRule("127.0.0.1", stub.port), "*")
        credentials.create(scope, NewCredential("openai", base_url=stub.url, key="sk-key"))
    return tenant


def start(tenant: Tenant, *models: str, **more: Any) -> str:
    with tenant.scope() as scope:
        spec = RunSpec(card="greet", models=list(models or (MINI,)), execution="batch", **more)
        return str(runs.create(scope, spec).id)


def carry_out(context: Context, lease: task_service.Lease) -> None:
    """Do one task, and none that follows it."""
    if lease.kind == "run_shard":
        stint.run(context, lease, until=0)
    else:
        work._carry_out(context, lease)


def step(tenant: Tenant, context: Context) -> bool:
    """Do as a worker does with what waits, as if its time had come; tell whether there was something."""
    due = {"not_before": sa.func.clock_timestamp()}
    with tenant.scope() as scope:
        query = sa.update(tasks).where(tasks.c.state == "queued").values(due).returning(tasks.c.id)
        task_ids = scope.connection.execute(query).scalars().all()
    for task_id in task_ids:
        lease = task_service.claim(tenant.database, tenant.id, task_id, "w", 30)
        if lease is not None:
            carry_out(context, lease)
    return bool(task_ids)


def age(tenant: Tenant, **ago: float) -> None:
    """Let what was tried have been tried so long ago."""
    with tenant.scope() as scope:
        earlier = provider_batches.c.tried_at - timedelta(**ago)
        scope.connection.execute(sa.update(provider_batches).values(tried_at=earlier))


def results(tenant: Tenant, run_id: str) -> list[ItemResult]:
    with tenant.scope() as scope:
        return list(items.list_items(scope, run_id, ItemQuery(limit=2000)).items)


def calls(tenant: Tenant, run_id: str) -> list[tuple[int, str]]:
    with tenant.scope() as scope:
        query = sa.select(attempts.c.ordinal, attempts.c.state).where(attempts.c.run_id == UUID(run_id))
        ordered = query.order_by(attempts.c.ordinal, attempts.c.attempt)
        return [(row.ordinal, row.state) for row in scope.connection.execute(ordered)]


def test_a_worker_gives_a_run_away_waits_and_records_what_comes_back(
    place: Tenant, stub: BatchStub, start_worker: StartWorker
) -> None:
    run_id = start(place, MINI, LARGE)
    start_worker()
    wait_for(lambda: len(stub.batches) == 2)
    with place.scope() as scope:
        held = sa.select(tasks.c.state).where(tasks.c.kind == "run_shard")
    wait_for(lambda: _one(place, held) == "queued")  # no worker has it while it waits
    stub.end()
    due = {"not_before": sa.func.clock_timestamp(), "rung_at": None}
    with place.scope() as scope:
        scope.connection.execute(sa.update(tasks).values(due))
    wait_for(lambda: place.status(run_id) in FINAL)
    run = place.run(run_id)
    assert (run.status, run.counts.passed, run.counts.total) == ("completed", 6, 6)
    assert stub.calls.count("POST /batches") == 2
    assert calls(place, run_id) == [(n, "recorded") for n in range(6)]
    assert not any(one.cached for one in results(place, run_id))


def _one(tenant: Tenant, query: Any) -> Any:
    with tenant.scope() as scope:
        return scope.connection.execute(query).scalar_one()


def test_answers_cost_what_the_price_book_has_for_batches(
    place: Tenant, stub: BatchStub, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the stub were at OpenAI's address, whose prices are known by name.
    monkeypatch.setattr(provider, "_is_openai", lambda _: True)
    for model, batch_rate in (("dear", 1), ("plain", None)):
        for name, rate in (("openai", 2), ("openai-batch", batch_rate)):
            if rate is not None:
                row = PriceOverrideSpec(name, model, Decimal(rate), Decimal(rate * 4), date(2020, 1, 1), "contract")
                with place.scope() as scope:
                    price_overrides.create(scope, row)
    run_id = start(place, "openai:dear", "openai:plain")
    step(place, context)
    stub.end()
    step(place, context)
    # 1,000 tokens in and 500 out, three times: at half the price where there is one, else at the full price.
    assert place.run(run_id).counts.cost_usd == 3 * (Decimal("0.003") + Decimal("0.006"))
    assert place.run(run_id).counts.priced == 6


def test_a_lost_answer_to_the_making_of_a_batch_makes_no_second_one(
    place: Tenant, stub: BatchStub, context: Context
) -> None:
    run_id = start(place)
    stub.fault("POST /batches", "lost")
    step(place, context)
    assert (len(stub.batches), _one(place, sa.select(provider_batches.c.state))) == (1, "preparing")
    step(place, context)
    assert (len(stub.batches), _one(place, sa.select(provider_batches.c.remote_id))) == (1, "batch_1")
    stub.end()
    step(place, context)
    assert (place.status(run_id), len(stub.batches)) == ("completed", 1)
    assert calls(place, run_id) == [(n, "recorded") for n in range(3)]


def test_a_batch_that_was_never_made_is_made_after_a_while(place: Tenant, stub: BatchStub, context: Context) -> None:
    run_id = start(place)
    stub.fault("POST /batches", 503)
    step(place, context)
    step(place, context)
    assert stub.batches == []  # it might still be on its way
    age(place, seconds=61)
    step(place, context)
    assert len(stub.batches) == 1
    stub.end()
    step(place, context)
    assert place.status(run_id) == "completed"
    assert stub.calls.count("POST /files") == 1


def test_a_worker_that_dies_between_steps_changes_nothing(
    place: Tenant, stub: BatchStub, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start(place)
    with monkeypatch.context() as patched:

        async def dies(*_: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(batch_steps.Steps, "_submitted", dies)
        with pytest.raises(KeyboardInterrupt):
            step(place, context)
    with place.scope() as scope:
        past = sa.func.clock_timestamp() - timedelta(seconds=1)
        scope.connection.execute(sa.update(tasks).values(lease_until=past))
        (task_id,) = scope.connection.execute(sa.select(tasks.c.id).where(tasks.c.state == "leased")).scalars()
    lease = task_service.claim(place.database, place.id, task_id, "other", 30)
    assert lease is not None
    # The provider has them: they are not of unknown fate.
    assert calls(place, run_id) == [(n, "open") for n in range(3)]
    carry_out(context, lease)
    stub.end()
    step(place, context)
    assert (place.status(run_id), len(stub.batches)) == ("completed", 1)
    assert calls(place, run_id) == [(n, "recorded") for n in range(3)]


def test_what_expired_is_asked_once_more_and_other_errors_are_results(
    place: Tenant, stub: BatchStub, context: Context
) -> None:
    def answer(line: Line) -> Line:
        return {
            "0": answered(line),
            "1": failed(line, "batch_expired", "too late"),
            "2": result(line, 400, {"error": {"message": "bad setting"}}),
        }[line["custom_id"]]

    run_id = start(place)
    step(place, context)
    stub.begin()
    step(place, context)
    stub.end("expired", answer)
    step(place, context)
    assert place.recorded(run_id) == 2
    step(place, context)
    assert [line["custom_id"] for line in stub.inputs["batch_2"]] == ["1"]
    stub.end("expired", answer)
    step(place, context)
    assert place.status(run_id) == "completed"
    assert [(one.outcome, one.reason) for one in results(place, run_id)] == [
        ("pass", None), ("error", "batch_expired"), ("error", "provider_refused"),
    ]  # fmt: skip
    assert calls(place, run_id) == [(0, "recorded"), (1, "released"), (1, "recorded"), (2, "recorded")]


def test_a_refused_batch_is_an_error_of_each_of_its_items(place: Tenant, stub: BatchStub, context: Context) -> None:
    run_id = start(place)
    step(place, context)
    stub.refuse("This file is not understood.")
    step(place, context)
    found = results(place, run_id)
    assert [one.reason for one in found] == ["batch_failed"] * 3
    assert "This file is not understood." in found[0].message
    assert (place.status(run_id), _one(place, sa.select(provider_batches.c.state))) == ("completed", "failed")


def test_results_that_do_not_come_are_fetched_later(place: Tenant, stub: BatchStub, context: Context) -> None:
    run_id = start(place)
    step(place, context)
    stub.end()
    stub.fault("GET /files/file-2/content", 500)
    step(place, context)
    assert place.recorded(run_id) == 0
    step(place, context)
    assert (place.status(run_id), place.recorded(run_id)) == ("completed", 3)


def test_judges_are_asked_live(place: Tenant, stub: BatchStub, context: Context) -> None:
    with place.scope() as scope:
        case = Case({"who": "Ada"}, (Assertion("llm-rubric", "Is friendly."),), name="judged")
        cases.replace_all(scope, "greet", [case])
    run_id = start(place, judges=[LARGE])
    step(place, context)
    stub.end()
    step(place, context)
    (found,) = results(place, run_id)
    assert stub.calls.count("POST /chat/completions") >= 1
    assert [call.generation.model for call in found.calls] == ["gpt-4.1"] * len(found.calls)
    assert len(stub.batches) == 1


def test_answers_of_several_batches_are_compared(place: Tenant, stub: BatchStub, context: Context) -> None:
    with place.scope() as scope:
        checks = (Assertion("contains", "Ada"), Assertion("max-score"))
        cases.replace_all(scope, "greet", [Case({"who": "Ada"}, checks, name="one"), *greetings(1)])
    run_id = start(place, MINI, LARGE)
    step(place, context)
    stub.end()
    step(place, context)
    found = results(place, run_id)
    assert place.status(run_id) == "completed"
    verdicts = [verdict for one in found if one.case == "one" for verdict in one.verdicts]
    assert [verdict.outcome for verdict in verdicts if verdict.type == "max-score"] == ["pass", "pass"]  # a tie


def test_a_cancelled_run_has_its_batch_stopped(place: Tenant, stub: BatchStub, context: Context) -> None:
    run_id = start(place)
    step(place, context)
    with place.scope() as scope:
        run_control.cancel(scope, run_id)
    assert place.status(run_id) == "cancelled"
    assert calls(place, run_id) == [(n, "unknown") for n in range(3)]
    assert step(place, context)
    assert stub.batches[0]["status"] == "cancelling"
    assert not step(place, context)


def test_a_run_that_pauses_keeps_its_batch(place: Tenant, stub: BatchStub, context: Context) -> None:
    run_id = start(place)
    step(place, context)
    with place.scope() as scope:
        run_control.pause(scope, run_id)
    assert place.status(run_id) == "paused"
    assert not step(place, context)
    stub.end()
    with place.scope() as scope:
        run_control.resume(scope, run_id)
    step(place, context)
    assert (place.status(run_id), len(stub.batches)) == ("completed", 1)


def test_what_cannot_wait_is_refused_at_once(place: Tenant) -> None:
    with pytest.raises(CardError) as refused, place.scope() as scope:
        runs.create(scope, RunSpec("greet", ["simulated:echo"], execution="batch"))
    assert refused.value.code == "batch_not_possible"


def test_a_budget_must_be_enough_for_all_calls_for_they_are_given_away_at_once(
    place: Tenant, stub: BatchStub, context: Context
) -> None:
    with place.scope() as scope:
        price = PriceOverrideSpec(
            f"openai@127.0.0.1:{stub.port}", "*", Decimal(2), Decimal(2), date(2020, 1, 1), "contract"
        )
        price_overrides.create(scope, price)
    with pytest.raises(OverBudget) as refused:
        start(place, budget_usd=Decimal("0.0001"))
    assert "$0.0001" in refused.value.message
    run_id = start(place, budget_usd=Decimal(1))
    with pytest.raises(Conflict), place.scope() as scope:
        run_control.adjust(scope, run_id, RunPatch(budget_usd=Decimal(0)))
    while step(place, context):
        stub.end()
    run = place.run(run_id)
    assert (run.status, run.counts.done, run.counts.errored) == ("completed", 3, 0)
    assert Decimal(0) < run.money.charged_usd <= Decimal(1)
    assert run.money.held_usd == 0


def test_every_answer_is_stored_once(place: Tenant, stub: BatchStub, context: Context) -> None:
    with place.scope() as scope:
        cards.save_version(scope, GREET)
        cases.replace_all(scope, "greet", greetings(300))
    run_id = start(place)
    while step(place, context):
        stub.end()
    assert (place.status(run_id), place.recorded(run_id)) == ("completed", 300)
    with place.scope() as scope:
        stored = scope.connection.execute(sa.select(sa.func.count()).select_from(generations)).scalar_one()
    assert (stored, len(stub.batches)) == (300, 2)
