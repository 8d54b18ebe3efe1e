"""A run as one page that needs no network, without a notebook in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from promptcard_ext._version import __version__
from promptcard_ext.interchange.starters import shipped
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.report.changes import changes
from promptcard_ext.report.figures import latency_chart, outcome_chart, pass_rate_chart
from promptcard_ext.report.items import failures, passes, reasons
from promptcard_ext.report.piece import Piece
from promptcard_ext.report.run import ReportRun
from promptcard_ext.report.tables import NO_MEASURES, by_metric, costs, measures, summary
from promptcard_ext.report.words import header, verdict

_SECTIONS: tuple[tuple[str, str, tuple[Callable[[ReportRun], Piece], ...]], ...] = (
    ("", "", (header,)),
    ("Verdict", "", (verdict,)),
    (
        "Pass rates",
        "The share of judged items that passed, with the 95 % interval: with other cases it may lie elsewhere in it.",
        (pass_rate_chart, summary),
    ),
    (
        "Outcomes",
        "Error: provider, connection or a check broke. Unscored: nobody judged. Neither counts as pass or fail.",
        (outcome_chart,),
    ),
    ("What was checked", "The same answers by what was asked of them, the weakest first.", (by_metric,)),
    (
        "Scores and comparisons",
        "What is no pass rate: mean scores, values computed from them, comparisons won, answers that held.",
        (measures,),
    ),
    ("Where the versions differ", "", (changes,)),
    ("What did not pass", "", (reasons, failures)),
    ("What passed", "", (passes,)),
    ("Latency", "The share of answers that came within a time. Steep and far to the left is good.", (latency_chart,)),
    (
        "Cost",
        "Counted are calls with a known price; an unknown one is never zero. Stored answers cost nothing again.",
        (costs,),
    ),
)


def page(run: ReportRun) -> str:
    """Return the HTML page of a run; it holds no script and loads nothing."""
    environment = Environment(
        loader=FileSystemLoader(shipped("templates/reports")), autoescape=True, undefined=StrictUndefined
    )
    made = [
        (f"s{place}", title, text, [piece(run) for piece in pieces])
        for place, (title, text, pieces) in enumerate(_SECTIONS)
    ]
    sections = [section for section in made if [piece.text for piece in section[3]] != [NO_MEASURES]]
    return environment.get_template("run_report.html.j2").render(
        title=harmless(run.name),
        eyebrow="Run report",
        contents=[{"anchor": anchor, "text": title} for anchor, title, _, _ in sections if title],
        blocks=[block for section in sections for block in _blocks(*section)],
        version=__version__,
        created=datetime.now(UTC),
    )


def _blocks(anchor: str, title: str, text: str, pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    words = Markup("<p>{}</p>").format(text) if text else Markup("")
    prose = Markup('<h2 id="{}">{}</h2>{}').format(anchor, title, words) if title else None
    outputs = [{"kind": "html", "content": piece.html} for piece in pieces]
    cell = {"prose": None, "outputs": outputs, "code": None}
    return [cell] if prose is None else [{"prose": prose, "outputs": [], "code": None}, cell]
