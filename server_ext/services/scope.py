"""The scope of a use case: one transaction, one workspace, one actor with a role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.errors import NotFound
from server_ext.auth.actor import Actor
from server_ext.auth.permissions import require
from server_ext.db.engine import Database
from server_ext.db.tables import memberships, workspaces
from server_ext.keys import KeyRing


@dataclass(frozen=True)
class Scope:
    """What a use case works in."""

    connection: sa.Connection
    workspace_id: UUID
    actor: Actor
    role: str
    database: Database

    @property
    def keys(self) -> KeyRing:
        """The installation's secrets."""
        return self.database.keys

    def require(self, action: str) -> None:
        """Raise `Denied` unless role and credential allow ``action``. The first line of every use case."""
        require(self.role, action, self.actor.scopes)


@contextmanager
def open_scope(database: Database, actor: Actor, workspace: str) -> Iterator[Scope]:
    """Yield a scope in one transaction.

    Args:
        workspace: Id or slug of one of the actor's workspaces.

    Raises:
        NotFound: There is none, or the actor does not belong to it: the two look the same.
    """
    workspace_id, role = find_workspace(database, actor, workspace)
    with database.transaction(workspace_id, actor.user_id) as connection:
        yield Scope(connection, workspace_id, actor, role, database)


def find_workspace(database: Database, actor: Actor, workspace: str) -> tuple[UUID, str]:
    """Return id and role of one of the actor's workspaces; see `open_scope`."""
    query = (
        sa.select(workspaces.c.id, memberships.c.role)
        .join(memberships, memberships.c.workspace_id == workspaces.c.id)
        .where(memberships.c.user_id == actor.user_id)
    )
    known_id = as_uuid(workspace)
    query = query.where(workspaces.c.id == known_id) if known_id else query.where(workspaces.c.slug == workspace)
    if actor.workspace_id is not None:
        query = query.where(workspaces.c.id == actor.workspace_id)
    with database.transaction(user_id=actor.user_id) as connection:
        row = connection.execute(query.order_by(workspaces.c.created_at).limit(1)).one_or_none()
    if row is None:
        raise missing("workspace", workspace)
    return row.id, row.role


def as_uuid(text: str) -> UUID | None:
    """Return the UUID that ``text`` spells, or None."""
    try:
        return UUID(text)
    except ValueError:
        return None


def missing(what: str, reference: object) -> NotFound:
    """Return the error for an object that does not exist or is somebody else's."""
    return NotFound(f"There is no {what} '{reference!s:.100}' here.")
