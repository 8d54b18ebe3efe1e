"""What is asked about a year of executions: by the services as the application does, and by plain SQL over the rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from bench.executions import MODELS
from promptcard_ext.core.contract.analytics import (
    CaseQuery,
    ExecutionFilter,
    ExecutionQuery,
    FoundCaseQuery,
    LatencyGroup,
    LatencyQuery,
)
from promptcard_ext.core.results import Outcome
from server_ext.services import analytics, executions
from server_ext.services.scope import Scope

Ask = Callable[[Scope], Any]
MODEL = MODELS[0]
TOP_ALL = "20 slowest cases of all time"
_TOP = """
select c.card_id, c.case_uid, c.name, p.title, count(*) as items, avg(e.latency_ms) as mean
from test_executions as e
join card_versions as v on v.workspace_id = e.workspace_id and v.id = e.card_version_id
join prompt_cards as p on p.workspace_id = v.workspace_id and p.id = v.card_id
join test_cases as c on c.workspace_id = e.workspace_id and c.card_id = v.card_id and c.case_uid = e.case_uid
where {where} group by c.workspace_id, c.id, p.title order by mean desc nulls last, c.card_id, c.case_uid limit 20
"""


class Question(NamedTuple):
    """Something that is asked.

    Attributes:
        ours: Asks it as the application does.
        floor: The same over the rows, in SQL; empty where ours is that.
        bound: At most so many milliseconds; None when nothing is promised.
    """

    name: str
    ours: Ask
    floor: str
    bound: float | None


def questions() -> list[Question]:
    """Return what is asked."""
    return [*_of_sums(), *_of_rows(), *_of_latencies()]


def _ago(days: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=days)


def _of_sums() -> list[Question]:
    found = [Question(TOP_ALL, lambda scope: analytics.cases(scope, CaseQuery()), _TOP.format(where="true"), 10)]
    for name, since, until in (("7 days", 66, 60), ("90 days", 150, 61), ("the year", 400, 0)):
        query = CaseQuery(since=_ago(since), until=_ago(until))
        rows = f"e.completed_at >= '{_ago(since)}' and e.completed_at < '{_ago(until - 1)}'"
        found.append(Question(f"20 slowest cases of {name}", _cases(query), _TOP.format(where=rows), 40))
    return found


def _cases(query: CaseQuery) -> Ask:
    return lambda scope: analytics.cases(scope, query)


def _of_rows() -> list[Question]:
    days = {name: datetime.combine(_ago(ago), time.min, UTC)
            for name, ago in (("completed_after", 150), ("completed_before", 60))}  # fmt: skip

    def slowest(**filters: Any) -> Ask:
        return lambda scope: executions.cases(scope, FoundCaseQuery(**filters))

    def listed(**filters: Any) -> Ask:
        return lambda scope: executions.list_executions(scope, ExecutionQuery(**filters))

    def summed(**filters: Any) -> Ask:
        return lambda scope: executions.sums(scope, ExecutionFilter(**filters))

    slow_failures = summed(min_latency_ms=3000.0, outcome=Outcome.FAIL)
    errors = listed(card="card-7", model=MODEL, outcome=Outcome.ERROR)
    return [
        Question("20 slowest cases, one model", slowest(model=MODEL), _TOP.format(where=f"e.model = '{MODEL}'"), 100),
        Question("20 slowest cases of 90 days, failed only", slowest(**days, outcome=Outcome.FAIL), "", 100),
        Question("sums and percentiles of slow failures", slow_failures, "", 100),
        Question("sums and percentiles of one model", summed(model=MODEL), "", 100),
        Question("the newest 50 executions", listed(), "", 100),
        Question("errors of one card and model", errors, "", 100),
        Question("executions that nobody has", listed(min_latency_ms=1e9), "", 100),
    ]


def _of_latencies() -> list[Question]:
    def latency(group_by: LatencyGroup, days: int) -> Ask:
        return lambda scope: analytics.latency(scope, LatencyQuery(since=_ago(days), group_by=group_by))

    return [
        Question("percentiles by model, 90 days", latency("model", 90), "", None),
        Question("percentiles by card, the year", latency("card", 400), "", None),
        Question("percentiles by day, the year", latency("day", 400), "", None),
    ]
