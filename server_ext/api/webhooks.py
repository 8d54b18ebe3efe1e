"""Whom the end of a run is told to."""

from __future__ import annotations

from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.webhooks import (
    Delivery,
    DeliveryQuery,
    NewWebhook,
    Webhook,
    WebhookPatch,
    WebhookQuery,
    WebhookSpec,
)
from server_ext.api.operation import Call, Operations
from server_ext.services import webhooks

operations = Operations("webhooks")
WEBHOOKS = "workspaces/{workspace}/webhooks"
WEBHOOK = WEBHOOKS + "/{webhook}"


@operations.get(WEBHOOKS, action="settings:read", query=WebhookQuery, answer=Page[Webhook])
def list_webhooks(call: Call) -> Page[Webhook]:
    """List webhooks, oldest first; never with their secrets."""
    return webhooks.list_webhooks(call.scope, call.query)


# Not idempotent: an answer that may be repeated is kept, and this one holds a secret.
@operations.post(WEBHOOKS, action="settings:update", body=WebhookSpec, answer=NewWebhook, status=201)
def create_webhook(call: Call) -> NewWebhook:
    """Make a webhook.

    The answer has the secret that its messages are signed with; it is never shown again.
    """
    return webhooks.create(call.scope, call.body)


@operations.get(WEBHOOK, action="settings:read", answer=Webhook, etag=True)
def get_webhook(call: Call) -> Webhook:
    """Return a webhook without its secret."""
    return webhooks.get(call.scope, call.path["webhook"])


@operations.patch(WEBHOOK, action="settings:update", body=WebhookPatch, answer=Webhook, conditional=True, etag=True)
def update_webhook(call: Call) -> Webhook:
    """Change a webhook, or switch it off or on again."""
    return webhooks.update(call.scope, call.path["webhook"], call.body, call.match)


@operations.delete(WEBHOOK, action="settings:update", conditional=True)
def delete_webhook(call: Call) -> None:
    """Delete a webhook; what waits to be delivered to it is not delivered."""
    webhooks.delete(call.scope, call.path["webhook"], call.match)


@operations.get(WEBHOOK + "/deliveries", action="settings:read", query=DeliveryQuery, answer=Page[Delivery])
def list_deliveries(call: Call) -> Page[Delivery]:
    """List what a webhook was and will be told in the last 30 days, newest first."""
    return webhooks.list_deliveries(call.scope, call.path["webhook"], call.query)


@operations.post(WEBHOOK + "/test", action="settings:update", answer=Delivery, status=202, limit="key_test")
def test_webhook(call: Call) -> Delivery:
    """Have a worker deliver a test; the list of deliveries says what came of it."""
    return webhooks.send_test(call.scope, call.path["webhook"])
