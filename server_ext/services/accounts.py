"""Accounts: who logs in with an e-mail address and a password, and who no longer may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from promptcard_ext.core.contract.accounts import AccessToken, UserOut
from promptcard_ext.core.contract.line import Line
from promptcard_ext.core.errors import CardError, Conflict, Denied
from server_ext.auth import passwords, tokens
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database, name_tenant
from server_ext.db.tables import sessions, user_identities, users
from server_ext.services import changes, identities, login_throttle, user_audit
from server_ext.services.scope import as_uuid, missing
from server_ext.services.sessions import end, ended, in_person


@dataclass(frozen=True)
class Account:
    """A user, as operators see them.

    Attributes:
        disabled: Whether they may do nothing for now.
        has_password: Whether they can log in with one.
    """

    id: UUID
    name: str
    email: str | None
    disabled: bool
    has_password: bool


def create_user(database: Database, name: str, email: str, password: str) -> Actor:
    """Make an account. Rights are the caller's to check: it is for operators and for invitations.

    Raises:
        CardError: ``email_invalid``, ``password_refused``, or the name is not a line of 1 to 255 characters
            (``user_invalid``).
        Conflict: There is an account of this address (``account_exists``).
        Unavailable: ``login_busy``.
    """
    name, subject = _line(name), identities.subject_of(email)
    passwords.check_new(password, email=subject, name=name)
    stored = passwords.hash_password(password)
    with database.transaction() as connection:
        if identities.find(connection, subject) is not None:
            raise _exists()
        user_id = identities.make(connection, subject, name)
        name_tenant(connection, None, user_id)
        # Of two at once, the second was given the user that the first has made.
        fresh = users.c.id == user_id, users.c.password_hash.is_(None)
        values = {"email": email.strip(), "password_hash": stored, "password_changed_at": sa.func.now()}
        if connection.execute(sa.update(users).where(*fresh).values(values)).rowcount == 0:
            raise _exists()
    return Actor(user_id, name, via="jwt")


def change_password(database: Database, actor: Actor, old: str, new: str, *, address: str = "") -> AccessToken | None:
    """Change the actor's own password, and end all other sessions of theirs.

    Returns:
        A token in place of the one that asked, which counts no more; None when it was none of a session.

    Raises:
        Denied: ``old`` is wrong (``password_wrong``), or the actor is no person.
        CardError: The new one is no good (``password_refused``), or there is none to change (``password_missing``).
        RateLimited: ``old`` was wrong too often (``login_throttled``).
        Unavailable: ``login_busy``.
    """
    in_person(actor)
    with database.transaction(user_id=actor.user_id) as connection:
        user = connection.execute(_user(actor.user_id)).one()
    if user.password_hash is None or user.subject is None:
        raise CardError(
            "This account has no password.", hint="You log in elsewhere: change it there.", code="password_missing"
        )
    attempt = login_throttle.attempt_of(database.keys, user.subject, address)
    login_throttle.admit(database, attempt)
    if not passwords.verify(user.password_hash, old):
        raise Denied("This is not your password.", hint="Give the one that counts now as 'old'.", code="password_wrong")
    passwords.check_new(new, email=user.subject, name=user.display_name)
    stored = passwords.hash_password(new)
    with database.transaction(user_id=actor.user_id) as connection:
        same = users.c.password_hash == user.password_hash, users.c.disabled_at.is_(None)
        version = _replace_password(connection, actor.user_id, stored, *same)
        if version is None:  # changed, or disabled, at the same time
            raise ended()
        others = () if actor.session_id is None else (sessions.c.id != actor.session_id,)
        _end_sessions(connection, actor.user_id, "password changed", *others)
        login_throttle.forgive(connection, attempt)
        user_audit.record(database, connection, actor, "password.changed", "user", actor.user_id)
    if actor.session_id is None:
        return None
    return AccessToken(tokens.issue(database.keys, actor.user_id, actor.session_id, version), tokens.ACCESS_S)


def set_password(database: Database, user: str, password: str) -> None:
    """Give an account a new password and end all of its sessions: for operators.

    Args:
        user: E-mail address or id.

    Raises:
        NotFound: There is no such account with an e-mail address.
        CardError: ``password_refused``.
    """
    account = find_account(database, user)
    if account.email is None:
        raise missing("account with an e-mail address", user)
    passwords.check_new(password, email=account.email, name=account.name)
    stored = passwords.hash_password(password)
    attempt = login_throttle.attempt_of(database.keys, identities.subject_of(account.email), "")
    with database.transaction(user_id=account.id) as connection:
        _replace_password(connection, account.id, stored)
        _end_sessions(connection, account.id, "password set")
        login_throttle.forgive(connection, attempt)
        user_audit.record(database, connection, _operator(account), "password.set", "user", account.id)


def disable(database: Database, user: str) -> None:
    """Let a user do nothing from now on, and end all of their sessions: for operators.

    Args:
        user: E-mail address or id.

    Raises:
        NotFound: There is no such user.
    """
    account = find_account(database, user)
    with database.transaction(user_id=account.id) as connection:
        _set(connection, account.id, disabled_at=sa.func.coalesce(users.c.disabled_at, sa.func.now()))
        _end_sessions(connection, account.id, "disabled")
        user_audit.record(database, connection, _operator(account), "user.disabled", "user", account.id)


def enable(database: Database, user: str) -> None:
    """Let a user back in, who has to log in again: for operators.

    Args:
        user: E-mail address or id.

    Raises:
        NotFound: There is no such user.
    """
    account = find_account(database, user)
    with database.transaction(user_id=account.id) as connection:
        _set(connection, account.id, disabled_at=None)
        _announce(connection, account.id)
        user_audit.record(database, connection, _operator(account), "user.enabled", "user", account.id)


def find_account(database: Database, user: str) -> Account:
    """Return the account of an e-mail address or id: for operators.

    Raises:
        NotFound: There is none.
    """
    with database.transaction() as connection:
        try:
            user_id = as_uuid(user) or identities.find(connection, identities.subject_of(user))
        except CardError:
            raise missing("user", user) from None
        name_tenant(connection, None, user_id)
        row = connection.execute(_user(user_id)).one_or_none()
    if row is None:
        raise missing("user", user)
    return Account(row.id, row.display_name, row.email, row.disabled_at is not None, row.password_hash is not None)


def describe(database: Database, actor: Actor) -> UserOut:
    """Return the actor, as they see themselves."""
    with database.transaction(user_id=actor.user_id) as connection:
        row = connection.execute(_user(actor.user_id)).one()
    return UserOut(row.id, row.display_name, row.email)


def _user(user_id: UUID | None) -> sa.Select[Any]:
    login = sa.and_(user_identities.c.user_id == users.c.id, user_identities.c.provider == identities.PASSWORD)
    columns = (users.c.id, users.c.display_name, users.c.email, users.c.password_hash, users.c.disabled_at)
    return (
        sa.select(*columns, user_identities.c.subject)
        .join(user_identities, login, isouter=True)
        .where(users.c.id == user_id)
    )


def _replace_password(
    connection: sa.Connection, user_id: UUID, stored: str, *conditions: sa.ColumnElement[bool]
) -> int | None:
    """Set a password's hash and return the new token version; None when the conditions do not hold."""
    change = (
        sa.update(users)
        .where(users.c.id == user_id, *conditions)
        .values(
            password_hash=stored,
            password_changed_at=sa.func.now(),
            updated_at=sa.func.now(),
            token_version=users.c.token_version + 1,
        )
        .returning(users.c.token_version)
    )
    version: int | None = connection.execute(change).scalar_one_or_none()
    return version


def _set(connection: sa.Connection, user_id: UUID, **values: Any) -> None:
    connection.execute(sa.update(users).where(users.c.id == user_id).values(**values, updated_at=sa.func.now()))


def _end_sessions(connection: sa.Connection, user_id: UUID, reason: str, *which: sa.ColumnElement[bool]) -> None:
    end(connection, user_id, reason, *which)
    _announce(connection, user_id)


def _announce(connection: sa.Connection, user_id: UUID) -> None:
    """Have every server look at the user anew, whatever credential they show."""
    changes.send(connection, changes.Change(None, "session", str(user_id)))
    changes.send(connection, changes.Change(None, "perms", str(user_id)))


def _operator(account: Account) -> Actor:
    return Actor(account.id, account.name, via="operator")


def _line(name: str) -> str:
    try:
        return msgspec.convert(name.strip(), Line)
    except msgspec.ValidationError:
        raise CardError("A user needs a name of 1 to 255 characters in one line.", code="user_invalid") from None


def _exists() -> Conflict:
    return Conflict("There is an account of this e-mail address.", hint="Log in with it.", code="account_exists")
