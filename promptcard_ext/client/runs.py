"""Runs, what controls them, and their items; they are followed by `client.stream`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from msgspec import UNSET, UnsetType

from promptcard_ext.client.download import Download
from promptcard_ext.client.noun import Noun, Ref
from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.provenance import Provenance
from promptcard_ext.core.contract.regrades import Regraded, RegradeSpec
from promptcard_ext.core.contract.runs import (
    ExportQuery,
    ItemQuery,
    Priority,
    RequeueSpec,
    RetrySpec,
    RunOut,
    RunPatch,
    RunQuery,
    RunSpec,
    Status,
)
from promptcard_ext.core.results import ItemResult, Outcome


class Runs(Noun):
    """The runs of a workspace, by id. What steers a run may be repeated: it is done once."""

    def list(
        self,
        *,
        card: str | None = None,
        status: Sequence[Status] = (),
        created_by: UUID | None = None,
        model: str | None = None,
        name: str | None = None,
        retry_of: UUID | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        page: int = 50,
    ) -> Iterator[RunOut]:
        """Yield runs, newest first; the filters are those of `RunQuery`.

        Args:
            page: How many are asked for at once, 1 to 200.
        """
        query = RunQuery(card, [*status], created_by, model, name, retry_of, created_after, created_before, limit=page)
        return self._pages(Page[RunOut], "runs", query=query)

    def start(self, spec: RunSpec) -> RunOut:
        """Start a run."""
        return self._read(RunOut, "POST", "runs", body=spec, once=True)

    def get(self, run: Ref) -> RunOut:
        """Return status, plan and counts of a run."""
        return self._read(RunOut, "GET", "runs", run)

    def change(
        self,
        run: Ref,
        *,
        name: str | UnsetType = UNSET,
        budget_usd: Decimal | UnsetType | None = UNSET,
        concurrency: int | UnsetType = UNSET,
        priority: Priority | UnsetType = UNSET,
    ) -> RunOut:
        """Give a run another name or, while it goes on, another budget (None: none of its own), width or priority."""
        patch = RunPatch(name, budget_usd, concurrency, priority)
        return self._read(RunOut, "PATCH", "runs", run, body=patch)

    def cancel(self, run: Ref) -> RunOut:
        """Stop a run; what it has stays."""
        return self._read(RunOut, "POST", "runs", run, "cancel", once=True)

    def pause(self, run: Ref) -> RunOut:
        """Let a run wait."""
        return self._read(RunOut, "POST", "runs", run, "pause", once=True)

    def resume(self, run: Ref) -> RunOut:
        """Let a run that waits go on."""
        return self._read(RunOut, "POST", "runs", run, "resume", once=True)

    def requeue(self, run: Ref, ordinals: Sequence[int] = ()) -> RunOut:
        """Let items be called again although an earlier call may have been paid for; by default all that wait."""
        return self._read(RunOut, "POST", "runs", run, "requeue", body=RequeueSpec([*ordinals]), once=True)

    def retry_errors(
        self,
        run: Ref,
        *,
        unscored: bool = False,
        name: str = "",
        budget_usd: Decimal | None = None,
        provenance: Provenance | None = None,
    ) -> RunOut:
        """Ask the failed items of an ended run again, as a run of its own.

        Args:
            unscored: Those without a verdict too.
            name: Of the new run; by default that of the old one.
            budget_usd: What the new run may cost; by default as much as the old one might.
            provenance: Where somebody asked for it.
        """
        spec = RetrySpec(unscored, name, budget_usd, provenance)
        return self._read(RunOut, "POST", "runs", run, "retry-errors", body=spec, once=True)

    def regrade(self, run: Ref, spec: RegradeSpec) -> Regraded:
        """Judge the stored answers by other assertions, and tell what flips; nothing stored is changed."""
        return self._read(Regraded, "POST", "runs", run, "regrade", body=spec)

    def items(
        self,
        run: Ref,
        *,
        outcome: Sequence[Outcome] = (),
        model: Sequence[str] = (),
        version: Sequence[int] = (),
        case: str | None = None,
        reason: str | None = None,
        text: str | None = None,
        changed_since: UUID | None = None,
    ) -> Iterator[ItemResult]:
        """Yield results in the order of the plan; the filters are those of `ItemQuery`."""
        query = ItemQuery(
            outcome=[*outcome], model=[*model], version=[*version], case=case, reason=reason, text=text,
            changed_since=changed_since, limit=1000,
        )  # fmt: skip
        return self._pages(Page[ItemResult], "runs", run, "items", query=query)

    def export(
        self,
        run: Ref,
        *,
        format: Literal["csv", "jsonl"] = "csv",  # noqa: A002  as the contract calls it
        outcome: Sequence[Outcome] = (),
        model: Sequence[str] = (),
        version: Sequence[int] = (),
        case: str | None = None,
        reason: str | None = None,
        text: str | None = None,
        changed_since: UUID | None = None,
    ) -> Download:
        """Return results as a file, at any size; the filters are those of `items`."""
        query = ExportQuery(
            format=format, outcome=[*outcome], model=[*model], version=[*version], case=case, reason=reason,
            text=text, changed_since=changed_since,
        )  # fmt: skip
        return self._download("runs", run, "export", query=query)
