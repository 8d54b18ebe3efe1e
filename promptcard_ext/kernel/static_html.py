"""A run as HTML without scripts: what a saved notebook keeps of it, always below 150 kB."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from promptcard_ext.core.results import Counts, ItemResult, Verdict
from promptcard_ext.kernel.html_table import MAX_CELL_CHARS, cut, esc, fitting, framed, ms, name_of, table, tag
from promptcard_ext.kernel.overview import Picks, Traits, gather
from promptcard_ext.kernel.row_facts import call_facts, money_facts, rate_facts, share_text
from promptcard_ext.kernel.seen_answer import SeenAnswer, seen_answer
from promptcard_ext.kernel.verdict_outline import outline, verdict_facts, verdict_lines, verdict_name
from promptcard_ext.stats.contests import Contests
from promptcard_ext.stats.invariance import invariance
from promptcard_ext.stats.summary import SummaryRow, cost_text

if TYPE_CHECKING:
    from promptcard_ext.kernel.handle import RunHandle

MAX_ROWS = 200
MAX_VERDICTS = 8

# Together with the style and the heading, what keeps the static form of any run below 150 kB.
MAX_ROWS_BYTES = 95_000
MAX_SUMMARY_BYTES = 16_000


def run_html(run: RunHandle, hint: str = "") -> str:
    """Return a run as HTML: totals, one line per version and model, what judges said, up to 200 items.

    Args:
        hint: Code to say last, for whoever wants to see more.
    """
    counts = run.counts
    traits, contests, picks = Traits(), Contests(), Picks(MAX_ROWS)
    derived = () if run.setup is None else run.setup.derived_metrics
    rows = gather(run.log.iter_plan(), (traits, contests, picks), derived)
    changed = _invariance_html(run.log.iter_plan()) if traits.variants else ""
    head = f"<h4>{name_of(run.name)} · {esc(run.status)} · {counts.done:,} of {counts.total:,}</h4>"
    error = f"<p>{esc(str(run.error)[:1000])}</p>" if run.error else ""
    body = [
        head,
        error,
        bar_html(counts),
        summary_html(rows, traits),
        facts_html(counts, rows),
        metrics_html(rows, traits),
        _contests_html(contests),
        changed,
        rows_html(picks, traits),
        f'<p class="pc-note">To look through it: <code>{esc(hint)}</code></p>' if hint else "",
    ]
    return framed("".join(body))


def bar_html(counts: Counts) -> str:
    """Return the bar of outcomes."""
    parts = (("pass", counts.passed), ("fail", counts.failed), ("error", counts.errored), ("unscored", counts.unscored))
    total = max(1, counts.total)
    widths = "".join(
        f'<i class="pc-{name}" style="width:{100 * n / total:.3f}%" title="{n} {name}"></i>' for name, n in parts if n
    )
    return f'<div class="pc-bar">{widths}</div>'


# -- tables ----------------------------------------------------------------------------------------------------------


def summary_html(rows: Sequence[SummaryRow], traits: Traits) -> str:
    """Return the table with one line per card version and model."""
    if not rows:
        return '<p class="pc-note">No result yet.</p>'
    names = ["card version", "model", "pass rate [95\u00a0%]", *(["score [95\u00a0%]"] if traits.degrees else [])]
    texts = len(names)
    # Where nothing has a price, `facts_html` says so once.
    priced = any(row.counts.priced for row in rows)
    names += ["pass", "fail", "error", "unscored", "p50", "p95", *(["cost"] if priced else [])]
    lines = (_summary_row(row, traits, priced=priced) for row in rows)
    return table(names, lines, len(rows), texts=texts, room=MAX_SUMMARY_BYTES)


def facts_html(counts: Counts, rows: Sequence[SummaryRow]) -> str:
    """Return what stores and judges gave and cost, and that nothing has a price where that is so."""
    unpriced = [f"cost {cost_text(Decimal(0), 0, counts.done)}"] if counts.done and not counts.priced else []
    facts = " · ".join([*unpriced, *money_facts(counts), *call_facts(rows)])
    return f'<p class="pc-note">{esc(facts)}</p>' if facts else ""


def _summary_row(row: SummaryRow, traits: Traits, *, priced: bool) -> list[str]:
    facts = "".join(f'<br><small class="pc-rate">{esc(fact)}</small>' for fact in rate_facts(row, traits.repeats))
    counts = row.counts
    return [
        name_of(row.label),
        name_of(row.model),
        _rate(row.rate_text) + facts,
        *([_rate(row.score_text)] if traits.degrees else []),
        *(f"{number:,}" for number in (counts.passed, counts.failed, counts.errored, counts.unscored)),
        ms(row.p50_ms),
        ms(row.p95_ms),
        # How much of it is priced stands in a line of its own, or the column would be the widest.
        *([esc(row.cost_text).replace(" (", "<br>(", 1)] if priced else []),
    ]


def _rate(text: str) -> str:
    # What is undecided stands in a line of its own; where there is little room, so does the number of trials.
    whole = esc(text).replace(", ", ",<br>", 1).replace(" of ", '</span> <span class="pc-rate">of ', 1)
    return f'<span class="pc-rate">{whole}</span>'


def metrics_html(rows: Sequence[SummaryRow], traits: Traits) -> str:
    """Return the table of named metrics that say more than passes, and of derived ones."""
    found = []
    for row in rows:
        told = [(one.name, one.text) for one in row.metrics if one.name in traits.graded]
        told += [(one.name, one.text) for one in row.derived]
        found += [[name_of(name), name_of(row.label), name_of(row.model), esc(text)] for name, text in told]
    return (
        table(["metric", "card version", "model", "mean score [95\u00a0%], or value"], found, len(found))
        if found
        else ""
    )


def _contests_html(contests: Contests) -> str:
    found = [
        [
            name_of(row.name),
            name_of(row.label),
            name_of(row.model),
            esc(share_text(row.best, row.decided, row.undecided)),
        ]
        for row in contests.rows()
    ]
    return table(["compared by", "card version", "model", "best in"], found, len(found)) if found else ""


def _invariance_html(results: Iterable[ItemResult]) -> str:
    found = [
        [
            name_of(row.transform),
            name_of(row.label),
            name_of(row.model),
            esc(share_text(row.rate, row.judged, row.undecided)),
        ]
        for row in invariance(results)
    ]
    return table(["prompt changed by", "card version", "model", "answer held in"], found, len(found)) if found else ""


# -- items -----------------------------------------------------------------------------------------------------------


def rows_html(picks: Picks, traits: Traits) -> str:
    """Return the items in a fold-out table: what did not pass first, at most 200 of them."""
    if not picks.count:
        return ""
    shown = list(fitting((_item_html(result, traits) for result in picks.items), MAX_ROWS_BYTES))
    note = f", {len(shown)} shown" if len(shown) < picks.count else ""
    head = "<tr><th>outcome</th><th>case</th><th>card version</th><th>model</th><th>answer</th><th>why</th></tr>"
    return (
        f'<details><summary>{picks.count:,} items{note}</summary><div class="pc-scroll">'
        f'<table class="pc-table"><thead>{head}</thead><tbody>{"".join(shown)}</tbody></table></div></details>'
    )


def _item_html(result: ItemResult, traits: Traits) -> str:
    score = f"<br><small>{result.score:.2f}</small>" if traits.degrees and result.score is not None else ""
    repeat = f" #{result.repeat + 1}" if traits.repeats > 1 else ""
    return (
        f"<tr><td>{tag(result.outcome)}{score}</td><td>{name_of(result.case)}{repeat}</td>"
        f"<td>{name_of(result.label)}</td><td>{name_of(result.model)}</td>"
        f'<td class="o">{_answer_html(seen_answer(result.generation))}</td><td class="w">{_why_html(result)}</td></tr>'
    )


def _answer_html(seen: SeenAnswer) -> str:
    parts = [f'<div class="pc-said">{cut(seen.text)}</div>'] if seen.text else []
    parts += [f'<div class="pc-said">→ {cut(call)}</div>' for call in seen.calls[:3]]
    more = len(seen.calls[3:]) + seen.more_calls
    parts += [f'<div class="pc-note">and {more} more calls</div>'] if more else []
    if seen.raw is not None:
        told = "The reply could not be read; it was kept:" if seen.text is None else "Not all of it could be read:"
        parts.append(f'<div class="pc-note">{told}</div><div class="pc-said">{cut(seen.raw)}</div>')
    return "".join(parts)


def _why_html(result: ItemResult) -> str:
    lines, more = verdict_lines(result.verdicts, MAX_VERDICTS)
    if len(lines) < 2:
        return cut(result.message)
    rest = f'<p class="pc-note">and {more} more</p>' if more else ""
    return outline(lines, _verdict_html) + rest


def _verdict_html(verdict: Verdict) -> str:
    facts = "".join(f", {fact}" for fact in verdict_facts(verdict))
    # What a set says is what its parts say, which stand below it.
    said = "" if verdict.parts else cut(verdict.message, MAX_CELL_CHARS // 2)
    return f"{esc(str(verdict.outcome))} <b>{name_of(verdict_name(verdict))}</b>{facts}{': ' if said else ''}{said}"
