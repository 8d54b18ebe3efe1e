"""A few numbers of every item of a run, for filters, sorting and the matrix; results themselves stay on disk."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.kernel.run_shape import RunShape

# As the browser gets them; the first one is an item without a result.
LETTERS = ".pfeu"
CODES = {Outcome.PASS: 1, Outcome.FAIL: 2, Outcome.ERROR: 3, Outcome.UNSCORED: 4}
# What wants to be looked at comes first.
_RANK = (4, 3, 1, 0, 2)
_TO_LETTERS = bytes.maketrans(bytes(range(len(LETTERS))), LETTERS.encode())

SORTS = ("", "case", "outcome", "latency", "cost", "score")
"""What items can be sorted by; the first is the order in which they came."""


class ItemColumns:
    """Outcome, latency, cost and score by ordinal, and the order in which results came: 17 bytes an item.

    One thread adds while others read.
    """

    def __init__(self) -> None:
        self.outcomes = bytearray()
        self.order = array("I")
        self._numbers = {name: array("f") for name in ("latency", "cost", "score")}

    def add(self, result: ItemResult) -> None:
        """Take one more result."""
        missing = result.ordinal + 1 - len(self.outcomes)
        if missing > 0:
            for column in self._numbers.values():
                column.extend(array("f", [math.nan]) * missing)
            self.outcomes.extend(bytes(missing))
        cost, generation = result.cost_usd, result.generation
        self._numbers["latency"][result.ordinal] = math.nan if generation is None else generation.latency_ms
        self._numbers["cost"][result.ordinal] = math.nan if cost is None else float(cost)
        self._numbers["score"][result.ordinal] = math.nan if result.score is None else result.score
        self.outcomes[result.ordinal] = CODES[result.outcome]
        # Last: whoever finds it here finds the rest.
        self.order.append(result.ordinal)

    def code(self, ordinal: int) -> int:
        """Return the code of an outcome, 0 without a result."""
        return self.outcomes[ordinal] if 0 <= ordinal < len(self.outcomes) else 0

    def sorted(self, ordinals: Iterable[int], by: str, *, descending: bool) -> array[int]:
        """Return ordinals in an order of `SORTS` but the first; what has no such number comes last either way."""
        if by == "case":
            return array("I", sorted(ordinals, reverse=descending))
        if by == "outcome":
            codes, sign = self.outcomes, -1 if descending else 1
            return array("I", sorted(ordinals, key=lambda ordinal: (sign * _RANK[codes[ordinal]], ordinal)))
        return self._by_number(sorted(ordinals), self._numbers[by], descending=descending)

    def _by_number(self, ordinals: Sequence[int], column: array[float], *, descending: bool) -> array[int]:
        known = [ordinal for ordinal in ordinals if column[ordinal] == column[ordinal]]
        unknown = (ordinal for ordinal in ordinals if column[ordinal] != column[ordinal])
        key: Callable[[int], float] = column.__getitem__
        done = array("I", sorted(known, key=key, reverse=descending))
        done.extend(unknown)
        return done

    def cell(self, shape: RunShape, case: int, column: int) -> str:
        """Return one letter of `LETTERS` for each repeat of a cell."""
        places = shape.cell(case, column)
        codes = self.outcomes[places.start : places.stop : places.step][: shape.repeats]
        return codes.ljust(shape.repeats, b"\0").translate(_TO_LETTERS).decode()

    def cases(self, shape: RunShape) -> int:
        """Return how many cases there are, as far as it is known."""
        if shape.cases is not None:
            return shape.cases
        return -(-len(self.outcomes) // shape.per_case)
