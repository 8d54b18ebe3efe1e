"""Whom the end of a run is told to, as the server takes and shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

Url = Annotated[str, Meta(min_length=1, max_length=2000)]
Note = Annotated[str, Meta(max_length=500)]
DeliveryState = Literal["waiting", "delivered", "failed"]


class WebhookQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of a list of webhooks.

    Attributes:
        limit: Most entries of the page.
        cursor: ``next`` of the page before.
    """

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=2000)] | None = None


class DeliveryQuery(WebhookQuery, frozen=True, forbid_unknown_fields=True):
    """Which deliveries of a webhook to list.

    Attributes:
        state: Only those in this state.
    """

    state: DeliveryState | None = None


class Webhook(Struct, frozen=True):
    """An address that is told when a run has ended. Its secret is shown once, when it is made.

    Attributes:
        id: Its id.
        url: Where it is told; always in the same form.
        note: What it is for.
        enabled: Whether it is told.
        failing_since: When the first delivery failed since the last one that arrived; null when all is well.
        disabled_reason: Why it was switched off, when nobody did so.
        created_by: Who made it; null when that was the system.
        created_at, updated_at: When it was made, and changed last.
    """

    id: UUID
    url: str
    note: str
    enabled: bool
    failing_since: datetime | None
    disabled_reason: str | None
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime


class WebhookSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What to make.

    Attributes:
        url: ``https://``, or a private host that the workspace's network rules allow.
        note: What it is for.
    """

    url: Url
    note: Note = ""


class NewWebhook(Struct, frozen=True):
    """A webhook that was just made, with its secret, which is never shown again.

    Attributes:
        webhook: The webhook.
        secret: ``whsec_`` and the key of the signature in base64.
    """

    webhook: Webhook
    secret: str

    def __repr__(self) -> str:
        return f"NewWebhook({self.webhook!r}, …)"


class WebhookPatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What to change. The secret stays; for another one, make another webhook.

    Attributes:
        url: A new address.
        note: What it is for.
        enabled: Whether it is told; true also forgets that it failed.
    """

    url: Url | UnsetType = UNSET
    note: Note | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class Delivery(Struct, frozen=True):
    """One thing that a webhook is told, however often it takes to reach it.

    Attributes:
        id: Sent as ``webhook-id``, the same in each attempt.
        webhook_id: Whom it is for.
        run_id: The run that has ended; null for a test.
        type: ``run.finished`` or ``webhook.test``.
        state: ``waiting`` until it has arrived, or will not be tried again.
        attempts: How often it was tried.
        status: HTTP status of the last answer; null without one.
        error: What was wrong with the last attempt: ``code`` and ``message``.
        created_at: When the run ended.
        last_attempt_at: When it was tried last.
        next_attempt_at: When it is tried again at the earliest.
    """

    id: UUID
    webhook_id: UUID
    run_id: UUID | None
    type: str
    state: DeliveryState
    attempts: int
    status: int | None
    error: dict[str, Any] | None
    created_at: datetime
    last_attempt_at: datetime | None
    next_attempt_at: datetime | None
