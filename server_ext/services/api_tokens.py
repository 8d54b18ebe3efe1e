"""API tokens: credentials with which programs act for a member, in one workspace and until a day."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from promptcard_ext.core.contract.api_tokens import ApiToken, ApiTokenQuery, ApiTokenSpec, NewApiToken
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.errors import Denied, Unauthenticated
from server_ext.auth.actor import Actor, Kind
from server_ext.auth.opaque import new_token, read_token
from server_ext.auth.permissions import allows, expand_scopes
from server_ext.db.engine import Database
from server_ext.db.tables import api_tokens as table
from server_ext.db.tables import memberships, users
from server_ext.services import audit, changes
from server_ext.services.paging import decode_cursor, page
from server_ext.services.scope import Scope, as_uuid, missing

PREFIX = "pct_"
KIND_OF_PURPOSE: dict[str, Kind] = {"api": "human", "service": "service", "kernel": "kernel", "job": "job"}
USE_IS_NOTED_EVERY = timedelta(minutes=1)
_SHOWN = (
    table.c.id, table.c.user_id, table.c.name, table.c.purpose, table.c.scopes, table.c.last_four, table.c.created_at,
    table.c.expires_at, table.c.last_used_at, (table.c.expires_at <= sa.func.now()).label("expired"),
)  # fmt: skip


def create(scope: Scope, spec: ApiTokenSpec) -> NewApiToken:
    """Make a token of the actor's own for this workspace. It never allows more, or longer, than what it is made with.

    Raises:
        CardError: A scope stands for nothing (``scope_unknown``).
        Denied: A scope goes beyond those of the credential (``scope_missing``), or a kernel or job asks.
    """
    scope.require("token:create")
    if scope.actor.kind in ("kernel", "job"):
        raise Denied("Kernels and jobs make no tokens.", hint="Make it by hand, with the rights that it needs.")
    token = new_token(scope.workspace_id, uuid4())
    text = token.text(PREFIX)
    scopes = _scopes(scope.actor, spec)
    scope.connection.execute(
        sa.insert(table).values(
            workspace_id=scope.workspace_id,
            id=token.id,
            user_id=scope.actor.user_id,
            name=spec.name,
            purpose=spec.purpose,
            scopes=scopes,
            secret_hash=token.hash,
            last_four=text[-4:],
            expires_at=_end(scope, spec.expires_in_days),
        )
    )
    audit.record(scope, "token.created", "token", token.id, purpose=spec.purpose, scoped=scopes is not None)
    return NewApiToken(_get(scope, token.id), text)


def list_tokens(scope: Scope, query: ApiTokenQuery) -> Page[ApiToken]:
    """Return a page of tokens, newest first: the actor's own, or those of all members.

    Raises:
        Denied: Those of all are asked for, and ``user:read`` is not allowed.
    """
    scope.require("token:read")
    statement = sa.select(*_SHOWN).where(*_live(scope)).order_by(table.c.created_at.desc(), table.c.id.desc())
    if query.everybody:
        scope.require("user:read")
    else:
        statement = statement.where(table.c.user_id == scope.actor.user_id)
    if query.cursor:
        key = decode_cursor(query.cursor, datetime, UUID)
        statement = statement.where(sa.tuple_(table.c.created_at, table.c.id) < sa.tuple_(*map(sa.literal, key)))
    rows = scope.connection.execute(statement.limit(query.limit + 1)).all()
    return page(rows, query.limit, lambda row: (row.created_at, row.id), _shown)


def revoke(scope: Scope, reference: str) -> None:
    """End a token: one's own, or with ``user:update`` anybody's. What it opened is closed within seconds.

    Raises:
        NotFound: There is none, it is revoked, or it is another's and not the actor's to end.
    """
    scope.require("token:delete")
    conditions = [*_live(scope), table.c.id == as_uuid(reference)]
    if not allows(scope.role, "user:update", scope.actor.scopes):
        conditions.append(table.c.user_id == scope.actor.user_id)
    if not _revoke(scope, *conditions):
        raise missing("token", reference)


def revoke_all(scope: Scope, user_id: UUID) -> None:
    """End all tokens of a user for this workspace. Rights are the caller's to check."""
    _revoke(scope, *_live(scope), table.c.user_id == user_id)


