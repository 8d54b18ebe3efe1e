"""What a worker needs to know to run its shard."""

from __future__ import annotations

from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.runs import OnUnknown, PlanDocument
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Plan
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.db.tables import run_cases, runs
from server_ext.services import connections, recording
from server_ext.services.cases import as_case
from server_ext.services.held_items import held_ordinals
from server_ext.services.run_control import Orders
from server_ext.services.runs import prepared_cards
from server_ext.services.scope import Scope
from server_ext.services.tasks import Lease


class Shard(Struct, frozen=True):
    """A slice of a run's plan and the items of it that have no result yet.

    Attributes:
        connections: What its calls go through.
        orders: How the run is to go on, as it is now.
        on_unknown: Whether a call is made again when nobody knows what became of it.
    """

    plan: Plan
    document: PlanDocument
    pending: list[Item]
    connections: connections.Connections
    orders: Orders
    on_unknown: OnUnknown

    @property
    def concurrency(self) -> int:
        """Most calls in flight, as it is now."""
        return self.orders.concurrency

    @property
    def limited(self) -> bool:
        """Whether the run has a budget, of its own or by a hard rule."""
        return self.orders.limit_usd is not None

    @property
    def version_ids(self) -> list[UUID]:
        """Ids of the card versions, in the plan's order."""
        return [version.id for version in self.document.versions]


def load(database: Database, lease: Lease, *, shared_keys: bool = False) -> Shard:
    """Return the shard of a lease, from the run's own copy of plan and cases.

    Args:
        shared_keys: Whether provider keys of the environment are for every workspace.
    """
    with database.transaction(lease.workspace_id) as connection:
        run = connection.execute(
            sa.select(
                runs.c.workspace_id,
                runs.c.id,
                runs.c.created_at,
                runs.c.on_unknown,
                runs.c.plan,
                runs.c.created_by,
                runs.c.concurrency,
                sa.func.least(runs.c.budget_usd, runs.c.ceiling_usd).label("limit_usd"),
            ).where(runs.c.workspace_id == lease.workspace_id, runs.c.id == lease.run_id)
        ).one()
        document = msgspec.convert(run.plan, PlanDocument)
        # The worker acts for whoever started the run, with no more than the right to read.
        actor = Actor(run.created_by, "worker", kind="job")
        cards = prepared_cards(Scope(connection, lease.workspace_id, actor, "viewer", database), document)
        first, last = _case_range(lease, document)
        cases = _cases(connection, lease, first, last)
        done = recording.recorded_ordinals(connection, lease)
        # Answers that may be compared wait for each other: those to one case in one repeat.
        held = {ordinal // document.per_group for ordinal in held_ordinals(connection, run, lease.task_id)}
    connected = _connections(database, lease.workspace_id, actor, shared_keys)
    plan = _plan(cards, document, cases, first)
    items = plan.items() if lease.ordinals is None else map(plan.item, lease.ordinals)
    return Shard(
        plan,
        document,
        [item for item in items if item.ordinal not in done and item.ordinal // document.per_group not in held],
        connected,
        Orders(run.concurrency or document.concurrency, run.limit_usd),
        run.on_unknown,
    )


def connections_of(
    database: Database, workspace_id: UUID, run_id: UUID, *, shared_keys: bool = False
) -> connections.Connections:
    """Return what the calls of a run go through; see `load`."""
    query = sa.select(runs.c.created_by).where(runs.c.workspace_id == workspace_id, runs.c.id == run_id)
    with database.transaction(workspace_id) as connection:
        actor = Actor(connection.execute(query).scalar_one(), "worker", kind="job")
    return _connections(database, workspace_id, actor, shared_keys)


def _connections(database: Database, workspace_id: UUID, actor: Actor, shared_keys: bool) -> connections.Connections:
    # A transaction of its own, for the user's own rows are seen by naming the user.
    with database.transaction(workspace_id, actor.user_id) as connection:
        scope = Scope(connection, workspace_id, actor, "viewer", database)
        return connections.load(scope, shared_keys=shared_keys)


def _case_range(lease: Lease, document: PlanDocument) -> tuple[int, int]:
    assert lease.first_ordinal is not None
    assert lease.last_ordinal is not None
    return lease.first_ordinal // document.per_case, lease.last_ordinal // document.per_case


def _cases(connection: sa.Connection, lease: Lease, first: int, last: int) -> list[Case]:
    query = (
        sa.select(run_cases)
        .where(
            run_cases.c.workspace_id == lease.workspace_id,
            run_cases.c.run_id == lease.run_id,
            run_cases.c.position.between(first, last),
        )
        .order_by(run_cases.c.position)
    )
    return [as_case(row) for row in connection.execute(query)]


def _plan(cards: list[Card], document: PlanDocument, cases: list[Case], first: int) -> Plan:
    return Plan(cards, document.models, cases, document.repeats, first_case=first)
