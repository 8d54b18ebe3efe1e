"""Reports of runs."""

from __future__ import annotations

import msgspec

from promptcard_ext.core.contract.reports import ReportOut
from server_ext.api.operation import Call, Download, Operations
from server_ext.services import reports

operations = Operations("reports")
P = "workspaces/{workspace}/reports/{report}"


@operations.post(
    "workspaces/{workspace}/runs/{run}/reports",
    action="report:create",
    answer=ReportOut,
    status=202,
    idempotent=True,
)
def create_report(call: Call) -> ReportOut:
    """Ask for a report of a run; a worker makes it."""
    call.after_commit.append(call.server.relay.wake)
    return msgspec.convert(reports.create(call.scope, call.path["run"]), ReportOut)


@operations.get(P, action="report:read", answer=ReportOut)
def get_report(call: Call) -> ReportOut:
    """Return the state of a report."""
    return msgspec.convert(reports.get(call.scope, call.path["report"]), ReportOut)


@operations.get(P + "/html", action="report:read", media=("text/html",))
def download_report(call: Call) -> Download:
    """Download a report as one HTML file.

    It holds what models wrote, so a browser shows it in a sandbox.
    """
    data = reports.content(call.scope, call.path["report"], "html")
    return Download(iter([data]), "text/html; charset=utf-8", "run-report.html")


@operations.get(P + "/notebook", action="report:read", media=("application/x-ipynb+json",))
def download_notebook(call: Call) -> Download:
    """Download the executed notebook of a report."""
    data = reports.content(call.scope, call.path["report"], "notebook")
    return Download(iter([data]), "application/x-ipynb+json", "run-report.ipynb")
