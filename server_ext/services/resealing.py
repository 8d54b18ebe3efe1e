"""Sealing every stored secret under the current key, while servers and workers go on using them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.errors import SetupError
from promptcard_ext.providers.place import place_of
from server_ext.auth.actor import Actor
from server_ext.auth.sealing import Sealed, binding, seal, unseal
from server_ext.db.engine import Database
from server_ext.db.tables import provider_credentials, webhooks
from server_ext.keys import KeyRing
from server_ext.services import audit
from server_ext.services.scope import Scope
from server_ext.services.webhooks import bound_to

WORKSPACES = 100
BATCH = 100


class Resealed(NamedTuple):
    """What came of it.

    Attributes:
        done: How many keys were sealed anew.
        unreadable: Workspace and credential or webhook of those that do not open; they stay as they are.
    """

    done: int
    unreadable: list[tuple[UUID, UUID]]


def reseal_all(database: Database, actor: Actor) -> Resealed:
    """Seal every secret of every workspace under the ring's current key, in transactions of at most 100 rows.

    Once this returns without unreadable ones, the old keys of the ring can be dropped.

    Args:
        actor: The operator, for the audit trail of each workspace.
    """
    done, unreadable = 0, list[tuple[UUID, UUID]]()
    after: UUID | None = None
    while workspaces := _next_workspaces(database, after):
        for workspace_id in workspaces:
            found = _workspace(database, actor, workspace_id)
            done += found.done
            unreadable += found.unreadable
        after = workspaces[-1]
    return Resealed(done, unreadable)


def is_pending(database: Database) -> bool:
    """Tell whether any secret is still sealed under an old key of the ring."""
    return bool(_next_workspaces(database, None))


def _next_workspaces(database: Database, after: UUID | None) -> list[UUID]:
    function = sa.func.pc.workspaces_to_reseal(
        database.keys.current("credentials").id, sa.bindparam("after", after, sa.Uuid), WORKSPACES, type_=sa.Uuid
    )
    with database.transaction() as connection:
        return list(connection.execute(sa.select(function.column_valued("id"))).scalars())


def _workspace(database: Database, actor: Actor, workspace_id: UUID) -> Resealed:
    done, unreadable = 0, list[tuple[UUID, UUID]]()
    kinds = iter(_SEALED)
    table, binding_of = next(kinds)
    last: UUID | None = None
    while True:
        with database.transaction(workspace_id, actor.user_id) as connection:
            rows = _locked(connection, table, workspace_id, database.keys.current("credentials").id, last)
            for row in rows:
                try:
                    _reseal(connection, database.keys, table, row, binding_of(row))
                    done += 1
                except SetupError:
                    unreadable.append((workspace_id, row.id))
            if len(rows) == BATCH:
                last = rows[-1].id
                continue
            following = next(kinds, None)
            if following is None:
                _record(Scope(connection, workspace_id, actor, "owner", database), done, len(unreadable))
                return Resealed(done, unreadable)
        (table, binding_of), last = following, None


def _of_credential(row: Any) -> bytes:
    return binding(row.workspace_id, row.id, row.revision, place_of(row.base_url).origin)


def _of_webhook(row: Any) -> bytes:
    return bound_to(row.workspace_id, row.id)


# What holds secrets, and what each of them is bound to.
_SEALED: tuple[tuple[sa.Table, Callable[[Any], bytes]], ...] = (
    (provider_credentials, _of_credential),
    (webhooks, _of_webhook),
)


def _locked(
    connection: sa.Connection, table: sa.Table, workspace_id: UUID, current: str, last: UUID | None
) -> list[Any]:
    query = sa.select(table).where(table.c.workspace_id == workspace_id, table.c.key_id != current)
    if last is not None:
        query = query.where(table.c.id > last)
    return list(connection.execute(query.order_by(table.c.id).limit(BATCH).with_for_update()).all())


def _reseal(connection: sa.Connection, keys: KeyRing, table: sa.Table, row: Any, bound: bytes) -> None:
    sealed = seal(keys, unseal(keys, Sealed(row.key_id, row.sealed), bound), bound)
    # The same secret for the same place: the revision stays, and so does the ETag.
    connection.execute(
        sa.update(table)
        .where(table.c.workspace_id == row.workspace_id, table.c.id == row.id)
        .values(key_id=sealed.key_id, sealed=sealed.data)
    )


def _record(scope: Scope, done: int, unreadable: int) -> None:
    if done or unreadable:
        key_id = scope.keys.current("credentials").id
        audit.record(scope, "credentials.resealed", "workspace", scope.workspace_id, done=done, unreadable=unreadable,
                     key=key_id)  # fmt: skip
