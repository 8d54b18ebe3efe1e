"""What stands beside the numbers of a run: cases, what is open, what a store gave, what judges cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal

from promptcard_ext.core.results import Counts
from promptcard_ext.stats.intervals import Interval
from promptcard_ext.stats.summary import CallSums, SummaryRow, cost_text, rate_text


def rate_facts(row: SummaryRow, repeats: int) -> list[str]:
    """Return what to say beside a pass rate: over how many cases, and what the undecided items may make of it.

    Example:
        >>> from promptcard_ext.core.results import Counts
        >>> from promptcard_ext.stats.intervals import bounds
        >>> counts = Counts(done=10, passed=8, failed=1, errored=1)
        >>> rate_facts(SummaryRow("c@1", "p:m", counts, None, None, None, 5, bounds(8, 1, 1)), 2)
        ['5 cases', '80–90% once all are judged']
    """
    cases = [f"{row.cases:,} case{'' if row.cases == 1 else 's'}"] if repeats > 1 and row.cases else []
    if row.bounds is None or row.counts.judged in (0, row.counts.done):
        return cases
    # Rounded outwards, because it is said to hold for certain.
    low, high = math.floor(row.bounds.low * 100 + 1e-9), math.ceil(row.bounds.high * 100 - 1e-9)
    return [*cases, f"{low}–{high}% once all are judged"]


def share_text(share: Interval | None, judged: int, undecided: int) -> str:
    """Return a share of verdicts as pass rates are told.

    Example:
        >>> share_text(Interval(0.75, 0.3, 0.95), 4, 1)
        '75% [30–95] of 4, 1 without verdict'
    """
    held = 0 if share is None else round(share.rate * judged)
    counts = Counts(done=judged + undecided, passed=held, failed=judged - held, unscored=undecided)
    return rate_text(share, counts)


def money_facts(counts: Counts) -> list[str]:
    """Return how many answers came from a store, and what was spent where that is not what the answers cost."""
    cached = [f"{counts.cached:,} of {counts.done:,} answers from the store"] if counts.cached else []
    if not counts.priced or counts.spent_usd == counts.cost_usd:
        return cached
    return [*cached, f"${counts.spent_usd:.4f} spent this time"]


def call_facts(rows: Iterable[SummaryRow]) -> list[str]:
    """Return what judges, embeddings and variants took over all rows, one text for each."""
    sums: dict[str, list[CallSums]] = {}
    for row in rows:
        for calls in row.calls:
            sums.setdefault(calls.purpose, []).append(calls)
    return [call_text(purpose, found) for purpose, found in sums.items()]


def call_text(purpose: str, found: Sequence[CallSums]) -> str:
    """Return for example ``24 judge calls, 6 from the store, $0.0123``."""
    number = sum(each.calls for each in found)
    cached, priced = sum(each.cached for each in found), sum(each.priced for each in found)
    cost = cost_text(sum((each.cost_usd for each in found), Decimal(0)), priced, number)
    stored = f", {cached:,} from the store" if cached else ""
    return f"{number:,} {purpose} call{'' if number == 1 else 's'}{stored}, {cost}"
