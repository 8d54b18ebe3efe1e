"""Who belongs to a workspace, with which role."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.contract.members import Member, MemberQuery, Role
from promptcard_ext.core.contract.page import Page
from server_ext.auth.permissions import allows
from server_ext.db.tables import memberships, users
from server_ext.services import membership
from server_ext.services.paging import decode_cursor, page
from server_ext.services.precondition import Match, unconditional
from server_ext.services.scope import Scope, as_uuid, missing

_HERE = memberships.c


def list_members(scope: Scope, query: MemberQuery) -> Page[Member]:
    """Return a page of the members, those who came first first."""
    scope.require("workspace:read")
    statement = _members(scope).order_by(_HERE.created_at, _HERE.user_id).limit(query.limit + 1)
    if query.cursor:
        key = decode_cursor(query.cursor, datetime, UUID)
        statement = statement.where(sa.tuple_(_HERE.created_at, _HERE.user_id) > sa.tuple_(*map(sa.literal, key)))
    rows = scope.connection.execute(statement).all()
    return page(rows, query.limit, lambda row: (row.created_at, row.user_id), lambda row: _member(scope, row))


def get(scope: Scope, user: str) -> Member:
    """Return one member.

    Raises:
        NotFound: The user does not exist or does not belong here: the two look the same.
    """
    scope.require("workspace:read")
    return find(scope, user)


def find(scope: Scope, user: str) -> Member:
    """Return one member. Rights are the caller's to check.

    Raises:
        NotFound: As `get`.
    """
    row = scope.connection.execute(_members(scope).where(_HERE.user_id == as_uuid(user))).one_or_none()
    if row is None:
        raise missing("member", user)
    return _member(scope, row)


def change_role(scope: Scope, user: str, role: Role, match: Match = unconditional) -> Member:
    """Give a member another role. Nobody gives more than they have, or changes whoever has more.

    Raises:
        NotFound: There is no such member.
        Denied: The member's role, or the new one, is above one's own.
        Conflict: It is the last owner (``last_owner``), or groups of the Hub decide (``member_synced``).
    """
    scope = membership.locked(scope, "user:update")
    member = find(scope, user)
    match(member)
    membership.may_grant(scope, member.role)
    membership.may_grant(scope, role)
    if role == member.role:
        return member
    membership.by_hand(member)
    if member.role == "owner":
        membership.leave_an_owner(scope, member.id)
    membership.set_role(scope, member, role)
    return find(scope, user)


def remove(scope: Scope, user: str) -> None:
    """Take a member out of the workspace; the member's tokens for it are revoked.

    Raises:
        NotFound: There is no such member.
        Conflict: It is the last owner (``last_owner``), or groups of the Hub decide (``member_synced``).
    """
    scope = membership.locked(scope, "user:delete")
    member = find(scope, user)
    membership.may_grant(scope, member.role)
    membership.by_hand(member)
    if member.role == "owner":
        membership.leave_an_owner(scope, member.id)
    membership.drop(scope, member.id)


def _members(scope: Scope) -> sa.Select[Any]:
    columns = (_HERE.user_id, _HERE.role, _HERE.source, _HERE.created_at, users.c.display_name, users.c.email)
    return sa.select(*columns).join(users, users.c.id == _HERE.user_id).where(_HERE.workspace_id == scope.workspace_id)


def _member(scope: Scope, row: sa.Row[Any]) -> Member:
    shows_email = allows(scope.role, "user:read", scope.actor.scopes)
    email = row.email if shows_email else None
    return Member(row.user_id, row.display_name, email, row.role, row.source, row.created_at)
