"""What a workspace used."""

from __future__ import annotations

from datetime import date

from promptcard_ext.client.noun import Noun
from promptcard_ext.core.contract.usage import GroupBy, Usage, UsageQuery


class UsageSums(Noun):
    """Counts, tokens and cost of a workspace."""

    def get(self, *, since: date | None = None, until: date | None = None, group_by: GroupBy = "day") -> Usage:
        """Return the sums over a time, last day included; by default the last 30 days."""
        return self._read(Usage, "GET", "usage", query=UsageQuery(since, until, group_by))
