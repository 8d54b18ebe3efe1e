"""What executions have in common, over REST."""

from __future__ import annotations

from tests.api.conftest import Api
from tests.services.test_runs_control import ended as recorded
from tests.support import ECHO, Tenant


async def test_cases_latencies_and_executions_are_told(api: Api, tenant: Tenant) -> None:
    run_id = recorded(tenant, tenant.start([ECHO], count=8))
    cases = await api.get("analytics/cases?order=slowest&limit=3")
    assert [row["name"] for row in cases.json["rows"]] == ["ada-7", "ada-5", "ada-4"]
    assert isinstance(cases.json["rows"][0]["cost_usd"], str)
    (row,) = (await api.get("analytics/latency?group_by=model")).json["rows"]
    assert (row["key"], row["items"], row["answered"]) == (ECHO, 8, 6)

    first = await api.get("analytics/executions?outcome=fail&limit=1")
    rest = await api.get(f"analytics/executions?outcome=fail&limit=1&cursor={first.json['next']}")
    assert [(one["run_id"], one["ordinal"]) for one in first.json["items"] + rest.json["items"]] == [
        (run_id, 5),
        (run_id, 1),
    ]
    assert rest.json["next"] is None
    sums = await api.get("analytics/executions/sums?card=greet&min_latency_ms=50&min_cost_usd=0.001")
    found = await api.get("analytics/executions/cases?outcome=fail")
    assert (sums.json["items"], sums.json["p50_ms"]) == (2, 60.0)
    assert [row["name"] for row in found.json["rows"]] == ["ada-5", "ada-1"]


async def test_questions_that_make_no_sense_are_refused(api: Api) -> None:
    for wrong in (
        "cases?order=best", "cases?limit=0", "cases?from=2026-02-30", "latency?group_by=user",
        "latency?from=2026-03-01&to=2026-02-01", "executions?outcome=nice", "executions?cursor=x",
        "executions?min_cost_usd=NaN", "executions?min_latency_ms=-1", "executions/sums?colour=red",
    ):  # fmt: skip
        answer = await api.get(f"analytics/{wrong}")
        assert (answer.status, answer.json["code"]) in ((422, "request_invalid"), (422, "cursor_invalid")), wrong
    assert (await api.get("analytics/cases?card=nowhere")).status == 404
