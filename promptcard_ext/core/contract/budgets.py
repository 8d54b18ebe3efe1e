"""Spend rules over REST, and how things stand with the money of runs."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

Subject = Annotated[str, Meta(max_length=500)]
RuleScope = Literal["workspace", "user", "model"]
Span = Literal["hour", "day", "week", "month"]


class BudgetSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """A rule about what may be spent. There is one for each scope, subject, span and hardness.

    Attributes:
        scope: Whose spending it is about: all of the ``workspace``, runs that one ``user`` starts, or items that one
            ``model`` answers (judges of its answers included).
        span: Over which time, up to now: an hour, 24 hours, 7 days, or the calendar ``month`` (UTC).
        limit_usd: 0 or more, with at most 12 decimals.
        subject: Id of the user or reference of the model; empty for the workspace.
        hard: Whether a run that may exceed it is refused; otherwise it is let through, and says so.
    """

    scope: RuleScope
    span: Span
    limit_usd: Decimal
    subject: Subject = ""
    hard: bool = True


class BudgetOut(Struct, frozen=True):
    """A rule, and how things stand.

    Attributes:
        id, scope, subject, span, hard, limit_usd: The rule; see `BudgetSpec`.
        spent_usd: What was spent in its span.
        reserved_usd: What is set aside for runs that have not ended.
        left_usd: What a further run may take; never negative.
        created_by: Id of the user who set it.
        updated_at: When it was set last.
    """

    id: UUID
    scope: RuleScope
    subject: str
    span: Span
    hard: bool
    limit_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal
    left_usd: Decimal
    created_by: UUID | None
    updated_at: datetime


class Exceeded(Struct, frozen=True):
    """A rule that a run may exceed.

    Attributes:
        id, scope, subject, span, hard, limit_usd: The rule; see `BudgetSpec`.
        spent_usd: What was spent in its span before.
        reserved_usd: What is set aside for other runs.
        wanted_usd: What this run may cost at the most.
    """

    id: UUID
    scope: RuleScope
    subject: str
    span: Span
    hard: bool
    limit_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal
    wanted_usd: Decimal


class RunMoney(Struct, frozen=True):
    """The money of a run.

    Attributes:
        budget_usd: Its own budget; null is none.
        ceiling_usd: What hard rules let it spend; null when none of them concerns it.
        charged_usd: What its calls have cost, and those with an unknown outcome may have cost.
        held_usd: What its workers hold for calls in flight.
    """

    budget_usd: Decimal | None
    ceiling_usd: Decimal | None
    charged_usd: Decimal
    held_usd: Decimal
