"""Addresses that are told when a run has ended: made, changed, shown; their secrets are shown once."""

from __future__ import annotations

import base64
import secrets
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from msgspec import UNSET

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
from promptcard_ext.core.errors import CardError
from promptcard_ext.providers.outbound import Guard
from server_ext.auth.sealing import binding, seal
from server_ext.db.tables import webhook_deliveries as deliveries
from server_ext.db.tables import webhooks as table
from server_ext.services import audit, changes, network_rules, paging, tasks
from server_ext.services.precondition import Match
from server_ext.services.scope import Scope, as_uuid, missing

MOST = 20
SECRET_BYTES = 32
PREFIX = "whsec_"
_FIRST_PAGE = WebhookQuery()
_FIRST_DELIVERIES = DeliveryQuery()


def list_webhooks(scope: Scope, query: WebhookQuery = _FIRST_PAGE) -> Page[Webhook]:
    """Return the workspace's webhooks, oldest first.

    Raises:
        CardError: The cursor is none of this list (``cursor_invalid``).
    """
    scope.require("settings:read")
    statement = sa.select(*_SHOWN).where(table.c.workspace_id == scope.workspace_id)
    if query.cursor is not None:
        statement = statement.where(table.c.id > paging.decode_cursor(query.cursor, UUID)[0])
    rows = scope.connection.execute(statement.order_by(table.c.id).limit(query.limit + 1)).all()
    return paging.page(rows, query.limit, lambda row: (row.id,), _built)


def get(scope: Scope, reference: str) -> Webhook:
    """Return a webhook by its id.

    Raises:
        NotFound: There is none.
    """
    scope.require("settings:read")
    return _built(_row(scope, reference))


def create(scope: Scope, wanted: WebhookSpec) -> NewWebhook:
    """Make a webhook with a secret of its own.

    Raises:
        ProviderError: The address must not be called (``address_refused``).
        CardError: There are 20 already (``webhooks_full``).
    """
    scope.require("settings:update")
    _check_room(scope)
    webhook_id = uuid4()
    secret = PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    sealed = seal(scope.keys, secret, bound_to(scope.workspace_id, webhook_id))
    values = {
        "workspace_id": scope.workspace_id,
        "id": webhook_id,
        "url": _checked(scope, wanted.url),
        "note": wanted.note,
        "key_id": sealed.key_id,
        "sealed": sealed.data,
        "created_by": None if scope.actor.via == "operator" else scope.actor.user_id,
    }
    scope.connection.execute(sa.insert(table).values(values))
    audit.record(scope, "webhook.created", "webhook", webhook_id, url=values["url"])
    changes.announce(scope, "credential", webhook_id)
    return NewWebhook(get(scope, str(webhook_id)), secret)


def update(scope: Scope, reference: str, patch: WebhookPatch, match: Match) -> Webhook:
    """Change a webhook. What still waits to be delivered goes to the new address.

    Raises:
        NotFound: There is none.
        CardError, Conflict: As ``match`` says.
        ProviderError: The address must not be called (``address_refused``).
    """
    scope.require("settings:update")
    row = _row(scope, reference, lock=True)
    match(_built(row))
    values: dict[str, Any] = {"updated_at": sa.func.clock_timestamp()}
    if patch.url is not UNSET:
        values["url"] = _checked(scope, patch.url)
    if patch.note is not UNSET:
        values["note"] = patch.note
    if patch.enabled is not UNSET:
        values |= {"enabled": patch.enabled, "failing_since": None, "disabled_reason": None}
    scope.connection.execute(sa.update(table).where(*one(scope.workspace_id, row.id)).values(values))
    changed = get(scope, reference)
    audit.record(scope, "webhook.updated", "webhook", row.id, url=changed.url, enabled=changed.enabled)
    changes.announce(scope, "credential", row.id)
    return changed


