"""How often answers passed, by what was asked of them."""

from __future__ import annotations

from collections.abc import Iterable

from promptcard_ext.core.results import Counts, ItemResult, Outcome
from promptcard_ext.stats.clusters import Clusters
from promptcard_ext.stats.invariance import PREFIX
from promptcard_ext.stats.ledger import flattened
from promptcard_ext.stats.summary import rate_text

Group = tuple[str, str]


class Check:
    """One metric, or kind of assertion where no metric is named, on one card version and model."""

    __slots__ = ("counts", "passes")

    def __init__(self) -> None:
        self.counts, self.passes = Counts(), Clusters()

    def add(self, case: str, outcome: Outcome) -> None:
        """Count one verdict on an answer to a case."""
        counts = self.counts
        counts.done += 1
        counts.passed += outcome is Outcome.PASS
        counts.failed += outcome is Outcome.FAIL
        counts.errored += outcome is Outcome.ERROR
        counts.unscored += outcome is Outcome.UNSCORED
        if outcome in (Outcome.PASS, Outcome.FAIL):
            self.passes.add(case, outcome is Outcome.PASS)

    @property
    def text(self) -> str:
        """The pass rate with its denominator, and its interval by case: a case may be checked several times."""
        return rate_text(self.passes.interval(), self.counts)


class Checks:
    """Checks of all cards, added one result at a time; those inside sets count as those beside them."""

    def __init__(self) -> None:
        self._cards: dict[str, dict[str, dict[Group, Check]]] = {}

    def add(self, result: ItemResult) -> None:
        """Take note of one result."""
        for _, verdict in flattened(result.verdicts):
            # How an answer fared under each change of the prompt is no check of its own.
            if verdict.type.startswith(PREFIX):
                continue
            metrics = self._cards.setdefault(result.card, {})
            groups = metrics.setdefault(verdict.metric or verdict.type, {})
            check = groups.setdefault((result.label, result.model), Check())
            check.add(result.case_uid, verdict.outcome)

    def by_card(self) -> dict[str, list[tuple[str, dict[Group, Check]]]]:
        """Return the metrics of each card with their checks, the lowest pass rate first."""
        return {
            card: sorted(metrics.items(), key=lambda metric: _overall(metric[1].values()))
            for card, metrics in self._cards.items()
        }


def _overall(checks: Iterable[Check]) -> float:
    passed = judged = 0
    for check in checks:
        passed, judged = passed + check.counts.passed, judged + check.counts.judged
    return passed / judged if judged else 2.0
