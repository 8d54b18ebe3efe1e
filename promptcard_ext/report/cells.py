"""The outcomes of a case under each card version, to see where the versions differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from promptcard_ext.core.results import ItemResult

WORSE, BETTER, DIFFERENT = -1, 1, 2


class Change:
    """One case on one model on which the versions differ.

    Attributes:
        outcomes: How often each outcome came, by version.
        direction: ``WORSE``, ``BETTER`` or ``DIFFERENT``, from the first to the last version. An error is no worse
            answer: only pass against fail has a direction.
    """

    def __init__(self, case: str, model: str, outcomes: dict[str, Counter[str]]) -> None:
        self.case, self.model, self.outcomes = case, model, outcomes
        self.labels = tuple(outcomes)
        ends = outcomes[self.labels[0]], outcomes[self.labels[-1]]
        first, last = (counter["pass"] / counter.total() for counter in ends)
        judged = all(set(counter) <= {"pass", "fail"} for counter in ends)
        self.direction = ((last > first) - (last < first) if judged else 0) or DIFFERENT


class Cells:
    """Outcomes by case and model, added one result at a time."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str, str, str], dict[str, Counter[str]]] = {}
        self._labels: dict[str, set[str]] = {}

    def add(self, result: ItemResult) -> None:
        """Take note of one result."""
        self._labels.setdefault(result.card, set()).add(result.label)
        key = (result.card, result.model, result.case_uid, result.case)
        self._cells.setdefault(key, {}).setdefault(result.label, Counter())[str(result.outcome)] += 1

    def changes(self, labels: Sequence[str]) -> list[Change]:
        """Return the cases on which versions differ, those that got worse first; ``labels`` gives the order."""
        order = {label: place for place, label in enumerate(labels)}
        found = []
        for (card, model, _, case), outcomes in self._cells.items():
            # A version that has no result yet (the run was stopped) does not differ: it is not known.
            known = len(outcomes) == len(self._labels[card])
            if known and any(counter != next(iter(outcomes.values())) for counter in outcomes.values()):
                ordered = {label: outcomes[label] for label in sorted(outcomes, key=lambda each: order.get(each, 0))}
                found.append(Change(case, model, ordered))
        return sorted(found, key=lambda change: change.direction)
