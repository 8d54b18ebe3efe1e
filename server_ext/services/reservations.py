"""Money that is set aside for a run when it starts, and given back when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from promptcard_ext.core.contract.budgets import Exceeded
from promptcard_ext.core.contract.runs import PlanDocument
from promptcard_ext.core.errors import OverBudget, ProviderError, RunError
from promptcard_ext.core.matrix import Prepared
from promptcard_ext.core.plan_cost import Share, upper_costs
from promptcard_ext.core.pricing import Price
from promptcard_ext.providers.registry import Providers, connection
from server_ext.db.tables import run_reservations, runs, spend_rules
from server_ext.services import connections, prices, run_state
from server_ext.services.scope import Scope

_v = run_reservations.c
_RESERVE = sa.text("select * from pc.reserve_spending(:workspace, :run, :person, :shares)").bindparams(
    sa.bindparam("shares", type_=JSONB)
)
_SPANS = {"hour": "in an hour", "day": "in 24 hours", "week": "in 7 days", "month": "in a month"}


def set_aside(
    scope: Scope,
    run_id: UUID,
    prepare: Callable[[], Prepared],
    plan: PlanDocument,
    budget_usd: Decimal | None,
    ordinals: Iterable[int] | None = None,
) -> list[Exceeded]:
    """Set aside what a new run may cost, in the transaction that makes it.

    Without rules and without a budget nothing is priced. A budget that is less than the upper estimate is what is set
    aside; only for a run in batches, whose calls are all given away at once, it must be enough for every one of them.

    Args:
        prepare: Gives the plan, rendered; it is needed when there are rules.
        ordinals: The items to run, when not all of the plan.

    Returns:
        The soft rules that the run may exceed.

    Raises:
        OverBudget: It may exceed a hard rule, or its own budget in batches (``budget_exceeded``).
        RunError: A price that a budget or a hard rule needs is not known (``budget_unpriced``).
    """
    rules = _concerning(scope, plan)
    if not rules and budget_usd is None:
        return []
    price_of = _price_finder(scope)
    if budget_usd is not None:
        _check_prices([*plan.models, *plan.judges, *filter(None, [plan.embedder])], price_of)
    given_away = plan.execution == "batch" and budget_usd is not None
    if not rules and not given_away:
        return []
    prepared = prepare()
    items = None if ordinals is None else map(prepared.plan.item, ordinals)
    shares = upper_costs(prepared, price_of, plan.judges, plan.embedder, items)
    bound = {rule.subject for rule in rules if rule.hard and rule.scope == "model"}
    if any(rule.hard and rule.scope != "model" for rule in rules):
        bound = set(shares)
    _check_prices([model for model, share in shares.items() if share is None and model in bound], lambda _: None)
    known = {model: share or Share(Decimal(0), Decimal(0)) for model, share in shares.items()}
    if given_away:
        _check_enough(budget_usd, sum((share.usd for share in known.values()), Decimal(0)))
    if not rules:
        return []
    return _reserve(scope, run_id, _documents(known, budget_usd), bound=None not in shares.values())


def _concerning(scope: Scope, plan: PlanDocument) -> list[Any]:
    """Return the rules that concern a run by the user of the scope."""
    r = spend_rules.c
    whose = (
        (r.scope == "workspace"),
        (r.scope == "user") & (r.subject == str(scope.actor.user_id)),
        (r.scope == "model") & r.subject.in_(plan.models),
    )
    query = sa.select(r.scope, r.subject, r.hard).where(r.workspace_id == scope.workspace_id, sa.or_(*whose))
    return list(scope.connection.execute(query))


def _check_enough(budget_usd: Decimal | None, upper_usd: Decimal) -> None:
    if budget_usd is not None and upper_usd > budget_usd:
        raise OverBudget(
            f"In batches all calls are given away at once. They may cost ${upper_usd:f}, and the budget is "
            f"${budget_usd:f}.",
            hint="Give the run more, fewer items or a smaller max_tokens; or run it live, call by call.",
        )


def _documents(shares: Mapping[str, Share], budget_usd: Decimal | None) -> list[dict[str, str]]:
    """Return what is reserved for each model, and for the run as a whole, which has no name."""
    total = Share(sum((share.usd for share in shares.values()), Decimal(0)), Decimal(0))
    return [
        {
            "model": model,
            "upper_usd": str(share.usd),
            "most_usd": str(share.most_usd),
            "reserved_usd": str(share.usd if budget_usd is None else min(share.usd, budget_usd)),
        }
        for model, share in {**shares, "": total}.items()
    ]


def _reserve(scope: Scope, run_id: UUID, documents: list[dict[str, str]], *, bound: bool = True) -> list[Exceeded]:
    where = {"workspace": scope.workspace_id, "run": run_id, "person": scope.actor.user_id}
    rows = scope.connection.execute(_RESERVE, {**where, "shares": documents}).all()
    over = [row for row in rows if row.spent_usd + row.reserved_usd + row.wanted_usd > row.limit_usd]
    exceeds = [Exceeded(**row._asdict()) for row in over]
    refusing = [one for one in exceeds if one.hard]
    if refusing:
        raise OverBudget(
            f"This run may cost ${refusing[0].wanted_usd:f}, and {_told(refusing[0])}.",
            hint="Give it fewer items, a smaller max_tokens or a budget of its own, or ask an owner for a higher one.",
            exceeds=msgspec.to_builtins(refusing),
        )
    if bound and any(row.hard for row in rows):
        wanted = next(Decimal(one["reserved_usd"]) for one in documents if not one["model"])
        scope.connection.execute(
            sa.update(runs)
            .where(runs.c.workspace_id == scope.workspace_id, runs.c.id == run_id)
            .values(ceiling_usd=wanted)
        )
    if exceeds:
        payload = {"exceeds": msgspec.to_builtins(exceeds)}
        run_state.tell(scope.connection, scope.workspace_id, run_id, "over_budget", payload)
    return exceeds


def _told(one: Exceeded) -> str:
    whose = "the workspace" if one.scope == "workspace" else f"{one.scope} {one.subject:.100}"
    left = max(Decimal(0), one.limit_usd - one.spent_usd - one.reserved_usd)
    return (
        f"{whose} may spend ${one.limit_usd:f} {_SPANS[one.span]}, of which ${left:f} are left "
        f"(${one.spent_usd:f} spent, ${one.reserved_usd:f} reserved)"
    )


def again(scope: Scope, run: Any, budget_usd: Decimal | None) -> list[Exceeded]:
    """Set aside what a run that goes on may cost under another budget; nothing where nothing was set aside.

    Raises:
        OverBudget: It may exceed a hard rule (``budget_exceeded``).
    """
    query = sa.select(run_reservations).where(_v.workspace_id == run.workspace_id, _v.run_id == run.id)
    shares = {row.model: Share(row.upper_usd, row.most_usd) for row in scope.connection.execute(query) if row.model}
    return _reserve(scope, run.id, _documents(shares, budget_usd)) if shares else []


def check_priced(scope: Scope, plan: PlanDocument) -> None:
    """Refuse a budget for models whose price is not known.

    Raises:
        RunError: One is not (``budget_unpriced``).
    """
    _check_prices([*plan.models, *plan.judges, *filter(None, [plan.embedder])], _price_finder(scope))


def _check_prices(models: Iterable[str], price_of: Callable[[str], Price | None]) -> None:
    for model in models:
        if price_of(model) is None:
            raise RunError(
                f"The price of '{model:.200}' is not known, so a budget cannot hold.",
                hint="Give the model, or its judges, a price; one of 0 is one too.",
                code="budget_unpriced",
            )


def _price_finder(scope: Scope) -> Callable[[str], Price | None]:
    """Return a function that gives the price of a model reference, by the credential that it would be called with."""
    book = prices.within(scope.connection, scope.workspace_id)
    providers = Providers(connections.load(scope, shared_keys=True).options)
    found: dict[str, Price | None] = {}

    def price_of(reference: str) -> Price | None:
        if reference not in found:
            model = reference.partition(":")[2]
            try:
                provider = providers(reference)
            except ProviderError:
                # Without a credential nothing is called, unless somebody saves one in the meantime.
                found[reference] = book.find(connection(reference).partition("/")[0], model)
            else:
                found[reference] = book.find(provider.price_key, model, endpoint=provider.endpoint)
        return found[reference]

    return price_of
