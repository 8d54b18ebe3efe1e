"""Sums by hour and by case, kept with the write, so that a dashboard reads buckets and not rows.

Latencies go into logarithmic buckets of base 1.02, which makes any percentile of any window exact to about 1 %.
"""

from __future__ import annotations

import math
from uuid import UUID

BASE = 1.02
NOBODY = UUID(int=0)
"""Stands in the sums by user for runs that nobody started."""

_KEY = ("workspace_id", "hour", "card_version_id", "model", "provider")
_USER_KEY = ("workspace_id", "hour", "user_id")
_BUCKET = f"case when latency_ms >= 1 then floor(ln(latency_ms) / ln({BASE}::double precision))::integer else 0 end"
_SUMS = {
    "n": "count(*)",
    "passed": "count(*) filter (where outcome = 'pass')",
    "failed": "count(*) filter (where outcome = 'fail')",
    "errored": "count(*) filter (where outcome = 'error')",
    "unscored": "count(*) filter (where outcome = 'unscored')",
    "tokens_input": "coalesce(sum(tokens_input), 0)",
    "tokens_output": "coalesce(sum(tokens_output), 0)",
    "cost_usd": "coalesce(sum(cost_usd), 0)",
    "priced": "count(cost_usd)",
}
_CASE = ("workspace_id", "card_id", "case_uid")
_LATENCY = {"latency_ms_sum": "coalesce(sum(latency_ms), 0)", "latency_n": "count(latency_ms)"}
_CASE_SUMS = {name: sum_ for name, sum_ in (_SUMS | _LATENCY).items() if not name.startswith("tokens")}


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


def _of_cases(table: str, key: tuple[str, ...], latest: tuple[str, ...] = ()) -> str:
    """Return the statement that adds the rows of ``by_case`` to a table; columns in ``latest`` are set anew."""
    names = (*key, *latest, *_CASE_SUMS)
    changes = [f"{name} = excluded.{name}" for name in latest]
    changes += [f"{name} = old.{name} + excluded.{name}" for name in _CASE_SUMS]
    return (
        f"insert into {table} as old ({', '.join(names)})"  # noqa: S608  All of it stands in this file.
        f" select {', '.join(names)} from by_case order by {', '.join(key)}"
        f" on conflict ({', '.join(key)}) do update set {', '.join(changes)}"
    )


def _upsert(table: str, key: tuple[str, ...], values: dict[str, str], sums: dict[str, str]) -> str:
    """Return the statement that adds the rows of ``stored`` to a table.

    Keys are written in sorted order: two recorders that touch the same rows then wait for, and never deadlock, each
    other.
    """
    by = ", ".join(values[name] for name in key)
    added = ", ".join(f"{name} = old.{name} + excluded.{name}" for name in sums)
    return (
        f"insert into {table} as old ({', '.join((*key, *sums))})"  # noqa: S608  All of it stands in this file.
        f" select {by}, {', '.join(sums.values())} from stored group by {by} order by {by}"
        f" on conflict ({', '.join(key)}) do update set {added}"
    )


_OF_ROW = {name: name for name in _KEY} | {"hour": "date_trunc('hour', completed_at, 'UTC')"}
_BY = ", ".join(_KEY)
_HISTOGRAMS = f"""
    insert into rollup_histograms as old ({_BY}, buckets, counts)
    select {_BY}, array_agg(bucket order by bucket), array_agg(n order by bucket) from (
        select {", ".join(f"{value} as {name}" for name, value in _OF_ROW.items())}, {_BUCKET} as bucket, count(*) as n
        from stored where latency_ms is not null group by 1, 2, 3, 4, 5, 6
    ) as counted group by {_BY} order by {_BY}
    on conflict ({_BY}) do update set (buckets, counts) = (
        select array_agg(bucket order by bucket), array_agg(n order by bucket) from (
            select bucket, sum(n)::bigint as n from (
                select * from unnest(old.buckets, old.counts)
                union all select * from unnest(excluded.buckets, excluded.counts)
            ) as both_ (bucket, n) group by bucket
        ) as added
    )
"""  # noqa: S608  All of it stands in this file.
STATEMENTS = {
    "hours": _upsert("rollup_hours", _KEY, _OF_ROW, _SUMS | _LATENCY),
    "users": _upsert("rollup_users", _USER_KEY, _OF_ROW | {"user_id": "cast(%(user_id)s as uuid)"}, _SUMS),
    "histograms": _HISTOGRAMS,
    # A batch is of one run and of one moment: it has one day.
    "by_case": (
        f"select s.workspace_id, v.card_id, s.case_uid, s.run_id, min(s.case_position) as case_position,"  # noqa: S608
        f" (s.completed_at at time zone 'UTC')::date as day, {', '.join(f'{v} as {k}' for k, v in _CASE_SUMS.items())}"
        " from stored as s"
        " join card_versions as v on v.workspace_id = s.workspace_id and v.id = s.card_version_id"
        " group by s.workspace_id, v.card_id, s.case_uid, s.run_id, day"
    ),
    "cases": _of_cases("rollup_cases", _CASE, ("run_id", "case_position")),
    "case_days": _of_cases("rollup_case_days", ("workspace_id", "day", *_CASE[1:])),
}
"""By name, what adds the executions that a common table expression ``stored`` returns to the sums; ``user_id`` is who
started their run."""
COLUMNS = (
    "workspace_id", "run_id", "card_version_id", "case_uid", "case_position", "model", "provider", "completed_at",
    "outcome", "latency_ms", "tokens_input", "tokens_output", "cost_usd",
)  # fmt: skip
"""What ``stored`` must return for that."""
