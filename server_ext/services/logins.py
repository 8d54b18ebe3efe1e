"""Logging in with a password, and staying so: the first and the next pair of tokens of a session."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import sqlalchemy as sa

from promptcard_ext.core.contract.accounts import TokenPair, UserOut
from promptcard_ext.core.errors import Unauthenticated
from server_ext.auth import passwords, refresh_tokens, tokens
from server_ext.auth.actor import Actor
from server_ext.auth.opaque import OpaqueToken
from server_ext.db.engine import Database, name_tenant
from server_ext.db.tables import sessions, users
from server_ext.services import identities, login_throttle, user_audit
from server_ext.services.login_throttle import Attempt
from server_ext.services.sessions import LIVE, drop_expired, end, ended, with_offspring

log = logging.getLogger("promptcards")
LIFETIME = timedelta(days=30)
# For a second tab that asks at the same time, and for an answer that did not arrive.
GRACE = timedelta(seconds=10)
_HERE = sessions.c
_USER = (users.c.id, users.c.display_name, users.c.email, users.c.token_version)


def login(database: Database, email: str, password: str, *, address: str = "", user_agent: str = "") -> TokenPair:
    """Begin a session. Whether an account exists shows neither in the answer nor in the work that it takes.

    Args:
        address: Of the client; attempts are counted by its network, too.
        user_agent: What the client calls itself; the first 200 characters are kept.

    Raises:
        CardError: ``email_invalid``.
        RateLimited: ``login_throttled``.
        Unauthenticated: There is no such account, the password is wrong, or the user is disabled (``login_failed``).
        Unavailable: ``login_busy``.
    """
    subject = identities.subject_of(email)
    attempt = login_throttle.attempt_of(database.keys, subject, address)
    login_throttle.admit(database, attempt)
    user_id, stored = _find(database, subject)
    if not passwords.verify(stored, password) or user_id is None or stored is None:
        log.info("A login failed: %s", f"user {user_id}" if user_id else "no such user")
        raise _failed()
    stronger = passwords.hash_password(password) if passwords.needs_rehash(stored) else None
    with database.transaction(user_id=user_id) as connection:
        # Whoever changes the password or disables the user meanwhile is waited for, or waits.
        held = sa.select(users.c.id).where(
            users.c.id == user_id, users.c.password_hash == stored, users.c.disabled_at.is_(None)
        )
        if connection.execute(held.with_for_update(key_share=True)).one_or_none() is None:
            raise _failed()
        if stronger is not None:
            connection.execute(sa.update(users).where(users.c.id == user_id).values(password_hash=stronger))
        return _begin(database, connection, user_id, attempt, user_agent)


def _find(database: Database, subject: str) -> tuple[UUID | None, str | None]:
    """Return who has an e-mail address, and the hash of their password unless they are disabled."""
    with database.transaction() as connection:
        user_id = identities.find(connection, subject)
        # For nobody we ask as well: it takes as long.
        asked = user_id or uuid4()
        name_tenant(connection, None, asked)
        stored = sa.select(users.c.password_hash).where(users.c.id == asked, users.c.disabled_at.is_(None))
        return user_id, connection.execute(stored).scalar_one_or_none()


def _begin(
    database: Database, connection: sa.Connection, user_id: UUID, attempt: Attempt, user_agent: str
) -> TokenPair:
    drop_expired(connection, user_id)
    key = database.keys.current("signing")
    token = refresh_tokens.first(key, user_id, uuid4())
    connection.execute(
        sa.insert(sessions).values(
            id=token.id,
            user_id=user_id,
            kind="human",
            user_agent=user_agent[:200],
            expires_at=sa.func.now() + LIFETIME,
            refresh_hash=token.hash,
            key_id=key.id,
        )
    )
    session = _read(connection, token)
    assert session is not None
    login_throttle.forgive(connection, attempt)
    user_audit.record(database, connection, session.actor, "session.started", "session", token.id)
    return _pair(database, session, token)


def refresh(database: Database, text: str) -> TokenPair:
    """Return the next pair of tokens of a session, in exchange for its last refresh token.

    The same token gets the same successor for ten seconds more. After that, or when it has been superseded twice, two
    hold what one should: the session ends for both.

    Raises:
        Unauthenticated: It is none of ours (``refresh_invalid``), it was used before (``refresh_replayed``), or the
            session or user has ended (``session_ended``).
    """
    token = refresh_tokens.read(text)
    if token is None:
        raise _invalid()
    with database.transaction(user_id=token.place) as connection:
        # Of two at once, the second waits here, and only then looks.
        connection.execute(sa.select(_HERE.id).where(*_row(token)).with_for_update())
        session = _read(connection, token)
        if session is None or not session.knows(token, database):
            raise _invalid()
        if not session.live:
            raise ended()
        following = _following(database, connection, session, token)
        if following is None:
            # The end of the session must stay although this request fails.
            end(connection, token.place, "replayed", with_offspring(token.id))
            user_audit.record(database, connection, session.actor, "session.replayed", "session", token.id)
    if following is None:
        log.warning("Session %s has ended: a refresh token of it was used again", token.id)
        raise Unauthenticated(
            "This refresh token was used before, so that its session has ended.",
            hint="Log in again; if it was not you who used it, change your password.",
            code="refresh_replayed",
        )
    return _pair(database, session, following)


def logout(database: Database, text: str) -> None:
    """End the session of a refresh token, whether it is its last or an earlier one, and what was got from it.

    Raises:
        Unauthenticated: It is none of ours (``refresh_invalid``).
    """
    token = refresh_tokens.read(text)
    if token is None:
        raise _invalid()
    with database.transaction(user_id=token.place) as connection:
        session = _read(connection, token)
        if session is None or not session.knows(token, database):
            raise _invalid()
        if end(connection, token.place, "logged_out", with_offspring(token.id)):
            user_audit.record(database, connection, session.actor, "session.logged_out", "session", token.id)


@dataclass(frozen=True)
class _Session:
    """A session and its user, as they are now.

    Attributes:
        live: Whether neither it nor its user has ended.
        graced: Whether its token was made so shortly ago that the one before is not yet a replay.
    """

    actor: Actor
    email: str | None
    token_version: int
    expires_at: datetime
    now: datetime
    live: bool
    graced: bool
    refresh_hash: bytes
    previous_hash: bytes | None
    key_id: str

    def knows(self, token: OpaqueToken, database: Database) -> bool:
        """Tell whether a token is, or once was, the session's: what somebody made up does it no harm."""
        stored = token.fits(self.refresh_hash) or token.fits(self.previous_hash)
        return stored or refresh_tokens.is_genuine(database.keys, token)


