"""Sessions: what access tokens belong to, and end with."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.contract.accounts import SessionOut, SessionQuery
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.errors import CardError, Denied, Unauthenticated
from server_ext.auth.actor import Actor
from server_ext.auth.tokens import Claims
from server_ext.db.engine import Database
from server_ext.db.tables import api_tokens, sessions, users
from server_ext.services import changes, user_audit
from server_ext.services.paging import decode_cursor, page
from server_ext.services.scope import as_uuid, missing

_HERE = sessions.c
LIVE = (_HERE.revoked_at.is_(None), _HERE.expires_at > sa.func.now())
_FIRST_PAGE = SessionQuery()


def check_session(database: Database, claims: Claims) -> Actor:
    """Return who shows an access token, when its session still goes on: one indexed read.

    The user must not be disabled, nor have changed the password since. A token that was got with an API token ends
    with that.

    Raises:
        Unauthenticated: It has ended (``session_ended``).
    """
    source = sa.exists().where(
        api_tokens.c.workspace_id == _HERE.pinned_workspace,
        api_tokens.c.id == _HERE.api_token,
        api_tokens.c.revoked_at.is_(None),
    )
    name = (
        sa.select(users.c.display_name)
        .join(sessions, _HERE.user_id == users.c.id)
        .where(
            _HERE.id == claims.session_id,
            _HERE.user_id == claims.user_id,
            *LIVE,
            sa.or_(_HERE.api_token.is_(None), source),
            users.c.token_version == claims.token_version,
            users.c.disabled_at.is_(None),
        )
    )
    with database.transaction(claims.workspace_id, claims.user_id) as connection:
        row = connection.execute(name).one_or_none()
    if row is None:
        raise ended()
    return Actor(
        claims.user_id,
        row.display_name,
        kind=claims.kind,
        via="jwt",
        scopes=claims.scopes,
        workspace_id=claims.workspace_id,
        session_id=claims.session_id,
    )


def list_mine(database: Database, actor: Actor, query: SessionQuery = _FIRST_PAGE) -> Page[SessionOut]:
    """Return a page of the actor's sessions that go on, the latest first.

    Raises:
        Denied: The actor is no person.
    """
    in_person(actor)
    statement = sa.select(sessions).where(_HERE.user_id == actor.user_id, *LIVE)
    if query.cursor:
        key = decode_cursor(query.cursor, datetime, UUID)
        statement = statement.where(sa.tuple_(_HERE.created_at, _HERE.id) < sa.tuple_(*map(sa.literal, key)))
    statement = statement.order_by(_HERE.created_at.desc(), _HERE.id.desc()).limit(query.limit + 1)
    with database.transaction(user_id=actor.user_id) as connection:
        rows = connection.execute(statement).all()
    return page(rows, query.limit, lambda row: (row.created_at, row.id), lambda row: _session(row, actor))


def revoke(database: Database, actor: Actor, reference: str) -> None:
    """End one of the actor's sessions, and what was got from it.

    Raises:
        NotFound: There is none that goes on.
        Denied: The actor is no person.
    """
    in_person(actor)
    session_id = as_uuid(reference)
    if session_id is None or not _end(database, actor, session_id, "session.revoked"):
        raise missing("session", reference)


def logout(database: Database, actor: Actor) -> None:
    """End the session of the actor's own access token, and what was got from it.

    Raises:
        CardError: There is none: Jupyter let the actor in, or an API token (``session_missing``).
    """
    if actor.session_id is None:
        raise CardError(
            "There is no session to end: this credential is not from a login.",
            hint="Log out of Jupyter, or revoke the token.",
            code="session_missing",
        )
    _end(database, actor, actor.session_id, "session.logged_out")


def revoke_all(database: Database, actor: Actor) -> None:
    """End all of the actor's sessions, the one that asks among them.

    Raises:
        Denied: The actor is no person.
    """
    in_person(actor)
    with database.transaction(user_id=actor.user_id) as connection:
        if end(connection, actor.user_id, "revoked"):
            user_audit.record(database, connection, actor, "session.all_revoked", "user", actor.user_id)


def end(connection: sa.Connection, user_id: UUID, reason: str, *conditions: sa.ColumnElement[bool]) -> list[UUID]:
    """End those of a user's sessions that fit, and have every server forget what it knows of them.

    Args:
        connection: In a transaction that acts for the user.
        conditions: Default: all of them.

    Returns:
        Their ids.
    """
    chosen = _HERE.user_id == user_id, *LIVE, *conditions
    # What is being got from one of them is waited for, so that the next statement sees it, too. Always in one order,
    # sessions before what was got from them: of two who end the same ones, one waits.
    in_order = sa.select(_HERE.id).where(*chosen).order_by(_HERE.parent.is_not(None), _HERE.id)
    connection.execute(in_order.with_for_update())
    stop = (
        sa.update(sessions).where(*chosen).values(revoked_at=sa.func.now(), revoked_reason=reason).returning(_HERE.id)
    )
    stopped = list(connection.execute(stop).scalars())
    if stopped:
        changes.send(connection, changes.Change(None, "session", str(user_id)))
    return stopped


def with_offspring(session_id: UUID) -> sa.ColumnElement[bool]:
    """Return the condition for a session and for what was got from it."""
    return sa.or_(_HERE.id == session_id, _HERE.parent == session_id)


def drop_expired(connection: sa.Connection, user_id: UUID) -> None:
    """Delete the user's sessions that are over by their time."""
    over = sa.select(_HERE.id).where(_HERE.user_id == user_id, _HERE.expires_at <= sa.func.now())
    # Those that somebody else is deleting are somebody else's.
    connection.execute(sa.delete(sessions).where(_HERE.id.in_(over.with_for_update(skip_locked=True))))


def in_person(actor: Actor) -> None:
    """Raise `Denied` when it is a program that acts for the user."""
    if actor.kind != "human":
        raise Denied("Only people change accounts and sessions.", hint="Log in as yourself.")


def ended() -> Unauthenticated:
    """Return the error for a session that has ended, for whatever reason."""
    return Unauthenticated("This session has ended.", hint="Log in again.", code="session_ended")


def _end(database: Database, actor: Actor, session_id: UUID, action: str) -> bool:
    with database.transaction(user_id=actor.user_id) as connection:
        stopped = end(connection, actor.user_id, action.partition(".")[2], with_offspring(session_id))
        if stopped:
            user_audit.record(database, connection, actor, action, "session", session_id)
    return bool(stopped)


def _session(row: sa.Row[Any], actor: Actor) -> SessionOut:
    return SessionOut(
        id=row.id,
        kind=row.kind,
        workspace=row.pinned_workspace,
        scopes=row.scopes,
        user_agent=row.user_agent,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        current=row.id == actor.session_id,
    )
