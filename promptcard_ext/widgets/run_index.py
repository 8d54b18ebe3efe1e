"""What a view knows of the results of a run: totals, and where to find what the browser asks for."""

from __future__ import annotations

from array import array
from collections import deque
from typing import Any

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.widgets.item_columns import ItemColumns
from promptcard_ext.widgets.questions import Found
from promptcard_ext.widgets.totals import Group, Totals

# So many results are read at once while totals catch up: all of them might not fit into memory.
CHUNK = 500
MAX_GROUPS = 12
# So far back the speed of a run is measured, in seconds.
SPEED_S = 10.0


class RunIndex:
    """Totals and places of the results of one run; the results themselves stay in its log, on disk.

    Whoever uses it holds the view's lock. It is made anew when results are taken back (``epoch``).

    Args:
        run: The run.
    """

    def __init__(self, run: RunHandle) -> None:
        self.run, self.epoch, self.shape = run, run.epoch, run.shape
        self.seen = self.retries = 0
        # Ordinals by outcome, as they came.
        self.found = {str(outcome): array("I") for outcome in Outcome}
        self.columns = ItemColumns()
        self.groups: dict[tuple[str, str], Group] = {}
        shape = run.shape
        self._once = shape is not None and shape.repeats == 1
        self.totals = Totals(once=shape is not None and shape.per_case == 1)
        self._done_at: deque[tuple[float, int]] = deque()

    @property
    def behind(self) -> int:
        """How many results are still to be counted."""
        return self.run.counts.done - self.seen

    def absorb(self, most: int) -> None:
        """Count up to ``most`` results that have come since."""
        last = min(self.run.counts.done, self.seen + most)
        for first in range(self.seen, last, CHUNK):
            for result in self.run.window(first, min(first + CHUNK, last)):
                self._count(result)
            self.seen = min(first + CHUNK, last)

    def _count(self, result: ItemResult) -> None:
        self.found[str(result.outcome)].append(result.ordinal)
        self.columns.add(result)
        if result.generation is not None and not result.cached:
            self.retries += result.generation.attempts - 1
        key = (result.label, result.model)
        if key not in self.groups:
            self.groups[key] = Group(result, once=self._once)
        self.groups[key].add(result)
        self.totals.add(result)

    def speed(self, now: float) -> float | None:
        """Return items a second over the last ten; None while that would be a guess."""
        seen = self._done_at
        if not seen or seen[-1][0] < now:
            seen.append((now, self.seen))
        while len(seen) > 2 and seen[1][0] <= now - SPEED_S:
            seen.popleft()
        took, done = now - seen[0][0], self.seen - seen[0][1]
        return None if took < 1 or not done else done / took

    def state(self) -> dict[str, Any]:
        """Return the totals for the browser."""
        groups = [group.state() for group in sorted(self.groups.values())[:MAX_GROUPS]]
        more = max(0, len(self.groups) - MAX_GROUPS)
        return {**self.totals.state(), "retries": self.retries, "groups": groups, "more_groups": more}

    def plan_state(self) -> dict[str, Any] | None:
        """Return the shape of the matrix for the browser; None when nobody knows the plan."""
        shape = self.shape
        if shape is None:
            return None
        return {
            "labels": [harmless(label) for label in shape.labels],
            "models": [harmless(model) for model in shape.models],
            "repeats": shape.repeats,
        }

    # -- windows -----------------------------------------------------------------------------------------------------

    def ordinals(self, outcome: str, first: int, last: int) -> array[int]:
        """Return the items of a window in order of arrival: no more than what the totals count."""
        if outcome:
            return self.found[outcome][first:last]
        return self.columns.order[first:last]

    def cases(self, found: Found | None) -> int:
        """Return how many rows the matrix has."""
        if self.shape is None:
            return 0
        return self.columns.cases(self.shape) if found is None else len(found.cases(self.shape))

    def cells(self, found: Found | None, rows: range, columns: range) -> list[list[Any]]:
        """Return rows of the matrix: place of the case, and a text per cell with a letter for each repeat."""
        shape = self.shape
        if shape is None:
            return []
        cases = rows if found is None else found.cases(shape)[rows.start : rows.stop]
        return [[case, *(self.columns.cell(shape, case, column) for column in columns)] for case in cases]

    def case_result(self, case: int) -> int | None:
        """Return an item of a case that has a result; None while there is none."""
        assert self.shape is not None
        first = case * self.shape.per_case
        done = self.columns.outcomes[first : first + self.shape.per_case].lstrip(b"\0")
        known = len(self.columns.outcomes[first : first + self.shape.per_case])
        return first + known - len(done) if done else None

    def clear(self) -> None:
        """Let go of everything."""
        for ordinals in self.found.values():
            del ordinals[:]
        self.columns = ItemColumns()
        self.groups.clear()
