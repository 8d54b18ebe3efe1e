"""Room for the months to come in the tables of facts."""

from __future__ import annotations

import sqlalchemy as sa

MONTHS_AHEAD = 2


def ensure(connection: sa.Connection) -> list[str]:
    """Make the partitions of this month and the next two; return the names of those that were new."""
    query = sa.text("select * from pc.ensure_partitions(:months)")
    return [str(name) for name in connection.execute(query, {"months": MONTHS_AHEAD}).scalars()]
