"""Webhooks: who may do what with them, what they are told, and where their secrets never appear."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from promptcard_ext.core.contract.credentials import NewNetworkRule
from promptcard_ext.core.contract.webhooks import NewWebhook, WebhookPatch, WebhookQuery, WebhookSpec
from promptcard_ext.core.errors import CardError, NotFound, ProviderError
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.db.tables import audit_log, outbox, tasks, webhook_deliveries, webhooks
from server_ext.keys import load_ring
from server_ext.services import network_rules, resealing, run_control
from server_ext.services import webhooks as service
from server_ext.services.precondition import unconditional
from server_ext.settings import Settings
from tests.conftest import NewActor
from tests.services.roles import may
from tests.support import Tenant

HOOK = "https://hooks.example.com/run"


def made(tenant: Tenant, url: str = HOOK) -> NewWebhook:
    with tenant.scope() as scope:
        return service.create(scope, WebhookSpec(url, "tells the team"))


def test_a_secret_is_shown_once_and_stored_sealed(tenant: Tenant) -> None:
    new = made(tenant)
    with tenant.scope() as scope:
        shown = service.get(scope, str(new.webhook.id))
        row = scope.connection.execute(sa.select(webhooks)).one()
        written = sa.select(audit_log.c.action, audit_log.c.detail).order_by(audit_log.c.seq)
        trail = scope.connection.execute(written).all()
    assert new.secret.startswith("whsec_")
    assert shown == new.webhook
    assert new.secret not in repr(new)
    assert new.secret[6:].encode() not in row.sealed
    assert (trail[-1].action, trail[-1].detail) == ("webhook.created", {"url": HOOK})


@pytest.mark.parametrize(
    "url", ["http://example.com/x", "https://127.0.0.1/x", "https://10.0.0.8/", "ftp://x.org", "x"]
)
def test_an_address_that_must_not_be_called_is_refused(tenant: Tenant, url: str) -> None:
    with pytest.raises(ProviderError) as refused:
        made(tenant, url)
    assert refused.value.code == "address_refused"
    new = made(tenant)
    with pytest.raises(ProviderError), tenant.scope() as scope:
        service.update(scope, str(new.webhook.id), WebhookPatch(url=url), unconditional)


def test_a_private_host_is_told_when_the_workspace_allows_it(tenant: Tenant) -> None:
    with tenant.scope() as scope:
        network_rules.create(scope, NewNetworkRule("127.0.0.1", 8099), "*")
    assert made(tenant, "http://127.0.0.1:8099/x/").webhook.url == "http://127.0.0.1:8099/x"


def test_owners_change_and_admins_read(tenant: Tenant, new_actor: NewActor) -> None:
    reference = str(made(tenant).webhook.id)
    changing = [
        lambda scope: service.create(scope, WebhookSpec(HOOK)),
        lambda scope: service.update(scope, reference, WebhookPatch(note="x"), unconditional),
        lambda scope: service.send_test(scope, reference),
        lambda scope: service.delete(scope, reference, unconditional),
    ]
    reading = [
        lambda scope: service.get(scope, reference),
        lambda scope: service.list_webhooks(scope),
        lambda scope: service.list_deliveries(scope, reference),
    ]
    for role in ("owner", "admin", "member", "viewer"):
        actor = new_actor(tenant, role)
        assert [may(tenant, actor, use) for use in changing] == [role == "owner"] * 4
        assert [may(tenant, actor, use) for use in reading] == [role in ("owner", "admin")] * 3


def test_a_webhook_is_unknown_in_another_workspace(tenant: Tenant, stranger: Tenant) -> None:
    reference = str(made(tenant).webhook.id)
    for use in (service.get, service.list_deliveries, service.send_test):
        with pytest.raises(NotFound), stranger.scope() as scope:
            use(scope, reference)


def test_pages_go_on_where_they_ended_and_twenty_are_the_most(tenant: Tenant) -> None:
    ids = [made(tenant).webhook.id for _ in range(service.MOST)]
    with tenant.scope() as scope:
        first = service.list_webhooks(scope, WebhookQuery(limit=15))
        rest = service.list_webhooks(scope, WebhookQuery(limit=15, cursor=first.next))
    assert sorted(one.id for one in first.items + rest.items) == sorted(ids)
    assert rest.next is None
    with pytest.raises(CardError) as full:
        made(tenant)
    assert full.value.code == "webhooks_full"


def test_the_end_of_a_run_and_what_is_told_of_it_are_one_transaction(tenant: Tenant) -> None:
    on, off = made(tenant), made(tenant)
    with tenant.scope() as scope:
        service.update(scope, str(off.webhook.id), WebhookPatch(enabled=False), unconditional)
    run_id = tenant.start(count=2)
    with tenant.scope() as scope:
        run_control.cancel(scope, run_id)
        scope.connection.rollback()
    with tenant.scope() as scope:
        assert scope.connection.execute(sa.select(webhook_deliveries)).all() == []
        run_control.cancel(scope, run_id)
    with tenant.scope() as scope:
        (told,) = service.list_deliveries(scope, str(on.webhook.id)).items
        assert service.list_deliveries(scope, str(off.webhook.id)).items == []
        task = scope.connection.execute(sa.select(tasks).where(tasks.c.kind == "webhook")).one()
        data = scope.connection.execute(sa.select(webhook_deliveries.c.data)).scalar_one()
        notes = scope.connection.execute(sa.select(outbox.c.ref_id).where(outbox.c.kind == "webhook")).scalars().all()
    assert (str(told.run_id), told.type, told.state, told.attempts) == (run_id, "run.finished", "waiting", 0)
    assert task.delivery_id == told.id
    assert notes in ([task.id], [])  # a relay may have taken it
    assert (data["status"], data["counts"]["total"], data["cost_usd"]) == ("cancelled", 2, "0")


def test_what_waits_goes_with_its_webhook(tenant: Tenant) -> None:
    new = made(tenant)
    with tenant.scope() as scope:
        service.send_test(scope, str(new.webhook.id))
        service.delete(scope, str(new.webhook.id), unconditional)
        assert scope.connection.execute(sa.select(webhook_deliveries)).all() == []
        assert scope.connection.execute(sa.select(tasks)).all() == []


def test_a_webhook_that_is_off_sends_no_test(tenant: Tenant) -> None:
    new = made(tenant)
    with tenant.scope() as scope:
        service.update(scope, str(new.webhook.id), WebhookPatch(enabled=False), unconditional)
        with pytest.raises(CardError) as refused:
            service.send_test(scope, str(new.webhook.id))
    assert refused.value.code == "webhook_off"


def test_secrets_of_webhooks_are_sealed_anew_with_those_of_providers(
    tenant: Tenant, me: Actor, database: Database, settings: Settings
) -> None:
    made(tenant)
    with tenant.scope() as scope:
        before = scope.connection.execute(sa.select(webhooks.c.key_id, webhooks.c.sealed)).one()
        # As if it had been sealed under a key that the ring has no more.
        scope.connection.execute(sa.update(webhooks).values(key_id="lost"))
    assert resealing.is_pending(database)
    found = resealing.reseal_all(database, me)
    assert (tenant.id, new_id(tenant)) in found.unreadable
    with tenant.scope() as scope:
        scope.connection.execute(sa.update(webhooks).values(key_id=before.key_id, sealed=before.sealed))
    assert load_ring(settings.keys_path).current("credentials").id == before.key_id


def new_id(tenant: Tenant) -> object:
    with tenant.scope() as scope:
        return scope.connection.execute(sa.select(webhooks.c.id)).scalar_one()
