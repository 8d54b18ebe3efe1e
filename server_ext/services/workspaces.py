"""Workspaces: whose they are, and what they are called."""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from promptcard_ext.core.contract.line import Line
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.workspaces import WorkspaceOut, WorkspacePatch, WorkspaceQuery
from promptcard_ext.core.errors import CardError, Denied
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.db.tables import memberships, workspaces
from server_ext.services import audit, changes, members, membership
from server_ext.services.paging import decode_cursor, page
from server_ext.services.precondition import Match, unconditional
from server_ext.services.scope import Scope, as_uuid

PERSONAL = "personal"
_HERE = workspaces.c
_FIRST_PAGE = WorkspaceQuery()


def local_owner(database: Database, name: str) -> Actor:
    """Return the account of the one user of a local installation, with a workspace; makes them when there are none."""
    with database.transaction() as connection:
        user_id: UUID = connection.execute(
            sa.select(sa.func.pc.resolve_identity("local", "owner", name[:255], type_=sa.Uuid))
        ).scalar_one()
    actor = Actor(user_id, name)
    if not list_mine(database, actor).items:
        create(database, actor, "Personal", PERSONAL)
    return actor


def list_mine(database: Database, actor: Actor, query: WorkspaceQuery = _FIRST_PAGE) -> Page[WorkspaceOut]:
    """Return a page of the actor's workspaces, oldest first; with a credential of one workspace only that one."""
    statement = (
        sa.select(*_columns(), memberships.c.role)
        .join(memberships, memberships.c.workspace_id == _HERE.id)
        .where(memberships.c.user_id == actor.user_id)
        .order_by(_HERE.created_at, _HERE.id)
        .limit(query.limit + 1)
    )
    if actor.workspace_id is not None:
        statement = statement.where(_HERE.id == actor.workspace_id)
    if query.cursor:
        key = decode_cursor(query.cursor, datetime, UUID)
        statement = statement.where(sa.tuple_(_HERE.created_at, _HERE.id) > sa.tuple_(*map(sa.literal, key)))
    with database.transaction(user_id=actor.user_id) as connection:
        rows = connection.execute(statement).all()
    return page(rows, query.limit, lambda row: (row.created_at, row.id), _workspace)


def create(database: Database, actor: Actor, name: str, slug: str = "") -> WorkspaceOut:
    """Make a workspace that the actor owns.

    Args:
        slug: Default: from the name, with a random ending. Slugs need to differ only among one's own workspaces.

    Raises:
        CardError: The name is not a line of 1 to 255 characters (``workspace_invalid``).
        Denied: The actor's credential is for one workspace or some actions only (``scope_missing``).
    """
    require_all_rights(actor)
    name = _line(name)
    base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80] or "workspace"
    workspace_id = uuid4()
    with database.transaction(workspace_id, actor.user_id) as connection:
        scope = Scope(connection, workspace_id, actor, "owner", database)
        found(scope, name, slug or f"{base}-{secrets.token_hex(3)}")
        membership.enrol(scope, actor.user_id, "owner")
        return _read(scope)


def found(scope: Scope, name: str, slug: str) -> None:
    """Make the workspace of the scope, without anybody in it."""
    scope.connection.execute(sa.insert(workspaces).values(id=scope.workspace_id, name=name, slug=slug))
    audit.record(scope, "workspace.created", "workspace", scope.workspace_id)


def get(scope: Scope) -> WorkspaceOut:
    """Return the workspace of the scope."""
    scope.require("workspace:read")
    return _read(scope)


def _read(scope: Scope) -> WorkspaceOut:
    columns = (*_columns(), sa.literal(scope.role).label("role"))
    return _workspace(scope.connection.execute(sa.select(*columns).where(_HERE.id == scope.workspace_id)).one())


def update(scope: Scope, patch: WorkspacePatch, match: Match = unconditional) -> WorkspaceOut:
    """Change name or slug.

    Raises:
        CardError: The name is blank, or the slug looks like an id (``workspace_invalid``).
        Conflict: ``match`` says so.
    """
    scope = membership.locked(scope, "workspace:update")
    current = _read(scope)
    match(current)
    wanted = {
        name: value
        for name, value in msgspec.structs.asdict(patch).items()
        if value is not UNSET and value != getattr(current, name)
    }
    if not wanted:
        return current
    if "name" in wanted:
        wanted["name"] = _line(wanted["name"])
    if as_uuid(wanted.get("slug", "")):
        raise CardError("A slug must not look like an id.", code="workspace_invalid")
    scope.connection.execute(
        sa.update(workspaces).where(_HERE.id == scope.workspace_id).values(**wanted, updated_at=sa.func.now())
    )
    audit.record(scope, "workspace.updated", "workspace", scope.workspace_id, fields=sorted(wanted))
    changes.announce(scope, "config", "workspace")
    if "slug" in wanted:
        _announce_to_members(scope)
    return _read(scope)


def transfer(scope: Scope, user: str) -> WorkspaceOut:
    """Make another member an owner, and the actor an admin.

    Raises:
        NotFound: There is no such member.
        CardError: It is the actor (``workspace_invalid``).
        Conflict: Groups of the Hub decide about one of the two (``member_synced``).
    """
    scope = membership.locked(scope, "workspace:transfer")
    heir, giver = members.find(scope, user), members.find(scope, str(scope.actor.user_id))
    if heir.id == giver.id:
        raise CardError("A workspace is transferred to somebody else.", code="workspace_invalid")
    membership.by_hand(heir)
    membership.by_hand(giver)
    membership.set_role(scope, heir, "owner")
    membership.set_role(scope, giver, "admin")
    audit.record(scope, "workspace.transferred", "workspace", scope.workspace_id, to=str(heir.id))
    return msgspec.structs.replace(_read(scope), role="admin")


def leave(scope: Scope) -> None:
    """End the actor's own membership.

    Raises:
        Conflict: Nobody else owns the workspace (``last_owner``), or groups of the Hub decide (``member_synced``).
    """
    scope = membership.locked(scope, "workspace:leave")
    me = members.find(scope, str(scope.actor.user_id))
    membership.by_hand(me)
    if me.role == "owner":
        membership.leave_an_owner(scope, me.id)
    membership.drop(scope, me.id)


def require_all_rights(actor: Actor) -> None:
    """Raise `Denied` when the actor's credential is for one workspace or some actions only."""
    if actor.workspace_id is not None or actor.scopes is not None:
        raise Denied(
            "This token is for what it names, in one workspace.", hint="Log in as yourself.", code="scope_missing"
        )


def _columns() -> tuple[sa.Column[Any], ...]:
    return _HERE.id, _HERE.name, _HERE.slug, _HERE.created_at, _HERE.updated_at


def _workspace(row: sa.Row[Any]) -> WorkspaceOut:
    return WorkspaceOut(**row._mapping)  # noqa: SLF001  SQLAlchemy's public name


def _line(name: str) -> str:
    try:
        return msgspec.convert(name.strip(), Line)
    except msgspec.ValidationError:
        raise CardError(
            "A workspace needs a name of 1 to 255 characters in one line.", code="workspace_invalid"
        ) from None


def _announce_to_members(scope: Scope) -> None:
    """Have everybody's rights read anew: they are found by slug."""
    here = sa.select(memberships.c.user_id).where(memberships.c.workspace_id == scope.workspace_id)
    for user_id in scope.connection.execute(here).scalars():
        changes.announce(scope, "perms", user_id)
