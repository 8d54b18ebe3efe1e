"""Requests that may be repeated: the answer to the first one under a key is the answer to all of them.

The answer is kept in the transaction that does the work: either both are there or neither is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.errors import CardError, PromptCardError
from server_ext.auth.actor import Actor
from server_ext.db.tables import idempotency_keys

MAX_KEY = 255
KEEP = sa.text("interval '24 hours'")
WAIT_MS = 10_000


@dataclass(frozen=True)
class Kept:
    """An answer as it was given."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class IdempotencyBusy(PromptCardError):
    """The first request under this key is still being worked on."""

    code = "idempotency_busy"
    retry_after_s = 1.0


@dataclass(frozen=True)
class Key:
    """An idempotency key of a user, and the request that came with it.

    Attributes:
        key_hash: Of user, operation's path and key: nobody meets the keys of others.
        request_hash: Of everything that makes the request what it is.
    """

    key_hash: bytes
    request_hash: bytes


def key_of(actor: Actor, text: str, operation: str, *request: bytes) -> Key:
    """Return the key that a header's text stands for.

    Raises:
        CardError: The text is empty, has more than 255 characters, or some that cannot be printed.
    """
    if not 1 <= len(text) <= MAX_KEY or not text.isprintable():
        raise CardError(f"'Idempotency-Key' has 1 to {MAX_KEY} printable characters.", code="request_invalid")
    return Key(_digest(actor.user_id.bytes, operation.encode(), text.encode()), _digest(*request))


def earlier(connection: sa.Connection, workspace_id: UUID, key: Key) -> Kept | None:
    """Return the answer to an earlier request under the key; a twin that is at work now is waited for.

    Raises:
        CardError: The earlier request was another one (``idempotency_reused``).
        IdempotencyBusy: The twin takes longer than ten seconds.
    """
    _take_turns(connection, workspace_id, key)
    columns = idempotency_keys.c
    row = connection.execute(
        sa.select(columns.request_hash, columns.status, columns.body, columns.headers).where(
            columns.workspace_id == workspace_id,
            columns.key_hash == key.key_hash,
            columns.created_at > sa.func.now() - KEEP,
        )
    ).one_or_none()
    if row is None:
        return None
    if bytes(row.request_hash) != key.request_hash:
        raise CardError(
            "This idempotency key was used for another request.",
            hint="Use a new key for a new request.",
            code="idempotency_reused",
        )
    return Kept(row.status, bytes(row.body), row.headers)


def keep(connection: sa.Connection, workspace_id: UUID, key: Key, answer: Kept) -> None:
    """Keep the answer for 24 hours; answers that are older go."""
    columns = idempotency_keys.c
    old = sa.or_(columns.created_at <= sa.func.now() - KEEP, columns.key_hash == key.key_hash)
    connection.execute(sa.delete(idempotency_keys).where(columns.workspace_id == workspace_id, old))
    connection.execute(
        sa.insert(idempotency_keys).values(
            workspace_id=workspace_id,
            key_hash=key.key_hash,
            request_hash=key.request_hash,
            status=answer.status,
            headers=dict(answer.headers),
            body=answer.body,
        )
    )


def _take_turns(connection: sa.Connection, workspace_id: UUID, key: Key) -> None:
    lock = int.from_bytes(_digest(workspace_id.bytes, key.key_hash)[:8], "big", signed=True)
    try:
        connection.execute(sa.text(f"set local lock_timeout = {WAIT_MS}"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
        connection.execute(sa.text("set local lock_timeout = 0"))
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != "55P03":
            raise
        raise IdempotencyBusy(
            "The first request under this idempotency key is still being worked on.", hint="Ask again in a moment."
        ) from None


def _digest(*parts: bytes) -> bytes:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.digest()
