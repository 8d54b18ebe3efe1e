"""Charts of runs, aggregated before they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from promptcard_ext.core.results import ItemResult
from promptcard_ext.interchange.frames import results_frame, summary_frame
from promptcard_ext.stats.summary import SummaryRow

if TYPE_CHECKING:
    import altair as alt

OUTCOME_COLOURS = {"pass": "#2e9e5b", "fail": "#d64545", "error": "#d9902f", "unscored": "#8a8f98"}


def pass_rates(rows: Sequence[SummaryRow]) -> alt.Chart | alt.LayerChart:
    """Return the pass rates with their 95 % intervals, one line per card version and model."""
    import altair as alt

    frame = summary_frame(rows)
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=260))
    # Versions are compared within a model, so each model has a panel of its own.
    base = alt.Chart(frame)
    colour: Any = alt.Color("label:N", legend=None, sort=None)
    scale = alt.Scale(domain=[0, 1])
    line = base.mark_rule(strokeWidth=3, opacity=0.55).encode(
        x=alt.X("low:Q", scale=scale, title="pass rate, 95 % interval", axis=alt.Axis(format="%")),
        x2="high:Q", y=y, color=colour,
    )  # fmt: skip
    point = base.mark_point(filled=True, size=110, opacity=1).encode(
        x="pass_rate:Q",
        y=y,
        color=colour,
        tooltip=["label", "model", "passed", "failed", "errored", "unscored", alt.Tooltip("pass_rate", format=".1%")],
    )
    height = 30 * max(1, frame["label"].nunique() if len(frame) else 1)
    chart = alt.layer(line, point).properties(width=420, height=height)
    # Above its panel, a long model name takes no width from it.
    header = alt.Header(labelOrient="top", labelAnchor="start", labelAngle=0, labelLimit=420)
    models = list(dict.fromkeys(row.model for row in rows))
    return chart.facet(row=alt.Row("model:N", title=None, sort=models, header=header))  # type: ignore[no-any-return]


def outcomes(rows: Sequence[SummaryRow]) -> alt.Chart:
    """Return how many items passed, failed, broke or were not judged, per card version and model."""
    import altair as alt
    import pandas as pd

    fields = {"pass": "passed", "fail": "failed", "error": "errored", "unscored": "unscored"}
    frame = pd.DataFrame(
        [
            {"run": f"{row.label} · {row.model}", "outcome": outcome, "items": getattr(row.counts, field), "order": i}
            for row in rows
            for i, (outcome, field) in enumerate(fields.items())
        ],
        columns=["run", "outcome", "items", "order"],
    )
    colour = alt.Scale(domain=list(OUTCOME_COLOURS), range=list(OUTCOME_COLOURS.values()))
    return (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("items:Q", title="items"),
            y=alt.Y("run:N", title=None, sort=None, axis=alt.Axis(labelLimit=360)),
            color=alt.Color("outcome:N", scale=colour, title=None),
            order="order:Q",
            tooltip=["run", "outcome", "items"],
        )
        .properties(width=420, height=28 * max(1, len(rows)))
    )


def latencies(results: Sequence[ItemResult]) -> alt.Chart:
    """Return the share of answers that came within a time, per card version and model."""
    import altair as alt
    import pandas as pd

    frame = results_frame(results).dropna(subset=["latency_ms"])
    shares = [k / 50 for k in range(51)]
    curves: list[dict[str, Any]] = []
    for (label, name), group in frame.groupby(["label", "model"], sort=False):
        for share, value in zip(shares, group["latency_ms"].quantile(shares), strict=True):
            curves.append({"run": f"{label} · {name}", "latency_ms": float(value), "share": share})
    return (
        alt.Chart(pd.DataFrame(curves, columns=["run", "latency_ms", "share"]))
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("latency_ms:Q", title="latency, ms"),
            y=alt.Y("share:Q", title="answered within", axis=alt.Axis(format="%")),
            color=alt.Color("run:N", title=None, sort=None, legend=alt.Legend(labelLimit=320, orient="bottom", columns=1)),
        )
        .properties(width=420, height=200)
    )
