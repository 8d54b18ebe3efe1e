"""Cost against quality: what each card version and model costs, how often it passes, and which are not beaten."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from promptcard_ext.stats.intervals import Interval
from promptcard_ext.stats.summary import SummaryRow


class FrontierPoint(Struct, frozen=True):
    """One card version on one model.

    Attributes:
        cost_usd: Mean over the items with a known price; for plotting.
        pass_rate: With its 95 % interval.
        on_front: Whether no other one passes at least as often for at most as much, and is better in one of the two.
    """

    label: str
    model: str
    cost_usd: float
    pass_rate: Interval
    on_front: bool = False


def frontier(rows: Iterable[SummaryRow]) -> list[FrontierPoint]:
    """Return the points of those that have both a price and a verdict, the cheapest first.

    The front is that of the observed rates. Where intervals overlap, other cases could well change it.

    Example:
        >>> frontier([])
        []
    """
    points = [
        FrontierPoint(row.label, row.model, float(row.counts.cost_usd / row.counts.priced), row.pass_rate)
        for row in rows
        if row.pass_rate is not None and row.counts.priced
    ]
    points.sort(key=lambda point: (point.cost_usd, -point.pass_rate.rate))
    found: list[FrontierPoint] = []
    best = -1.0
    for place, point in enumerate(points):
        # The same cost and rate as the one before it: neither beats the other.
        tied = place > 0 and found[-1].on_front and _values(points[place - 1]) == _values(point)
        on_front = point.pass_rate.rate > best or tied
        best = max(best, point.pass_rate.rate)
        found.append(FrontierPoint(point.label, point.model, point.cost_usd, point.pass_rate, on_front))
    return found


def _values(point: FrontierPoint) -> tuple[float, float]:
    return point.cost_usd, point.pass_rate.rate
