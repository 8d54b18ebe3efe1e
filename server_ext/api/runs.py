"""Runs, what controls them, and their items."""

from __future__ import annotations

from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.contract.regrades import Regraded, RegradeSpec
from promptcard_ext.core.contract.runs import (
    ExportQuery,
    ItemQuery,
    RequeueSpec,
    RetrySpec,
    RunOut,
    RunPatch,
    RunQuery,
    RunSpec,
)
from promptcard_ext.core.results import ItemResult
from server_ext.api.operation import UPLOAD_BYTES, Call, Download, Operations
from server_ext.services import items, regrading, run_control, run_retry, runs

operations = Operations("runs")
RUNS = "workspaces/{workspace}/runs"
RUN = RUNS + "/{run}"
_MEDIA = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


@operations.get(RUNS, action="test:read", query=RunQuery, answer=Page[RunOut])
def list_runs(call: Call) -> Page[RunOut]:
    """List runs, newest first."""
    return runs.list_runs(call.scope, call.query)


@operations.post(
    RUNS,
    action="test:execute",
    body=RunSpec,
    answer=RunOut,
    status=201,
    also=(200,),
    idempotent=True,
    refuses=(402,),
)
def create_run(call: Call) -> RunOut:
    """Start a run.

    Every prompt is rendered and every assertion read before the answer; workers do the rest. 200 when `reuse` was set
    and an earlier run, which is the answer, asks the same.
    """
    call.after_commit.append(call.server.relay.wake)
    run = runs.create(call.scope, call.body)
    call.status = 200 if run.reused else 201
    return run


@operations.get(RUN, action="test:read", answer=RunOut)
def get_run(call: Call) -> RunOut:
    """Return status, plan and counts of a run."""
    return runs.get(call.scope, call.path["run"])


@operations.patch(RUN, action="test:execute", body=RunPatch, answer=RunOut, refuses=(402, 409))
def update_run(call: Call) -> RunOut:
    """Give a run another name, or another budget or concurrency while it goes on.

    Workers heed it within a second. A run counts its results all the time, so there is no ETag, and none is asked for.
    """
    return run_control.adjust(call.scope, call.path["run"], call.body)


@operations.post(RUN + "/cancel", action="test:cancel", answer=RunOut, status=202, idempotent=True)
def cancel_run(call: Call) -> RunOut:
    """Stop a run; what it has stays."""
    return run_control.cancel(call.scope, call.path["run"])


@operations.post(RUN + "/pause", action="test:cancel", answer=RunOut, status=202, idempotent=True)
def pause_run(call: Call) -> RunOut:
    """Let a run wait; calls in flight are aborted, and made anew when it goes on."""
    return run_control.pause(call.scope, call.path["run"])


@operations.post(RUN + "/resume", action="test:execute", answer=RunOut, status=202, idempotent=True)
def resume_run(call: Call) -> RunOut:
    """Let a run that waits go on, from the items that have no result."""
    call.after_commit.append(call.server.relay.wake)
    return run_control.resume(call.scope, call.path["run"])


@operations.post(RUN + "/requeue", action="test:execute", body=RequeueSpec, answer=RunOut, status=202, idempotent=True)
def requeue_items(call: Call) -> RunOut:
    """Let items be called again although an earlier call may have been paid for.

    It is for runs with `on_unknown` set to `hold`, which otherwise wait with such items until they are cancelled.
    """
    call.after_commit.append(call.server.relay.wake)
    return run_control.requeue(call.scope, call.path["run"], call.body)


@operations.post(
    RUN + "/retry-errors",
    action="test:execute",
    body=RetrySpec,
    answer=RunOut,
    status=201,
    idempotent=True,
    refuses=(402,),
)
def retry_errors(call: Call) -> RunOut:
    """Ask the failed items of an ended run again, as a run of its own.

    Results are never changed: the new run names the old one in `retry_of`, and its plan has only the cases with such an
    item. Items of both are joined by case, version, model and repeat.
    """
    call.after_commit.append(call.server.relay.wake)
    return run_retry.retry_errors(call.scope, call.path["run"], call.body)


@operations.post(RUN + "/regrade", action="test:execute", body=RegradeSpec, answer=Regraded, max_body=UPLOAD_BYTES)
def regrade_run(call: Call) -> Regraded:
    """Judge the stored answers of a run by other assertions, and tell what flips.

    Nothing is called and nothing stored is changed. Without assertions in the request it takes those that the card's
    cases have now.
    """
    return regrading.regrade(call.scope, call.path["run"], call.body)


@operations.get(RUN + "/items", action="test:read", query=ItemQuery, answer=Page[ItemResult])
def list_items(call: Call) -> Page[ItemResult]:
    """List results, in the order of the plan."""
    return items.list_items(call.scope, call.path["run"], call.query)


@operations.get(
    RUN + "/export",
    action="test:read",
    query=ExportQuery,
    media=("text/csv", "application/x-ndjson"),
    limit="export",
    streamed=True,
)
def export_items(call: Call) -> Download:
    """Download results as CSV or JSON Lines.

    In CSV a text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    form = call.query.format
    pieces = items.export(call.scope, call.path["run"], call.query)
    return Download(pieces, _MEDIA[form], f"run-results.{form}")
