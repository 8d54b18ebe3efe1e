"""Tokens for kernels and jobs, got in exchange for what a user shows: they never allow more, or longer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from promptcard_ext.core.contract.accounts import AccessToken, ExchangeSpec
from promptcard_ext.core.errors import Denied
from server_ext.auth import tokens
from server_ext.auth.actor import Actor, Kind
from server_ext.auth.permissions import expand_scopes
from server_ext.db.engine import Database
from server_ext.db.tables import api_tokens, sessions, users
from server_ext.services.scope import find_right
from server_ext.services.sessions import LIVE, drop_expired, ended

_KIND: dict[str, Kind] = {"kernel": "kernel", "notebook_job": "job"}
JOB_S = 3600


def exchange(database: Database, actor: Actor, spec: ExchangeSpec, *, user_agent: str = "") -> AccessToken:
    """Return an access token for a kernel or job, with a session of its own that ends with the actor's.

    Raises:
        CardError: A scope stands for nothing (``scope_unknown``).
        Denied: A scope goes beyond those of the credential (``scope_missing``); or what asks is itself such a token,
            which would never end if it could renew itself.
        NotFound: The workspace does not exist, or is not the credential's.
        Unauthenticated: The credential or its user has ended meanwhile (``session_ended``).
    """
    if actor.via == "jwt" and actor.kind in ("kernel", "job"):
        raise Denied("A kernel's or job's token gets no other.", hint="Use what it was got with.")
    kind, scopes = _KIND[spec.purpose], _scopes(actor, spec.scopes)
    pin = actor.workspace_id if spec.workspace is None else find_right(database, actor, spec.workspace).workspace_id
    with database.transaction(actor.workspace_id, actor.user_id) as connection:
        drop_expired(connection, actor.user_id)
        now, limit = _limit(connection, actor)
        lifetime_s = _seconds(spec)
        if limit is not None:
            lifetime_s = min(lifetime_s, int((limit - now).total_seconds()))
        version = connection.execute(
            sa.select(users.c.token_version).where(users.c.id == actor.user_id, users.c.disabled_at.is_(None))
        ).scalar_one_or_none()
        if version is None or lifetime_s < 1:
            raise ended()
        session_id = uuid4()
        connection.execute(
            sa.insert(sessions).values(
                id=session_id,
                user_id=actor.user_id,
                kind=kind,
                parent=actor.session_id,
                pinned_workspace=pin,
                api_token=actor.token_id,
                scopes=None if scopes is None else sorted(scopes),
                user_agent=user_agent[:200],
                expires_at=now + timedelta(seconds=lifetime_s),
            )
        )
    text = tokens.issue(
        database.keys, actor.user_id, session_id, version, kind=kind, lifetime_s=lifetime_s, workspace_id=pin,
        scopes=scopes,
    )  # fmt: skip
    return AccessToken(text, lifetime_s)


def _seconds(spec: ExchangeSpec) -> int:
    if spec.purpose == "kernel":
        return min(spec.seconds or tokens.KERNEL_S, tokens.KERNEL_S)
    return spec.seconds or JOB_S


def _scopes(actor: Actor, wanted: list[str] | None) -> frozenset[str] | None:
    if wanted is None:
        return actor.scopes
    scopes = expand_scopes(wanted)
    if actor.scopes is not None and not scopes <= actor.scopes:
        beyond = ", ".join(sorted(scopes - actor.scopes)[:5])
        raise Denied(
            f"A token cannot be exchanged for one that may do more: {beyond}.",
            hint="Leave 'scopes' out for those of the credential itself.",
            code="scope_missing",
        )
    return scopes


def _limit(connection: sa.Connection, actor: Actor) -> tuple[datetime, datetime | None]:
    """Return the time, and when the actor's credential ends; a session is held, so that it does not end meanwhile."""
    now: datetime = connection.execute(sa.select(sa.func.now())).scalar_one()
    if actor.token_id is not None:
        return now, _end_of(
            connection,
            sa.select(api_tokens.c.expires_at).where(
                api_tokens.c.workspace_id == actor.workspace_id,
                api_tokens.c.id == actor.token_id,
                api_tokens.c.revoked_at.is_(None),
            ),
        )
    if actor.session_id is not None:
        mine = sa.select(sessions.c.expires_at).where(
            sessions.c.id == actor.session_id, sessions.c.user_id == actor.user_id, *LIVE
        )
        return now, _end_of(connection, mine.with_for_update(key_share=True))
    return now, None


def _end_of(connection: sa.Connection, query: sa.Select[Any]) -> datetime:
    expires_at: datetime | None = connection.execute(query).scalar_one_or_none()
    if expires_at is None:
        raise ended()
    return expires_at
