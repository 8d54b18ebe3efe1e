"""What executions of a workspace have in common."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from msgspec.structs import asdict

from promptcard_ext.client.noun import Noun
from promptcard_ext.core.contract.analytics import (
    CaseOrder,
    CaseQuery,
    CaseRow,
    CaseRows,
    ExecutionFilter,
    ExecutionHead,
    ExecutionQuery,
    ExecutionSums,
    FoundCaseQuery,
    Latencies,
    LatencyGroup,
    LatencyQuery,
)
from promptcard_ext.core.contract.page import Page

ALL = ExecutionFilter()


class Analytics(Noun):
    """Which cases and models are slow, dear or failing."""

    def cases(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        card: str | None = None,
        order: CaseOrder = "slowest",
        limit: int = 20,
    ) -> list[CaseRow]:
        """Return the cases that come first; over all time unless days are named."""
        query = CaseQuery(since=since, until=until, card=card, order=order, limit=limit)
        return self._read(CaseRows, "GET", "analytics", "cases", query=query).rows

    def latency(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        group_by: LatencyGroup = "total",
        card: str | None = None,
        model: str | None = None,
    ) -> Latencies:
        """Return means and percentiles over a time, last day included; by default the last 30 days."""
        query = LatencyQuery(since=since, until=until, group_by=group_by, card=card, model=model)
        return self._read(Latencies, "GET", "analytics", "latency", query=query)

    def executions(self, where: ExecutionFilter = ALL) -> Iterator[ExecutionHead]:
        """Yield executions of all runs, newest first."""
        query = ExecutionQuery(**asdict(where), limit=200)
        return self._pages(Page[ExecutionHead], "analytics", "executions", query=query)

    def sums(self, where: ExecutionFilter = ALL) -> ExecutionSums:
        """Return counts, cost and exact percentiles of some executions."""
        return self._read(ExecutionSums, "GET", "analytics", "executions", "sums", query=where)

    def found_cases(
        self, where: ExecutionFilter = ALL, *, order: CaseOrder = "slowest", limit: int = 20
    ) -> list[CaseRow]:
        """Return the cases that come first among some executions."""
        query = FoundCaseQuery(**asdict(where), order=order, limit=limit)
        return self._read(CaseRows, "GET", "analytics", "executions", "cases", query=query).rows
