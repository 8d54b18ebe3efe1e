"""What a run says, gathered while its results go by once: totals stay in memory, and the few items to be shown."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.stats.derived import DerivedMetric
from promptcard_ext.stats.invariance import PREFIX
from promptcard_ext.stats.ledger import flattened
from promptcard_ext.stats.scores import item_points
from promptcard_ext.stats.summary import SummaryRow, summarise

URGENCY = {Outcome.FAIL: 0, Outcome.ERROR: 1, Outcome.UNSCORED: 2, Outcome.PASS: 3}


class Watcher(Protocol):
    """Something that takes note of results, one at a time."""

    def add(self, result: ItemResult) -> None:
        """Take note of one result."""


def gather(
    results: Iterable[ItemResult], watchers: Sequence[Watcher], derived: Sequence[DerivedMetric] = ()
) -> list[SummaryRow]:
    """Return the summary of results, and show each of them to the watchers; they are read once."""

    def watched() -> Iterator[ItemResult]:
        for result in results:
            for watcher in watchers:
                watcher.add(result)
            yield result

    return summarise(watched(), derived)


class Traits:
    """What there is to show beside pass and fail.

    Attributes:
        repeats: Greatest number of answers to a case by one card version on one model.
        degrees: Whether an item has a score that is neither 0 nor 1.
        graded: Metrics whose score is more than a count of passes: with degrees, weights or several assertions.
        variants: Whether prompts were changed to see whether the answer holds.
    """

    def __init__(self) -> None:
        self.repeats, self.degrees, self.variants = 1, False, False
        self.graded: set[str] = set()

    def add(self, result: ItemResult) -> None:
        """Take note of one result."""
        self.repeats = max(self.repeats, result.repeat + 1)
        self.degrees = self.degrees or item_points(result) not in (None, 0.0, 1.0)
        times: Counter[str] = Counter()
        for _, verdict in flattened(result.verdicts):
            self.variants = self.variants or verdict.type.startswith(PREFIX)
            if verdict.metric is not None:
                times[verdict.metric] += 1
                if verdict.points not in (None, 0.0, 1.0) or verdict.weight != 1 or times[verdict.metric] > 1:
                    self.graded.add(verdict.metric)


class Picks:
    """The items to be shown: what failed first, then what broke, what nobody judged, and what passed.

    Args:
        most: How many; no more are kept.
        passes: Whether passes may be among them.
    """

    def __init__(self, most: int, *, passes: bool = True) -> None:
        self._most, self._passes = most, passes
        self._kept: list[tuple[int, int, ItemResult]] = []
        self.count = 0

    def add(self, result: ItemResult) -> None:
        """Take note of one result."""
        if result.outcome is Outcome.PASS and not self._passes:
            return
        self.count += 1
        place = (URGENCY[result.outcome], result.ordinal)
        if len(self._kept) == self._most:
            if not self._kept or place > self._kept[-1][:2]:
                return
            self._kept.pop()
        insort(self._kept, (*place, result), key=lambda entry: entry[:2])

    @property
    def items(self) -> list[ItemResult]:
        """The items, the most urgent first."""
        return [result for _, _, result in self._kept]


class Reasons:
    """How often each outcome came with each reason."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Outcome, str]] = Counter()

    def add(self, result: ItemResult) -> None:
        """Take note of one result."""
        if result.outcome is not Outcome.PASS:
            self.counts[result.outcome, result.reason or ""] += 1

    def by_urgency(self) -> list[tuple[Outcome, str, int]]:
        """Return outcome, reason and number: failures first, and of each outcome what came most often."""
        ordered = sorted(self.counts.items(), key=lambda entry: (URGENCY[entry[0][0]], -entry[1], entry[0][1]))
        return [(outcome, reason, number) for (outcome, reason), number in ordered]
