"""Means of named metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from promptcard_ext.stats.clusters import Clusters
from promptcard_ext.stats.intervals import Interval
from promptcard_ext.stats.scores import MetricScore


class MetricRow(Struct, frozen=True):
    """One metric of one card version on one model.

    Attributes:
        mean: Mean of the items' scores with its 95 % interval, each item with the weight of its assertions; None when
            it is decided nowhere.
        items: Items with a score: the denominator.
        undecided: Items in which an assertion of the metric is error or unscored.
    """

    name: str
    mean: Interval | None
    items: int
    undecided: int

    @property
    def text(self) -> str:
        """For example ``0.83 [0.70–0.91] of 48, 2 undecided``."""
        return score_text(self.mean, self.items, self.undecided)


def score_text(mean: Interval | None, items: int, undecided: int) -> str:
    """Return a mean score with its interval and denominator, for example ``0.83 [0.70–0.91] of 48, 2 undecided``."""
    if mean is None:
        return f"no score (0 of {items + undecided})"
    tail = f", {undecided} undecided" if undecided else ""
    return f"{mean.rate:.2f} [{mean.low:.2f}–{mean.high:.2f}] of {items}{tail}"


@dataclass(slots=True)
class _Metric:
    clusters: Clusters = field(default_factory=Clusters)
    items: int = 0
    undecided: int = 0


class MetricTally:
    """Metrics of a group of items, added one item at a time."""

    __slots__ = ("_metrics",)

    def __init__(self) -> None:
        self._metrics: dict[str, _Metric] = {}

    def add(self, case: str, scores: Mapping[str, MetricScore]) -> None:
        """Add the metrics of one item; ``case`` is the identity of its case."""
        for name, score in scores.items():
            metric = self._metrics.setdefault(name, _Metric())
            if score.points is None:
                metric.undecided += 1
            else:
                metric.items += 1
                metric.clusters.add(case, score.points, score.weight)

    def rows(self) -> tuple[MetricRow, ...]:
        """Return a row per metric, in order of first appearance."""
        return tuple(
            MetricRow(name, metric.clusters.interval(), metric.items, metric.undecided)
            for name, metric in self._metrics.items()
        )
