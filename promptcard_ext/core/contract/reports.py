"""Reports of runs over REST."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct


class ReportOut(Struct, frozen=True):
    """A report, without its content.

    Attributes:
        id: Its id.
        run_id: The run it is about.
        kind: ``run``.
        status: How far it is.
        size: Bytes of the HTML file; null until it is done.
        error: Why it failed: ``code`` and ``message``.
        created_at, finished_at: When.
    """

    id: UUID
    run_id: UUID
    kind: str
    status: Literal["queued", "running", "done", "failed"]
    size: int | None
    error: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None
