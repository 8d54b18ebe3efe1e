"""The audit trail: one sealed entry for each change, in the transaction that makes it."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.contract.audit import AuditEntry, AuditHead, AuditQuery
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.errors import PromptCardError
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.db.tables import audit_log
from server_ext.observe import request
from server_ext.services import paging
from server_ext.services.audit_seal import seal
from server_ext.services.scope import Scope, missing

log = logging.getLogger("promptcards.audit")
_NEXT = sa.text("select seq, at, prev_hash, prev_mac from pc.audit_next(:workspace)")


def record(scope: Scope, action: str, object_type: str, object_id: object, **detail: Any) -> None:
    """Append an entry. ``detail`` is small and holds no prompt, answer or secret.

    From here to the end of the transaction other writers of this workspace's trail wait.
    """
    key = scope.keys.current("audit")
    following = scope.connection.execute(_NEXT, {"workspace": scope.workspace_id}).one()
    facts = request.current()
    actor = scope.actor
    entry = {
        "workspace_id": scope.workspace_id,
        "seq": following.seq,
        "at": following.at,
        # What an operator does, no user has done.
        "actor_id": None if actor.via == "operator" else actor.user_id,
        "actor_kind": actor.kind,
        "actor_role": scope.role,
        "via": actor.via,
        "address": facts.address[:255] if facts else None,
        "request_id": facts.request_id[:100] if facts else None,
        "action": action,
        "object_type": object_type,
        "object_id": str(object_id),
        "detail": detail,
        "key_id": key.id,
    }
    mac = seal(key, entry, following.prev_hash, following.prev_mac)
    scope.connection.execute(sa.insert(audit_log).values(entry | {"mac": mac}))


def record_apart(
    database: Database,
    actor: Actor,
    workspace_id: UUID,
    role: str,
    action: str,
    object_type: str,
    object_id: object,
    **detail: Any,
) -> None:
    """Append an entry in a transaction of its own: for what changes nothing, or goes on for minutes.

    Args:
        role: The actor's in the workspace.
    """
    with database.transaction(workspace_id, actor.user_id) as connection:
        scope = Scope(connection, workspace_id, actor, role, database)
        record(scope, action, object_type, object_id, **detail)


def record_denied(database: Database, actor: Actor, workspace_id: UUID, role: str, action: str, path: str) -> None:
    """Append that the actor tried what role or credential do not allow.

    Call it after the refused transaction has ended. What keeps the entry from being written is logged: the refusal
    stands either way.

    Args:
        action: The action that was refused.
        path: Of the request.
    """
    try:
        record_apart(database, actor, workspace_id, role, "access.denied", "action", action, path=path[:200])
    except PromptCardError as error:
        log.warning("A refusal of '%s' is missing in the audit trail: %s", action, error)


def list_entries(scope: Scope, query: AuditQuery) -> Page[AuditEntry]:
    """Return a page of the trail, the latest entries first.

    Raises:
        CardError: ``cursor_invalid``.
    """
    scope.require("audit:read")
    table = audit_log.c
    chosen = sa.select(audit_log).where(table.workspace_id == scope.workspace_id)
    for column, wanted in (
        (table.action, query.action),
        (table.actor_id, query.actor),
        (table.object_type, query.object_type),
        (table.object_id, query.object_id),
    ):
        if wanted is not None:
            chosen = chosen.where(column == wanted)
    if query.since is not None:
        chosen = chosen.where(table.at >= query.since)
    if query.until is not None:
        chosen = chosen.where(table.at < query.until)
    if query.cursor is not None:
        (last,) = paging.decode_cursor(query.cursor, int)
        chosen = chosen.where(table.seq < last)
    rows = scope.connection.execute(chosen.order_by(table.seq.desc()).limit(query.limit + 1)).all()
    return paging.page(rows, query.limit, key=lambda row: (row.seq,), build=_entry)


def head(scope: Scope) -> AuditHead:
    """Return the last entry's number, hash and seal.

    Raises:
        NotFound: There is no entry yet.
    """
    scope.require("audit:read")
    table = audit_log.c
    columns = (table.workspace_id, table.seq, table.at, table.hash, table.key_id, table.mac)
    last = sa.select(*columns).where(table.workspace_id == scope.workspace_id).order_by(table.seq.desc()).limit(1)
    row = scope.connection.execute(last).one_or_none()
    if row is None:
        raise missing("audit entry", "head")
    return head_of(row)


def head_of(row: Any) -> AuditHead:
    """Return the head that a row describes."""
    workspace: UUID = row.workspace_id
    mac = row.mac.hex() if row.mac is not None else None
    return AuditHead(workspace, row.seq, row.at, row.hash.hex(), row.key_id, mac)


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(
        seq=row.seq,
        at=row.at,
        actor=row.actor_id,
        actor_kind=row.actor_kind,
        actor_role=row.actor_role,
        via=row.via,
        address=row.address,
        request_id=row.request_id,
        action=row.action,
        object_type=row.object_type,
        object_id=row.object_id,
        detail=row.detail,
        hash=row.hash.hex(),
        sealed=row.mac is not None,
    )
