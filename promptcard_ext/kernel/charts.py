"""Charts of runs, aggregated before they are drawn.

They are ordinary Altair charts. Only how they show themselves is ours: Altair would load its scripts from the network,
and JupyterLab 4.6 draws no later form than Vega-Lite 5.
"""

from __future__ import annotations

import html
import importlib.util
from array import array
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msgspec.structs import replace

from promptcard_ext.core.results import ItemResult
from promptcard_ext.interchange.frames import summary_frame
from promptcard_ext.kernel.display import in_voila, render_mode
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.stats.summary import SummaryRow

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

OUTCOME_COLOURS = {"pass": "#2e9e5b", "fail": "#d64545", "error": "#d9902f", "unscored": "#8a8f98"}


def pass_rates(rows: Sequence[SummaryRow]) -> alt.FacetChart:
    """Return the pass rates with their 95 % intervals, one line per card version and model."""
    import altair as alt

    frame = summary_frame([_drawable(row) for row in rows])
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=260))
    base = alt.Chart(frame)
    colour: Any = alt.Color("label:N", legend=None, sort=None)
    scale = alt.Scale(domain=[0, 1])
    line = base.mark_rule(strokeWidth=3, opacity=0.55).encode(
        x=alt.X("low:Q", scale=scale, title="pass rate, 95 % interval", axis=_axis(format="%")),
        x2="high:Q", y=y, color=colour,
    )  # fmt: skip
    point = base.mark_point(filled=True, size=110, opacity=1).encode(
        x="pass_rate:Q",
        y=y,
        color=colour,
        tooltip=[
            "label:N", "model:N", "passed:Q", "failed:Q", "errored:Q", "unscored:Q",
            alt.Tooltip("pass_rate:Q", format=".1%"),
        ],
    )  # fmt: skip
    height = 30 * max(1, frame["label"].nunique())
    chart = alt.layer(line, point).properties(width=420, height=height)
    return _by_model(chart, frame)


def _drawable(row: SummaryRow) -> SummaryRow:
    # A name may hold anything: half a character would stop the drawing, others would turn it round.
    return replace(row, label=harmless(row.label), model=harmless(row.model))


def outcomes(rows: Sequence[SummaryRow]) -> alt.FacetChart:
    """Return how many items passed, failed, broke or were not judged, per card version and model."""
    import altair as alt
    import pandas as pd

    fields = {"pass": "passed", "fail": "failed", "error": "errored", "unscored": "unscored"}
    frame = pd.DataFrame(
        [
            {
                "label": row.label,
                "model": row.model,
                "outcome": outcome,
                "items": getattr(row.counts, field),
                "order": i,
            }
            for row in map(_drawable, rows)
            for i, (outcome, field) in enumerate(fields.items())
        ],
        columns=["label", "model", "outcome", "items", "order"],
    )
    colour = alt.Scale(domain=list(OUTCOME_COLOURS), range=list(OUTCOME_COLOURS.values()))
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=260), scale=alt.Scale(paddingInner=0.35))
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("items:Q", title="items", axis=_axis(format=",d", tickMinStep=1)),
            y=y,
            color=alt.Color("outcome:N", scale=colour, title=None),
            order="order:Q",
            tooltip=["label:N", "model:N", "outcome:N", "items:Q"],
        )
        .properties(width=420, height=28 * max(1, frame["label"].nunique()))
    )
    return _by_model(chart, frame)


def _by_model(chart: alt.Chart | alt.LayerChart | alt.FacetChart, frame: pd.DataFrame) -> alt.FacetChart:
    """Return a chart with a panel for each model: versions are compared within one."""
    import altair as alt

    header = alt.Header(labelAngle=0, labelAlign="left", labelLimit=200)
    row = alt.Row("model:N", title=None, header=header, sort=list(dict.fromkeys(frame["model"])))
    return offline(chart.facet(row=row))


class LatencySamples:
    """Latencies of answers, by card version and model: 8 bytes each.

    Args:
        most: Of how many versions and models, in order of first appearance.
    """

    def __init__(self, most: int = 1_000) -> None:
        self._most = most
        self.by_run: dict[tuple[str, str], array[float]] = {}

    def add(self, result: ItemResult) -> None:
        """Take note of one result; a reply that nobody could read is no answer, and was not timed as one."""
        answer = result.generation
        if answer is None or (answer.output is None and answer.raw is not None):
            return
        key = (result.label, result.model)
        if key in self.by_run or len(self.by_run) < self._most:
            self.by_run.setdefault(key, array("d")).append(answer.latency_ms)


