"""Workspaces, and the account of the lone user."""

from __future__ import annotations

import re
import secrets
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from promptcard_ext.core.errors import CardError
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.db.tables import memberships, workspaces
from server_ext.services import audit
from server_ext.services.scope import Scope

PERSONAL = "personal"


def local_owner(database: Database, name: str) -> Actor:
    """Return the account of the one user of a local installation, with a workspace; makes them when there are none."""
    with database.transaction() as connection:
        user_id: UUID = connection.execute(
            sa.select(sa.func.pc.resolve_identity("local", "owner", name[:255], type_=sa.Uuid))
        ).scalar_one()
    actor = Actor(user_id, name)
    if not list_mine(database, actor):
        create(database, actor, "Personal", PERSONAL)
    return actor


def list_mine(database: Database, actor: Actor) -> list[dict[str, Any]]:
    """Return the actor's workspaces with the actor's role in each, oldest first."""
    query = (
        sa.select(workspaces.c.id, workspaces.c.name, workspaces.c.slug, workspaces.c.created_at, memberships.c.role)
        .join(memberships, memberships.c.workspace_id == workspaces.c.id)
        .where(memberships.c.user_id == actor.user_id)
        .order_by(workspaces.c.created_at, workspaces.c.id)
    )
    with database.transaction(user_id=actor.user_id) as connection:
        return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001  SQLAlchemy's public name


def create(database: Database, actor: Actor, name: str, slug: str = "") -> dict[str, Any]:
    """Make a workspace that the actor owns.

    Args:
        slug: Default: from the name, with a random ending. Slugs need to differ only among one's own workspaces.

    Raises:
        CardError: The name is empty or longer than 255 characters (``workspace_invalid``).
    """
    name = name.strip()
    if not 1 <= len(name) <= 255:
        raise CardError("A workspace needs a name of 1 to 255 characters.", code="workspace_invalid")
    base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80] or "workspace"
    slug = slug or f"{base}-{secrets.token_hex(3)}"
    workspace_id = uuid4()
    with database.transaction(workspace_id, actor.user_id) as connection:
        connection.execute(sa.insert(workspaces).values(id=workspace_id, name=name, slug=slug))
        connection.execute(
            sa.insert(memberships).values(workspace_id=workspace_id, user_id=actor.user_id, role="owner")
        )
        audit.record(
            Scope(connection, workspace_id, actor, "owner", database), "workspace.created", "workspace", workspace_id
        )
    return {"id": workspace_id, "name": name, "slug": slug, "role": "owner"}


def get(scope: Scope) -> dict[str, Any]:
    """Return the workspace of the scope."""
    scope.require("workspace:read")
    columns = (workspaces.c.id, workspaces.c.name, workspaces.c.slug, workspaces.c.created_at)
    row = scope.connection.execute(sa.select(*columns).where(workspaces.c.id == scope.workspace_id)).one()
    return {**row._mapping, "role": scope.role}  # noqa: SLF001
