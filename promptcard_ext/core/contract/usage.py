"""What a workspace used, over REST."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Literal

from msgspec import Struct, field

GroupBy = Literal["day", "card", "model", "user"]


class UsageQuery(Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}):
    """Which time, and summed up by what.

    Attributes:
        since: First day, UTC; in the query ``from``. Default: 29 days before ``to``.
        until: Last day, included; in the query ``to``. Default: today.
        group_by: ``day``, ``card``, ``model`` (with its provider) or ``user`` (who started the run).
    """

    since: date | None = None
    until: date | None = None
    group_by: GroupBy = "day"


class UsageRow(Struct, frozen=True):
    """Sums over one day, card, model or user.

    Attributes:
        key: The day, the id of the card or user, or the model's reference.
        name: For people.
        items: Items with a result.
        passed, failed, errored, unscored: How many of them ended so.
        tokens_input, tokens_output: Of the answers; unknown counts are not in it.
        cost_usd: Of the ``priced`` items, judges included.
        priced: Items whose cost is known.
    """

    key: str
    name: str
    items: int
    passed: int
    failed: int
    errored: int
    unscored: int
    tokens_input: int
    tokens_output: int
    cost_usd: Decimal
    priced: int


class Usage(Struct, frozen=True):
    """What was used.

    Attributes:
        since, until: First and last day, in the answer ``from`` and ``to``.
        group_by: What the rows are sums over.
        rows: By day in order; else the dearest first.
        total: Sum of all rows.
    """

    since: date = field(name="from")
    until: date = field(name="to")
    group_by: GroupBy
    rows: list[UsageRow]
    total: UsageRow
