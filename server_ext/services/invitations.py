"""Invitations: a text that makes whoever holds it a member, once and until a day."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from promptcard_ext.core.contract.invitations import Invitation, InvitationQuery, InvitationSpec, NewInvitation
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.workspaces import WorkspaceOut
from promptcard_ext.core.errors import CardError, Conflict, NotFound, Unauthenticated
from server_ext.auth.actor import Actor
from server_ext.auth.opaque import OpaqueToken, new_token, read_token
from server_ext.db.engine import Database
from server_ext.db.tables import invitations as table
from server_ext.services import accounts, audit, identities, membership, workspaces
from server_ext.services.paging import decode_cursor, page
from server_ext.services.scope import Scope, as_uuid, missing

PREFIX = "pci_"
MAX_OPEN = 100
_EXPIRED = table.c.expires_at <= sa.func.now()
_SHOWN = (
    *(table.c.id, table.c.email, table.c.role, table.c.created_by, table.c.created_at, table.c.expires_at),
    _EXPIRED.label("expired"),
)


def create(scope: Scope, spec: InvitationSpec) -> NewInvitation:
    """Make an invitation into at most the actor's own role. Its token is never shown again.

    Raises:
        Denied: The role is above the actor's.
        CardError: The workspace has 100 open invitations (``too_many_invitations``), or ``email_invalid``.
    """
    scope = membership.locked(scope, "user:create")
    membership.may_grant(scope, spec.role)
    # An account must be possible for it.
    identities.subject_of(spec.email)
    open_now = sa.select(sa.func.count()).select_from(table).where(*_open(scope.workspace_id), ~_EXPIRED)
    if scope.connection.execute(open_now).scalar_one() >= MAX_OPEN:
        raise CardError(
            f"A workspace has at most {MAX_OPEN} open invitations.",
            hint="Revoke those that nobody will accept.",
            code="too_many_invitations",
        )
    token = new_token(scope.workspace_id, uuid4())
    scope.connection.execute(
        sa.insert(table).values(
            workspace_id=scope.workspace_id,
            id=token.id,
            email=spec.email,
            role=spec.role,
            secret_hash=token.hash,
            created_by=None if scope.actor.via == "operator" else scope.actor.user_id,
            expires_at=sa.func.now() + timedelta(days=spec.expires_in_days),
        )
    )
    audit.record(scope, "invitation.created", "invitation", token.id, role=spec.role)
    made = scope.connection.execute(sa.select(*_SHOWN).where(*_open(scope.workspace_id), table.c.id == token.id)).one()
    return NewInvitation(_invitation(made), token.text(PREFIX))


def list_invitations(scope: Scope, query: InvitationQuery) -> Page[Invitation]:
    """Return a page of the open invitations, newest first; those that have expired are marked."""
    scope.require("user:read")
    statement = sa.select(*_SHOWN).where(*_open(scope.workspace_id))
    if query.cursor:
        key = decode_cursor(query.cursor, datetime, UUID)
        statement = statement.where(sa.tuple_(table.c.created_at, table.c.id) < sa.tuple_(*map(sa.literal, key)))
    statement = statement.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(query.limit + 1)
    rows = scope.connection.execute(statement).all()
    return page(rows, query.limit, lambda row: (row.created_at, row.id), _invitation)


def revoke(scope: Scope, reference: str) -> None:
    """Take an invitation back.

    Raises:
        NotFound: There is none that is open.
    """
    scope = membership.locked(scope, "user:create")
    ended = (
        sa.update(table)
        .where(*_open(scope.workspace_id), table.c.id == as_uuid(reference))
        .values(revoked_at=sa.func.now())
        .returning(table.c.id)
    )
    invitation_id = scope.connection.execute(ended).scalar_one_or_none()
    if invitation_id is None:
        raise missing("invitation", reference)
    audit.record(scope, "invitation.revoked", "invitation", invitation_id)


def accept(
    database: Database, text: str, actor: Actor | None, name: str | None = None, password: str | None = None
) -> WorkspaceOut:
    """Make whoever holds an invitation a member, and return the workspace as they see it.

    Args:
        actor: Who accepts; None: somebody new, for whom an account of the invited address is made.
        name: What somebody new is called; default: what stands before the ``@``.
        password: Of the new account.

    Raises:
        NotFound: The invitation is used, expired, revoked or none at all: these look the same.
        Unauthenticated: Nobody is logged in, and there is no password.
        Conflict: The address has an account (``account_exists``), or the actor is a member (``already_member``).
        Denied: The actor's credential is for one workspace or some actions only (``scope_missing``).
    """
    token = read_token(PREFIX, text)
    if token is None:
        raise _not_good()
    if actor is None:
        actor = _new_account(database, token, name, password)
    workspaces.require_all_rights(actor)
    with database.transaction(token.place, actor.user_id) as connection:
        scope = Scope(connection, token.place, actor, "viewer", database)
        membership.lock(scope)
        invitation = _good(connection, token)
        scope = dataclasses.replace(scope, role=invitation.role)
        if not membership.enrol(scope, actor.user_id, invitation.role):
            raise Conflict("You belong to this workspace already.", code="already_member")
        connection.execute(
            sa.update(table)
            .where(*_open(token.place), table.c.id == token.id)
            .values(accepted_by=actor.user_id, accepted_at=sa.func.now())
        )
        audit.record(scope, "invitation.accepted", "invitation", token.id)
        return workspaces.get(scope)


def _new_account(database: Database, token: OpaqueToken, name: str | None, password: str | None) -> Actor:
    """Make an account for whoever was invited; in a transaction of its own, since it belongs to no workspace."""
    with database.transaction(token.place) as connection:
        email: str = _good(connection, token).email
    if not password:
        raise Unauthenticated("Who accepts this invitation?", hint="Log in, or give a password for a new account.")
    return accounts.create_user(database, name or email.partition("@")[0], email, password)


def _good(connection: sa.Connection, token: OpaqueToken) -> sa.Row[Any]:
    """Return a good invitation's row."""
    columns = (table.c.email, table.c.role, table.c.secret_hash)
    looked_for: sa.Select[Any] = sa.select(*columns).where(*_open(token.place), ~_EXPIRED, table.c.id == token.id)
    row = connection.execute(looked_for).one_or_none()
    if not token.fits(bytes(row.secret_hash) if row else None) or row is None:
        raise _not_good()
    return row


def _open(workspace_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.workspace_id == workspace_id, table.c.accepted_at.is_(None), table.c.revoked_at.is_(None)


def _invitation(row: sa.Row[Any]) -> Invitation:
    return Invitation(**row._mapping)  # noqa: SLF001  SQLAlchemy's public name


def _not_good() -> NotFound:
    return NotFound("This invitation is not good, or not any more.", hint="Ask for a new one.")
