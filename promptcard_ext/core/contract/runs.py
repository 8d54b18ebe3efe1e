"""Runs over REST: what is asked for and what is answered."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from promptcard_ext.core.contract.budgets import Exceeded, RunMoney
from promptcard_ext.core.contract.provenance import Provenance
from promptcard_ext.core.results import Counts, Outcome
from promptcard_ext.core.shown import html_of

Status = Literal["queued", "running", "pausing", "paused", "cancelling", "completed", "cancelled", "failed"]
FINAL: tuple[Status, ...] = ("completed", "cancelled", "failed")
"""Statuses of runs that have ended."""

Name = Annotated[str, Meta(max_length=255)]
Wanted = Annotated[str, Meta(max_length=500)]
Concurrency = Annotated[int, Meta(ge=1, le=512)]
OnUnknown = Literal["hold", "retry"]
Priority = Literal["high", "medium", "low"]
Execution = Literal["live", "batch"]
Number = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Cursor = Annotated[str, Meta(max_length=2000)]


class RunSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What a run is to do.

    Attributes:
        card: Name or id.
        models: Model references.
        versions: Version numbers to compare; empty takes the latest.
        cases: Names of the cases to run; empty takes all.
        repeats: How often each cell is asked.
        concurrency: Most calls in flight per worker.
        timeout_s: Longest time for one call.
        name: Empty takes the labels of the versions.
        judges: Models that judge where an assertion needs one; several are a panel.
        embedder: Model that makes vectors where an assertion needs them.
        budget_usd: What its calls may cost, judges included; null is no budget of its own.
        on_unknown: What becomes of an item whose call may have been made and paid for: ``retry`` calls it again,
            ``hold`` lets it wait until somebody requeues it.
        priority: Whether workers turn to it before or after others.
        execution: ``batch`` gives the calls to the provider many at once, to be answered within a day.
        reuse: Whether the newest run that asks the same and judges it alike is returned in place of a new one, unless
            it failed or was cancelled.
        provenance: Where it was started.
    """

    card: Name
    models: Annotated[list[Wanted], Meta(min_length=1, max_length=50)]
    versions: Annotated[list[Number], Meta(max_length=50)] = []
    cases: Annotated[list[Name], Meta(max_length=100_000)] = []
    repeats: Annotated[int, Meta(ge=1, le=1000)] = 1
    concurrency: Concurrency = 16
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 120.0
    name: Name = ""
    judges: Annotated[list[Wanted], Meta(max_length=9)] = []
    embedder: Wanted | None = None
    budget_usd: Decimal | None = None
    on_unknown: OnUnknown = "retry"
    priority: Priority = "medium"
    execution: Execution = "live"
    reuse: bool = False
    provenance: Provenance | None = None


class RunPatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What of a run can be changed: its name, and what it may take as long as it has not ended.

    Attributes:
        name: For people.
        budget_usd: What its calls may cost from its beginning to its end; null takes its own budget away.
        concurrency: Most calls in flight per worker.
        priority: Whether workers turn to it before or after others, from the next shard on.
    """

    name: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType = UNSET
    budget_usd: Decimal | UnsetType | None = UNSET
    concurrency: Concurrency | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET


class RetrySpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Which items of an ended run are to be asked again.

    Attributes:
        unscored: Those without a verdict too, not only those that ended in an error.
        name: Empty takes the name of the run.
        budget_usd: What the new run may cost; null takes the budget of the old one, as much of it as there was.
        provenance: Where somebody asked for it.
    """

    unscored: bool = False
    name: Name = ""
    budget_usd: Decimal | None = None
    provenance: Provenance | None = None


class RequeueSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Which items of a run are called again although an earlier call may have been paid for.

    Attributes:
        ordinals: Their places in the plan; empty takes all that wait.
    """

    ordinals: Annotated[list[Annotated[int, Meta(ge=0, le=2**31 - 1)]], Meta(max_length=10_000)] = []


class PlannedVersion(Struct, frozen=True):
    """A card version as the plan of a run names it.

    Attributes:
        id: Id of the version.
        version: Its number.
        label: Such as ``greet@3``.
        content_hash: SHA-256 of its content.
    """

    id: UUID
    version: int
    label: str
    content_hash: str


class PlanDocument(Struct, frozen=True):
    """The plan of a run: enough to build it again in any worker.

    Attributes:
        card: Name of the card.
        versions, models: What is compared, in the order of the plan.
        repeats: How often each cell is asked.
        concurrency: Most calls in flight per worker.
        timeout_s: Longest time for one call.
        judges: Models that judge.
        embedder: Model that makes vectors.
        chosen: How many items of cases × repeats × models × versions are run, when not all of them: the plan of a
            repetition of what failed. Its cases are those with such an item.
        priority: Whether workers turn to it before or after others.
        execution: ``batch`` for calls that can wait.
    """

    card: str
    versions: list[PlannedVersion]
    models: list[str]
    repeats: int
    concurrency: int
    timeout_s: float
    judges: list[str] = []
    embedder: str | None = None
    chosen: int | None = None
    priority: Priority = "medium"
    execution: Execution = "live"

    @property
    def per_group(self) -> int:
        """Items that answer the same case in the same repeat."""
        return len(self.models) * len(self.versions)

    @property
    def per_case(self) -> int:
        """Items of one case."""
        return self.repeats * self.per_group


class RunOut(Struct, frozen=True):
    """A run.

    Attributes:
        id: Its id.
        name: For people.
        status: ``pausing`` and ``cancelling`` last until the workers have handed back what they were at.
        card_id: Id of the card.
        plan: What it does.
        counts: How far it is.
        event_seq: Number of its latest event.
        engine_version: Version of promptcards that made it.
        created_by: Id of the user who started it.
        created_at, started_at, finished_at: When.
        error: Why it failed as a whole: ``code`` and ``message``.
        retry_of: The run whose failed items this one asks again.
        concurrency: Most calls in flight per worker, as it is now.
        priority: Whether workers turn to it before or after others, as it is now.
        on_unknown: What becomes of items whose calls have an unknown outcome.
        money: Its budget, and how much of it is gone.
        exceeds: Soft rules that it may exceed; told to whoever starts it.
        provenance: Where it was started, as whoever did so says; null when nothing is known.
        reused: Whether it was there already when a run was asked for that may be reused.
    """

    id: UUID
    name: str
    status: Status
    card_id: UUID
    plan: PlanDocument
    counts: Counts
    event_seq: int
    engine_version: str | None
    created_by: UUID | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: dict[str, Any] | None
    retry_of: UUID | None
    concurrency: int
    priority: Priority
    on_unknown: OnUnknown
    money: RunMoney
    exceeds: list[Exceeded] = []
    provenance: Provenance | None = None
    reused: bool = False

    def _repr_html_(self) -> str | None:
        return html_of(self)


class RunQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which runs to list.

    Attributes:
        card: Name or id of the card.
        status: Any of these.
        created_by: Id of the user who started it.
        model: Reference of a model that the run asks.
        name: A part of the name, in any case.
        retry_of: Id of the run that was repeated.
        created_after: From this time on.
        created_before: Before this time.
        cursor: ``next`` of the page before.
        limit: Most runs on a page.
    """

    card: Annotated[str, Meta(max_length=255)] | None = None
    status: list[Status] = []
    created_by: UUID | None = None
    model: Wanted | None = None
    name: Name | None = None
    retry_of: UUID | None = None
    created_after: Annotated[datetime, Meta(tz=True)] | None = None
    created_before: Annotated[datetime, Meta(tz=True)] | None = None
    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class ItemFilter(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which items of a run.

    Attributes:
        outcome: Any of these outcomes.
        model: Any of these model references.
        version: Any of these numbers of card versions.
        case: Name of the case.
        reason: Stable code of why it did not pass.
        text: Something in the answer or the message, in any case.
        changed_since: Id of another run: only items that have another outcome there (same case, version, model and
            repeat).
    """

    outcome: list[Outcome] = []
    model: list[Wanted] = []
    version: list[Number] = []
    case: Name | None = None
    reason: Annotated[str, Meta(max_length=100)] | None = None
    text: Wanted | None = None
    changed_since: UUID | None = None


class ItemQuery(ItemFilter, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which items of a run to list, in the order of the plan.

    Attributes:
        cursor: ``next`` of the page before.
        limit: Most items on a page.
    """

    cursor: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=2000)] = 500


class ExportQuery(ItemFilter, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which items of a run to write to a file.

    Attributes:
        format: ``csv`` (the columns of a data frame) or ``jsonl`` (whole results, one a line).
    """

    format: Literal["csv", "jsonl"] = "csv"
