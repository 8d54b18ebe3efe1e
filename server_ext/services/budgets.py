"""Rules about what a workspace, a user and a model may spend."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from promptcard_ext.core.contract.budgets import BudgetOut, BudgetSpec
from promptcard_ext.core.errors import CardError
from promptcard_ext.providers import model as check_model
from server_ext.db.tables import memberships, spend_rules
from server_ext.services import audit, changes
from server_ext.services.scope import Scope, as_uuid, missing

MAX_RULES = 500
MAX_USD = Decimal(1_000_000_000)
MAX_DECIMALS = 12
_r = spend_rules.c
_STATE = sa.text("select * from pc.spend_state(:workspace, null, null, null)")


def list_rules(scope: Scope) -> list[BudgetOut]:
    """Return all rules and how things stand, by scope, subject and span."""
    scope.require("analytics:read")
    rules = sa.select(_r.id, _r.created_by, _r.updated_at).where(_r.workspace_id == scope.workspace_id)
    made = {row.id: row for row in scope.connection.execute(rules)}
    states = scope.connection.execute(_STATE, {"workspace": scope.workspace_id}).all()
    return [
        BudgetOut(
            **state._asdict(),
            left_usd=max(Decimal(0), state.limit_usd - state.spent_usd - state.reserved_usd),
            created_by=made[state.id].created_by,
            updated_at=made[state.id].updated_at,
        )
        for state in states
    ]


def set_rule(scope: Scope, spec: BudgetSpec) -> BudgetOut:
    """Set a rule. One of the same scope, subject, span and hardness gets the new limit.

    It refuses runs that start, or get a larger budget, from now on; what goes on is not stopped by it.

    Raises:
        CardError: The amount is none (``budget_invalid``), the subject does not fit the scope (``budget_subject``), or
            there are 500 already (``too_many_budgets``).
    """
    scope.require("settings:update")
    check_amount(spec.limit_usd)
    subject = _subject(scope, spec)
    # Of two who add at once the second counts what the first one added.
    lock = sa.func.hashtextextended(f"pc.budgets:{scope.workspace_id}", 0)
    scope.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
    values = {"scope": spec.scope, "subject": subject, "span": spec.span, "hard": spec.hard}
    statement = insert(spend_rules).values(
        workspace_id=scope.workspace_id, limit_usd=spec.limit_usd, created_by=scope.actor.user_id, **values
    )
    rule_id: UUID = scope.connection.execute(
        statement.on_conflict_do_update(
            index_elements=["workspace_id", *values],
            set_={"limit_usd": spec.limit_usd, "updated_at": sa.func.clock_timestamp()},
        ).returning(_r.id)
    ).scalar_one()
    found = list_rules(scope)
    if len(found) > MAX_RULES:
        raise CardError(f"A workspace may have {MAX_RULES} budgets.", hint="Remove one first.", code="too_many_budgets")
    detail = {"about": spec.scope, "subject": subject, "span": spec.span, "hard": spec.hard}
    audit.record(scope, "budget.set", "budget", rule_id, **detail, limit_usd=str(spec.limit_usd))
    changes.announce(scope, "config", f"budgets/{rule_id}")
    return next(rule for rule in found if rule.id == rule_id)


def remove(scope: Scope, reference: str) -> None:
    """Remove a rule; what was spent and reserved stays written down.

    Raises:
        NotFound: There is none.
    """
    scope.require("settings:update")
    gone = (
        sa.delete(spend_rules)
        .where(_r.workspace_id == scope.workspace_id, _r.id == as_uuid(reference))
        .returning(_r.id, _r.scope, _r.span, _r.subject)
    )
    row = scope.connection.execute(gone).one_or_none()
    if row is None:
        raise missing("budget", reference)
    audit.record(scope, "budget.removed", "budget", row.id, about=row.scope, span=row.span, subject=row.subject)
    changes.announce(scope, "config", f"budgets/{row.id}")


def check_amount(usd: Decimal | None) -> Decimal | None:
    """Return an amount that can be stored exactly.

    Raises:
        CardError: It is negative, no number, too large or too fine (``budget_invalid``).
    """
    if usd is None:
        return None
    exponent = usd.as_tuple().exponent
    if not (usd.is_finite() and 0 <= usd <= MAX_USD and isinstance(exponent, int) and -exponent <= MAX_DECIMALS):
        raise CardError(
            f"'{usd!s:.40}' is no budget.",
            hint=f"Give USD from 0 to {MAX_USD:,}, with at most {MAX_DECIMALS} decimals, such as 1.50.",
            code="budget_invalid",
        )
    return usd


def _subject(scope: Scope, spec: BudgetSpec) -> str:
    """Return the subject as it is stored: of a user the id, of a model the reference."""
    if spec.scope == "workspace" and not spec.subject:
        return ""
    if spec.scope == "model" and spec.subject:
        check_model(spec.subject)
        return spec.subject
    if spec.scope == "user" and _belongs(scope, as_uuid(spec.subject)):
        return str(as_uuid(spec.subject))
    raise CardError(
        f"A budget of a {spec.scope} cannot be about '{spec.subject:.100}'.",
        hint="'subject' is the id of a member, the reference of a model, or empty for the workspace.",
        code="budget_subject",
    )


def _belongs(scope: Scope, user_id: UUID | None) -> bool:
    m = memberships.c
    query = sa.select(m.user_id).where(m.workspace_id == scope.workspace_id, m.user_id == user_id)
    return user_id is not None and scope.connection.execute(query).one_or_none() is not None
