"""The charts of a report, as images that need no script."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from promptcard_ext.kernel import charts
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.report.piece import Piece, join, milliseconds, name, note
from promptcard_ext.report.run import ReportRun
from promptcard_ext.stats.summary import SummaryRow

MAX_LINES = 24
MAX_CURVES = 10

# Each colour of the light theme with its counterpart: an image follows the reader's theme by a style sheet of its own.
_DARK = {
    "#fefefe": "#171b22",  # background
    "#1d2530": "#e7ebf1",  # writing
    "#5a6573": "#a3adba",  # axes
    "#e4e8ed": "#2c333d",  # grid
}
_PAPER, _INK, _AXIS, _GRID = _DARK
# Told apart with every common kind of colour blindness, and readable on both backgrounds (Okabe and Ito, 2008).
_SERIES = ["#3579c6", "#d9822b", "#1b9e77", "#b565a7", "#8a7a1f", "#4fb0d6", "#c44e52", "#7f7f7f", "#9467bd", "#5f8f2f"]
# Every system has one of these, and they are equally wide: labels fit wherever the image is shown.
_FONT = "Arial, 'Liberation Sans', Arimo, Helvetica, sans-serif"
_CONFIG: dict[str, Any] = {
    "background": _PAPER,
    "padding": 12,
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": _INK, "titleColor": _AXIS, "domainColor": _AXIS, "tickColor": _AXIS, "gridColor": _GRID,
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 10,
    },
    "axisY": {"grid": False, "ticks": False, "domain": False, "labelPadding": 8},
    "header": {"labelColor": _INK, "labelFontSize": 12, "labelFontWeight": "bold"},
    "legend": {"labelColor": _INK, "labelFontSize": 12, "orient": "bottom", "symbolStrokeWidth": 3},
    "range": {"category": _SERIES},
    "line": {"strokeWidth": 2.5},
}  # fmt: skip


def pass_rate_chart(run: ReportRun) -> Piece:
    """Return the pass rates with their 95 % intervals."""
    rows = [row for row in run.rows if row.pass_rate is not None]
    spoken = [f"{name(row.label)} on {name(row.model)}: {row.rate_text}" for row in rows[:MAX_LINES]]

    def draw() -> dict[str, Any]:
        return _headed(charts.pass_rates(rows[:MAX_LINES]).to_dict())

    return _figure(rows, draw, "Pass rates with 95\u00a0% intervals", spoken)


def outcome_chart(run: ReportRun) -> Piece:
    """Return how many items passed, failed, broke or were not judged."""
    spoken = [
        f"{name(row.label)} on {name(row.model)}: {row.counts.passed} pass, {row.counts.failed} fail, "
        f"{row.counts.errored} error, {row.counts.unscored} unscored"
        for row in run.rows[:MAX_LINES]
    ]

    def draw() -> dict[str, Any]:
        return _headed(charts.outcomes(run.rows[:MAX_LINES]).to_dict())

    return _figure(run.rows, draw, "Outcomes of the items", spoken)


def latency_chart(run: ReportRun) -> Piece:
    """Return the share of answers that came within a time."""
    rows = [row for row in run.rows if row.p50_ms is not None]
    shown = [(row.label, row.model) for row in rows[:MAX_CURVES]]
    samples = charts.LatencySamples()
    samples.by_run = {key: run.findings.latencies.by_run[key] for key in shown if key in run.findings.latencies.by_run}
    spoken = [
        f"{name(row.label)} on {name(row.model)}: half within {milliseconds(row.p50_ms)}, "
        f"95\u00a0% within {milliseconds(row.p95_ms)}"
        for row in rows[:MAX_CURVES]
    ]
    return _figure(rows, lambda: charts.latency_curves(samples).to_dict(), "Latency of the answers", spoken, MAX_CURVES)


def _headed(spec: dict[str, Any]) -> dict[str, Any]:
    # Above its panel, a long model name takes no width from it.
    spec["facet"]["row"]["header"] = {"labelOrient": "top", "labelAnchor": "start", "labelAngle": 0}
    return spec


def _figure(
    rows: Sequence[SummaryRow],
    draw: Callable[[], dict[str, Any]],
    title: str,
    spoken: Sequence[str],
    most: int = MAX_LINES,
) -> Piece:
    if not rows:
        empty = f"{title}: there is nothing to draw."
        return Piece(note(empty), empty)
    text = f"{title}. {'; '.join(spoken)}."
    more = f"The first {most} of {len(rows)} are drawn; the table has all." if len(rows) > most else ""
    image = _image(draw, text)
    return Piece(join([image, note(more) if more else ""]), f"{text} {more}".strip())


def _image(draw: Callable[[], dict[str, Any]], text: str) -> Markup:
    try:
        import vl_convert
    except ModuleNotFoundError:
        return note(f"{text} (The drawing needs the package vl-convert-python.)")
    drawn = vl_convert.vegalite_to_svg(_drawable(draw()), config=_CONFIG)
    encoded = base64.b64encode(_themed(drawn).encode()).decode()
    return Markup('<figure class="pc-figure"><img src="data:image/svg+xml;base64,{}" alt="{}"></figure>').format(
        encoded, text
    )


def _drawable(value: Any) -> Any:
    # A control character in a name ends the whole process inside vl-convert 1.9, half a character stops the drawing.
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, dict):
        return {_drawable(key): _drawable(each) for key, each in value.items()}
    return [_drawable(each) for each in value] if isinstance(value, list | tuple) else value


def _themed(svg: str) -> str:
    rules = "".join(f'[fill="{a}"]{{fill:{b}}}[stroke="{a}"]{{stroke:{b}}}' for a, b in _DARK.items())
    style = f"<style>@media screen and (prefers-color-scheme:dark){{{rules}}}</style>"
    head, bracket, rest = svg.partition(">")
    return f"{head}{bracket}{style}{rest}"
