"""What executions have in common."""

from __future__ import annotations

from promptcard_ext.core.contract.analytics import (
    CaseQuery,
    CaseRows,
    ExecutionFilter,
    ExecutionHead,
    ExecutionQuery,
    ExecutionSums,
    FoundCaseQuery,
    Latencies,
    LatencyQuery,
)
from promptcard_ext.core.contract.page import Page
from server_ext.api.operation import Call, Operations
from server_ext.services import analytics, executions

operations = Operations("analytics")
ANALYTICS = "workspaces/{workspace}/analytics"


@operations.get(ANALYTICS + "/cases", action="analytics:read", query=CaseQuery, answer=CaseRows)
def rank_cases(call: Call) -> CaseRows:
    """Return the slowest, dearest, most failing or most tried cases, over all time or over some days."""
    return analytics.cases(call.scope, call.query)


@operations.get(ANALYTICS + "/latency", action="analytics:read", query=LatencyQuery, answer=Latencies)
def get_latency(call: Call) -> Latencies:
    """Return means and percentiles of latency by day, card or model, or of all."""
    return analytics.latency(call.scope, call.query)


@operations.get(ANALYTICS + "/executions", action="test:read", query=ExecutionQuery, answer=Page[ExecutionHead])
def list_executions(call: Call) -> Page[ExecutionHead]:
    """List executions of all runs, newest first."""
    return executions.list_executions(call.scope, call.query)


@operations.get(ANALYTICS + "/executions/sums", action="analytics:read", query=ExecutionFilter, answer=ExecutionSums)
def sum_executions(call: Call) -> ExecutionSums:
    """Return counts, cost and exact percentiles of the executions that a filter leaves."""
    return executions.sums(call.scope, call.query)


@operations.get(ANALYTICS + "/executions/cases", action="analytics:read", query=FoundCaseQuery, answer=CaseRows)
def rank_found_cases(call: Call) -> CaseRows:
    """Return the cases that come first among the executions that a filter leaves."""
    return executions.cases(call.scope, call.query)
