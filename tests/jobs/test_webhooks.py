"""The end of a run is told to a real receiver, signed, once or until it has arrived."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.credentials import NewNetworkRule
from promptcard_ext.core.contract.webhooks import Delivery, NewWebhook, WebhookPatch, WebhookSpec
from server_ext.db.tables import audit_log, tasks, webhook_deliveries, webhooks
from server_ext.embedded import Services
from server_ext.jobs import webhooks as jobs
from server_ext.jobs.context import Context
from server_ext.keys import load_ring
from server_ext.services import network_rules, run_control, webhooks_delivery
from server_ext.services import tasks as task_service
from server_ext.services import webhooks as service
from server_ext.services.precondition import unconditional
from server_ext.settings import Settings
from tests.conftest import StartWorker
from tests.services.receiver import Receiver
from tests.support import Tenant, wait_for


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def context(services: Services, settings: Settings) -> Iterator[Context]:
    context = Context(services.database_url, services.redis_url, "w", load_ring(settings.keys_path))
    yield context
    context.close()


@pytest.fixture
def hook(tenant: Tenant, receiver: Receiver) -> NewWebhook:
    with tenant.scope() as scope:
        network_rules.create(scope, NewNetworkRule("127.0.0.1", receiver.port), "*")
        return service.create(scope, WebhookSpec(receiver.url))


def ended_run(tenant: Tenant) -> str:
    run_id = tenant.start()
    with tenant.scope() as scope:
        run_control.cancel(scope, run_id)
    return run_id


def deliver(tenant: Tenant, context: Context) -> bool:
    """Do as a worker does with what is due; tell whether there was something."""
    with tenant.scope() as scope:
        query = sa.select(tasks.c.id).where(tasks.c.kind == "webhook", tasks.c.state == "queued")
        task_ids = scope.connection.execute(query).scalars().all()
    for task_id in task_ids:
        lease = task_service.claim(tenant.database, tenant.id, task_id, "w", 30)
        if lease is not None:
            jobs.deliver(context, lease)
            task_service.finish(tenant.database, lease, "done")
            return True
    return False


def pass_time(tenant: Tenant, **ago: float) -> None:
    """Let what waits be due, and what failed have failed so long ago."""
    with tenant.scope() as scope:
        now = sa.func.clock_timestamp()
        scope.connection.execute(sa.update(tasks).where(tasks.c.state == "queued").values(not_before=now))
        if ago:
            since = webhooks.c.failing_since - timedelta(**ago)
            scope.connection.execute(sa.update(webhooks).values(failing_since=since))


def delivery(tenant: Tenant, hook: NewWebhook) -> Delivery:
    with tenant.scope() as scope:
        return service.list_deliveries(scope, str(hook.webhook.id)).items[0]


def test_a_worker_tells_of_a_run_that_it_has_completed(
    tenant: Tenant, hook: NewWebhook, receiver: Receiver, start_worker: StartWorker
) -> None:
    start_worker(PROMPTCARDS_PUBLIC_URL="https://jupyter.example.com/")
    run_id = tenant.start(count=3)
    wait_for(lambda: receiver.got)
    (got,) = receiver.got
    data = got.json["data"]
    assert got.is_genuine(hook.secret)
    assert not got.is_genuine("whsec_" + "A" * 44)
    assert (got.path, got.json["type"], data["run_id"], data["status"]) == (
        "/hook",
        "run.finished",
        run_id,
        "completed",
    )
    assert data["counts"] == {
        "total": 3, "done": 3, "passed": 3, "failed": 0, "errored": 0, "unscored": 0, "priced": data["counts"]["priced"]
    }  # fmt: skip
    assert data["link"] == f"https://jupyter.example.com/promptcards/api/v1/workspaces/{tenant.id}/runs/{run_id}"
    wait_for(lambda: delivery(tenant, hook).state == "delivered")
    told = delivery(tenant, hook)
    assert (str(told.id), told.attempts, told.status, told.error) == (got.headers["webhook-id"], 1, 200, None)


def test_a_failed_attempt_is_repeated_later_under_the_same_id(
    tenant: Tenant, hook: NewWebhook, receiver: Receiver, context: Context
) -> None:
    receiver.answer(500, 302, Location="http://127.0.0.1:1/elsewhere")
    ended_run(tenant)
    assert deliver(tenant, context)
    once = delivery(tenant, hook)
    assert (once.state, once.attempts, once.status) == ("waiting", 1, 500)
    assert once.error is not None
    assert (once.error["code"], once.error["message"]) == ("webhook_refused", "It answered 500.")
    assert not deliver(tenant, context)  # not before its time
    for _ in range(2):
        pass_time(tenant)
        assert deliver(tenant, context)
    assert (delivery(tenant, hook).state, delivery(tenant, hook).attempts) == ("delivered", 3)
    assert not deliver(tenant, context)
    assert {got.headers["webhook-id"] for got in receiver.got} == {str(once.id)}
    assert {got.body for got in receiver.got} == {receiver.got[0].body}
    assert [got.path for got in receiver.got] == ["/hook"] * 3
    assert all(got.is_genuine(hook.secret) for got in receiver.got)
    with tenant.scope() as scope:
        assert service.get(scope, str(hook.webhook.id)).failing_since is None


def test_pauses_grow_for_a_day_and_then_the_message_has_failed(
    tenant: Tenant, hook: NewWebhook, receiver: Receiver, context: Context
) -> None:
    receiver.answer(*[503] * 20)
    ended_run(tenant)
    waits = []
    while deliver(tenant, context):
        told = delivery(tenant, hook)
        if told.next_attempt_at is not None and told.last_attempt_at is not None:
            waits.append((told.next_attempt_at - told.last_attempt_at).total_seconds())
        pass_time(tenant)
    told = delivery(tenant, hook)
    assert (told.state, told.attempts, len(receiver.got)) == ("failed", 10, 10)
    for wait, meant in zip(waits, webhooks_delivery.PAUSES_S, strict=True):
        assert 0.89 * meant < wait < 1.11 * meant + 1
    assert 23 < sum(webhooks_delivery.PAUSES_S) / 3600 < 25


def test_a_receiver_that_asks_for_patience_gets_it(
    tenant: Tenant, hook: NewWebhook, receiver: Receiver, context: Context
) -> None:
    receiver.answer(429, Retry_After="1200")
    ended_run(tenant)
    deliver(tenant, context)
    told = delivery(tenant, hook)
    assert told.next_attempt_at is not None
    assert told.last_attempt_at is not None
    assert 1190 < (told.next_attempt_at - told.last_attempt_at).total_seconds() < 1210


def test_a_webhook_that_nothing_reaches_for_days_is_switched_off_and_says_so(
    tenant: Tenant, hook: NewWebhook, receiver: Receiver, context: Context
) -> None:
    receiver.answer(500, 500)
    ended_run(tenant)
    deliver(tenant, context)
    pass_time(tenant, days=4)
    deliver(tenant, context)
    with tenant.scope() as scope:
        off = service.get(scope, str(hook.webhook.id))
        entry = scope.connection.execute(sa.select(audit_log).order_by(audit_log.c.seq.desc()).limit(1)).one()
    assert not off.enabled
    assert off.disabled_reason is not None
    assert "the last time: It answered 500." in off.disabled_reason
    assert (entry.action, entry.actor_kind, entry.object_id) == ("webhook.disabled", "job", str(off.id))
    assert delivery(tenant, hook).state == "failed"
    with tenant.scope() as scope:
        on = service.update(scope, str(off.id), WebhookPatch(enabled=True), unconditional)
    assert (on.enabled, on.failing_since, on.disabled_reason) == (True, None, None)


def test_a_receiver_that_is_gone_is_left_alone_at_once(
    tenant: Tenant, hook: NewWebhook, receiver: Receiver, context: Context
) -> None:
    receiver.answer(410)
    ended_run(tenant)
    deliver(tenant, context)
    with tenant.scope() as scope:
        assert not service.get(scope, str(hook.webhook.id)).enabled
    ended_run(tenant)
    assert not deliver(tenant, context)
    assert len(receiver.got) == 1


def test_an_address_that_was_allowed_once_is_looked_at_each_time(
    tenant: Tenant, hook: NewWebhook, receiver: Receiver, context: Context
) -> None:
    with tenant.scope() as scope:
        (rule,) = network_rules.list_rules(scope).items
        network_rules.delete(scope, str(rule.id))
    ended_run(tenant)
    deliver(tenant, context)
    told = delivery(tenant, hook)
    assert told.error is not None
    assert (told.state, told.error["code"], receiver.got) == ("waiting", "address_refused", [])


def test_nobody_listening_is_a_failed_attempt_that_tells_no_address(
    tenant: Tenant, hook: NewWebhook, receiver: Receiver, context: Context
) -> None:
    with Receiver() as other:
        port = other.port
    with tenant.scope() as scope:
        network_rules.create(scope, NewNetworkRule("127.0.0.1", port), "*")
        patch = WebhookPatch(url=f"http://127.0.0.1:{port}/")
        service.update(scope, str(hook.webhook.id), patch, unconditional)
    ended_run(tenant)
    deliver(tenant, context)
    told = delivery(tenant, hook)
    assert told.error is not None
    assert (told.status, told.error["code"]) == (None, "webhook_unreachable")
    assert "127.0.0.1" not in told.error["message"]


def test_a_worker_that_dies_after_the_answer_sends_the_same_id_again(
    tenant: Tenant, hook: NewWebhook, receiver: Receiver, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended_run(tenant)
    with monkeypatch.context() as patched:
        patched.setattr(webhooks_delivery, "settle", lambda *_: sys.exit())
        with pytest.raises(SystemExit):
            deliver(tenant, context)
    with tenant.scope() as scope:
        past = sa.func.clock_timestamp() - timedelta(seconds=1)
        scope.connection.execute(sa.update(tasks).where(tasks.c.state == "leased").values(lease_until=past))
        (task_id,) = scope.connection.execute(sa.select(tasks.c.id).where(tasks.c.state == "leased")).scalars()
    lease = task_service.claim(tenant.database, tenant.id, task_id, "other", 30)
    assert lease is not None
    jobs.deliver(context, lease)
    jobs.deliver(context, lease)  # one that has arrived is not sent a third time
    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    assert delivery(tenant, hook).state == "delivered"


def test_a_secret_that_does_not_open_fails_the_delivery_with_its_reason(
    tenant: Tenant, hook: NewWebhook, start_worker: StartWorker
) -> None:
    with tenant.scope() as scope:
        scope.connection.execute(sa.update(webhooks).values(sealed=bytes(60)))
        made = service.send_test(scope, str(hook.webhook.id))
    start_worker()
    wait_for(lambda: delivery(tenant, hook).state == "failed")
    with tenant.scope() as scope:
        error = scope.connection.execute(
            sa.select(webhook_deliveries.c.error).where(webhook_deliveries.c.id == UUID(str(made.id)))
        ).scalar_one()
    assert error["code"] == "credential_unreadable"
