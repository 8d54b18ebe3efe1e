"""Whom the end of a run is told to."""

from __future__ import annotations

from collections.abc import Iterator

from promptcard_ext.client.noun import Noun, Ref, Tagged
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.webhooks import (
    Delivery,
    DeliveryQuery,
    DeliveryState,
    NewWebhook,
    Webhook,
    WebhookPatch,
    WebhookQuery,
    WebhookSpec,
)

_LONG = WebhookQuery(limit=200)


class Webhooks(Noun):
    """The webhooks of a workspace, by id."""

    def list(self) -> Iterator[Webhook]:
        """Yield them, oldest first."""
        return self._pages(Page[Webhook], "webhooks", query=_LONG)

    def create(self, wanted: WebhookSpec) -> NewWebhook:
        """Make one; the answer has its secret, which is never shown again."""
        return self._read(NewWebhook, "POST", "webhooks", body=wanted)

    def get(self, webhook: Ref) -> Tagged[Webhook]:
        """Return one."""
        return self._read_tagged(Webhook, "GET", "webhooks", webhook)

    def update(self, webhook: Ref, patch: WebhookPatch, *, etag: str) -> Tagged[Webhook]:
        """Change one, or switch it off or on again."""
        return self._read_tagged(Webhook, "PATCH", "webhooks", webhook, body=patch, etag=etag)

    def delete(self, webhook: Ref, *, etag: str) -> None:
        """Delete one; what waits to be delivered to it is not delivered."""
        self._ask("DELETE", "webhooks", webhook, etag=etag)

    def deliveries(self, webhook: Ref, state: DeliveryState | None = None) -> Iterator[Delivery]:
        """Yield what one was and will be told, newest first."""
        query = DeliveryQuery(limit=200, state=state)
        return self._pages(Page[Delivery], "webhooks", webhook, "deliveries", query=query)

    def test(self, webhook: Ref) -> Delivery:
        """Have a worker deliver a test; `deliveries` says what came of it."""
        return self._read(Delivery, "POST", "webhooks", webhook, "test")
