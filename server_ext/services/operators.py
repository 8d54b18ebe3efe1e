"""What somebody at the server's own command line works with: any workspace, as its owner would.

The audit trail names no user for it; it says ``operator``, and who was logged in at which machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import sqlalchemy as sa

from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.db.tables import memberships, workspaces
from server_ext.services.scope import Scope, missing

NOBODY = UUID(int=0)


def operator(user_id: UUID = NOBODY) -> Actor:
    """Return the operator, for whom rows are made in the name of a user where they need one."""
    return Actor(user_id, "operator", via="operator")


@contextmanager
def operator_scope(database: Database, workspace_id: UUID, user_id: UUID | None = None) -> Iterator[Scope]:
    """Yield a scope with an owner's role, in one transaction.

    Args:
        user_id: In whose name; default: the workspace's first owner, if it has one.

    Raises:
        NotFound: There is no such workspace, or the user does not belong to it.
    """
    with database.transaction(workspace_id) as connection:
        if connection.execute(sa.select(workspaces.c.id)).one_or_none() is None:
            raise missing("workspace", workspace_id)
        here = sa.select(memberships.c.user_id).where(memberships.c.workspace_id == workspace_id)
        wanted = memberships.c.role == "owner" if user_id is None else memberships.c.user_id == user_id
        first = here.where(wanted).order_by(memberships.c.created_at, memberships.c.user_id).limit(1)
        name = connection.execute(first).scalar_one_or_none()
    if user_id is not None and name is None:
        raise missing("member", user_id)
    actor = operator(name or NOBODY)
    with database.transaction(workspace_id, name) as connection:
        yield Scope(connection, workspace_id, actor, "owner", database)
