"""What a workspace used."""

from __future__ import annotations

from promptcard_ext.core.contract.usage import Usage, UsageQuery
from server_ext.api.operation import Call, Operations
from server_ext.services import usage

operations = Operations("usage")


@operations.get("workspaces/{workspace}/usage", action="analytics:read", query=UsageQuery, answer=Usage)
def get_usage(call: Call) -> Usage:
    """Return counts, tokens and cost by day, card, model or user."""
    return usage.usage(call.scope, call.query)
