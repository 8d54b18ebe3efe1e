"""What a membership may become, and what goes with it: the rules behind `members`, invitations and the Hub's groups."""

from __future__ import annotations

import dataclasses
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from promptcard_ext.core.contract.members import Member, Role
from promptcard_ext.core.errors import Conflict, Denied
from server_ext.auth.permissions import ROLES, allows
from server_ext.db.tables import invitations, memberships, workspaces
from server_ext.services import api_tokens, audit, changes
from server_ext.services.scope import Scope, missing

HUB = "hub"
"""Source of memberships that follow from groups of the Hub."""

_HERE = memberships.c


def locked(scope: Scope, action: str) -> Scope:
    """Return the scope with the actor's role of this moment, which nobody else changes until the transaction ends.

    Of two owners who demote each other at once, the second waits here and then sees what became of them.

    Raises:
        NotFound: The actor has just been removed.
        Denied: The role does not allow ``action``, or not any more.
    """
    scope.require(action)
    lock(scope)
    if scope.actor.via == "operator":
        return scope
    mine = sa.select(_HERE.role).where(_HERE.workspace_id == scope.workspace_id, _HERE.user_id == scope.actor.user_id)
    role = scope.connection.execute(mine).scalar_one_or_none()
    if role is None:
        raise missing("workspace", scope.workspace_id)
    fresh = dataclasses.replace(scope, role=role)
    fresh.require(action)
    return fresh


def lock(scope: Scope) -> bool:
    """Wait until nobody else changes who belongs here; return whether the workspace exists.

    Whoever changes memberships or invitations does this first: what they lock then, they need not lock in one order.
    """
    here = workspaces.c.id == scope.workspace_id
    # Without KEY, so that rows that refer to the workspace can be made meanwhile.
    found = sa.select(workspaces.c.id).where(here).with_for_update(key_share=True)
    return scope.connection.execute(found).first() is not None


def may_grant(scope: Scope, role: Role) -> None:
    """Raise `Denied` when ``role`` is above the actor's own."""
    if ROLES.index(role) < ROLES.index(scope.role):
        raise Denied(f"The role '{scope.role}' may not give or take the role '{role}'.", hint=f"Ask an {role}.")


def grantable(role: str) -> tuple[str, ...]:
    """Return the roles into which somebody of this role may invite."""
    return ROLES[ROLES.index(role) :] if allows(role, "user:create") else ()


def by_hand(member: Member) -> None:
    """Raise `Conflict` (``member_synced``) when groups of the Hub decide about the member."""
    if member.source == HUB:
        raise Conflict(
            f"{member.name} belongs to this workspace through a group of the Hub.",
            hint="Change the user's groups in the Hub: a change made here would be undone at the next login.",
            code="member_synced",
        )


def leave_an_owner(scope: Scope, user_id: UUID) -> None:
    """Raise `Conflict` (``last_owner``) when nobody but ``user_id`` owns the workspace."""
    others = sa.select(_HERE.user_id).where(
        _HERE.workspace_id == scope.workspace_id, _HERE.role == "owner", _HERE.user_id != user_id
    )
    if scope.connection.execute(others.limit(1)).first() is None:
        raise Conflict(
            "A workspace needs an owner, and this is its last one.",
            hint="Make another member an owner first, or transfer the workspace to one.",
            code="last_owner",
        )


def enrol(scope: Scope, user_id: UUID, role: Role, source: str = "local") -> bool:
    """Make a user a member, unless they are one; return whether that was done. Rights are the caller's to check."""
    made = scope.connection.execute(
        insert(memberships)
        .values(workspace_id=scope.workspace_id, user_id=user_id, role=role, source=source)
        .on_conflict_do_nothing()
        .returning(_HERE.user_id)
    ).one_or_none()
    if made is None:
        return False
    audit.record(scope, "member.added", "user", user_id, role=role, source=source)
    changes.announce(scope, "perms", user_id)
    return True


def set_role(scope: Scope, member: Member, role: Role) -> None:
    """Change a role, whatever it is. Rights are the caller's to check."""
    scope.connection.execute(sa.update(memberships).where(*_row(scope, member.id)).values(role=role))
    audit.record(scope, "member.role_changed", "user", member.id, before=member.role, after=role, source=member.source)
    changes.announce(scope, "perms", member.id)
    _withdraw_invitations(scope, member.id, grantable(role))


def drop(scope: Scope, user_id: UUID) -> None:
    """End a membership with its tokens and invitations. Rights are the caller's to check."""
    api_tokens.revoke_all(scope, user_id)
    _withdraw_invitations(scope, user_id, ())
    scope.connection.execute(sa.delete(memberships).where(*_row(scope, user_id)))
    audit.record(scope, "member.removed", "user", user_id)
    changes.announce(scope, "perms", user_id)


def _row(scope: Scope, user_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return _HERE.workspace_id == scope.workspace_id, _HERE.user_id == user_id


def _withdraw_invitations(scope: Scope, user_id: UUID, roles: tuple[str, ...]) -> None:
    """Revoke what the user has invited into, but may not any more: all roles except ``roles``."""
    table = invitations.c
    withdrawn = (
        sa.update(invitations)
        .where(
            table.workspace_id == scope.workspace_id,
            table.created_by == user_id,
            table.role.not_in(roles),
            table.accepted_at.is_(None),
            table.revoked_at.is_(None),
        )
        .values(revoked_at=sa.func.now())
        .returning(table.id)
    )
    for invitation_id in scope.connection.execute(withdrawn).scalars().all():
        audit.record(scope, "invitation.revoked", "invitation", invitation_id)
