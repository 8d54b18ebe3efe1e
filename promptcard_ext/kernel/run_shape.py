"""Where each item of a run stands: which case, which repeat, which version on which model."""

from __future__ import annotations

from typing import NamedTuple

from promptcard_ext.core.contract.runs import RunOut
from promptcard_ext.core.matrix import Plan


class RunShape(NamedTuple):
    """The order of a plan (see `core.matrix.Plan`) without its cases: a matrix of cases × (model × version).

    Attributes:
        labels: Labels of the card versions.
        models: References of the models.
        repeats: How often each cell is asked.
        cases: How many cases; None when only some cells are run and nobody counts the cases beforehand.

    Example:
        >>> shape = RunShape(("c@1", "c@2"), ("p:a",), 3, 10)
        >>> shape.case(7), shape.column(7), list(shape.cell(1, 1))
        (1, 1, [7, 9, 11])
    """

    labels: tuple[str, ...]
    models: tuple[str, ...]
    repeats: int
    cases: int | None

    @classmethod
    def of(cls, plan: Plan) -> RunShape:
        """Return the shape of a plan in this process."""
        return cls(tuple(card.label for card in plan.cards), plan.models, plan.repeats, len(plan.cases))

    @classmethod
    def of_server(cls, run: RunOut) -> RunShape:
        """Return the shape of a run on the server."""
        plan = run.plan
        cases = run.counts.total // plan.per_case if plan.chosen is None else None
        return cls(tuple(version.label for version in plan.versions), tuple(plan.models), plan.repeats, cases)

    @property
    def columns(self) -> int:
        """Number of combinations of a version and a model."""
        return len(self.labels) * len(self.models)

    @property
    def per_case(self) -> int:
        """Items of one case."""
        return self.columns * self.repeats

    def case(self, ordinal: int) -> int:
        """Return the place of the case of an item."""
        return ordinal // self.per_case

    def column(self, ordinal: int) -> int:
        """Return the column of an item; versions change fastest."""
        return ordinal % self.columns

    def heading(self, column: int) -> tuple[str, str]:
        """Return label and model of a column."""
        model, label = divmod(column, len(self.labels))
        return self.labels[label], self.models[model]

    def cell(self, case: int, column: int) -> range:
        """Return the ordinals of a cell, one for each repeat."""
        first = case * self.per_case + column
        return range(first, first + self.per_case, self.columns)
