"""Which workers there are, and when they were last heard of."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from msgspec import Struct

from server_ext.db.engine import Database

State = Literal["idle", "busy", "draining"]
SILENT_S = 30.0
"""After so long without a sign of life a worker is taken to be lost."""


class Sign(Struct, frozen=True):
    """What a worker says of itself.

    Attributes:
        concurrency: Most calls that it has in flight, when it was told.
    """

    name: str
    host: str
    pid: int
    version: str
    state: State
    concurrency: int | None = None


class Known(Struct, frozen=True):
    """A worker as the database knows it.

    Attributes:
        state: ``lost`` when it has been silent for too long; such a row vanishes after ten minutes.
        tasks: Tasks that it has leased, of all workspaces.
        own_tasks: Those of the workspace that was asked for.
    """

    name: str
    host: str
    pid: int
    version: str
    state: Literal["idle", "busy", "draining", "lost"]
    concurrency: int | None
    started_at: datetime
    heartbeat_at: datetime
    tasks: int
    own_tasks: int


def beat(database: Database, sign: Sign) -> None:
    """Write down a sign of life.

    Raises:
        Unavailable: The database does not answer.
    """
    query = sa.text("select pc.beat_worker(:name, :host, :pid, :version, :state, :concurrency)")
    values = {name: getattr(sign, name) for name in sign.__struct_fields__}
    with database.transaction() as connection:
        connection.execute(query.bindparams(sa.bindparam("concurrency", type_=sa.Integer)), values)


def forget(database: Database, name: str) -> None:
    """Take a worker that ends off the list."""
    with database.transaction() as connection:
        connection.execute(sa.text("select pc.forget_worker(:name)"), {"name": name})


def known(connection: sa.Connection) -> list[Known]:
    """Return the workers, by host and age."""
    rows = connection.execute(sa.text("select * from pc.known_workers()"))
    return [
        Known(
            row.name, row.host, row.pid, row.version, row.state if row.silent_s < SILENT_S else "lost",
            row.concurrency, row.started_at, row.heartbeat_at, row.tasks, row.own_tasks,
        )
        for row in rows
    ]  # fmt: skip
