"""What waits, what is in flight, and who there is to do it: for a workspace, and for operators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from promptcard_ext.core.contract.queue import ProviderLoad, Queue, QueueLine, QueueWorker
from promptcard_ext.core.contract.runs import Priority
from promptcard_ext.core.engine.breaker import Role
from server_ext.db.engine import Database
from server_ext.limits.loads import Load
from server_ext.services import workers
from server_ext.services.scope import Scope

RATE_MINUTES = 5
ROLES: tuple[Role, ...] = ("task", "judge")


class Line(Struct, frozen=True):
    """Tasks of one workspace and priority, as `promptcard_ext.core.contract.queue.QueueLine`."""

    workspace_id: UUID
    priority: Priority
    waiting: int
    waiting_items: int
    oldest_s: float | None
    in_flight: int
    held: int
    ended: int
    ended_items: int


def queue(scope: Scope, loads: Sequence[Load] | None) -> Queue:
    """Return the queue of a workspace; of workers and provider keys only what concerns it.

    Args:
        loads: All provider keys; None when that is not known.
    """
    scope.require("test:read")
    rows = scope.connection.execute(
        sa.text("select * from pc.queue_lines() where workspace_id = :workspace"), {"workspace": scope.workspace_id}
    )
    lines = [_line(row) for row in rows]
    return Queue(
        waiting=sum(line.waiting for line in lines),
        in_flight=sum(line.in_flight for line in lines),
        held=sum(line.held for line in lines),
        oldest_s=max((line.oldest_s for line in lines if line.oldest_s is not None), default=None),
        items_per_minute=sum(line.ended_items for line in lines) / RATE_MINUTES,
        lines=lines,
        workers=[_worker(worker) for worker in workers.known(scope.connection)],
        providers=None if loads is None else list(_providers(scope.workspace_id, loads)),
    )


def _line(row: Any) -> QueueLine:
    return QueueLine(**{name: getattr(row, name) for name in QueueLine.__struct_fields__})


def _worker(worker: workers.Known) -> QueueWorker:
    # Names tell machines, and whether it is busy tells of others' work: neither is this workspace's business.
    state = worker.state if worker.state in ("draining", "lost") else "running"
    return QueueWorker(
        worker.name.rpartition("-")[2], state, worker.version, worker.started_at, worker.heartbeat_at,
        worker.own_tasks,
    )  # fmt: skip


def _providers(workspace_id: UUID, loads: Sequence[Load]) -> Iterator[ProviderLoad]:
    mine = f"{workspace_id}:"
    for load in loads:
        calls = [count for asker, count in load.in_flight.items() if asker.startswith(mine)]
        # What is called by others only is not this workspace's business; nor are the limits of all keys together.
        if calls and load.provider:
            down = {role for asker, roles in load.down.items() if asker.startswith(mine) for role in roles.split(",")}
            used = [rates for asker, rates in load.used.items() if asker.startswith(mine)]
            yield ProviderLoad(
                load.provider, sum(calls), load.limit, [role for role in ROLES if role in down], *load.rates(used)
            )


def all_queues(database: Database) -> tuple[list[Line], list[workers.Known]]:
    """Return the lines of all workspaces, and the workers; for operators only."""
    with database.transaction() as connection:
        rows = connection.execute(sa.text("select * from pc.all_queue_lines()")).all()
        return [Line(**row._mapping) for row in rows], workers.known(connection)  # noqa: SLF001  SQLAlchemy's public name