def authenticate(database: Database, text: str) -> Actor:
    """Return who shows a token, cut down to what it allows.

    Raises:
        Unauthenticated: It has expired (``token_expired``); or it is malformed, unknown or revoked, or its user is
            gone from the workspace or locked out (``token_invalid``): these look the same.
    """
    token = read_token(PREFIX, text)
    if token is None:
        raise _invalid()
    with database.transaction(token.place) as connection:
        row = connection.execute(_shown_token(token.place, token.id)).one_or_none()
        if not token.fits(bytes(row.secret_hash) if row else None) or row is None:
            raise _invalid()
        if row.expired:
            raise Unauthenticated(
                "This token has expired.", hint="Make a new one in the workspace's tokens.", code="token_expired"
            )
        if row.use_is_due:
            connection.execute(
                sa.update(table)
                .where(table.c.workspace_id == token.place, table.c.id == token.id)
                .values(last_used_at=sa.func.now())
            )
    return Actor(
        row.user_id,
        row.display_name,
        kind=KIND_OF_PURPOSE[row.purpose],
        via="token",
        scopes=None if row.scopes is None else frozenset(row.scopes),
        workspace_id=token.place,
        token_id=token.id,
    )


def _shown_token(workspace_id: UUID, token_id: UUID) -> sa.Select[Any]:
    """Return the query for a token that is not revoked, of a user who is let in and belongs to its workspace."""
    noted = table.c.last_used_at
    return (
        sa.select(
            *(table.c.user_id, table.c.purpose, table.c.scopes, table.c.secret_hash, users.c.display_name),
            (table.c.expires_at <= sa.func.now()).label("expired"),
            sa.or_(noted.is_(None), noted < sa.func.now() - USE_IS_NOTED_EVERY).label("use_is_due"),
        )
        .join(users, users.c.id == table.c.user_id)
        .join(
            memberships,
            sa.and_(memberships.c.workspace_id == table.c.workspace_id, memberships.c.user_id == table.c.user_id),
        )
        .where(
            *(table.c.workspace_id == workspace_id, table.c.id == token_id),
            *(table.c.revoked_at.is_(None), users.c.disabled_at.is_(None)),
        )
    )


def _scopes(actor: Actor, spec: ApiTokenSpec) -> list[str] | None:
    if spec.scopes is None:
        return None if actor.scopes is None else sorted(actor.scopes)
    wanted = expand_scopes(spec.scopes)
    if actor.scopes is not None and not wanted <= actor.scopes:
        beyond = ", ".join(sorted(wanted - actor.scopes)[:5])
        raise Denied(
            f"A token cannot make another that may do more: {beyond}.",
            hint="Leave 'scopes' out for those of the credential itself.",
            code="scope_missing",
        )
    return sorted(wanted)


def _end(scope: Scope, days: int) -> Any:
    wanted = sa.func.now() + timedelta(days=days)
    if scope.actor.token_id is None:
        return wanted
    shown = table.c.workspace_id == scope.workspace_id, table.c.id == scope.actor.token_id
    return sa.func.least(wanted, sa.select(table.c.expires_at).where(*shown).scalar_subquery())


def _revoke(scope: Scope, *conditions: sa.ColumnElement[bool]) -> bool:
    ended = sa.update(table).where(*conditions).values(revoked_at=sa.func.now()).returning(table.c.id, table.c.user_id)
    rows = scope.connection.execute(ended).all()
    for row in rows:
        audit.record(scope, "token.revoked", "token", row.id, user=str(row.user_id))
        changes.announce(scope, "session", row.id)
    return bool(rows)


def _live(scope: Scope) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.workspace_id == scope.workspace_id, table.c.revoked_at.is_(None)


def _get(scope: Scope, token_id: UUID) -> ApiToken:
    return _shown(scope.connection.execute(sa.select(*_SHOWN).where(*_live(scope), table.c.id == token_id)).one())


def _shown(row: sa.Row[Any]) -> ApiToken:
    return ApiToken(
        id=row.id,
        user=row.user_id,
        name=row.name,
        purpose=row.purpose,
        scopes=row.scopes,
        preview=f"{PREFIX}…{row.last_four}",
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        expired=row.expired,
    )


def _invalid() -> Unauthenticated:
    return Unauthenticated(
        "This token is not good, or not any more.",
        hint="Make a new one in the workspace's tokens.",
        code="token_invalid",
    )
