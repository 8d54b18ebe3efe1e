"""What report notebooks call. Every function takes a run and returns a piece of the report.

    from promptcard_ext import report

    run = report.load_run(run_id)
    report.verdict(run)

A run of this process works as well: ``report.of(pc.run(card, cases, models).wait())``.
"""

from promptcard_ext.report.changes import changes
from promptcard_ext.report.figures import latency_chart, outcome_chart, pass_rate_chart
from promptcard_ext.report.items import failures, passes, reasons
from promptcard_ext.report.piece import Piece
from promptcard_ext.report.run import ReportRun, load_run, of
from promptcard_ext.report.tables import by_metric, costs, measures, summary
from promptcard_ext.report.words import header, verdict

__all__ = [
    "Piece",
    "ReportRun",
    "by_metric",
    "changes",
    "costs",
    "failures",
    "header",
    "latency_chart",
    "load_run",
    "measures",
    "of",
    "outcome_chart",
    "pass_rate_chart",
    "passes",
    "reasons",
    "summary",
    "verdict",
]
