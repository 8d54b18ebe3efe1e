"""Runs, their items, and reports."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from server_ext.api.operation import Call, Operations
from server_ext.services import items, runs

operations = Operations("runs")
R = "workspaces/{workspace}/runs"


class RunQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the list of runs."""

    before: str = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class ItemQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the list of items."""

    after: Annotated[int, Meta(ge=-1, le=2**31)] = -1
    limit: Annotated[int, Meta(ge=1, le=2000)] = 500


@operations.get(R, action="test:read", query=RunQuery)
def list_runs(call: Call) -> Any:
    """List runs, newest first."""
    found = runs.list_runs(call.scope, call.query.before, call.query.limit)
    return {"runs": found, "next": found[-1]["id"] if len(found) == call.query.limit else None}


@operations.post(R, action="test:execute", body=runs.RunSpec, status=201, idempotent=True)
def create_run(call: Call) -> Any:
    """Start a run."""
    call.after_commit.append(call.server.relay.wake)
    return runs.create(call.scope, call.body)


@operations.get(R + "/{run}", action="test:read")
def get_run(call: Call) -> Any:
    """Return status, plan and counts of a run."""
    return runs.get(call.scope, call.path["run"])


@operations.post(R + "/{run}/cancel", action="test:cancel", status=202, idempotent=True)
def cancel_run(call: Call) -> Any:
    """Stop a run; what it has stays."""
    return runs.cancel(call.scope, call.path["run"])


@operations.get(R + "/{run}/items", action="test:read", query=ItemQuery)
def list_items(call: Call) -> Any:
    """List results, in the order of the plan."""
    found = items.list_items(call.scope, call.path["run"], call.query.after, call.query.limit)
    return {"items": found, "next": found[-1].ordinal if len(found) == call.query.limit else None}
