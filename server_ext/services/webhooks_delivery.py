"""What a worker needs to deliver one message to a webhook, and what becomes of it.

The signature is that of Standard Webhooks 1.0.0 (https://github.com/standard-webhooks/standard-webhooks,
spec/standard-webhooks.md): HMAC-SHA256 over ``ID.TIMESTAMP.BODY``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from promptcard_ext.core import wire
from promptcard_ext.providers.outbound import Guard
from server_ext.auth.actor import Actor
from server_ext.auth.sealing import Sealed, unseal
from server_ext.db.engine import Database
from server_ext.db.tables import tasks as work
from server_ext.db.tables import webhook_deliveries as deliveries
from server_ext.db.tables import webhooks as table
from server_ext.services import audit, changes, network_rules, tasks
from server_ext.services.scope import Scope
from server_ext.services.webhooks import PREFIX, bound_to, one

PAUSES_S = (5, 60, 300, 1800, 3600, 7200, 14_400, 21_600, 36_000)
"""How long after each failed attempt the next one comes, give or take a tenth: together a day."""
GIVES_UP_AFTER = timedelta(days=3)
"""A webhook that nothing has reached for so long is switched off."""
SERVICE = UUID(int=0)
GONE = 410


class Message(Struct, frozen=True):
    """One message, ready to be sent.

    Attributes:
        id: Sent as ``webhook-id``.
        attempt: Which attempt this is, from 1.
        secret: Key of the signature, as the receiver has it.
        guard: Where may be called.
    """

    id: UUID
    webhook_id: UUID
    url: str
    body: bytes
    attempt: int
    secret: str
    guard: Guard

    def __repr__(self) -> str:
        return f"<Message {self.id}>"

    def headers(self, timestamp: int) -> dict[str, str]:
        """Return the headers that go with the body.

        Args:
            timestamp: Seconds since 1970, of this attempt.
        """
        return {
            "Content-Type": "application/json",
            "webhook-id": str(self.id),
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self.secret, str(self.id), timestamp, self.body),
        }


class Outcome(Struct, frozen=True):
    """What came of an attempt.

    Attributes:
        status: HTTP status of the answer; None without one.
        error: Code and message; None when it has arrived.
        wait_s: Seconds that the receiver asks for before the next attempt.
    """

    status: int | None
    error: dict[str, Any] | None = None
    wait_s: float = 0.0


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``.

    Example:
        >>> signature("whsec_c2VjcmV0", "m", 1674087231, b"{}")
        'v1,wPS0EuDKrgx/X6KZg70nzaFBcSnyVhO7vltdI+bdTes='
    """
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def load(database: Database, lease: tasks.Lease, public_url: str) -> Message | None:
    """Return the message of a lease; None when there is nothing to send any more.

    Args:
        public_url: What links to this server begin with.

    Raises:
        SetupError: The secret cannot be opened (``credential_unreadable``).
    """
    with database.transaction(lease.workspace_id) as connection:
        row = _locked(connection, lease)
        if row is None or row.state != "waiting":
            return None
        if not row.enabled:
            error = {"code": "webhook_off", "message": "The webhook was switched off before this was delivered."}
            _change(connection, row, state="failed", error=error, next_attempt_at=None)
            return None
        secret = unseal(database.keys, Sealed(row.key_id, row.sealed), bound_to(lease.workspace_id, row.webhook_id))
        guard = Guard(network_rules.allowed(_scope(connection, lease, database)))
        return Message(row.id, row.webhook_id, row.url, _body(row, public_url), row.attempts + 1, secret, guard)


