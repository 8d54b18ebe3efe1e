"""What a workspace, its users and its models may spend."""

from __future__ import annotations

from promptcard_ext.core.contract.budgets import BudgetOut, BudgetSpec
from promptcard_ext.core.contract.page import Page
from server_ext.api.operation import Call, Operations
from server_ext.services import budgets

operations = Operations("budgets")
BUDGETS = "workspaces/{workspace}/budgets"


@operations.get(BUDGETS, action="analytics:read", answer=Page[BudgetOut])
def list_budgets(call: Call) -> Page[BudgetOut]:
    """List the spend rules and how things stand, by scope, subject and span; all on one page."""
    return Page(budgets.list_rules(call.scope))


@operations.post(BUDGETS, action="settings:update", body=BudgetSpec, answer=BudgetOut, idempotent=True)
def set_budget(call: Call) -> BudgetOut:
    """Set a spend rule.

    One of the same scope, subject, span and hardness gets the new limit. It concerns runs that start, or get another
    budget, from now on.
    """
    return budgets.set_rule(call.scope, call.body)


@operations.delete(BUDGETS + "/{budget}", action="settings:update")
def remove_budget(call: Call) -> None:
    """Remove a spend rule."""
    budgets.remove(call.scope, call.path["budget"])
