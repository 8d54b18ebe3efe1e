"""The chart of cost against quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from promptcard_ext.kernel.charts import nothing, offline
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.stats.frontier import FrontierPoint, frontier
from promptcard_ext.stats.summary import SummaryRow

if TYPE_CHECKING:
    import altair as alt

MAX_POINTS = 1_000


def frontier_chart(rows: Sequence[SummaryRow], title: str) -> alt.LayerChart:
    """Return what a card version on a model costs against how often it passes, with intervals and the Pareto front."""
    import altair as alt
    import pandas as pd

    points = frontier(rows)[:MAX_POINTS]
    if not points:
        empty = alt.layer(nothing("Nothing has both a price and a verdict."))
        return offline(cast("alt.LayerChart", empty.properties(title=title, description=_told(title, points))))
    names = ["label", "model", "cost", "rate", "low", "high", "front"]
    frame = pd.DataFrame([_point(point) for point in points], columns=names)
    base = alt.Chart(frame)
    cost = alt.X("cost:Q", title="mean cost of an item, USD", scale=_cost_scale(points), axis=_cost_axis())
    scale = alt.Scale(domain=[_least(points), 1], nice=False)
    rate = alt.Y("rate:Q", title="pass rate, 95 % interval", scale=scale, axis=alt.Axis(format="%", tickCount=6))
    colour: Any = alt.Color("model:N", title=None, sort=None, legend=alt.Legend(labelLimit=260))
    front = base.transform_filter("datum.front").mark_line(
        interpolate="step-after", strokeDash=[4, 3], color="#8a8f98", aria=False
    )
    interval = base.mark_rule(strokeWidth=2, opacity=0.45, aria=False).encode(
        x=cost, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=colour
    )
    shape: Any = alt.Shape(
        "label:N", title=None, sort=None, legend=alt.Legend(labelLimit=260, symbolFillColor="#8a8f98")
    )
    tips = ["label:N", "model:N", alt.Tooltip("rate:Q", format=".1%"), alt.Tooltip("cost:Q", format=".6f"), "front:N"]
    point = base.mark_point(size=120, strokeWidth=2, opacity=1).encode(
        x=cost, y=rate, color=colour, shape=shape, tooltip=tips,
        fill=alt.Fill("model:N", sort=None, legend=None),
        fillOpacity=alt.condition("datum.front", alt.value(1), alt.value(0)),
    )  # fmt: skip
    heading = alt.TitleParams(text=title, subtitle=_subtitle(rows, points))
    chart = alt.layer(front.encode(x=cost, y=rate), interval, point).properties(
        width=480, height=300, title=heading, description=_told(title, points)
    )
    return offline(cast("alt.LayerChart", chart))


def _cost_scale(points: Sequence[FrontierPoint]) -> alt.Scale:
    import altair as alt

    costs = [point.cost_usd for point in points]
    # Models differ by factors: what is cheap would all be at the left edge.
    wide = min(costs) > 0 and max(costs) > 20 * min(costs)
    return alt.Scale(type="log", padding=14) if wide else alt.Scale(zero=True)


def _cost_axis() -> alt.Axis:
    import altair as alt

    return alt.Axis(format="~g", tickCount=6)


def _least(points: Sequence[FrontierPoint]) -> float:
    """Return where the axis of rates begins: a tenth below the lowest interval."""
    return math.floor(10 * min((point.pass_rate.low for point in points), default=0.0)) / 10


def _point(point: FrontierPoint) -> dict[str, Any]:
    return {
        "label": harmless(point.label),
        "model": harmless(point.model),
        "cost": point.cost_usd,
        "rate": point.pass_rate.rate,
        "low": point.pass_rate.low,
        "high": point.pass_rate.high,
        "front": point.on_front,
    }


def _subtitle(rows: Sequence[SummaryRow], points: Sequence[FrontierPoint]) -> str:
    left_out = len(rows) - len(points)
    told = "filled: on the Pareto front, as observed"
    return f"{told}; {left_out} without a price or a verdict are left out" if left_out else told


def _told(title: str, points: Sequence[FrontierPoint]) -> str:
    """Return the chart in words, for whoever does not see it."""
    best = "; ".join(
        harmless(f"{point.label} on {point.model}: {point.pass_rate.rate:.0%} for ${point.cost_usd:.6f}")
        for point in points
        if point.on_front
    )
    return f"{title}. {len(points)} points; on the Pareto front: {best or 'none'}."[:2000]
