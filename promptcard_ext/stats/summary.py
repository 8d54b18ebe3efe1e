"""What a run says, one line per card version and model."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from promptcard_ext.core.results import Counts, ItemResult
from promptcard_ext.stats.intervals import Interval, percentile, wilson


class SummaryRow(Struct, frozen=True):
    """One card version on one model.

    Attributes:
        pass_rate: Passes among the judged (pass or fail), with its 95 % interval; None when nothing was judged.
        p50_ms: Median latency of the answers; None when there was none.
    """

    label: str
    model: str
    counts: Counts
    pass_rate: Interval | None
    p50_ms: float | None
    p95_ms: float | None

    @property
    def cost_text(self) -> str:
        """The cost, with "N of M priced" whenever not everything is priced."""
        return cost_text(self.counts.cost_usd, self.counts.priced, self.counts.done)

    @property
    def rate_text(self) -> str:
        """The pass rate with its interval and denominator."""
        return rate_text(self.pass_rate, self.counts)


def summarise(results: Iterable[ItemResult]) -> list[SummaryRow]:
    """Return a row per card version and model, in order of first appearance in the plan."""
    groups: dict[tuple[str, str], tuple[Counts, list[float], list[int]]] = {}
    for result in results:
        counts, latencies, first = groups.setdefault((result.label, result.model), (Counts(), [], [result.ordinal]))
        counts.add(result)
        counts.total += 1
        first[0] = min(first[0], result.ordinal)
        if result.generation is not None:
            latencies.append(result.generation.latency_ms)
    ordered = sorted(groups.items(), key=lambda group: group[1][2][0])
    return [_row(label, model, counts, latencies) for (label, model), (counts, latencies, _) in ordered]


def _row(label: str, model: str, counts: Counts, latencies: list[float]) -> SummaryRow:
    rate = wilson(counts.passed, counts.judged)
    return SummaryRow(label, model, counts, rate, percentile(latencies, 0.5), percentile(latencies, 0.95))


def rate_text(rate: Interval | None, counts: Counts) -> str:
    """Return for example ``83% [70–91] of 48``, saying how many items have no verdict.

    100% means all and 0% none: 999 of 1,000 is 99%.
    """
    if rate is None:
        return f"no verdict (0 of {counts.done})"
    missing = counts.done - counts.judged
    tail = f", {missing} without verdict" if missing else ""
    percent = round(rate.rate * 100)
    if 0 < counts.passed < counts.judged:
        percent = min(max(percent, 1), 99)
    return f"{percent}% [{rate.low * 100:.0f}–{rate.high * 100:.0f}] of {counts.judged}{tail}"


def cost_text(cost: Decimal, priced: int, done: int) -> str:
    """Return for example ``$0.0123``, ``$0.0061 (24 of 48 priced)`` or ``not priced (0 of 48)``."""
    if priced == 0:
        return f"not priced (0 of {done})" if done else "–"
    return f"${cost:.4f}" if priced == done else f"${cost:.4f} ({priced} of {done} priced)"
