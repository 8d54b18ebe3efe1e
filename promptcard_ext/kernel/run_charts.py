"""The charts of one run: ``run.chart``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from promptcard_ext.kernel import charts
from promptcard_ext.kernel.frontier_chart import frontier_chart
from promptcard_ext.kernel.heatmap_chart import By, heatmap_chart
from promptcard_ext.kernel.safe_text import harmless

if TYPE_CHECKING:
    import altair as alt

    from promptcard_ext.kernel.handle import RunHandle

# 51 points each: fewer than 5,000 rows in all.
MAX_CURVES = 90
MAX_LINES = 1_000
AnyChart = TypeVar("AnyChart", "alt.FacetChart", "alt.Chart")


class RunCharts:
    """Charts of the results that a run has so far.

    They are Altair charts, aggregated before they are drawn, and can be changed as any other. A notebook draws them
    without a network; where there is no live notebook they are SVG.
    """

    def __init__(self, run: RunHandle) -> None:
        self._run = run

    def pass_rates(self) -> alt.FacetChart:
        """Return the pass rates with their 95 % intervals, by card version and model."""
        rows = self._run.summary()[:MAX_LINES]
        told = "; ".join(f"{row.label} on {row.model}: {row.rate_text}" for row in rows[:20])
        return self._titled(charts.pass_rates(rows), "pass rates", told)

    def latencies(self) -> alt.Chart:
        """Return the share of answers that came within a time, by card version and model."""
        samples = charts.LatencySamples(MAX_CURVES)
        for result in self._run.log.iter_plan():
            samples.add(result)
        rows = self._run.summary()
        told = "; ".join(
            f"{row.label} on {row.model}: half within {row.p50_ms:,.0f} ms, 95 % within {row.p95_ms:,.0f} ms"
            for row in rows[:20]
            if row.p50_ms is not None and row.p95_ms is not None
        )
        return self._titled(charts.latency_curves(samples), "latencies", told)

    def frontier(self) -> alt.LayerChart:
        """Return what card versions and models cost against how often they pass, with the Pareto front.

        The front is that of the observed rates; where intervals overlap, other cases could well change it.
        """
        return frontier_chart(self._run.summary(), self._title("cost against quality"))

    def heatmap(self, by: By = "card") -> alt.LayerChart:
        """Return pass rates by model and by card version, or ``by="case"``: those that passed least, at most 40.

        Raises:
            ValueError: ``by`` is neither ``card`` nor ``case``.
        """
        if by not in ("card", "case"):
            raise ValueError(f"by={by!r:.40} is neither 'card' nor 'case'")
        return heatmap_chart(self._run.log.iter_plan(), self._title("pass rates"), by)

    def _title(self, what: str) -> str:
        return harmless(f"{self._run.name[:80]}: {what}")

    def _titled(self, chart: AnyChart, what: str, told: str) -> AnyChart:
        title = self._title(what)
        titled: AnyChart = chart.properties(title=title, description=harmless(f"{title}. {told}")[:2000])
        return titled
