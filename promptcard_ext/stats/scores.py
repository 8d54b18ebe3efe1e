"""What an item scored: as a whole, and on each named metric."""

from __future__ import annotations

import math
from typing import NamedTuple

from promptcard_ext.core.results import ItemResult, Outcome, Verdict
from promptcard_ext.stats.ledger import flattened


class MetricScore(NamedTuple):
    """One metric of one item.

    Attributes:
        points: Weighted mean of the points of its verdicts, 0 to 1; None while one of them is undecided.
        weight: Sum of their weights; where all weigh 0 they count equally.
    """

    points: float | None
    weight: float


def item_points(result: ItemResult) -> float | None:
    """Return the item's score; without degrees 1 for a pass and 0 for a fail.

    None when the item is error or unscored, and when it was decided although a verdict is not known: a missing score is
    not taken for 0.
    """
    if result.outcome not in (Outcome.PASS, Outcome.FAIL):
        return None
    if result.score is not None:
        return result.score if math.isfinite(result.score) else None
    if any(verdict.weight > 0 and verdict.points is None for verdict in result.verdicts):
        return None
    return 1.0 if result.outcome is Outcome.PASS else 0.0


def metric_scores(result: ItemResult) -> dict[str, MetricScore]:
    """Return the score on each metric that a verdict of the item is named for, those inside sets included."""
    named: dict[str, list[Verdict]] = {}
    for _, verdict in flattened(result.verdicts):
        if verdict.metric is not None:
            named.setdefault(verdict.metric, []).append(verdict)
    return {name: _mean(verdicts) for name, verdicts in named.items()}


def _mean(verdicts: list[Verdict]) -> MetricScore:
    silent = not any(verdict.weight > 0 for verdict in verdicts)
    weights = [1.0 if silent else verdict.weight for verdict in verdicts]
    total, points = math.fsum(weights), 0.0
    for verdict, weight in zip(verdicts, weights, strict=True):
        known = verdict.points
        if known is None or not math.isfinite(known):
            return MetricScore(None, total)
        points += weight * known
    return MetricScore(points / total, total)
