"""The chart of pass rates by two names: card version or case, and model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.kernel.charts import offline
from promptcard_ext.kernel.safe_text import harmless

if TYPE_CHECKING:
    import altair as alt

MAX_LINES = 40
MAX_COLUMNS = 40
# White figures can be read on each of them.
SCALE = ["#b3362b", "#96690c", "#1f7f49"]
By = Literal["card", "case"]


class HeatCell(NamedTuple):
    """One cell: how many of the items with a verdict passed, and how many there are."""

    line: str
    column: str
    passed: int
    judged: int
    items: int

    @property
    def rate(self) -> float | None:
        """Passes among the judged; None when nothing was judged."""
        return self.passed / self.judged if self.judged else None


class HeatCounts:
    """Counts by line and column, added one result at a time; memory is one small entry per cell.

    Args:
        by: Lines are card versions or cases; columns are models, with versions where there are several of both.
    """

    def __init__(self, by: By) -> None:
        self._by = by
        self._counts: dict[tuple[str, str, str], list[int]] = {}
        self._names: dict[str, str] = {}

    def add(self, result: ItemResult) -> None:
        """Count one result."""
        line = result.label if self._by == "card" else result.case_uid
        self._names.setdefault(line, result.label if self._by == "card" else result.case)
        counts = self._counts.setdefault((line, result.label, result.model), [0, 0, 0])
        counts[0] += result.outcome is Outcome.PASS
        counts[1] += result.outcome in (Outcome.PASS, Outcome.FAIL)
        counts[2] += 1

    def cells(self) -> tuple[list[HeatCell], int]:
        """Return the cells of at most 40 lines and columns, and how many lines there are.

        Card versions are in the order of the run. Of cases those that passed least come first.
        """
        several = len({label for _, label, _ in self._counts}) > 1 and self._by == "case"
        lines = list(dict.fromkeys(line for line, _, _ in self._counts))
        if self._by == "case":
            rates = self._line_rates()
            lines.sort(key=lambda line: rates[line])
        places = {line: place for place, line in enumerate(lines[:MAX_LINES])}
        columns = list(dict.fromkeys(self._column(label, model, several) for _, label, model in self._counts))
        kept = set(columns[:MAX_COLUMNS])
        names = self._told_apart(places)
        found = [
            HeatCell(names[line], column, *counts)
            for (line, label, model), counts in self._counts.items()
            if line in places and (column := self._column(label, model, several)) in kept
        ]
        order = {names[line]: place for line, place in places.items()}
        return sorted(found, key=lambda cell: order[cell.line]), len(lines)

    def _told_apart(self, lines: Iterable[str]) -> dict[str, str]:
        """Return what to call each line: two cases may have one name."""
        names: dict[str, str] = {}
        for line in lines:
            name = harmless(self._names[line])
            names[line] = f"{name} ({line[:8]})" if name in names.values() else name
        return names

    @staticmethod
    def _column(label: str, model: str, several: bool) -> str:
        return f"{label} · {model}" if several else model

    def _line_rates(self) -> dict[str, float]:
        totals: dict[str, list[int]] = {}
        for (line, _, _), (passed, judged, _) in self._counts.items():
            total = totals.setdefault(line, [0, 0])
            total[0] += passed
            total[1] += judged
        # What nobody judged is no worse than what failed; it comes last.
        return {line: passed / judged if judged else 2.0 for line, (passed, judged) in totals.items()}


def heatmap_chart(results: Iterable[ItemResult], title: str, by: By = "card") -> alt.LayerChart:
    """Return pass rates as colours and numbers, by card version or case and by model."""
    import altair as alt
    import pandas as pd

    counts = HeatCounts(by)
    for result in results:
        counts.add(result)
    cells, number = counts.cells()
    names = ["line", "column", "passed", "judged", "items", "rate", "text"]
    frame = pd.DataFrame([_cell(cell) for cell in cells], columns=names)
    lines, columns = (list(dict.fromkeys(frame[name])) for name in ("line", "column"))
    words = {"card": "card version", "case": "case"}
    base = alt.Chart(frame).encode(
        x=alt.X("column:N", title=None, sort=columns, axis=alt.Axis(labelAngle=-30, labelLimit=220, orient="top")),
        y=alt.Y("line:N", title=words[by], sort=lines, axis=alt.Axis(labelLimit=260)),
    )
    colour: Any = alt.Color(
        "rate:Q", title="pass rate", scale=alt.Scale(domain=[0, 0.5, 1], range=SCALE), legend=alt.Legend(format="%")
    )
    tips = ["line:N", "column:N", "passed:Q", "judged:Q", "items:Q", alt.Tooltip("rate:Q", format=".1%")]
    # The description says it all at once; each cell read aloud would be much, and make the image three times as large.
    known, unknown = (base.transform_filter(f"{sign}isValid(datum.rate)") for sign in ("", "!"))
    judged = known.mark_rect(stroke="#8884", aria=False).encode(color=colour, tooltip=tips)
    undecided = unknown.mark_rect(color="#8a8f98", stroke="#8884", aria=False)
    text = base.mark_text(fontSize=12, fontWeight=600, color="white", aria=False).encode(text="text:N")
    heading = alt.TitleParams(text=title, subtitle=_subtitle(number, words[by], by))
    chart = alt.layer(judged, undecided, text).properties(
        width=alt.Step(max(56, 420 // max(1, len(columns)))),
        height=alt.Step(26),
        title=heading,
        description=_told(title, cells, number, words[by]),
    )
    return offline(cast("alt.LayerChart", chart))


def _cell(cell: HeatCell) -> dict[str, Any]:
    rate = cell.rate
    return {
        "line": harmless(cell.line),
        "column": harmless(cell.column),
        "passed": cell.passed,
        "judged": cell.judged,
        "items": cell.items,
        "rate": rate,
        "text": "–" if rate is None else f"{rate:.0%}",
    }


def _subtitle(number: int, word: str, by: By) -> str:
    if number <= MAX_LINES:
        return ""
    which = "those that passed least" if by == "case" else "the first"
    return f"{MAX_LINES} of {number:,} {word}s, {which}"


def _told(title: str, cells: Sequence[HeatCell], number: int, word: str) -> str:
    """Return the chart in words, for whoever does not see it."""
    worst = sorted((cell for cell in cells if cell.rate is not None), key=lambda cell: cell.rate or 0.0)[:3]
    told = "; ".join(harmless(f"{cell.line} on {cell.column}: {cell.rate:.0%}") for cell in worst)
    return f"{title}. {number:,} {word}s. Lowest pass rates: {told or 'none'}."[:2000]
