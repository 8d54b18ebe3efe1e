"""Sums by hour, kept with the write, so that a dashboard reads buckets and not rows.

Latencies go into logarithmic buckets of base 1.02, which makes any percentile of any window exact to about 1 %.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from server_ext.db.tables import rollup_hours, rollup_latency, rollup_users

BASE = 1.02
_KEY = ("workspace_id", "hour", "card_version_id", "model", "provider")
_USER_KEY = ("workspace_id", "hour", "user_id")
NOBODY = UUID(int=0)
"""Stands in the sums by user for runs that nobody started."""
_OUTCOME = {"pass": "passed", "fail": "failed", "error": "errored", "unscored": "unscored"}


def bucket(latency_ms: float) -> int:
    """Return the bucket of a latency: bucket b holds [1.02^b, 1.02^(b+1)) ms; below 1 ms is bucket 0.

    Example:
        >>> bucket(100.0), bucket(0.2)
        (232, 0)
    """
    return math.floor(math.log(latency_ms) / math.log(BASE)) if latency_ms >= 1 else 0


def middle(number: int) -> float:
    """Return the latency in ms that stands for a bucket, at most 1 % away from all in it."""
    return float(BASE ** (number + 0.5))


def add(
    connection: sa.Connection,
    executions: list[dict[str, Any]],
    at: datetime | None = None,
    *,
    user_id: UUID | None = None,
) -> None:
    """Add executions to the sums of the hour ``at`` (default: now, UTC), and to those of who started the run.

    Keys are written in sorted order: two recorders that touch the same rows then wait for, and never deadlock, each
    other.
    """
    hour = (at or datetime.now(UTC)).replace(minute=0, second=0, microsecond=0)
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    latencies: Counter[tuple[Any, ...]] = Counter()
    for row in executions:
        key = (row["workspace_id"], hour, row["card_version_id"], row["model"], row["provider"])
        _add_one(sums.setdefault(key, _zero()), row)
        if row["latency_ms"] is not None:
            latencies[(*key, bucket(row["latency_ms"]))] += 1
    hours = [dict(zip(_KEY, key, strict=True)) | sums[key] for key in sorted(sums)]
    _upsert(connection, rollup_hours, _KEY, hours)
    users: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in executions:
        _add_one(users.setdefault((row["workspace_id"], hour, user_id or NOBODY), _zero()), row)
    rows = [dict(zip(_USER_KEY, key, strict=True)) | _without_latency(users[key]) for key in sorted(users)]
    _upsert(connection, rollup_users, _USER_KEY, rows)
    buckets = [dict(zip((*_KEY, "bucket"), key, strict=True)) | {"n": latencies[key]} for key in sorted(latencies)]
    _upsert(connection, rollup_latency, (*_KEY, "bucket"), buckets)


def _without_latency(total: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in total.items() if not name.startswith("latency")}


def _zero() -> dict[str, Any]:
    whole = ("n", "passed", "failed", "errored", "unscored", "latency_n", "tokens_input", "tokens_output", "priced")
    return {**dict.fromkeys(whole, 0), "latency_ms_sum": 0.0, "cost_usd": Decimal(0)}


def _add_one(total: dict[str, Any], row: dict[str, Any]) -> None:
    total["n"] += 1
    total[_OUTCOME[row["outcome"]]] += 1
    total["tokens_input"] += row["tokens_input"] or 0
    total["tokens_output"] += row["tokens_output"] or 0
    if row["latency_ms"] is not None:
        total["latency_n"] += 1
        total["latency_ms_sum"] += row["latency_ms"]
    if row["cost_usd"] is not None:
        total["priced"] += 1
        total["cost_usd"] += row["cost_usd"]


def _upsert(connection: sa.Connection, table: sa.Table, key: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    statement = insert(table)
    sums = {name: table.c[name] + statement.excluded[name] for name in rows[0] if name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=sums), rows)