def latencies(results: Iterable[ItemResult]) -> alt.Chart:
    """Return the share of answers that came within a time, per card version and model."""
    samples = LatencySamples()
    for result in results:
        samples.add(result)
    return latency_curves(samples)


def latency_curves(samples: LatencySamples) -> alt.Chart:
    """Return the chart of latencies that were gathered before."""
    import altair as alt
    import pandas as pd

    shares = [k / 50 for k in range(51)]
    curves: list[dict[str, Any]] = []
    for (label, name), values in samples.by_run.items():
        for share, value in zip(shares, pd.Series(values, dtype="float64").quantile(shares), strict=True):
            curves.append({"run": harmless(f"{label} · {name}"), "latency_ms": float(value), "share": share})
    if not curves:
        return offline(nothing("No answer was timed."))
    chart: alt.Chart = (
        alt.Chart(pd.DataFrame(curves, columns=["run", "latency_ms", "share"]))
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("latency_ms:Q", title="latency, ms", axis=_axis()),
            y=alt.Y("share:Q", title="answered within", axis=alt.Axis(format="%")),
            color=alt.Color(
                "run:N", title=None, sort=None, legend=alt.Legend(labelLimit=320, orient="bottom", columns=1)
            ),
        )
        .properties(width=420, height=200)
    )
    return offline(chart)


def nothing(text: str) -> alt.Chart:
    """Return a chart that says that there is nothing to draw.

    JupyterLab's Vega never comes to an end with axes and legends that have no value at all, and takes the page with it.
    """
    import altair as alt
    import pandas as pd

    chart: alt.Chart = (
        alt.Chart(pd.DataFrame({"text": [text]}))
        .mark_text(fontSize=12, color="#7b7b7b")
        .encode(text="text:N")
        .properties(width=420, height=60)
    )
    return chart


def _axis(**options: Any) -> alt.Axis:
    import altair as alt

    return alt.Axis(tickCount=6, labelFlush=False, **options)


# Grey that can be read on white and on black: the theme may be changed after the chart was drawn.
_CONFIG: dict[str, Any] = {
    "background": "transparent",
    "view": {"stroke": "#8884"},
    "axis": {
        "labelColor": "#7b7b7b", "titleColor": "#7b7b7b", "gridColor": "#8883",
        "domainColor": "#7b7b7b", "tickColor": "#7b7b7b",
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8,
    },
    "header": {"labelColor": "#7b7b7b", "titleColor": "#7b7b7b", "labelFontSize": 12},
    "legend": {"labelColor": "#7b7b7b", "titleColor": "#7b7b7b", "labelFontSize": 12},
    "title": {
        "color": "#7b7b7b", "subtitleColor": "#7b7b7b", "anchor": "start", "fontSize": 14, "subtitleFontSize": 12,
        "subtitlePadding": 5, "offset": 12,
    },
}  # fmt: skip
T = TypeVar("T")
# One pixel that nobody sees.
_NO_PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"


def offline(chart: T) -> T:
    """Return a chart that shows itself without any network, as do charts that are made of it."""
    # Not by `alt.renderers`: that would change how all other charts of the notebook are shown.
    object.__setattr__(chart, "__class__", _offline_kind(cast("Any", type(chart))))
    return chart


@cache
def _offline_kind(kind: type[Any]) -> type[Any]:
    return type(kind.__name__, (kind,), {"_repr_mimebundle_": _mimebundle, "__module__": kind.__module__})


def _mimebundle(chart: Any, *_: Any, **__: Any) -> Any:
    import altair as alt

    spec = chart.to_dict()
    if alt.renderers.active != "default":
        return alt.renderers.get()(spec)  # type: ignore[misc]
    # What Altair puts there by itself is its theme, which is made for white paper.
    given = {key: value for key, value in spec.get("config", {}).items() if key != "view"}
    spec = {**spec, "config": {**_CONFIG, **given}}
    bundle = {
        "application/vnd.vegalite.v5+json": {**spec, "$schema": _SCHEMA},
        "text/plain": spec.get("description") or "<a chart; this front end does not draw Vega-Lite>",
    }
    if in_voila():
        # Its renderer adds a picture to outputs that have none, and Voilà's cannot take one: an error would be shown.
        bundle["image/png"] = _NO_PICTURE
    if render_mode() == "static" and importlib.util.find_spec("vl_convert"):
        import vl_convert

        bundle["image/svg+xml"] = _readable_aloud(vl_convert.vegalite_to_svg(spec), spec.get("description"))
    return bundle


def _readable_aloud(svg: str, description: str | None) -> str:
    """Return an image that says in words what it shows, which the drawing leaves out."""
    if not description:
        return svg
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(description)}" ', 1)
