"""Events of a run that tell that a provider it calls went down, or came back."""

from __future__ import annotations

import sqlalchemy as sa

from promptcard_ext.core.contract.runs import FINAL
from promptcard_ext.core.engine.breaker import Outage
from server_ext.db.engine import Database
from server_ext.db.tables import runs
from server_ext.services import run_state
from server_ext.services.tasks import Lease


def record(database: Database, lease: Lease, outage: Outage) -> int:
    """Add an event to the run of a lease, and return its number; 0 when the run has ended.

    Raises:
        Unavailable: The database does not answer.
    """
    assert lease.run_id is not None
    with database.transaction(lease.workspace_id) as connection:
        seq: int | None = connection.execute(
            sa.update(runs)
            .where(runs.c.workspace_id == lease.workspace_id, runs.c.id == lease.run_id, runs.c.status.not_in(FINAL))
            .values(event_seq=runs.c.event_seq + 1)
            .returning(runs.c.event_seq)
        ).scalar_one_or_none()
        if seq is None:
            return 0
        payload: dict[str, str | float] = {"provider": outage.provider, "role": outage.role, "code": outage.code}
        if not outage.down:
            payload |= {"lasted_s": round(outage.lasted_s, 1)}
        kind = "provider_down" if outage.down else "provider_up"
        run_state.add_event(connection, lease.workspace_id, lease.run_id, seq, kind, payload)
        return seq
