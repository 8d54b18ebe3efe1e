"""What a workspace used, from the sums by hour."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from promptcard_ext.core.contract.usage import Usage, UsageQuery, UsageRow
from promptcard_ext.core.errors import CardError
from server_ext.db.rollups import NOBODY
from server_ext.db.tables import card_versions, memberships, prompt_cards, rollup_hours, rollup_users, users
from server_ext.services.scope import Scope

DEFAULT_DAYS = 30
MAX_DAYS = 3_660
YEARS = range(2000, 3000)
_SUMS = ("n", "passed", "failed", "errored", "unscored", "tokens_input", "tokens_output", "cost_usd", "priced")


def usage(scope: Scope, query: UsageQuery) -> Usage:
    """Return counts, tokens and cost of some days, UTC, today's latest hour included.

    Raises:
        CardError: The days are out of order, more than ten years, or in no year from 2000 to 2999
            (``request_invalid``).
    """
    scope.require("analytics:read")
    since, until = days(query.since, query.until)
    by = {"day": _by_day, "card": _by_card, "model": _by_model, "user": _by_user}[query.group_by]
    rows = [_row(row) for row in scope.connection.execute(by(scope, since, until))]
    return Usage(since, until, query.group_by, rows, _total(rows))


def days(since: date | None, until: date | None, default: int = DEFAULT_DAYS) -> tuple[date, date]:
    """Return the first and the last day that are meant: the last ``default`` ones unless something else is said.

    Raises:
        CardError: They are out of order, more than ten years, or in no year from 2000 to 2999 (``request_invalid``).
    """
    until = until or datetime.now(UTC).date()
    if until.year not in YEARS:
        raise CardError(f"'to' is {until}; the years are {YEARS[0]} to {YEARS[-1]}.", code="request_invalid")
    since = since or until - timedelta(days=default - 1)
    if not 0 <= (until - since).days <= MAX_DAYS:
        raise CardError(
            f"'from' is {since} and 'to' is {until}; from 1 to {MAX_DAYS:,} days are summed up.", code="request_invalid"
        )
    return since, until


def _by_day(scope: Scope, since: date, until: date) -> sa.Select[Any]:
    day = sa.func.to_char(rollup_hours.c.hour, "YYYY-MM-DD")
    return _sums(rollup_hours, scope, since, until, day, day).order_by(sa.text("1"))


def _by_model(scope: Scope, since: date, until: date) -> sa.Select[Any]:
    return _dearest(_sums(rollup_hours, scope, since, until, rollup_hours.c.model, rollup_hours.c.model))


def _by_card(scope: Scope, since: date, until: date) -> sa.Select[Any]:
    summed = _sums(rollup_hours, scope, since, until, prompt_cards.c.id, prompt_cards.c.name)
    version = sa.and_(
        card_versions.c.workspace_id == scope.workspace_id, card_versions.c.id == rollup_hours.c.card_version_id
    )
    card = sa.and_(prompt_cards.c.workspace_id == scope.workspace_id, prompt_cards.c.id == card_versions.c.card_id)
    return _dearest(summed.join(card_versions, version).join(prompt_cards, card))


def _by_user(scope: Scope, since: date, until: date) -> sa.Select[Any]:
    # A user who has left the workspace is counted, and not named.
    member = sa.and_(memberships.c.workspace_id == scope.workspace_id, memberships.c.user_id == rollup_users.c.user_id)
    named = sa.func.coalesce(users.c.display_name, "")
    summed = _sums(rollup_users, scope, since, until, rollup_users.c.user_id, named)
    return _dearest(summed.outerjoin(memberships, member).outerjoin(users, users.c.id == memberships.c.user_id))


def _sums(table: sa.Table, scope: Scope, since: date, until: date, key: Any, name: Any) -> sa.Select[Any]:
    begins = datetime.combine(since, time.min, UTC)
    ends = datetime.combine(until + timedelta(days=1), time.min, UTC)
    return (
        sa.select(key.label("key"), name.label("name"), *(sa.func.sum(table.c[sum_]).label(sum_) for sum_ in _SUMS))
        .select_from(table)
        .where(table.c.workspace_id == scope.workspace_id, table.c.hour >= begins, table.c.hour < ends)
        .group_by(key, name)
    )


def _dearest(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.order_by(sa.desc("cost_usd"), sa.desc("n"), sa.text("1"))


def _row(row: Any) -> UsageRow:
    values = {name: getattr(row, name) for name in UsageRow.__struct_fields__ if name not in ("key", "name", "items")}
    whole: dict[str, Any] = {name: value if name == "cost_usd" else int(value) for name, value in values.items()}
    key = "" if row.key == NOBODY else str(row.key)
    return UsageRow(key=key, name=row.name or key, items=int(row.n), **whole)


def _total(rows: list[UsageRow]) -> UsageRow:
    names = [name for name in UsageRow.__struct_fields__ if name not in ("key", "name", "cost_usd")]
    sums = {name: sum(getattr(row, name) for row in rows) for name in names}
    return UsageRow(key="", name="", cost_usd=sum((row.cost_usd for row in rows), Decimal(0)), **sums)
