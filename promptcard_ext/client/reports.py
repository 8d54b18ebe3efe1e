"""Reports of runs."""

from __future__ import annotations

from promptcard_ext.client.download import Download
from promptcard_ext.client.noun import Noun, Ref
from promptcard_ext.core.contract.reports import ReportOut


class Reports(Noun):
    """The reports of a workspace, by id."""

    def create(self, run: Ref) -> ReportOut:
        """Ask for a report of a run; a worker makes it."""
        return self._read(ReportOut, "POST", "runs", run, "reports", once=True)

    def get(self, report: Ref) -> ReportOut:
        """Return how far a report is."""
        return self._read(ReportOut, "GET", "reports", report)

    def html(self, report: Ref) -> Download:
        """Return a finished report as one HTML file."""
        return self._download("reports", report, "html")

    def notebook(self, report: Ref) -> Download:
        """Return the executed notebook of a finished report."""
        return self._download("reports", report, "notebook")
