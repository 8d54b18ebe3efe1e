"""The tables of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from promptcard_ext.core.results import Counts, ItemResult, Outcome
from promptcard_ext.report.piece import Piece, excerpt, join, milliseconds, name, note, plain, several, table, tag
from promptcard_ext.report.run import ReportRun
from promptcard_ext.stats.intervals import wilson
from promptcard_ext.stats.summary import rate_text

MAX_ROWS = 100
MAX_COLUMNS = 12
MAX_UNBROKEN_CHARS = 24
URGENCY = {Outcome.FAIL: 0, Outcome.ERROR: 1, Outcome.UNSCORED: 2, Outcome.PASS: 3}
_NOTHING = "No item has a result."


def summary(run: ReportRun) -> Piece:
    """Return one line per card version and model: pass rate, latency, cost."""
    if not run.rows:
        return _only_note(_NOTHING)
    columns = (
        "Card version",
        "Model",
        "Pass rate [95\u00a0%]",
        "Pass",
        "Fail",
        "Error",
        "Unscored",
        "p50",
        "p95",
        "Cost",
    )
    rows = [
        (
            _strong(row.label), name(row.model), _rate(row.rate_text),
            f"{row.counts.passed:,}", f"{row.counts.failed:,}", f"{row.counts.errored:,}", f"{row.counts.unscored:,}",
            milliseconds(row.p50_ms), milliseconds(row.p95_ms), row.cost_text,
        )
        for row in run.rows
    ]  # fmt: skip
    return Piece(table(columns, rows, numbers=range(3, 10)), plain(columns, rows))


def by_metric(run: ReportRun) -> Piece:
    """Return the pass rate of each metric (or kind of assertion, where no metric is named), the lowest first.

    Counted in checks: a case may have several of one metric.
    """
    cards: dict[str, dict[str, dict[tuple[str, str], Counts]]] = {}
    for result in run.results:
        for verdict in result.verdicts:
            metrics = cards.setdefault(result.card, {})
            counts = metrics.setdefault(verdict.metric or verdict.type, {})
            _count(counts.setdefault((result.label, result.model), Counts()), verdict.outcome)
    if not cards:
        return _only_note("No answer was checked by an assertion.")
    pieces = [_metrics_of(run, card, metrics, headed=len(cards) > 1) for card, metrics in cards.items()]
    return Piece(join(piece.html for piece in pieces), "\n\n".join(piece.text for piece in pieces))


def _metrics_of(run: ReportRun, card: str, metrics: dict[str, dict[tuple[str, str], Counts]], *, headed: bool) -> Piece:
    groups = [(row.label, row.model) for row in run.rows if run.card_of[row.label] == card]
    shown = groups[:MAX_COLUMNS]
    columns = [
        "Metric",
        *(Markup("{}<br> <small>{}</small>").format(name(label), name(model)) for label, model in shown),
    ]
    ordered = sorted(metrics.items(), key=lambda metric: _overall(metric[1].values()))
    rows = [
        [_strong(metric), *(_rate(_checks(counts[group])) if group in counts else "–" for group in shown)]
        for metric, counts in ordered[:MAX_ROWS]
    ]
    head = Markup("<h4>{}</h4>").format(name(card)) if headed else Markup("")
    more = [
        *(
            [f"{len(groups) - len(shown):,} more combinations of version and model are not shown."]
            if len(groups) > len(shown)
            else []
        ),
        *([f"{len(ordered) - MAX_ROWS:,} more metrics are not shown."] if len(ordered) > MAX_ROWS else []),
    ]
    return Piece(join([head, table(columns, rows), *map(note, more)]), plain(columns, rows))


def _count(counts: Counts, outcome: Outcome) -> None:
    counts.total += 1
    counts.done += 1
    counts.passed += outcome is Outcome.PASS
    counts.failed += outcome is Outcome.FAIL
    counts.errored += outcome is Outcome.ERROR
    counts.unscored += outcome is Outcome.UNSCORED


def _checks(counts: Counts) -> str:
    return rate_text(wilson(counts.passed, counts.judged), counts)


def _overall(groups: Iterable[Counts]) -> float:
    passed = judged = 0
    for counts in groups:
        passed, judged = passed + counts.passed, judged + counts.judged
    return passed / judged if judged else 2.0


def changes(run: ReportRun) -> Piece:
    """Return the cases on which the versions differ, for each model; those that got worse first, at most 100."""
    if not run.results:
        return _only_note(_NOTHING)
    if len(set(run.labels)) < 2:
        return _only_note("The run has one card version, so there is nothing to compare.")
    found = [change for group in _by_cell(run).values() for change in group]
    if not found:
        return _only_note("The versions have the same outcome on every case.")
    found.sort(key=lambda change: change.direction)
    worse, better = (sum(change.direction == d for change in found) for d in (-1, 1))
    other = len(found) - worse - better
    parts = [f"{worse:,} worse", f"{better:,} better", *([f"{other:,} otherwise different"] if other else [])]
    head = f"From the first to the last version: {', '.join(parts)}."
    tables, texts, left = [], [], MAX_ROWS
    for labels in dict.fromkeys(change.labels for change in found):
        group = [change for change in found if change.labels == labels][:left]
        left -= len(group)
        if group:
            columns = ("", "Case", "Model", *map(name, labels))
            rows = [change.cells() for change in group]
            tables.append(table(columns, rows))
            texts.append(plain(columns, rows))
    more = [note(f"{several(len(found) - MAX_ROWS, 'more case')} differ.")] if len(found) > MAX_ROWS else []
    return Piece(join([Markup("<p>{}</p>").format(head), *tables, *more]), "\n\n".join([head, *texts]))


class _Change:
    """One case on one model, with the outcomes of each version."""

    def __init__(self, case: str, model: str, outcomes: dict[str, Counter[str]]) -> None:
        self.case, self.model, self.outcomes = case, model, outcomes
        self.labels = tuple(outcomes)
        first, last = (
            counter["pass"] / counter.total() for counter in (outcomes[self.labels[0]], outcomes[self.labels[-1]])
        )
        # An error is no worse answer: only pass against fail has a direction.
        judged = all(set(outcomes[label]) <= {"pass", "fail"} for label in (self.labels[0], self.labels[-1]))
        self.direction = (last > first) - (last < first) if judged else 0
        if self.direction == 0:
            self.direction = 2

    def cells(self) -> list[str]:
        arrow, word = {-1: ("▼", "worse"), 1: ("▲", "better")}.get(self.direction, ("◆", "different"))
        mark = Markup('<span class="pc-mark pc-is-{}">{} {}</span>').format(word, arrow, word)
        return [mark, _strong(self.case), name(self.model), *(_outcomes(counter) for counter in self.outcomes.values())]


def _by_cell(run: ReportRun) -> dict[str, list[_Change]]:
    cells: dict[tuple[str, str, str, str], dict[str, Counter[str]]] = {}
    labels: dict[str, list[str]] = {}
    for label, card in run.card_of.items():
        labels.setdefault(card, []).append(label)
    order = {label: i for i, label in enumerate(run.labels)}
    for result in run.results:
        key = (result.card, result.model, result.case_uid, result.case)
        cells.setdefault(key, {}).setdefault(result.label, Counter())[str(result.outcome)] += 1
    found: dict[str, list[_Change]] = {}
    for (card, model, _, case), outcomes in cells.items():
        # A version that has no result yet (the run was stopped) does not differ: it is not known.
        if len(outcomes) == len(labels[card]) and len({tuple(sorted(c.items())) for c in outcomes.values()}) > 1:
            ordered = {label: outcomes[label] for label in sorted(outcomes, key=lambda each: order.get(each, 0))}
            found.setdefault(card, []).append(_Change(case, model, ordered))
    return found


def _outcomes(counter: Counter[str]) -> Markup:
    single = counter.total() == 1
    ordered = sorted(counter.items(), key=lambda entry: URGENCY[Outcome(entry[0])], reverse=True)
    return join((tag(outcome) if single else tag(outcome, number) for outcome, number in ordered), Markup(" "))


def failures(run: ReportRun) -> Piece:
    """Return what failed, broke or was not judged, with the answer and the reason; at most 100 items."""
    found = sorted(
        (r for r in run.results if r.outcome is not Outcome.PASS), key=lambda r: (URGENCY[r.outcome], r.ordinal)
    )
    if not run.results:
        return _only_note(_NOTHING)
    if not found:
        return _only_note("Every item passed.")
    columns = ("Outcome", "Case", "Why, and the answer")
    rows = [_failure(result, run) for result in found[:MAX_ROWS]]
    more = f"{several(len(found) - MAX_ROWS, 'more item')} did not pass." if len(found) > MAX_ROWS else ""
    html = join([table(columns, rows, kind="pc-failures"), note(more) if more else ""])
    return Piece(html, plain(columns, rows) + ("\n" + more if more else ""))


def _failure(result: ItemResult, run: ReportRun) -> Sequence[str]:
    repeat = f" · repeat {result.repeat + 1}" if run.repeats > 1 else ""
    where = Markup("<b>{}</b><br> <small>{}<br> {}{}</small>").format(
        name(result.case), name(result.label), name(result.model), repeat
    )
    why = Markup("{}{}").format(
        excerpt(result.message), Markup(" <code>{}</code>").format(name(result.reason)) if result.reason else ""
    )
    return tag(str(result.outcome)), where, Markup("<p>{}</p> {}").format(why, _answer(result))


def _answer(result: ItemResult) -> Markup:
    if result.generation is None:
        return Markup("")
    text = result.generation.output
    if not text:
        return note("The answer is empty." if text is not None else "There is no answer in text.")
    length = note(f"{len(text):,} characters, the beginning is shown") if excerpt(text).endswith("…") else Markup("")
    return Markup('<pre class="pc-answer">{}</pre>{}').format(excerpt(text), length)


def _strong(text: str) -> Markup:
    keep = Markup(' class="pc-keep"') if len(text) <= MAX_UNBROKEN_CHARS else Markup("")
    return Markup("<b{}>{}</b>").format(keep, name(text))


def _rate(text: str) -> Markup:
    # "83% [70–91] of 48": the number is read first, what it rests on stands below it.
    first, _, rest = text.partition(" ")
    return (
        Markup('<b>{}</b><br> <small class="pc-keep">{}</small>').format(first, rest)
        if first.endswith("%")
        else Markup("{}").format(text)
    )


def _only_note(text: str) -> Piece:
    return Piece(note(text), text)
