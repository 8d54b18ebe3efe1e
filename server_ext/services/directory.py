"""What an operator finds across workspaces: read as the database's owner, whom two policies let see it, and only read.

The application's role never sees more than one workspace or user at a time, and no function lends it more.
"""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from promptcard_ext.core.errors import CardError, SetupError
from server_ext.db.engine import close_engine, make_engine
from server_ext.db.errors import translated
from server_ext.db.tables import memberships, user_identities, users, workspaces
from server_ext.services.scope import as_uuid, missing


class UserEntry(Struct, frozen=True):
    """A user.

    Attributes:
        logins: What knows the user: ``local``, ``hub``, ``password``.
        workspaces: To how many the user belongs.
        disabled_at: Since when the user is locked out; null: not.
    """

    id: UUID
    name: str
    email: str | None
    logins: list[str]
    workspaces: int
    disabled_at: datetime | None
    created_at: datetime


class WorkspaceEntry(Struct, frozen=True):
    """A workspace.

    Attributes:
        owners: Ids of those who own it.
        members: How many belong to it, owners included.
    """

    id: UUID
    slug: str
    name: str
    owners: list[UUID]
    members: int
    created_at: datetime


class Directory:
    """All users and workspaces.

    Args:
        owner_url: Of the database's owner; None when it is not known.
    """

    def __init__(self, owner_url: str | None) -> None:
        self._engine = None if owner_url is None else make_engine(owner_url, pool_size=1)

    def users(self) -> list[UserEntry]:
        """Return all users, oldest first."""
        logins = sa.select(sa.func.array_agg(user_identities.c.provider.distinct()))
        count = sa.select(sa.func.count()).select_from(memberships)
        columns = (
            users.c.id,
            users.c.display_name.label("name"),
            users.c.email,
            sa.func.coalesce(
                logins.where(user_identities.c.user_id == users.c.id).scalar_subquery(), sa.text("'{}'::text[]")
            ).label("logins"),
            count.where(memberships.c.user_id == users.c.id).scalar_subquery().label("workspaces"),
            users.c.disabled_at,
            users.c.created_at,
        )
        rows = self._rows(sa.select(*columns).order_by(users.c.created_at, users.c.id))
        return [UserEntry(**row._mapping) for row in rows]  # noqa: SLF001  SQLAlchemy's public name

    def workspaces(self) -> list[WorkspaceEntry]:
        """Return all workspaces, oldest first."""
        rows = self._rows(self._workspaces().order_by(workspaces.c.created_at, workspaces.c.id))
        return [WorkspaceEntry(**row._mapping) for row in rows]  # noqa: SLF001

    def workspace(self, reference: str) -> UUID:
        """Return the id of a workspace; a reference that is an id needs no owner and is returned as it is.

        Raises:
            NotFound: There is none.
            CardError: Several have this slug (``workspace_ambiguous``).
            SetupError: The owner's URL is not known (``owner_url_missing``).
        """
        wanted = as_uuid(reference)
        if wanted is not None:
            return wanted
        found = self._rows(sa.select(workspaces.c.id).where(workspaces.c.slug == reference).order_by(workspaces.c.id))
        if not found:
            raise missing("workspace", reference)
        if len(found) > 1:
            raise CardError(
                f"{len(found)} workspaces have the slug '{reference:.100}'.",
                hint=f"Name one by its id: {', '.join(str(row.id) for row in found[:5])}.",
                code="workspace_ambiguous",
            )
        workspace_id: UUID = found[0].id
        return workspace_id

    def close(self) -> None:
        """Close the connection."""
        if self._engine is not None:
            close_engine(self._engine)

    def _workspaces(self) -> sa.Select[Any]:
        within = memberships.c.workspace_id == workspaces.c.id
        owners = sa.select(sa.func.array_agg(memberships.c.user_id)).where(within, memberships.c.role == "owner")
        return sa.select(
            workspaces.c.id,
            workspaces.c.slug,
            workspaces.c.name,
            sa.func.coalesce(owners.scalar_subquery(), sa.text("'{}'::uuid[]")).label("owners"),
            sa.select(sa.func.count()).select_from(memberships).where(within).scalar_subquery().label("members"),
            workspaces.c.created_at,
        )

    def _rows(self, query: sa.Select[Any]) -> list[Any]:
        if self._engine is None:
            raise SetupError(
                "To look across workspaces needs the owner's URL.",
                hint="Set PROMPTCARDS_OWNER_DATABASE_URL; commands that name a workspace or user by id do without.",
                code="owner_url_missing",
            )
        with translated(), self._engine.begin() as connection:
            connection.exec_driver_sql("set transaction read only")
            return list(connection.execute(query))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
