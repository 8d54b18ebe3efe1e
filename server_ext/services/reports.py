"""Reports of runs: asked for here, made by a worker, kept in the database."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from promptcard_ext.core.contract.runs import RunOut
from server_ext.db.tables import reports
from server_ext.services import audit, runs, tasks
from server_ext.services.scope import Scope, missing

MAX_BYTES = 50_000_000
_HEAD = (
    reports.c.id, reports.c.run_id, reports.c.kind, reports.c.status, reports.c.size, reports.c.error,
    reports.c.created_at, reports.c.finished_at,
)  # fmt: skip


def create(scope: Scope, run: str) -> dict[str, Any]:
    """Ask for a report of a run; a worker makes it."""
    scope.require("report:create")
    found = runs.get(scope, run)
    report_id: UUID = scope.connection.execute(
        sa.insert(reports)
        .values(workspace_id=scope.workspace_id, run_id=found.id, kind="run", created_by=scope.actor.user_id)
        .returning(reports.c.id)
    ).scalar_one()
    tasks.create(scope, "report", report_id=report_id)
    audit.record(scope, "report.created", "report", report_id, run=str(found.id))
    return get(scope, str(report_id))


def get(scope: Scope, reference: str) -> dict[str, Any]:
    """Return a report without its content.

    Raises:
        NotFound: There is none.
    """
    scope.require("report:read")
    row = scope.connection.execute(sa.select(*_HEAD).where(*_where(scope, reference))).one_or_none()
    if row is None:
        raise missing("report", reference)
    # The names of columns are a kind of text of their own, which is no name in JSON.
    return {str(column.name): value for column, value in zip(_HEAD, row, strict=True)}


def content(scope: Scope, reference: str, part: str) -> bytes:
    """Return the ``html`` or the ``notebook`` of a finished report.

    Raises:
        NotFound: There is no such report, or it is not finished.
    """
    scope.require("report:read")
    column = {"html": reports.c.html, "notebook": reports.c.notebook}[part]
    data: bytes | None = scope.connection.execute(
        sa.select(column).where(*_where(scope, reference))
    ).scalar_one_or_none()
    if data is None:
        raise missing("finished report", reference)
    return data


def started(scope: Scope, report_id: UUID) -> RunOut:
    """Mark a report as being made, and return the run it is about."""
    scope.connection.execute(sa.update(reports).where(*_where(scope, str(report_id))).values(status="running"))
    return runs.get(scope, str(get(scope, str(report_id))["run_id"]))


def done(scope: Scope, report_id: UUID, html: bytes, notebook: bytes) -> None:
    """Store a finished report."""
    scope.connection.execute(
        sa.update(reports)
        .where(*_where(scope, str(report_id)))
        .values(status="done", html=html, notebook=notebook, size=len(html), finished_at=sa.func.clock_timestamp())
    )


def _where(scope: Scope, reference: str) -> tuple[Any, ...]:
    try:
        report_id = UUID(reference)
    except ValueError:
        raise missing("report", reference) from None
    return reports.c.workspace_id == scope.workspace_id, reports.c.id == report_id
