"""The rows of a summary as a list that knows how to show itself."""

from __future__ import annotations

from promptcard_ext.core.results import Counts
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.stats.summary import SummaryRow


class SummaryTable(list[SummaryRow]):
    """One row per card version and model: a list, which a notebook shows as a table."""

    def __repr__(self) -> str:
        if not self:
            return "<no result yet>"
        return "\n".join(harmless(f"{row.label} · {row.model}: {row.rate_text}, {row.cost_text}") for row in self)

    def _repr_html_(self) -> str:
        # Here, because a run on the command line does without.
        from promptcard_ext.kernel.html_table import framed
        from promptcard_ext.kernel.overview import Traits
        from promptcard_ext.kernel.static_html import facts_html, metrics_html, summary_html

        traits = Traits()
        traits.degrees = any(_says_more(row) for row in self)
        traits.graded = {metric.name for row in self for metric in row.metrics}
        # With fewer cases than verdicts some were asked more than once; the table says then how many there are.
        traits.repeats = 2 if any(row.cases < row.counts.judged for row in self) else 1
        return framed(summary_html(self, traits) + facts_html(_together(self), self) + metrics_html(self, traits))


def _says_more(row: SummaryRow) -> bool:
    if row.score is None or row.pass_rate is None:
        return row.score is not None
    return abs(row.score.rate - row.pass_rate.rate) > 1e-9


def _together(rows: list[SummaryRow]) -> Counts:
    counts = Counts()
    for row in rows:
        counts.done += row.counts.done
        counts.priced += row.counts.priced
        counts.cached += row.counts.cached
        counts.cost_usd += row.counts.cost_usd
        counts.spent_usd += row.counts.spent_usd
    return counts
