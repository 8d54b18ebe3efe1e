"""The audit trail of a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from promptcard_ext.client.noun import Noun
from promptcard_ext.core.contract.audit import (
    MAX_CHECKED,
    AuditCheck,
    AuditCheckQuery,
    AuditEntry,
    AuditHead,
    AuditQuery,
)
from promptcard_ext.core.contract.page import Page


class Audit(Noun):
    """What was done in a workspace, and by whom."""

    def list(
        self,
        *,
        action: str | None = None,
        actor: UUID | None = None,
        object_type: str | None = None,
        object_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[AuditEntry]:
        """Yield entries, the latest first; the filters are those of `AuditQuery`."""
        query = AuditQuery(action, actor, object_type, object_id, since, until, limit=200)
        return self._pages(Page[AuditEntry], "audit", query=query)

    def head(self) -> AuditHead:
        """Return number, hash and seal of the last entry, to be kept elsewhere."""
        return self._read(AuditHead, "GET", "audit", "head")

    def verify(self, *, after: int = 0, limit: int = MAX_CHECKED) -> AuditCheck:
        """Check a part of the trail; as long as it is not ``complete``, go on ``after`` its ``checked_to``."""
        return self._read(AuditCheck, "GET", "audit", "verify", query=AuditCheckQuery(after, limit))
