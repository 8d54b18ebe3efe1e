"""The run a report is about: from a snapshot (in a worker), from the server, or from this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from promptcard_ext.core.errors import NotFound, RunError
from promptcard_ext.core.results import Counts, ItemResult
from promptcard_ext.report.findings import Findings
from promptcard_ext.stats.derived import DerivedMetric
from promptcard_ext.stats.summary import SummaryRow

if TYPE_CHECKING:
    from promptcard_ext.kernel.handle import RunHandle
    from promptcard_ext.local.run_folder import RunFolder


class ReportRun:
    """A run with its results, ready to be reported on.

    Args:
        info: The run as the REST interface gives it.
        results: One result per item; or a function that gives them in the order of the plan, which is called whenever
            they are needed, so that they need not be kept.
        derived: Metrics to compute from the named ones.
    """

    def __init__(
        self,
        info: Mapping[str, Any],
        results: Iterable[ItemResult] | Callable[[], Iterable[ItemResult]],
        derived: Sequence[DerivedMetric] = (),
    ) -> None:
        self.info, self._derived = dict(info), derived
        if callable(results):
            self.read = results
        else:
            kept = sorted(results, key=lambda result: result.ordinal)
            self.read = lambda: kept

    @property
    def results(self) -> list[ItemResult]:
        """One result per item, in the order of the plan."""
        return list(self.read())

    @property
    def name(self) -> str:
        """What the run is called."""
        return str(self.info.get("name") or "Run")

    @property
    def status(self) -> str:
        """``completed``, ``cancelled``, ``failed``, or what it does now."""
        return str(self.info.get("status") or "")

    @cached_property
    def findings(self) -> Findings:
        """What there is to say of the results, as they are now."""
        return Findings(self.read(), self._derived)

    @property
    def rows(self) -> list[SummaryRow]:
        """One row per card version and model."""
        return self.findings.rows

    @cached_property
    def counts(self) -> Counts:
        """Totals of the results at hand; ``total`` is what the plan holds."""
        counts = Counts()
        for row in self.rows:
            for field in Counts.__struct_fields__:
                setattr(counts, field, getattr(counts, field) + getattr(row.counts, field))
        counts.total = int((self.info.get("counts") or {}).get("total") or counts.done)
        return counts

    @property
    def card_of(self) -> dict[str, str]:
        """Card by label of its version."""
        return self.findings.card_of

    @property
    def labels(self) -> list[str]:
        """Card versions, in the order of the plan."""
        planned = [str(version["label"]) for version in self._plan.get("versions") or ()]
        return planned or list(dict.fromkeys(row.label for row in self.rows))

    @property
    def models(self) -> list[str]:
        """Model references, in the order of the plan."""
        return list(self._plan.get("models") or dict.fromkeys(row.model for row in self.rows))

    @property
    def repeats(self) -> int:
        """How often each cell was asked."""
        return int(self._plan.get("repeats") or self.findings.traits.repeats)

    @property
    def cases(self) -> int:
        """Number of different cases that have a result."""
        return len(self.findings.cases)

    @property
    def simulated(self) -> list[str]:
        """Models that are none: their answers are drawn by a program."""
        return [model for model in self.models if model.startswith("simulated:")]

    def time(self, name: str) -> datetime | None:
        """Return ``created_at``, ``started_at`` or ``finished_at``."""
        value = self.info.get(name)
        return datetime.fromisoformat(value) if isinstance(value, str) else value

    @property
    def _plan(self) -> dict[str, Any]:
        return self.info.get("plan") or {}

    def __repr__(self) -> str:
        return f"<ReportRun '{self.name}' {self.status}: {self.counts.done} of {self.counts.total}>"


def load_run(run_id: str) -> ReportRun:
    """Return a finished or unfinished run with its results so far.

    Args:
        run_id: Id of the run on the server (``run.id``).

    Raises:
        NotFound: There is no such run, or ``run_id`` is empty.
        RunError: The snapshot is of another run (``snapshot_mismatch``) or cannot be read (``snapshot_invalid``).
    """
    if not run_id:
        raise NotFound("No run is given.", hint="Set run_id in the parameters cell to the id of a run, as in run.id.")
    folder = os.environ.get("PROMPTCARDS_SNAPSHOT")
    if folder:
        return _from_snapshot(Path(folder), str(run_id))
    from promptcard_ext.kernel.workspace import connect

    info, results = connect().run_snapshot(str(run_id))
    return ReportRun(info, results)


def _from_snapshot(folder: Path, run_id: str) -> ReportRun:
    try:
        info = msgspec.json.decode((folder / "run.json").read_bytes(), type=dict[str, Any])
        decoder = msgspec.json.Decoder(ItemResult)
        with (folder / "items.jsonl").open("rb") as lines:
            results = [decoder.decode(line) for line in lines if line.strip()]
    except (OSError, msgspec.MsgspecError) as error:
        problem = f"The snapshot of run '{run_id}' cannot be read: {type(error).__name__}."
        raise RunError(problem, code="snapshot_invalid", hint="Ask for the report again.") from error
    if str(info.get("id")) != run_id:
        raise RunError(
            f"The snapshot is of run '{info.get('id')}', not of '{run_id}'.",
            code="snapshot_mismatch",
            hint="Ask for a report of the run you mean.",
        )
    return ReportRun(info, results)


def of(run: RunHandle | RunFolder) -> ReportRun:
    """Return a run of this process, or one that is kept on this machine, for reporting; with its results so far."""
    from promptcard_ext.local.run_folder import RunFolder

    if isinstance(run, RunFolder):
        return _of_folder(run)
    info = {"id": run.id or run.kept_as, "name": run.name, "status": run.status, "counts": {"total": run.counts.total}}
    derived = () if run.setup is None else run.setup.derived_metrics
    return ReportRun({**info, "duration_s": run.elapsed_s, "error": run.error}, run.log.iter_plan, derived)


def _of_folder(folder: RunFolder) -> ReportRun:
    from promptcard_ext.kernel.resume import setup_in

    head, setup = folder.head, setup_in(folder)
    info = {"id": folder.id, "name": head.name, "status": head.status, "counts": {"total": setup.plan.total}}
    return ReportRun({**info, "started_at": head.started}, folder.results.iter_plan, setup.derived_metrics)
