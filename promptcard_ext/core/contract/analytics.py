"""What executions have in common, over REST: sums by case, day, card or model, and the executions themselves."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

from promptcard_ext.core.results import Outcome

CaseOrder = Literal["slowest", "dearest", "failing", "most"]
LatencyGroup = Literal["total", "day", "card", "model"]
CardRef = Annotated[str, Meta(max_length=255)]
ModelRef = Annotated[str, Meta(max_length=2500)]
Milliseconds = Annotated[float, Meta(ge=0, le=1e12)]


class CaseQuery(Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}, kw_only=True):
    """Which cases come first, and over what time.

    Attributes:
        since: First day, UTC; in the query ``from``. Default: the first there is.
        until: Last day, included; in the query ``to``. Default: today.
        card: Name or id: only its cases.
        order: ``slowest`` (by mean latency), ``dearest`` (by cost), ``failing`` (by share of failures among those that
            passed or failed) or ``most`` (by number of executions).
        limit: Most cases to give.
    """

    since: date | None = None
    until: date | None = None
    card: CardRef | None = None
    order: CaseOrder = "slowest"
    limit: Annotated[int, Meta(ge=1, le=200)] = 20


class ExecutionFilter(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which executions.

    Attributes:
        card: Name or id of the card that was tried.
        case: ``case_uid`` of the case.
        model: Reference of the model.
        outcome: How they ended.
        completed_after, completed_before: From this time on, before this time.
        min_latency_ms: That took as long or longer.
        min_cost_usd: That cost as much or more.
    """

    card: CardRef | None = None
    case: Annotated[str, Meta(max_length=100)] | None = None
    model: ModelRef | None = None
    outcome: Outcome | None = None
    completed_after: Annotated[datetime, Meta(tz=True)] | None = None
    completed_before: Annotated[datetime, Meta(tz=True)] | None = None
    min_latency_ms: Milliseconds | None = None
    min_cost_usd: Decimal | None = None


class FoundCaseQuery(ExecutionFilter, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Cases of which executions, and which come first; see `CaseQuery`.

    Attributes:
        order: What comes first.
        limit: Most cases to give.
    """

    order: CaseOrder = "slowest"
    limit: Annotated[int, Meta(ge=1, le=200)] = 20


class ExecutionQuery(ExecutionFilter, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which executions to list, newest first.

    Attributes:
        cursor: ``next`` of the page before.
        limit: Most executions on a page.
    """

    cursor: Annotated[str, Meta(max_length=2000)] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class LatencyQuery(
    Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}, kw_only=True
):
    """Percentiles of which time, and by what.

    Attributes:
        since: First day, UTC; in the query ``from``. Default: 29 days before ``to``.
        until: Last day, included; in the query ``to``. Default: today.
        group_by: ``total``, ``day``, ``card`` or ``model``.
        card: Name or id: only its executions.
        model: Reference of a model: only its executions.
    """

    since: date | None = None
    until: date | None = None
    group_by: LatencyGroup = "total"
    card: CardRef | None = None
    model: ModelRef | None = None


class CaseRow(Struct, frozen=True):
    """A case, and what its executions amount to.

    Attributes:
        card_id, card, title: The card, its name and title.
        case_uid, name: The case; its name of today or, if the card has it no more, of when it was tried last.
        items: Executions.
        passed, failed, errored, unscored: How many of them ended so.
        latency_ms: Mean of those that were answered; null when none was.
        cost_usd: Of the ``priced`` executions, judges included.
        priced: Executions whose cost is known.
    """

    card_id: UUID
    card: str
    title: str
    case_uid: str
    name: str
    items: int
    passed: int
    failed: int
    errored: int
    unscored: int
    latency_ms: float | None
    cost_usd: Decimal
    priced: int


class CaseRows(Struct, frozen=True):
    """Cases that come first.

    Attributes:
        rows: In the order that was asked for.
    """

    rows: list[CaseRow]


class LatencyRow(Struct, frozen=True):
    """Latency of one day, card or model, or of all.

    Attributes:
        key: The day, the id of the card, or the model's reference; empty for all.
        name: For people.
        items: Executions with a result.
        answered: How many of them have a latency.
        latency_ms: Mean; null when none has one.
        p50_ms, p90_ms, p95_ms, p99_ms: At most 1 % away from the latency that has this rank; those below 1.02 ms are
            told as 1.01 ms.
    """

    key: str
    name: str
    items: int
    answered: int
    latency_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Latencies(Struct, frozen=True):
    """Latency over some days.

    Attributes:
        since, until: First and last day, in the answer ``from`` and ``to``.
        group_by: What the rows are about.
        rows: By day in order; else those with the most executions first.
    """

    since: date = field(name="from")
    until: date = field(name="to")
    group_by: LatencyGroup
    rows: list[LatencyRow]


class ExecutionHead(Struct, frozen=True):
    """One execution in a list.

    Attributes:
        run_id, ordinal: Which item of which run.
        completed_at: When its result was stored.
        card_id, version_id, case_uid, repeat: What was tried, and which time.
        model: Its reference.
        outcome, reason, score: How it was judged.
        message: Its beginning, at most 200 characters.
        latency_ms, tokens_input, tokens_output, cost_usd: Null when not known.
        cached: Whether the answer was there before.
        generation_id: The answer; null when there is none.
    """

    run_id: UUID
    ordinal: int
    completed_at: datetime
    card_id: UUID
    version_id: UUID
    case_uid: str
    repeat: int
    model: str
    outcome: Outcome
    reason: str | None
    score: float | None
    message: str
    latency_ms: float | None
    tokens_input: int | None
    tokens_output: int | None
    cost_usd: Decimal | None
    cached: bool
    generation_id: UUID | None


class ExecutionSums(Struct, frozen=True):
    """What executions amount to, from the rows themselves: everything is exact.

    Attributes:
        items: How many.
        passed, failed, errored, unscored: How many of them ended so.
        answered: How many have a latency.
        latency_ms: Mean; null when none has one.
        p50_ms, p90_ms, p95_ms, p99_ms: The latencies of these ranks.
        cost_usd: Of the ``priced`` ones, judges included.
        priced: Those whose cost is known.
    """

    items: int
    passed: int
    failed: int
    errored: int
    unscored: int
    answered: int
    latency_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    cost_usd: Decimal
    priced: int
