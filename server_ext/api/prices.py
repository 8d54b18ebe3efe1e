"""Prices: the book of the installation, and a workspace's own."""

from __future__ import annotations

from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.prices import (
    PriceOut,
    PriceOverrideOut,
    PriceOverridePatch,
    PriceOverrideQuery,
    PriceOverrideSpec,
    PriceQuery,
)
from server_ext.api.operation import Call, Operations
from server_ext.services import price_overrides, prices

operations = Operations("prices")
OVERRIDES = "workspaces/{workspace}/price-overrides"
OVERRIDE = OVERRIDES + "/{price}"


@operations.get("workspaces/{workspace}/prices", action="analytics:read", query=PriceQuery, answer=Page[PriceOut])
def list_prices(call: Call) -> Page[PriceOut]:
    """List the prices that hold on a day, by provider and model.

    Where the workspace has a price of its own and the book has one, both are listed; its own is the one that counts.
    """
    return prices.list_prices(call.scope, call.query)


@operations.get(OVERRIDES, action="analytics:read", query=PriceOverrideQuery, answer=Page[PriceOverrideOut])
def list_price_overrides(call: Call) -> Page[PriceOverrideOut]:
    """List the workspace's own prices, by provider, model and first day."""
    return price_overrides.list_overrides(call.scope, call.query)


@operations.post(
    OVERRIDES,
    action="settings:update",
    body=PriceOverrideSpec,
    answer=PriceOverrideOut,
    status=201,
    idempotent=True,
    etag=True,
)
def create_price_override(call: Call) -> PriceOverrideOut:
    """Add a price of the workspace's own.

    It prices the work that is taken up from now on. Two prices for one model on one day are refused.
    """
    return price_overrides.create(call.scope, call.body)


@operations.get(OVERRIDE, action="analytics:read", answer=PriceOverrideOut, etag=True)
def get_price_override(call: Call) -> PriceOverrideOut:
    """Return one of the workspace's own prices."""
    return price_overrides.get(call.scope, call.path["price"])


@operations.patch(
    OVERRIDE,
    action="settings:update",
    body=PriceOverridePatch,
    answer=PriceOverrideOut,
    conditional=True,
    etag=True,
)
def update_price_override(call: Call) -> PriceOverrideOut:
    """Change when a price ends, or its source.

    Rates never change, because answers were priced by them: let one end, and add another.
    """
    return price_overrides.update(call.scope, call.path["price"], call.body, call.match)


@operations.delete(OVERRIDE, action="settings:update", conditional=True)
def withdraw_price_override(call: Call) -> None:
    """Take a price back; what was priced by it keeps its cost."""
    price_overrides.withdraw(call.scope, call.path["price"], call.match)