def delete(scope: Scope, reference: str, match: Match) -> None:
    """Delete a webhook with its deliveries; what waits is not delivered.

    Raises:
        NotFound: There is none.
        CardError, Conflict: As ``match`` says.
    """
    scope.require("settings:update")
    row = _row(scope, reference, lock=True)
    match(_built(row))
    # The trail first, as whoever ends a run has it: the deletion waits for references that are being made.
    audit.record(scope, "webhook.deleted", "webhook", row.id, url=row.url)
    scope.connection.execute(sa.delete(table).where(*one(scope.workspace_id, row.id)))
    changes.announce(scope, "credential", row.id)


def list_deliveries(scope: Scope, reference: str, query: DeliveryQuery = _FIRST_DELIVERIES) -> Page[Delivery]:
    """Return what a webhook was and will be told, newest first.

    Raises:
        NotFound: There is no such webhook.
        CardError: The cursor is none of this list (``cursor_invalid``).
    """
    scope.require("settings:read")
    row = _row(scope, reference)
    d = deliveries.c
    statement = sa.select(deliveries).where(d.workspace_id == scope.workspace_id, d.webhook_id == row.id)
    if query.state is not None:
        statement = statement.where(d.state == query.state)
    if query.cursor is not None:
        statement = statement.where(d.id < paging.decode_cursor(query.cursor, UUID)[0])
    rows = scope.connection.execute(statement.order_by(d.id.desc()).limit(query.limit + 1)).all()
    return paging.page(rows, query.limit, lambda row: (row.id,), _delivery)


def send_test(scope: Scope, reference: str) -> Delivery:
    """Have a worker deliver a test, as it delivers the end of a run; the list of deliveries says what came of it.

    Raises:
        NotFound: There is no such webhook.
        CardError: It is switched off (``webhook_off``).
    """
    scope.require("settings:update")
    row = _row(scope, reference)
    if not row.enabled:
        raise CardError(f"The webhook '{row.id}' is switched off.", hint="Switch it on first.", code="webhook_off")
    values = {"workspace_id": scope.workspace_id, "webhook_id": row.id, "type": "webhook.test", "data": {}}
    made = scope.connection.execute(sa.insert(deliveries).values(values).returning(deliveries)).one()
    tasks.create(scope, "webhook", delivery_id=made.id)
    audit.record(scope, "webhook.tested", "webhook", row.id)
    return _delivery(made)


def bound_to(workspace_id: UUID, webhook_id: UUID) -> bytes:
    """Return what the secret of a webhook is bound to; no credential is bound to anything like it."""
    return binding(workspace_id, webhook_id, 1, "webhook")


def one(workspace_id: UUID, webhook_id: UUID) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Return the condition for a single webhook."""
    return table.c.workspace_id == workspace_id, table.c.id == webhook_id


_SHOWN = [column for column in table.c if column.name not in ("sealed", "key_id")]


def _row(scope: Scope, reference: str, *, lock: bool = False) -> Any:
    webhook_id = as_uuid(reference)
    if webhook_id is None:
        raise missing("webhook", reference)
    statement = sa.select(*_SHOWN).where(*one(scope.workspace_id, webhook_id))
    if lock:
        # Not against references to it: whoever ends a run makes one while the audit trail waits for it.
        statement = statement.with_for_update(key_share=True)
    row = scope.connection.execute(statement).one_or_none()
    if row is None:
        raise missing("webhook", reference)
    return row


def _check_room(scope: Scope) -> None:
    count = sa.select(sa.func.count()).select_from(table).where(table.c.workspace_id == scope.workspace_id)
    if scope.connection.execute(count).scalar_one() >= MOST:
        raise CardError(
            f"This workspace has {MOST} webhooks, which is the most.", hint="Delete one.", code="webhooks_full"
        )


def _checked(scope: Scope, url: str) -> str:
    return Guard(network_rules.allowed(scope)).check(url).url


def _built(row: Any) -> Webhook:
    return Webhook(**{name: getattr(row, name) for name in Webhook.__struct_fields__})


def _delivery(row: Any) -> Delivery:
    return Delivery(**{name: getattr(row, name) for name in Delivery.__struct_fields__})