def _following(
    database: Database, connection: sa.Connection, session: _Session, token: OpaqueToken
) -> OpaqueToken | None:
    """Return the successor of a token, made now or a moment ago; None when it is a replay."""
    if token.fits(session.refresh_hash):
        key = database.keys.current("signing")
        following = refresh_tokens.successor(key, token)
        connection.execute(
            sa.update(sessions)
            .where(*_row(token))
            .values(
                previous_hash=token.hash,
                refresh_hash=following.hash,
                key_id=key.id,
                rotated_at=sa.func.clock_timestamp(),
                last_used_at=sa.func.now(),
            )
        )
        return following
    if not token.fits(session.previous_hash) or not session.graced:
        return None
    former = database.keys.find("signing", session.key_id)
    if former is None:  # dropped from the ring within these seconds
        raise ended()
    return refresh_tokens.successor(former, token)


def _read(connection: sa.Connection, token: OpaqueToken) -> _Session | None:
    query = (
        sa.select(
            *_USER,
            *(_HERE.expires_at, _HERE.refresh_hash, _HERE.previous_hash, _HERE.key_id),
            sa.func.now().label("now"),
            sa.and_(*LIVE, users.c.disabled_at.is_(None)).label("live"),
            sa.func.coalesce(_HERE.rotated_at > sa.func.clock_timestamp() - GRACE, sa.false()).label("graced"),
        )
        .join(sessions, _HERE.user_id == users.c.id)
        .where(*_row(token), _HERE.refresh_hash.is_not(None))
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return _Session(
        actor=Actor(row.id, row.display_name, via="jwt", session_id=token.id),
        email=row.email,
        token_version=row.token_version,
        expires_at=row.expires_at,
        now=row.now,
        live=row.live,
        graced=row.graced,
        refresh_hash=bytes(row.refresh_hash),
        previous_hash=None if row.previous_hash is None else bytes(row.previous_hash),
        key_id=row.key_id,
    )


def _pair(database: Database, session: _Session, token: OpaqueToken) -> TokenPair:
    left_s = int((session.expires_at - session.now).total_seconds())
    lifetime_s = max(1, min(tokens.ACCESS_S, left_s))
    access = tokens.issue(database.keys, session.actor.user_id, token.id, session.token_version, lifetime_s=lifetime_s)
    user = UserOut(session.actor.user_id, session.actor.name, session.email)
    return TokenPair(access, lifetime_s, token.text(refresh_tokens.PREFIX), session.expires_at, user)


def _row(token: OpaqueToken) -> tuple[sa.ColumnElement[bool], ...]:
    return _HERE.user_id == token.place, _HERE.id == token.id


def _failed() -> Unauthenticated:
    return Unauthenticated("E-mail or password is wrong.", hint="Try again.", code="login_failed")


def _invalid() -> Unauthenticated:
    return Unauthenticated("This refresh token is not good.", hint="Log in again.", code="refresh_invalid")