def settle(database: Database, lease: tasks.Lease, outcome: Outcome) -> None:
    """Write down what came of an attempt, and have the task wait for the next one, if there is to be one."""
    with database.transaction(lease.workspace_id) as connection:
        row = _locked(connection, lease)
        if row is None or row.state != "waiting":
            return
        tried = {"attempts": row.attempts + 1, "status": outcome.status, "error": outcome.error}
        if outcome.error is None:
            _change(connection, row, state="delivered", next_attempt_at=None, **tried, **_now())
            _arrived(connection, row)
            return
        still_on = _failed(_scope(connection, lease, database), row, outcome)
        if not still_on or row.attempts >= len(PAUSES_S):
            _change(connection, row, state="failed", next_attempt_at=None, **tried, **_now())
            return
        # Attempts that failed together must not come back together.
        wait_s = max(outcome.wait_s, PAUSES_S[row.attempts] * random.uniform(0.9, 1.1))  # noqa: S311
        if tasks.postpone(connection, lease, wait_s):
            again = sa.func.clock_timestamp() + timedelta(seconds=wait_s)
            _change(connection, row, next_attempt_at=again, **tried, **_now())


def _locked(connection: sa.Connection, lease: tasks.Lease) -> Any:
    # The task before its delivery, as whoever ends a task locks them; never against references to the webhook.
    task = sa.select(work.c.id).where(work.c.workspace_id == lease.workspace_id, work.c.id == lease.task_id)
    connection.execute(task.with_for_update(key_share=True))
    d = deliveries.c
    query = (
        sa.select(deliveries, table.c.url, table.c.enabled, table.c.key_id, table.c.sealed, table.c.failing_since)
        .join(table, sa.and_(table.c.workspace_id == d.workspace_id, table.c.id == d.webhook_id))
        .where(d.workspace_id == lease.workspace_id, d.id == lease.delivery_id)
        .with_for_update(key_share=True, of=[table, deliveries])
    )
    return connection.execute(query).one_or_none()


def _body(row: Any, public_url: str) -> bytes:
    data = dict(row.data)
    if row.run_id is not None:
        path = f"promptcards/api/v1/workspaces/{row.workspace_id}/runs/{row.run_id}"
        data["link"] = f"{public_url.rstrip('/')}/{path}"
    return wire.encode({"type": row.type, "timestamp": row.created_at, "data": data})


def _scope(connection: sa.Connection, lease: tasks.Lease, database: Database) -> Scope:
    return Scope(connection, lease.workspace_id, Actor(SERVICE, "worker", kind="job"), "viewer", database)


def _now() -> dict[str, Any]:
    return {"last_attempt_at": sa.func.clock_timestamp()}


def _change(connection: sa.Connection, row: Any, **values: Any) -> None:
    d = deliveries.c
    statement = sa.update(deliveries).where(d.workspace_id == row.workspace_id, d.id == row.id)
    connection.execute(statement.values(values))


def _arrived(connection: sa.Connection, row: Any) -> None:
    if row.failing_since is not None:
        statement = sa.update(table).where(*one(row.workspace_id, row.webhook_id))
        connection.execute(statement.values(failing_since=None))


def _failed(scope: Scope, row: Any, outcome: Outcome) -> bool:
    """Take note that a webhook was not reached; switch it off after days. Return whether it is still on."""
    assert outcome.error is not None
    clock = sa.select(sa.func.clock_timestamp())
    now = scope.connection.execute(clock).scalar_one()
    since = row.failing_since or now
    values: dict[str, Any] = {"failing_since": since}
    reason = None
    if outcome.status == GONE:
        reason = "The receiver says that it is gone for good (410)."
    elif now - since > GIVES_UP_AFTER:
        reason = f"Nothing has arrived since {since:%Y-%m-%d %H:%M} UTC; the last time: {outcome.error['message']}"
    if reason is not None:
        values |= {"enabled": False, "disabled_reason": reason[:500], "updated_at": sa.func.clock_timestamp()}
    scope.connection.execute(sa.update(table).where(*one(row.workspace_id, row.webhook_id)).values(values))
    if reason is not None:
        audit.record(scope, "webhook.disabled", "webhook", row.webhook_id, reason=reason[:200])
        changes.announce(scope, "credential", row.webhook_id)
    return reason is None
