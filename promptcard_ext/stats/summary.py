"""What a run says, one line per card version and model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from promptcard_ext.core.results import Call, Counts, Generation, ItemResult, Outcome
from promptcard_ext.stats.clusters import Clusters
from promptcard_ext.stats.derived import DerivedMetric, DerivedRow, DerivedTally
from promptcard_ext.stats.intervals import Bounds, Interval, bounds
from promptcard_ext.stats.latencies import Latencies
from promptcard_ext.stats.metrics import MetricRow, MetricTally, score_text
from promptcard_ext.stats.scores import item_points, metric_scores


class Total(NamedTuple):
    """A sum over the answers that say the number, and how many do."""

    sum: int = 0
    known: int = 0

    def plus(self, number: int | None) -> Total:
        """Return the total with one more answer."""
        return self if number is None else Total(self.sum + number, self.known + 1)


class CallSums(Struct):
    """Calls beside the answers, of one purpose: ``judge``, ``embedding`` or ``variant``.

    Attributes:
        cached: How many of them a store answered.
        priced: How many have a known price; the two costs are sums over those only.
        cost_usd: What they cost, or would have cost without a store.
        spent_usd: What was spent this time.
    """

    purpose: str
    calls: int = 0
    cached: int = 0
    priced: int = 0
    cost_usd: Decimal = Decimal(0)
    spent_usd: Decimal = Decimal(0)
    tokens_input: Total = Total()
    tokens_output: Total = Total()

    def add(self, call: Call) -> None:
        """Count one more call."""
        generation = call.generation
        self.calls += 1
        self.cached += call.cached
        self.tokens_input = self.tokens_input.plus(generation.tokens.input)
        self.tokens_output = self.tokens_output.plus(generation.tokens.output)
        if generation.cost_usd is not None:
            self.priced += 1
            self.cost_usd += generation.cost_usd
            self.spent_usd += Decimal(0) if call.cached else generation.cost_usd


class SummaryRow(Struct, frozen=True):
    """One card version on one model.

    Attributes:
        pass_rate: Passes among the judged (pass or fail), with its 95 % interval, which allows for repeats of a case
            not being independent; None when nothing was judged.
        p50_ms: Median latency of the answers; None when there was none. Within 1 % beyond 10,000 answers.
        cases: Cases with at least one verdict.
        bounds: The pass rate if everything undecided had failed, and if it had passed.
        score: Mean score of the items, with its 95 % interval; None when none has one.
        scored: Items with a score: the denominator of ``score``.
        tokens_input: Sum over the answers that say it.
        calls: What judges, embeddings and variants took, by purpose.
    """

    label: str
    model: str
    counts: Counts
    pass_rate: Interval | None
    p50_ms: float | None
    p95_ms: float | None
    cases: int = 0
    bounds: Bounds | None = None
    score: Interval | None = None
    scored: int = 0
    tokens_input: Total = Total()
    tokens_output: Total = Total()
    calls: tuple[CallSums, ...] = ()
    metrics: tuple[MetricRow, ...] = ()
    derived: tuple[DerivedRow, ...] = ()

    @property
    def cost_text(self) -> str:
        """The cost, with "N of M priced" whenever not everything is priced."""
        return cost_text(self.counts.cost_usd, self.counts.priced, self.counts.done)

    @property
    def rate_text(self) -> str:
        """The pass rate with its interval and denominator."""
        return rate_text(self.pass_rate, self.counts)

    @property
    def score_text(self) -> str:
        """The mean score with its interval and denominator."""
        return score_text(self.score, self.scored, self.counts.done - self.scored)


def summarise(results: Iterable[ItemResult], derived: Sequence[DerivedMetric] = ()) -> list[SummaryRow]:
    """Return a row per card version and model, in order of first appearance in the plan.

    Args:
        results: Read once. Memory is one small entry per case, card version and model, whatever the number of repeats
            and the length of answers.
        derived: Metrics to compute from the named ones.
    """
    groups: dict[tuple[str, str], _Group] = {}
    for result in results:
        key = (result.label, result.model)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group(derived)
        group.add(result)
    ordered = sorted(groups.items(), key=lambda group: group[1].first)
    return [group.row(label, model) for (label, model), group in ordered]


class _Group:
    """Everything that is counted for one row."""

    def __init__(self, derived: Sequence[DerivedMetric]) -> None:
        self.counts, self.passes, self.scores = Counts(), Clusters(), Clusters()
        self.latencies, self.metrics, self.derived = Latencies(), MetricTally(), DerivedTally(derived)
        self.calls: dict[str, CallSums] = {}
        self.tokens_input = self.tokens_output = Total()
        self.scored, self.first = 0, -1

    def add(self, result: ItemResult) -> None:
        self.first = result.ordinal if self.first < 0 else min(self.first, result.ordinal)
        self.counts.add(result)
        self.counts.total += 1
        if result.outcome in (Outcome.PASS, Outcome.FAIL):
            self.passes.add(result.case_uid, result.outcome is Outcome.PASS)
        if (points := item_points(result)) is not None:
            self.scored += 1
            self.scores.add(result.case_uid, points)
        metrics = metric_scores(result)
        self.metrics.add(result.case_uid, metrics)
        self.derived.add(metrics, judged=bool(result.verdicts))
        if result.generation is not None:
            self._answer(result.generation)
        for call in result.calls:
            self.calls.setdefault(call.purpose, CallSums(call.purpose)).add(call)

    def _answer(self, generation: Generation) -> None:
        self.tokens_input = self.tokens_input.plus(generation.tokens.input)
        self.tokens_output = self.tokens_output.plus(generation.tokens.output)
        # A reply that nobody could read is kept, but is no answer, and was not timed as one.
        if generation.output is not None or generation.raw is None:
            self.latencies.add(generation.latency_ms)

    def row(self, label: str, model: str) -> SummaryRow:
        counts = self.counts
        return SummaryRow(
            label,
            model,
            counts,
            self.passes.interval(),
            self.latencies.percentile(0.5),
            self.latencies.percentile(0.95),
            cases=self.passes.cases,
            bounds=bounds(counts.passed, counts.failed, counts.errored + counts.unscored),
            score=self.scores.interval(),
            scored=self.scored,
            tokens_input=self.tokens_input,
            tokens_output=self.tokens_output,
            calls=tuple(self.calls[purpose] for purpose in sorted(self.calls)),
            metrics=self.metrics.rows(),
            derived=self.derived.rows(),
        )


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
