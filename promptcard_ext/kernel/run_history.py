"""Stored runs beside each other: as a table, and as a chart of pass rates over time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from promptcard_ext.core.contract.runs import RunOut
from promptcard_ext.kernel.charts import _axis, nothing, offline
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.stats.intervals import score_interval

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

COLUMNS: dict[str, str] = {
    "id": "str",
    "run": "str",
    "card": "str",
    "models": "str",
    "status": "str",
    "started": "datetime64[us, UTC]",
    "items": "int64",
    "done": "int64",
    "passed": "int64",
    "failed": "int64",
    "errored": "int64",
    "unscored": "int64",
    "pass_rate": "float64",
    "low": "float64",
    "high": "float64",
    "cost_usd": "float64",
}


def runs_frame(runs: Iterable[RunOut]) -> pd.DataFrame:
    """Return one row per run, the oldest first.

    The pass rate is passes among the judged, 0 to 1, with its 95 % interval (Wilson). Repeats of a case count as one
    trial, as if all had ended alike: `run.summary()`, which knows how they ended, may give a narrower interval. Rates
    of runs without a judged item, and costs of runs without a priced call, are missing.

    Args:
        runs: What `Workspace.runs` gives.

    Example:
        >>> list(runs_frame([]).columns)[:3]
        ['id', 'run', 'card']
    """
    import pandas as pd

    rows = [_row(run) for run in sorted(runs, key=lambda run: run.created_at)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _row(run: RunOut) -> dict[str, Any]:
    counts = run.counts
    judged = counts.passed + counts.failed
    rate = score_interval(counts.passed / judged, judged / run.plan.repeats) if judged else None
    return {
        "id": str(run.id),
        "run": harmless(run.name),
        "card": harmless(run.plan.card),
        "models": harmless(", ".join(run.plan.models)),
        "status": run.status,
        "started": run.started_at or run.created_at,
        "items": counts.total,
        "done": counts.done,
        "passed": counts.passed,
        "failed": counts.failed,
        "errored": counts.errored,
        "unscored": counts.unscored,
        "pass_rate": rate.rate if rate else None,
        "low": rate.low if rate else None,
        "high": rate.high if rate else None,
        "cost_usd": float(counts.cost_usd) if counts.priced else None,
    }


def _time_format(times: pd.Series[Any]) -> str:
    """Return how to write times on an axis: the shorter what they span, the finer."""
    span_s = (times.max() - times.min()).total_seconds()
    for most_s, form in ((300, "%H:%M:%S"), (43_200, "%H:%M"), (4 * 86_400, "%b %d, %H:%M"), (300 * 86_400, "%b %d")):
        if span_s <= most_s:
            return form
    return "%b %Y"


def run_history(runs: Iterable[RunOut]) -> alt.Chart | alt.LayerChart | alt.FacetChart:
    """Return the pass rates of runs over time, with their 95 % intervals, one colour for each card.

    Without a judged item there is a line of text instead.

    Args:
        runs: What `Workspace.runs` gives.

    Example:
        >>> run_history([]).to_dict()["mark"]["type"]
        'text'
    """
    import altair as alt

    frame = runs_frame(runs).dropna(subset=["pass_rate"])
    if frame.empty:
        return offline(nothing("No run has a judged item yet."))
    share = alt.Y("low:Q", scale=alt.Scale(domain=[0, 1]), title="pass rate, 95 % interval", axis=_axis(format="%"))
    base = alt.Chart(frame).encode(
        x=alt.X(
            "started:T",
            title="started (UTC)",
            axis=_axis(format=_time_format(frame["started"])),
            scale=alt.Scale(type="utc", nice="minute", padding=14),
        ),
        color=alt.Color("card:N", title=None, legend=alt.Legend(orient="bottom", labelLimit=260)),
    )
    lines = base.mark_rule(strokeWidth=2, opacity=0.75).encode(y=share, y2="high:Q")
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        y="pass_rate:Q",
        tooltip=["run:N", "models:N", alt.Tooltip("pass_rate:Q", format=".1%"), "passed:Q", "failed:Q", "errored:Q"],
    )
    return offline(alt.layer(lines, points).properties(width=620, height=220))
