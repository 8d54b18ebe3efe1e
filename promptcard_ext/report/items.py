"""The items of a report: why they did not pass, with the answers; and examples of those that did."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from promptcard_ext.core.results import ItemResult, Outcome, Verdict
from promptcard_ext.kernel.seen_answer import seen_answer
from promptcard_ext.kernel.verdict_outline import outline, verdict_facts, verdict_lines, verdict_name
from promptcard_ext.report.piece import Piece, excerpt, join, name, note, plain, table, tag
from promptcard_ext.report.run import ReportRun
from promptcard_ext.report.tables import MAX_ROWS, NOTHING, only_note
from promptcard_ext.report.words import told_reason

MAX_VERDICTS = 8
MAX_CALLS = 3
_WHERE = "All are in the run's data frame, and in the files that --csv and --jsonl write."
_TITLES = {
    Outcome.FAIL: "failed",
    Outcome.ERROR: "ended in an error",
    Outcome.UNSCORED: "not judged",
    Outcome.PASS: "passed",
}


def reasons(run: ReportRun) -> Piece:
    """Return why items did not pass, with how many: failures first, and of each outcome what came most often."""
    found = run.findings.reasons.by_urgency()
    if not run.rows or not found:
        return only_note("Every item passed." if run.rows else NOTHING)
    columns = ("Outcome", "Why", "Items", "Of all")
    rows = [
        (tag(str(outcome)), told_reason(reason), f"{number:,}", _share(number, run.counts.done))
        for outcome, reason, number in found[:MAX_ROWS]
    ]
    more = [f"{len(found) - MAX_ROWS:,} more reasons are not listed."] if len(found) > MAX_ROWS else []
    return Piece(join([table(columns, rows, numbers=(2, 3)), *map(note, more)]), plain(columns, rows, more))


def _share(number: int, total: int) -> str:
    percent = 100 * number / total
    return "below 1\u00a0%" if percent < 1 else f"{min(percent, 99 if number < total else 100):.0f}\u00a0%"


def failures(run: ReportRun) -> Piece:
    """Return what failed, broke or was not judged, with the answer and the reason; at most 100 items of each."""
    if not run.rows:
        return only_note(NOTHING)
    found = [_folded(run, outcome, unfolded=True) for outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED)]
    pieces = [piece for piece in found if piece is not None]
    if not pieces:
        return only_note("Every item passed.")
    return Piece(join(piece.html for piece in pieces), "\n\n".join(piece.text for piece in pieces))


def passes(run: ReportRun) -> Piece:
    """Return the first items that passed, at most 100, folded away."""
    return _folded(run, Outcome.PASS, unfolded=False) or only_note("No item passed." if run.rows else NOTHING)


def _folded(run: ReportRun, outcome: Outcome, *, unfolded: bool) -> Piece | None:
    picks = run.findings.picks[outcome]
    if not picks.count:
        return None
    shown = picks.items
    title = f"{picks.count:,} {_TITLES[outcome]}"
    rest = picks.count - len(shown)
    more = [f"The first {len(shown)} are shown, {rest:,} more are not. {_WHERE}"] if rest else []
    columns = ("Outcome", "Case", "Answer" if outcome is Outcome.PASS else "Why, and the answer")
    rows = [_item(result, run) for result in shown]
    body = join([*map(note, more), table(columns, rows, kind="pc-items")])
    html = Markup('<details class="pc-fold"{}><summary>{}</summary>{}</details>').format(
        Markup(" open") if unfolded else Markup(""), title, body
    )
    return Piece(html, "\n".join([title, *more, plain(columns, rows)]))


def _item(result: ItemResult, run: ReportRun) -> Sequence[str]:
    traits = run.findings.traits
    below = [name(result.label), name(result.model)]
    below += [f"repeat {result.repeat + 1}"] if traits.repeats > 1 else []
    below += ["from the store"] if result.cached else []
    where = Markup("<b>{}</b><br> <small>{}</small>").format(name(result.case), join(below, Markup("<br> ")))
    score = f"{result.score:.2f}" if traits.degrees and result.score is not None else ""
    mark = join([tag(str(result.outcome)), Markup("<br> <small>score {}</small>").format(score) if score else ""])
    return mark, where, join([_why(result), _answer(result)], Markup(" "))


def _why(result: ItemResult) -> Markup:
    if result.outcome is Outcome.PASS:
        return Markup("")
    lines, more = verdict_lines(result.verdicts, MAX_VERDICTS)
    if len(lines) > 1:
        rest = note(f"and {more} more") if more else ""
        return join([Markup(outline(lines, _verdict)), rest])  # noqa: S704  `_verdict` escapes
    code = Markup(" <code>{}</code>").format(name(result.reason)) if result.reason else Markup("")
    return Markup("<p>{}{}</p>").format(excerpt(result.message), code)


def _verdict(verdict: Verdict) -> str:
    facts = "".join(f", {fact}" for fact in verdict_facts(verdict))
    # What a set says is what its parts say, which stand below it.
    said = "" if verdict.parts else excerpt(verdict.message)
    code = Markup(" <code>{}</code>").format(name(verdict.reason)) if verdict.reason else Markup("")
    return Markup("{} <b>{}</b>{}{}{}{}").format(
        str(verdict.outcome), name(verdict_name(verdict)), facts, ": " if said else "", said, code
    )


def _answer(result: ItemResult) -> Markup:
    if result.generation is None:
        return Markup("")
    seen = seen_answer(result.generation)
    parts = [] if seen.text is None else [_text(seen.text) if seen.text else note("The answer is empty.")]
    parts += [Markup('<pre class="pc-answer">→ {}</pre>').format(excerpt(call)) for call in seen.calls[:MAX_CALLS]]
    more = len(seen.calls[MAX_CALLS:]) + seen.more_calls
    parts += [note(f"and {more} more calls")] if more else []
    if seen.raw is not None:
        told = "The reply could not be read; it was kept:" if seen.text is None else "Not all of it could be read:"
        parts += [note(told), _text(seen.raw)]
    return join(parts or [note("There is no answer in text.")])


def _text(text: str) -> Markup:
    length = note(f"{len(text):,} characters, the beginning is shown") if excerpt(text).endswith("…") else Markup("")
    return Markup('<pre class="pc-answer">{}</pre>{}').format(excerpt(text), length)
