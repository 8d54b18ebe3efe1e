"""The scope of a use case: one transaction, one workspace, one actor with a role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from promptcard_ext.core.errors import NotFound
from server_ext.auth.actor import Actor
from server_ext.auth.permissions import require
from server_ext.db.engine import Database
from server_ext.db.reads import Question
from server_ext.db.tables import memberships, users, workspaces
from server_ext.keys import KeyRing

T = TypeVar("T")
Remember = Callable[[UUID, Callable[[], bytes]], bytes]
"""Gives what was remembered of a user's rights, or what the function returns, and remembers that."""


@dataclass(frozen=True)
class Scope:
    """What a use case works in."""

    connection: sa.Connection
    workspace_id: UUID
    actor: Actor
    role: str
    database: Database

    @property
    def keys(self) -> KeyRing:
        """The installation's secrets."""
        return self.database.keys

    def require(self, action: str) -> None:
        """Raise `Denied` unless role and credential allow ``action``. The first line of every use case."""
        require(self.role, action, self.actor.scopes)

    def ask(self, question: Question[T]) -> T:
        """Return the answer to a question, as this transaction sees it."""
        return question.answer(question.read.within(self.connection, question.values))


@dataclass(frozen=True)
class Glance:
    """What a use case works in that reads by a single query (`Question`): it needs no transaction that stays open."""

    workspace_id: UUID
    actor: Actor
    role: str

    def require(self, action: str) -> None:
        """As `Scope.require`."""
        require(self.role, action, self.actor.scopes)


class Right(Struct, frozen=True):
    """A membership of a user."""

    workspace_id: UUID
    slug: str
    role: str
    since: datetime


@contextmanager
def open_scope(database: Database, actor: Actor, workspace: str, remember: Remember | None = None) -> Iterator[Scope]:
    """Yield a scope in one transaction.

    Args:
        workspace: Id or slug of one of the actor's workspaces.
        remember: Where to look for the actor's rights before asking the database.

    Raises:
        NotFound: There is none, or the actor does not belong to it: the two look the same.
    """
    right = find_right(database, actor, workspace, remember)
    with database.transaction(right.workspace_id, actor.user_id) as connection:
        yield Scope(connection, right.workspace_id, actor, right.role, database)


def find_right(database: Database, actor: Actor, workspace: str, remember: Remember | None = None) -> Right:
    """Return the actor's right in a workspace; of two of one slug in the older one. See `open_scope`."""

    def load() -> bytes:
        return msgspec.json.encode(_rights(database, actor.user_id))

    right = right_among(remember(actor.user_id, load), actor, workspace) if remember else None
    if right is None:
        # What is remembered may be from before another server made the workspace: nobody is refused by it.
        right = right_among(load(), actor, workspace)
    if right is None:
        raise missing("workspace", workspace)
    return right


def right_among(known: bytes, actor: Actor, workspace: str) -> Right | None:
    """Return the right in a workspace that is among a user's remembered ones and that the credential opens."""
    wanted = as_uuid(workspace)
    for right in msgspec.json.decode(known, type=list[Right]):
        named = right.workspace_id == wanted if wanted else right.slug == workspace
        if named and actor.workspace_id in (None, right.workspace_id):
            return right
    return None


def _rights(database: Database, user_id: UUID) -> list[Right]:
    query = (
        sa.select(workspaces.c.id, workspaces.c.slug, memberships.c.role, workspaces.c.created_at)
        .join(memberships, memberships.c.workspace_id == workspaces.c.id)
        # Whoever is disabled has no rights, by whatever credential, and by one that was checked a while ago.
        .join(users, sa.and_(users.c.id == memberships.c.user_id, users.c.disabled_at.is_(None)))
        .where(memberships.c.user_id == user_id)
        .order_by(workspaces.c.created_at, workspaces.c.id)
    )
    with database.transaction(user_id=user_id) as connection:
        return [Right(*row) for row in connection.execute(query)]


def as_uuid(text: str) -> UUID | None:
    """Return the UUID that ``text`` spells, or None."""
    try:
        return UUID(text)
    except ValueError:
        return None


def missing(what: str, reference: object) -> NotFound:
    """Return the error for an object that does not exist or is somebody else's."""
    return NotFound(f"There is no {what} '{reference!s:.100}' here.")
