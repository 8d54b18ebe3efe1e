"""The sums by case, of all time and by day."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server_ext.db.tables.columns import counter, metadata, short, tenant, within


def _sums() -> tuple[sa.Column[Any], ...]:
    return (
        *(counter(name, sa.BigInteger) for name in ("n", "passed", "failed", "errored", "unscored")),
        sa.Column("latency_ms_sum", sa.Double, nullable=False, server_default=sa.text("0")),
        counter("latency_n", sa.BigInteger),
        sa.Column("cost_usd", sa.Numeric, nullable=False, server_default=sa.text("0")),
        counter("priced", sa.BigInteger),
    )


rollup_cases = sa.Table(
    "rollup_cases",
    metadata,
    tenant(),
    sa.Column("card_id", sa.Uuid, primary_key=True),
    short("case_uid", primary_key=True),
    sa.Column("run_id", sa.Uuid, nullable=False),
    sa.Column("case_position", sa.Integer, nullable=False),
    *_sums(),
    within("card_id", "prompt_cards.id"),
)

rollup_case_days = sa.Table(
    "rollup_case_days",
    metadata,
    tenant(),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("card_id", sa.Uuid, primary_key=True),
    short("case_uid", primary_key=True),
    *_sums(),
)
