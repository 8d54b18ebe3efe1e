"""The cases on which card versions differ."""

from __future__ import annotations

from collections import Counter

from markupsafe import Markup

from promptcard_ext.core.results import Outcome
from promptcard_ext.kernel.overview import URGENCY
from promptcard_ext.report.cells import BETTER, DIFFERENT, WORSE, Change
from promptcard_ext.report.piece import Piece, column, join, note, plain, several, table, tag
from promptcard_ext.report.run import ReportRun
from promptcard_ext.report.tables import MAX_ROWS, NOTHING, only_note, strong

_MARKS = {WORSE: ("▼", "worse"), BETTER: ("▲", "better"), DIFFERENT: ("◆", "different")}


def changes(run: ReportRun) -> Piece:
    """Return the cases on which the versions differ, for each model; those that got worse first, at most 100."""
    if not run.rows:
        return only_note(NOTHING)
    if len(set(run.labels)) < 2:
        return only_note("The run has one card version, so there is nothing to compare.")
    found = run.findings.cells.changes(run.labels)
    if not found:
        return only_note("The versions have the same outcome on every case.")
    directions = Counter(change.direction for change in found)
    other = directions[DIFFERENT]
    parts = [f"{directions[WORSE]:,} worse", f"{directions[BETTER]:,} better"]
    parts += [f"{other:,} otherwise different"] if other else []
    head = f"From the first to the last version: {', '.join(parts)}."
    tables, texts = [], []
    for labels in dict.fromkeys(change.labels for change in found[:MAX_ROWS]):
        columns = ("Change", "Case", "Model", *map(column, labels))
        rows = [_cells(change) for change in found[:MAX_ROWS] if change.labels == labels]
        tables.append(table(columns, rows))
        texts.append(plain(columns, rows))
    more = [f"{several(len(found) - MAX_ROWS, 'more case')} differ."] if len(found) > MAX_ROWS else []
    return Piece(
        join([Markup("<p>{}</p>").format(head), *tables, *map(note, more)]), "\n\n".join([head, *texts, *more])
    )


def _cells(change: Change) -> list[str]:
    arrow, word = _MARKS[change.direction]
    mark = Markup('<span class="pc-mark pc-is-{}">{} {}</span>').format(word, arrow, word)
    return [mark, strong(change.case), column(change.model), *(_outcomes(each) for each in change.outcomes.values())]


def _outcomes(counter: Counter[str]) -> Markup:
    single = counter.total() == 1
    ordered = sorted(counter.items(), key=lambda entry: URGENCY[Outcome(entry[0])], reverse=True)
    return join((tag(outcome) if single else tag(outcome, number) for outcome, number in ordered), Markup(" "))
