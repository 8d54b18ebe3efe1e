"""What a worker holds of its run's budget: granted in portions, charged as results come in, closed with the task."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct

from server_ext.db.engine import Database
from server_ext.services import run_state, spending
from server_ext.services.tasks import Lease

_GRANT = sa.text("select * from pc.grant_money(:workspace, :run, :token, :task, :wanted, :portion, :told)")
_RETURN = sa.text("select pc.return_money(:workspace, :run, :token, :amount)")


class Grant(Struct, frozen=True):
    """An answer to a worker that wants money.

    Attributes:
        usd: What it may spend from now on; 0 when less is left than it wants, and None when its lease is lost.
        others_usd: What other workers of the run hold, and may give back.
    """

    usd: Decimal | None
    others_usd: Decimal


def grant(
    database: Database, lease: Lease, wanted_usd: Decimal, portion_usd: Decimal, spent_usd: Decimal = Decimal(0)
) -> Grant:
    """Give a worker what it wants of its run's budget, and up to a portion for what comes next.

    Args:
        spent_usd: What the worker has spent so far: nobody waits for that to come back.

    Raises:
        Unavailable: The database does not answer.
    """
    values = {"task": lease.task_id, "wanted": wanted_usd, "portion": portion_usd, "told": spent_usd}
    with database.transaction(lease.workspace_id) as connection:
        row = connection.execute(_GRANT, {**_whose(lease), **values}).one()
    return Grant(row.granted, row.others_usd or Decimal(0))


def give_back(database: Database, lease: Lease, usd: Decimal) -> None:
    """Take back what a worker holds and does not need now."""
    with database.transaction(lease.workspace_id) as connection:
        connection.execute(_RETURN, {**_whose(lease), "amount": usd})


def close(database: Database, lease: Lease, spent_usd: Decimal) -> None:
    """Close a worker's purse, and give back what it did not spend of it."""
    with database.transaction(lease.workspace_id) as connection:
        run_state.lock(connection, lease.workspace_id, lease.run_id)  # type: ignore[arg-type]
        spending.close(connection, lease.workspace_id, lease.run_id, lease.task_id, spent_usd)  # type: ignore[arg-type]


def _whose(lease: Lease) -> dict[str, UUID | Any]:
    return {"workspace": lease.workspace_id, "run": lease.run_id, "token": lease.token}
