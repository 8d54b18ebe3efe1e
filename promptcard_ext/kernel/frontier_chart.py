"""The chart of cost against quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from promptcard_ext.kernel.charts import offline
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.stats.frontier import FrontierPoint, frontier
from promptcard_ext.stats.summary import SummaryRow

if TYPE_CHECKING:
    import altair as alt

MAX_POINTS = 1_000
COLOUR = {True: "#2e7fd0", False: "#8a8f98"}


def frontier_chart(rows: Sequence[SummaryRow], title: str) -> alt.LayerChart:
    """Return what a card version on a model costs against how often it passes, with intervals and the Pareto front."""
    import altair as alt
    import pandas as pd

    points = frontier(rows)[:MAX_POINTS]
    names = ["name", "cost", "rate", "low", "high", "front"]
    frame = pd.DataFrame([_point(point, _one(rows, "model")) for point in points], columns=names)
    base = alt.Chart(frame)
    cost = alt.X("cost:Q", title="mean cost of an item, USD", axis=alt.Axis(format="~g", tickCount=6))
    scale = alt.Scale(domain=[0, 1])
    rate = alt.Y("rate:Q", title="pass rate, 95 % interval", scale=scale, axis=alt.Axis(format="%"))
    colour: Any = alt.Color(
        "front:N",
        title=None,
        scale=alt.Scale(domain=["on the Pareto front", "beaten"], range=[COLOUR[True], COLOUR[False]]),
        legend=alt.Legend(orient="bottom"),
    )
    front = (
        base.transform_filter("datum.front == 'on the Pareto front'")
        .mark_line(interpolate="step-after", strokeDash=[4, 3], color=COLOUR[True], opacity=0.7)
        .encode(x=cost, y=rate)
    )
    interval = base.mark_rule(strokeWidth=2, opacity=0.55).encode(
        x=cost, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=colour
    )
    tips = ["name:N", alt.Tooltip("rate:Q", format=".1%"), alt.Tooltip("cost:Q", format=".6f"), "front:N"]
    point = base.mark_point(filled=True, size=110, opacity=1).encode(x=cost, y=rate, color=colour, tooltip=tips)
    text = base.mark_text(align="left", dx=9, dy=-9, fontSize=12, color="#7b7b7b", limit=240).encode(
        x=cost, y=rate, text="name:N"
    )
    heading = alt.TitleParams(text=title, subtitle=_subtitle(rows, points))
    chart = alt.layer(front, interval, point, text).properties(
        width=520, height=300, title=heading, description=_told(title, points)
    )
    return offline(cast("alt.LayerChart", chart))


def _one(rows: Sequence[SummaryRow], field: str) -> bool:
    return len({getattr(row, field) for row in rows}) == 1


def _point(point: FrontierPoint, one_model: bool) -> dict[str, Any]:
    name = point.label if one_model else f"{point.label} · {point.model}"
    low, high = point.pass_rate.low, point.pass_rate.high
    front = "on the Pareto front" if point.on_front else "beaten"
    return {
        "name": harmless(name),
        "cost": point.cost_usd,
        "rate": point.pass_rate.rate,
        "low": low,
        "high": high,
        "front": front,
    }


def _subtitle(rows: Sequence[SummaryRow], points: Sequence[FrontierPoint]) -> str:
    left_out = len(rows) - len(points)
    return f"{left_out} without a price or a verdict are left out" if left_out else ""


def _told(title: str, points: Sequence[FrontierPoint]) -> str:
    """Return the chart in words, for whoever does not see it."""
    best = "; ".join(
        harmless(f"{point.label} on {point.model}: {point.pass_rate.rate:.0%} for ${point.cost_usd:.6f}")
        for point in points
        if point.on_front
    )
    return f"{title}. {len(points)} points; on the Pareto front: {best or 'none'}."[:2000]
