"""News of changes, sent by the transaction that makes them: nobody hears of what was rolled back.

PostgreSQL delivers them to every server after the commit; each drops what it had cached and tells its clients. They
carry ids and names only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import ARRAY

from server_ext.db.engine import ANNOUNCED
from server_ext.services.scope import Scope

CHANNEL = "promptcards_changes"
Family = Literal["card", "label", "perms", "session", "config", "run", "credential"]


class Change(Struct, frozen=True, array_like=True):
    """One thing that is not as it was.

    Attributes:
        family: What kind of thing; together with ``key`` the exact name of what caches hold of it.
        key: Which one, as the family names it; card and label names are written ``card/label``.
    """

    workspace_id: UUID | None
    family: Family
    key: str


def announce(scope: Scope, family: Family, key: object) -> None:
    """Tell every server, once this transaction is committed, that something changed."""
    send(scope.connection, Change(scope.workspace_id, family, str(key)))


def announce_all(scope: Scope, family: Family, keys: Sequence[str]) -> None:
    """Tell every server about many changes of one kind."""
    all_of_them = [Change(scope.workspace_id, family, key) for key in keys]
    _note(scope.connection, *all_of_them)
    payloads = [msgspec.json.encode(change).decode() for change in all_of_them]
    payload = sa.func.unnest(sa.cast(payloads, ARRAY(sa.Text))).column_valued("payload")
    scope.connection.execute(sa.select(sa.func.count(sa.func.pg_notify(CHANNEL, payload))))


def send(connection: sa.Connection, change: Change) -> None:
    """Send a change that belongs to no scope, such as the end of a session."""
    _note(connection, change)
    # NOTIFY takes 8,000 bytes; a card's name has at most 100 characters and ids are short.
    payload = msgspec.json.encode(change).decode()
    connection.execute(sa.select(sa.func.pg_notify(CHANNEL, payload)))


def _note(connection: sa.Connection, *made: Change) -> None:
    """Let this process know at once, after the commit: whoever has changed something and asks again sees the change."""
    connection.info.setdefault(ANNOUNCED, []).extend(made)
