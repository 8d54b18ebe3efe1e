"""What a workspace, its users and its models may spend."""

from __future__ import annotations

from collections.abc import Iterator

from promptcard_ext.client.noun import Noun, Ref
from promptcard_ext.core.contract.budgets import BudgetOut, BudgetSpec
from promptcard_ext.core.contract.page import Page


class Budgets(Noun):
    """The spend rules of a workspace, by id."""

    def list(self) -> Iterator[BudgetOut]:
        """Yield the rules and how things stand, by scope, subject and span."""
        yield from self._read(Page[BudgetOut], "GET", "budgets").items

    def set(self, spec: BudgetSpec) -> BudgetOut:
        """Set a rule; one of the same scope, subject, span and hardness gets the new limit."""
        return self._read(BudgetOut, "POST", "budgets", body=spec, once=True)

    def remove(self, budget: Ref) -> None:
        """Remove a rule."""
        self._ask("DELETE", "budgets", budget)
