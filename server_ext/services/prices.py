"""The price book: what the installation ships, and what a workspace says over it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.prices import PriceOut, PriceQuery
from promptcard_ext.core.pricing import Price, PriceBook, Tier
from server_ext.db.engine import Database
from server_ext.db.tables import price_book, price_overrides
from server_ext.services.answers import is_override, override_price_id
from server_ext.services.paging import decode_cursor, encode_cursor
from server_ext.services.scope import Scope

_RATES = (
    "provider", "model", "input_per_mtok", "output_per_mtok", "cached_input_per_mtok", "reasoning_per_mtok",
    "valid_from", "valid_to", "source",
)  # fmt: skip


def load(database: Database, workspace_id: UUID) -> PriceBook:
    """Return all prices that a run of a workspace is priced by; a result names its price by ``id``."""
    with database.transaction(workspace_id) as connection:
        return within(connection, workspace_id)


def list_prices(scope: Scope, query: PriceQuery) -> Page[PriceOut]:
    """Return the prices that hold on a day, by provider and model.

    Of two for one model the workspace's own comes first, and is the one that counts.
    """
    scope.require("analytics:read")
    book = within(scope.connection, scope.workspace_id)
    day = query.on or datetime.now(UTC).date()
    rows = sorted((_key(price), price) for price in book if _wanted(price, query, day))
    if query.cursor:
        edge = decode_cursor(query.cursor, str, str, str)
        rows = [row for row in rows if row[0] > edge]
    shown = rows[: query.limit]
    following = encode_cursor(*shown[-1][0]) if len(rows) > query.limit else None
    return Page([_out(price) for _, price in shown], following)


def within(connection: sa.Connection, workspace_id: UUID) -> PriceBook:
    """Return all prices of a workspace, as a transaction sees them."""
    shipped = connection.execute(sa.select(price_book)).all()
    live = price_overrides.c.workspace_id == workspace_id, price_overrides.c.withdrawn_at.is_(None)
    own = connection.execute(sa.select(price_overrides).where(*live)).all()
    return PriceBook([_price(row, str(row.id)) for row in shipped], [override_price(row) for row in own])


def override_price(row: Any) -> Price:
    """Return the price in a row of ``price_overrides``."""
    tiers = tuple(msgspec.convert(row.tiers, list[Tier], strict=False))
    more = {"cache_write_per_mtok": row.cache_write_per_mtok, "per_call": row.per_call, "tiers": tiers}
    return _price(row, override_price_id(row.id), **more)


def _price(row: Any, row_id: str, **more: Any) -> Price:
    return Price(**{name: getattr(row, name) for name in _RATES}, row_id=row_id, **more)


def _wanted(price: Price, query: PriceQuery, day: date) -> bool:
    return (
        price.valid_from <= day
        and (price.valid_to is None or day < price.valid_to)
        and query.provider in (None, price.provider)
        and (query.model or "").lower() in price.model.lower()
    )


def _key(price: Price) -> tuple[str, str, str]:
    return price.provider, price.model, f"{0 if is_override(price.id) else 1}{price.id}"


def _out(price: Price) -> PriceOut:
    values = {name: getattr(price, name) for name in PriceOut.__struct_fields__ if name not in ("override", "tiers")}
    return PriceOut(**values, override=is_override(price.id), tiers=list(price.tiers))
