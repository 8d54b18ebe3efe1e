"""The tables of a report that sum up: by version and model, by what was checked, by score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from promptcard_ext.kernel.row_facts import call_text, rate_facts, share_text
from promptcard_ext.report.checks import Check, Group
from promptcard_ext.report.piece import Piece, column, join, milliseconds, name, note, plain, table
from promptcard_ext.report.run import ReportRun
from promptcard_ext.stats.invariance import invariance
from promptcard_ext.stats.summary import SummaryRow

MAX_ROWS = 100
MAX_COLUMNS = 12
MAX_UNBROKEN_CHARS = 24
Texts = dict[str, dict[Group, str]]
_OF = Markup("Card version<br> <small>model</small>")
_KEEP = Markup(' class="pc-keep"')
NOTHING = "No item has a result."
NO_MEASURES = "There are no scores with degrees, no comparisons of answers and no changed prompts."


def summary(run: ReportRun) -> Piece:
    """Return one line per card version and model: pass rate, score where there are degrees, latency, cost."""
    if not run.rows:
        return only_note(NOTHING)
    degrees = run.findings.traits.degrees
    columns = [
        _OF, "Pass rate [95\u00a0%]", *(["Score [95\u00a0%]"] if degrees else []),
        "Pass", "Fail", "Error", "Unscored", Markup("Latency<br> <small>p50, p95</small>"), "Cost",
    ]  # fmt: skip
    rows = [_summary_row(row, run) for row in run.rows[:MAX_ROWS]]
    more = _more(len(run.rows), "more combinations of version and model are not shown.")
    numbers = range(len(columns) - 6, len(columns))
    return Piece(join([table(columns, rows, numbers=numbers), *map(note, more)]), plain(columns, rows, more))


def _summary_row(row: SummaryRow, run: ReportRun) -> Sequence[str]:
    counts, traits = row.counts, run.findings.traits
    return [
        _of(row), join([_rate(row.rate_text), _below(rate_facts(row, traits.repeats))]),
        *([_rate(row.score_text)] if traits.degrees else []),
        *(f"{number:,}" for number in (counts.passed, counts.failed, counts.errored, counts.unscored)),
        Markup("{}{}").format(milliseconds(row.p50_ms), _below([milliseconds(row.p95_ms)])), _rate(row.cost_text),
    ]  # fmt: skip


def costs(run: ReportRun) -> Piece:
    """Return what each card version cost on each model, what was spent this time, and the calls beside the answers."""
    if not run.rows:
        return only_note(NOTHING)
    columns = (
        _OF,
        "Cost",
        "Spent this time",
        "From the store",
        "Calls beside the answers",
    )
    rows = [
        (
            _of(row), row.cost_text,
            f"${row.counts.spent_usd:.4f}" if row.counts.priced else "–",
            f"{row.counts.cached:,} of {row.counts.done:,}",
            join((call_text(name(calls.purpose), [calls]) for calls in row.calls), Markup("<br> ")) or "none",
        )
        for row in run.rows[:MAX_ROWS]
    ]  # fmt: skip
    more = _more(len(run.rows), "more combinations of version and model are not shown.")
    return Piece(join([table(columns, rows), *map(note, more)]), plain(columns, rows, more))


def by_metric(run: ReportRun) -> Piece:
    """Return the pass rate of each metric (or kind of assertion, where no metric is named), the lowest first.

    Counted in checks: a case may have several of one metric.
    """
    cards = run.findings.checks.by_card()
    if not cards:
        return only_note("No answer was checked by an assertion.")
    pieces = [_checks_of(run, card, metrics, headed=len(cards) > 1) for card, metrics in cards.items()]
    return Piece(join(piece.html for piece in pieces), "\n\n".join(piece.text for piece in pieces))


def _checks_of(run: ReportRun, card: str, metrics: Sequence[tuple[str, dict[Group, Check]]], *, headed: bool) -> Piece:
    groups = [(row.label, row.model) for row in run.rows if run.card_of[row.label] == card]
    found = [(metric, {group: check.text for group, check in checks.items()}) for metric, checks in metrics]
    made = _by_group("Metric", groups, found)
    return Piece(join([Markup("<h4>{}</h4>").format(name(card)), made.html]), made.text) if headed else made


def measures(run: ReportRun) -> Piece:
    """Return what is no pass rate: metrics with degrees, computed ones, comparisons, and changed prompts."""
    made = (_scores(run), _comparisons(run), _invariance(run))
    found = [piece for piece in made if piece is not None]
    if not found:
        return only_note(NO_MEASURES)
    return Piece(join(piece.html for piece in found), "\n\n".join(piece.text for piece in found))


def _scores(run: ReportRun) -> Piece | None:
    graded, found = run.findings.traits.graded, Texts()
    for row in run.rows:
        for metric in row.metrics:
            if metric.name in graded:
                found.setdefault(metric.name, {})[row.label, row.model] = metric.text
        for value in row.derived:
            found.setdefault(value.name, {})[row.label, row.model] = value.text
    return _measure(run, "Mean scores [95\u00a0%], and values computed from them", "Metric", found)


def _comparisons(run: ReportRun) -> Piece | None:
    found = Texts()
    for row in run.findings.contests.rows():
        found.setdefault(row.name, {})[row.label, row.model] = share_text(row.best, row.decided, row.undecided)
    return _measure(run, "Had the best of the answers to a case [95\u00a0%]", "Compared by", found)


def _invariance(run: ReportRun) -> Piece | None:
    found = Texts()
    for row in invariance(run.read()) if run.findings.traits.variants else ():
        found.setdefault(row.transform, {})[row.label, row.model] = share_text(row.rate, row.judged, row.undecided)
    return _measure(run, "Answers that held when the prompt was changed [95\u00a0%]", "Change", found)


def _measure(run: ReportRun, title: str, what: str, found: Texts) -> Piece | None:
    if not found:
        return None
    groups = [(row.label, row.model) for row in run.rows]
    made = _by_group(what, groups, list(found.items()))
    return Piece(join([Markup("<h4>{}</h4>").format(title), made.html]), f"{title}\n{made.text}")


def _by_group(what: str, groups: Sequence[Group], found: Sequence[tuple[str, dict[Group, str]]]) -> Piece:
    """Return a table with a line for each of ``found`` and a column for each card version and model."""
    groups = [group for group in groups if any(group in texts for _, texts in found)]
    columns = [
        what,
        *(
            Markup("{}<br> <small>{}</small>").format(column(label), column(model))
            for label, model in groups[:MAX_COLUMNS]
        ),
    ]
    rows = [
        [strong(first), *(_rate(texts[group]) if group in texts else "–" for group in groups[:MAX_COLUMNS])]
        for first, texts in found[:MAX_ROWS]
    ]
    more = [
        *_more(len(groups), "more combinations of version and model are not shown.", MAX_COLUMNS),
        *_more(len(found), "more lines are not shown."),
    ]
    return Piece(join([table(columns, rows), *map(note, more)]), plain(columns, rows, more))


def _more(number: int, text: str, most: int = MAX_ROWS) -> list[str]:
    return [f"{number - most:,} {text}"] if number > most else []


def strong(text: str) -> Markup:
    """Return a name that is read first; a short one is never broken."""
    return Markup("<b{}>{}</b>").format(_KEEP if len(text) <= MAX_UNBROKEN_CHARS else Markup(""), name(text))


def _rate(text: str) -> Markup:
    # "83% [70–91] of 48, 2 undecided": the number is read first, what it rests on stands below it, part by part.
    first, _, rest = text.partition(" ")
    if not rest.startswith(("[", "(", "over ")):
        return Markup("{}").format(text)
    below = rest.replace(", ", ",\n").split("\n")
    return Markup("<b>{}</b>{}").format(first, _below(below))


def _of(row: SummaryRow) -> Markup:
    return Markup("{}<br> <small>{}</small>").format(strong(row.label), column(row.model))


def _below(facts: Iterable[str]) -> Markup:
    return join(
        Markup("<br> <small{}>{}</small>").format(_KEEP if len(fact) <= MAX_UNBROKEN_CHARS else Markup(""), fact)
        for fact in facts
    )


def only_note(text: str) -> Piece:
    """Return a remark in place of a table."""
    return Piece(note(text), text)
