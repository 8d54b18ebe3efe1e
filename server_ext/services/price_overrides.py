"""Prices of a workspace's own.

Their rates never change, because answers were priced by them: a price ends, and another one begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.prices import (
    PriceOverrideOut,
    PriceOverridePatch,
    PriceOverrideQuery,
    PriceOverrideSpec,
)
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.price import Price
from server_ext.db.tables import price_overrides
from server_ext.services import audit, changes
from server_ext.services.answers import override_price_id
from server_ext.services.paging import decode_cursor, page
from server_ext.services.precondition import Match
from server_ext.services.prices import override_price
from server_ext.services.scope import Scope, as_uuid, missing

_o = price_overrides.c
MAX_OVERRIDES = 2_000
MAX_RATE = 1_000_000
MAX_DECIMALS = 12


def list_overrides(scope: Scope, query: PriceOverrideQuery) -> Page[PriceOverrideOut]:
    """Return the overrides that were not withdrawn, by provider, model and first day."""
    scope.require("analytics:read")
    statement = sa.select(price_overrides).where(*_live(scope))
    key = (_o.provider, _o.model, _o.valid_from, _o.id)
    if query.cursor:
        statement = statement.where(sa.tuple_(*key) > decode_cursor(query.cursor, str, str, date, UUID))
    rows = scope.connection.execute(statement.order_by(*key).limit(query.limit + 1)).all()
    return page(rows, query.limit, lambda row: (row.provider, row.model, row.valid_from, row.id), _out)


def get(scope: Scope, reference: str) -> PriceOverrideOut:
    """Return an override.

    Raises:
        NotFound: There is none, or it was withdrawn.
    """
    scope.require("analytics:read")
    return _out(_row(scope, reference))


def create(scope: Scope, spec: PriceOverrideSpec) -> PriceOverrideOut:
    """Add an override, for the runs of this workspace that begin to price from now on.

    Raises:
        CardError: It is no price (``price_invalid``), another one holds for the model at the same time
            (``price_overlap``), or there are 2,000 already (``too_many_prices``).
    """
    scope.require("settings:update")
    _check(spec)
    _take_turns(scope)
    if len(_ids(scope)) >= MAX_OVERRIDES:
        raise CardError(
            f"A workspace may have {MAX_OVERRIDES:,} prices of its own.",
            hint="Withdraw those that nothing is priced by any more.",
            code="too_many_prices",
        )
    _check_overlap(scope, spec.provider, spec.model, spec.valid_from, spec.valid_to)
    values = {name: getattr(spec, name) for name in spec.__struct_fields__ if name != "tiers"}
    override_id: UUID = scope.connection.execute(
        sa.insert(price_overrides)
        .values(
            workspace_id=scope.workspace_id,
            created_by=scope.actor.user_id,
            # Decimals as texts: exact.
            tiers=msgspec.to_builtins(spec.tiers),
            **values,
        )
        .returning(_o.id)
    ).scalar_one()
    audit.record(scope, "price.created", "price", override_id, provider=spec.provider, model=spec.model)
    changes.announce(scope, "config", f"prices/{override_id}")
    return get(scope, str(override_id))


def update(scope: Scope, reference: str, patch: PriceOverridePatch, match: Match) -> PriceOverrideOut:
    """Change when an override ends, or what is said of its source.

    Raises:
        NotFound: There is none.
        CardError: It would end before it begins (``price_invalid``), or overlap (``price_overlap``).
        Conflict: Somebody changed it first (``etag_mismatch``).
    """
    scope.require("settings:update")
    _take_turns(scope)
    row = _row(scope, reference, for_update=True)
    match(_out(row))
    changed = {name: value for name in patch.__struct_fields__ if (value := getattr(patch, name)) is not UNSET}
    if "valid_to" in changed:
        ends = changed["valid_to"]
        _check(msgspec.structs.replace(_spec(row), valid_to=ends))
        _check_overlap(scope, row.provider, row.model, row.valid_from, ends, but=row.id)
    if changed:
        scope.connection.execute(sa.update(price_overrides).where(*_this(scope, row.id)).values(**changed))
        audit.record(scope, "price.updated", "price", row.id, changed=sorted(changed))
        changes.announce(scope, "config", f"prices/{row.id}")
    return get(scope, reference)


def withdraw(scope: Scope, reference: str, match: Match) -> None:
    """Take an override back: nothing new is priced by it. What was, keeps its cost and the id of its price.

    Raises:
        NotFound: There is none.
        Conflict: Somebody changed it first (``etag_mismatch``).
    """
    scope.require("settings:update")
    row = _row(scope, reference, for_update=True)
    match(_out(row))
    withdrawn = sa.update(price_overrides).where(*_this(scope, row.id)).values(withdrawn_at=sa.func.clock_timestamp())
    scope.connection.execute(withdrawn)
    audit.record(scope, "price.withdrawn", "price", row.id, provider=row.provider, model=row.model)
    changes.announce(scope, "config", f"prices/{row.id}")


def _check(spec: PriceOverrideSpec) -> None:
    values = {name: getattr(spec, name) for name in spec.__struct_fields__}
    try:
        for part in [spec, *spec.tiers]:
            _check_rates(part)
        Price(**{**values, "tiers": tuple(spec.tiers)})
    except ValueError as error:
        raise CardError(
            f"The price of '{spec.provider:.100}:{spec.model:.100}' does not fit: {error}.", code="price_invalid"
        ) from None


def _check_rates(part: msgspec.Struct) -> None:
    for name in part.__struct_fields__:
        rate = getattr(part, name)
        if isinstance(rate, Decimal) and not (
            rate.is_finite() and rate <= MAX_RATE and _decimals(rate) <= MAX_DECIMALS
        ):
            raise ValueError(f"{name} is not a number up to {MAX_RATE:,} with at most {MAX_DECIMALS} decimals")


def _decimals(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _check_overlap(
    scope: Scope, provider: str, model: str, begins: date, ends: date | None, but: UUID | None = None
) -> None:
    """Refuse two prices for one model on one day: nobody could say which of them counts."""
    query = sa.select(price_overrides).where(
        *_live(scope),
        _o.provider == provider,
        _o.model == model,
        sa.or_(_o.valid_to.is_(None), _o.valid_to > begins),
        *([_o.valid_from < ends] if ends is not None else []),
        *([_o.id != but] if but is not None else []),
    )
    other = scope.connection.execute(query.order_by(_o.valid_from).limit(1)).one_or_none()
    if other is not None:
        until = f"until {other.valid_to}" if other.valid_to else "without an end"
        raise CardError(
            f"This workspace has a price for '{provider:.100}:{model:.100}' from {other.valid_from} {until}.",
            hint=f"Give that one ({other.id}) an earlier 'valid_to' first.",
            code="price_overlap",
        )


def _take_turns(scope: Scope) -> None:
    # Of two who add at once the second sees what the first one added.
    lock = sa.func.hashtextextended(f"pc.prices:{scope.workspace_id}", 0)
    scope.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))


def _ids(scope: Scope) -> list[UUID]:
    return list(scope.connection.execute(sa.select(_o.id).where(*_live(scope))).scalars())


def _live(scope: Scope) -> Iterator[sa.ColumnElement[bool]]:
    yield _o.workspace_id == scope.workspace_id
    yield _o.withdrawn_at.is_(None)


def _this(scope: Scope, override_id: UUID) -> Iterator[sa.ColumnElement[bool]]:
    yield from _live(scope)
    yield _o.id == override_id


def _row(scope: Scope, reference: str, *, for_update: bool = False) -> Any:
    override_id = as_uuid(reference)
    if override_id is None:
        raise missing("price", reference)
    query = sa.select(price_overrides).where(*_this(scope, override_id))
    row = scope.connection.execute(query.with_for_update() if for_update else query).one_or_none()
    if row is None:
        raise missing("price", reference)
    return row


def _spec(row: Any) -> PriceOverrideSpec:
    return PriceOverrideSpec(**_values(row, PriceOverrideSpec))


def _out(row: Any) -> PriceOverrideOut:
    values = _values(row, PriceOverrideOut)
    return PriceOverrideOut(**values, price_id=override_price_id(row.id))


def _values(row: Any, kind: type[msgspec.Struct]) -> dict[str, Any]:
    names = [name for name in kind.__struct_fields__ if name not in ("tiers", "price_id")]
    return {**{name: getattr(row, name) for name in names}, "tiers": list(override_price(row).tiers)}
