"""Totals of a run, and of one card version on one model, while results arrive."""

from __future__ import annotations

from typing import Any

from promptcard_ext.core.results import Counts, ItemResult, Outcome
from promptcard_ext.kernel.row_facts import call_text, money_facts, rate_facts
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.stats.clusters import Clusters
from promptcard_ext.stats.intervals import bounds
from promptcard_ext.stats.latencies import Latencies
from promptcard_ext.stats.metrics import score_text
from promptcard_ext.stats.scores import item_points
from promptcard_ext.stats.summary import CallSums, SummaryRow, cost_text, rate_text


class Totals:
    """What is counted; memory is one small entry per case, whatever the number of repeats.

    Args:
        once: Every case comes once only; then nothing is kept of it.
    """

    def __init__(self, *, once: bool = False) -> None:
        self.counts = Counts()
        self._passes, self._scores, self._scored = Clusters(once=once), Clusters(once=once), 0
        self._calls: dict[str, CallSums] = {}
        self._degrees, self._repeats = False, 1

    def add(self, result: ItemResult) -> None:
        """Count one more result."""
        self.counts.add(result)
        self._repeats = max(self._repeats, result.repeat + 1)
        if result.outcome in (Outcome.PASS, Outcome.FAIL):
            self._passes.add(result.case_uid, result.outcome is Outcome.PASS)
        if (points := item_points(result)) is not None:
            self._scored += 1
            self._scores.add(result.case_uid, points)
            self._degrees = self._degrees or points not in (0.0, 1.0)
        for call in result.calls:
            self._calls.setdefault(call.purpose, CallSums(call.purpose)).add(call)

    def state(self) -> dict[str, Any]:
        """Return numbers and texts for the browser; a text is empty where there is nothing to say."""
        counts = self.counts
        score = score_text(self._scores.interval(), self._scored, counts.done - self._scored)
        return {
            "done": counts.done,
            "pass": counts.passed,
            "fail": counts.failed,
            "error": counts.errored,
            "unscored": counts.unscored,
            "rate": rate_text(self._passes.interval(), counts) if counts.done else "",
            "score": score if self._degrees else "",
            "priced": counts.priced,
            "cost": cost_text(counts.cost_usd, counts.priced, counts.done),
            "notes": [harmless(note) for note in (*self._rate_facts(), *money_facts(counts), *self._call_facts())],
        }

    def _rate_facts(self) -> list[str]:
        counts = self.counts
        least_and_most = bounds(counts.passed, counts.failed, counts.errored + counts.unscored)
        row = SummaryRow("", "", counts, None, None, None, self._passes.cases, least_and_most)
        return rate_facts(row, self._repeats)

    def _call_facts(self) -> list[str]:
        return [call_text(purpose, [calls]) for purpose, calls in self._calls.items()]


class Group:
    """Totals of one card version on one model; groups are in the order of the plan.

    Args:
        first: A result of it.
        once: Every case comes once only.
    """

    def __init__(self, first: ItemResult, *, once: bool = False) -> None:
        self.label, self.model, self.first = first.label, first.model, first.ordinal
        self._totals = Totals(once=once)
        self._latencies = Latencies()

    def __lt__(self, other: Group) -> bool:
        return self.first < other.first

    def add(self, result: ItemResult) -> None:
        """Count one more result."""
        self.first = min(self.first, result.ordinal)
        self._totals.add(result)
        answer = result.generation
        # A reply that nobody could read is no answer, and was not timed as one.
        if answer is not None and (answer.output is not None or answer.raw is None):
            self._latencies.add(answer.latency_ms)

    def state(self) -> dict[str, Any]:
        """Return what the browser shows in one line."""
        head = {"label": harmless(self.label), "model": harmless(self.model)}
        return head | {"p50_ms": self._latencies.percentile(0.5)} | self._totals.state()
