"""A run as HTML without scripts: what a saved notebook keeps of it, always below 150 kB."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from promptcard_ext.core.results import Counts, ItemResult, Outcome, Verdict
from promptcard_ext.kernel.overview import Picks, Traits, gather
from promptcard_ext.kernel.row_facts import call_facts, money_facts, rate_facts, share_text
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.kernel.seen_answer import SeenAnswer, seen_answer
from promptcard_ext.kernel.verdict_outline import outline, verdict_facts, verdict_lines, verdict_name
from promptcard_ext.stats.contests import Contests
from promptcard_ext.stats.flips import FlipTable, ItemFlip
from promptcard_ext.stats.invariance import invariance
from promptcard_ext.stats.summary import SummaryRow

if TYPE_CHECKING:
    from promptcard_ext.kernel.handle import RunHandle

MAX_ROWS = 200
MAX_CELL_CHARS = 400
MAX_NAME_CHARS = 200
MAX_VERDICTS = 8

# Together with the style and the heading, what keeps the static form of any run below 150 kB.
MAX_ROWS_BYTES = 95_000
MAX_SUMMARY_BYTES = 16_000
MAX_TABLE_BYTES = 8_000

_STYLE = """<style>
.pc-run{font:13px/1.45 var(--jp-ui-font-family,system-ui,sans-serif);color:var(--jp-ui-font-color1,inherit);
 max-width:1100px}
.pc-run h4{margin:.2em 0 .5em;font-size:14px;font-weight:600;overflow-wrap:anywhere}
.pc-run .pc-bar{display:flex;height:8px;border-radius:4px;overflow:hidden;background:rgba(128,128,128,.25);
 margin:.4em 0 .7em}
.pc-run .pc-bar i{display:block}
.pc-run .pc-pass{background:#2e9e5b}.pc-run .pc-fail{background:#d64545}
.pc-run .pc-error{background:#d9902f}.pc-run .pc-unscored{background:#8a8f98}
.pc-run .pc-scroll{overflow-x:auto}
.pc-run table.pc-table{border-collapse:collapse;table-layout:auto;width:100%;margin:.3em 0;font-size:inherit}
.pc-run table.pc-table th,.pc-run table.pc-table td{text-align:left;padding:3px 12px 3px 0;vertical-align:top;
 border-bottom:1px solid rgba(128,128,128,.3);overflow-wrap:anywhere}
.pc-run table.pc-table tr{background:none}.pc-run table.pc-table th{font-weight:600;white-space:nowrap}
.pc-run table.pc-table .n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.pc-run table.pc-table td.o{max-width:420px;min-width:9em}
.pc-run table.pc-table td.w{min-width:9em}
.pc-run .pc-said{white-space:pre-wrap;font-family:var(--jp-code-font-family,monospace);font-size:12px}
.pc-run .pc-tag{color:#fff;border-radius:3px;padding:0 6px;font-size:11px;white-space:nowrap}
.pc-run ul{margin:.2em 0 0;padding-left:1.2em}.pc-run li{margin:.1em 0}
.pc-run details{margin-top:.5em}.pc-run summary{cursor:pointer}
.pc-run .pc-note{opacity:.75}.pc-run small{font-size:11.5px}
.pc-run p{margin:.3em 0}
</style>"""


def run_html(run: RunHandle) -> str:
    """Return a run as HTML: totals, one line per version and model, what judges said, up to 200 items."""
    counts = run.counts
    traits, contests, picks = Traits(), Contests(), Picks(MAX_ROWS)
    derived = () if run.setup is None else run.setup.derived_metrics
    rows = gather(run.log.iter_plan(), (traits, contests, picks), derived)
    changed = _invariance_html(run.log.iter_plan()) if traits.variants else ""
    head = f"<h4>{_name(run.name)} · {_esc(run.status)} · {counts.done:,} of {counts.total:,}</h4>"
    error = f"<p>{_esc(str(run.error)[:1000])}</p>" if run.error else ""
    facts = " · ".join([*money_facts(counts), *call_facts(rows)])
    body = [
        head,
        error,
        bar_html(counts),
        summary_html(rows, traits),
        f'<p class="pc-note">{_esc(facts)}</p>' if facts else "",
        _metrics_html(rows, traits),
        _contests_html(contests),
        changed,
        rows_html(picks, traits),
    ]
    return f'{_STYLE}<div class="pc-run">{"".join(body)}</div>'


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
    names += ["pass", "fail", "error", "unscored", "p50", "p95", "cost"]
    return _table(names, (_summary_row(row, traits) for row in rows), len(rows), texts, MAX_SUMMARY_BYTES)


def _summary_row(row: SummaryRow, traits: Traits) -> list[str]:
    facts = "".join(f"<br><small>{_esc(fact)}</small>" for fact in rate_facts(row, traits.repeats))
    counts = row.counts
    return [
        _name(row.label),
        _name(row.model),
        _esc(row.rate_text) + facts,
        *([_esc(row.score_text)] if traits.degrees else []),
        *(f"{number:,}" for number in (counts.passed, counts.failed, counts.errored, counts.unscored)),
        _ms(row.p50_ms),
        _ms(row.p95_ms),
        _esc(row.cost_text),
    ]


def _metrics_html(rows: Sequence[SummaryRow], traits: Traits) -> str:
    found = []
    for row in rows:
        told = [(one.name, one.text) for one in row.metrics if one.name in traits.graded]
        told += [(one.name, one.text) for one in row.derived]
        found += [[_name(name), _name(row.label), _name(row.model), _esc(text)] for name, text in told]
    return (
        _table(["metric", "card version", "model", "mean score [95\u00a0%], or value"], found, len(found))
        if found
        else ""
    )


def _contests_html(contests: Contests) -> str:
    found = [
        [_name(row.name), _name(row.label), _name(row.model), _esc(share_text(row.best, row.decided, row.undecided))]
        for row in contests.rows()
    ]
    return _table(["compared by", "card version", "model", "best in"], found, len(found)) if found else ""


def _invariance_html(results: Iterable[ItemResult]) -> str:
    found = [
        [
            _name(row.transform),
            _name(row.label),
            _name(row.model),
            _esc(share_text(row.rate, row.judged, row.undecided)),
        ]
        for row in invariance(results)
    ]
    return _table(["prompt changed by", "card version", "model", "answer held in"], found, len(found)) if found else ""


def _table(
    names: Sequence[str], rows: Iterable[Sequence[str]], number: int, texts: int = 99, room: int = MAX_TABLE_BYTES
) -> str:
    """Return a table of cells that are HTML already, as many of its rows as there is room for."""
    kinds = ["" if place < texts else ' class="n"' for place in range(len(names))]
    lines = ("".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) for row in rows)
    shown = list(_fitting((f"<tr>{line}</tr>" for line in lines), room))
    head = "".join(f"<th{kind}>{name}</th>" for kind, name in zip(kinds, names, strict=True))
    more = f'<p class="pc-note">{number - len(shown):,} more are not listed.</p>' if len(shown) < number else ""
    return (
        f'<div class="pc-scroll"><table class="pc-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(shown)}</tbody></table></div>{more}"
    )


def _fitting(parts: Iterable[str], room: int) -> Iterator[str]:
    for part in parts:
        room -= len(part.encode())
        if room < 0:
            return
        yield part


def flips_html(flips: FlipTable) -> str:
    """Return what changed between two judgements: outcomes before and now, and the items that changed."""
    matrix = [
        [_tag(before), *(_moved(count, before, now) for count, now in zip(row, Outcome, strict=True))]
        for before, row in zip(Outcome, flips.rows(), strict=True)
        if any(row)
    ]
    body = [f"<h4>{_esc(flips.text)}</h4>"]
    if matrix:
        body.append(_table(["before \\ now", *map(str, Outcome)], matrix, len(matrix), texts=1))
    if flips.items:
        names = ["case", "card version", "model", "before", "now", "why"]
        room = MAX_ROWS_BYTES
        body.append(_table(names, map(_flip_row, flips.items), len(flips.items), room=room))
    return f'{_STYLE}<div class="pc-run">{"".join(body)}</div>'


def _moved(count: int, before: Outcome, now: Outcome) -> str:
    return f"<b>{count:,}</b>" if count and now is not before else f"{count:,}"


def _flip_row(flip: ItemFlip) -> list[str]:
    repeat = f" #{flip.repeat + 1}" if flip.repeat else ""
    why = flip.reason_after or (f"no longer {flip.reason_before}" if flip.reason_before else "")
    names = (f"{flip.case}{repeat}", flip.label, flip.model)
    return [*map(_name, names), _tag(flip.before), _tag(flip.after), _esc(why)]


def _tag(outcome: Outcome) -> str:
    return f'<span class="pc-tag pc-{outcome}">{outcome}</span>'


# -- items -----------------------------------------------------------------------------------------------------------


def rows_html(picks: Picks, traits: Traits) -> str:
    """Return the items in a fold-out table: what did not pass first, at most 200 of them."""
    if not picks.count:
        return ""
    shown = list(_fitting((_item_html(result, traits) for result in picks.items), MAX_ROWS_BYTES))
    note = f", {len(shown)} shown" if len(shown) < picks.count else ""
    head = "<tr><th>outcome</th><th>case</th><th>card version</th><th>model</th><th>answer</th><th>why</th></tr>"
    return (
        f'<details><summary>{picks.count:,} items{note}</summary><div class="pc-scroll">'
        f'<table class="pc-table"><thead>{head}</thead><tbody>{"".join(shown)}</tbody></table></div></details>'
    )


def _item_html(result: ItemResult, traits: Traits) -> str:
    outcome = str(result.outcome)
    score = f"<br><small>{result.score:.2f}</small>" if traits.degrees and result.score is not None else ""
    repeat = f" #{result.repeat + 1}" if traits.repeats > 1 else ""
    return (
        f'<tr><td><span class="pc-tag pc-{outcome}">{outcome}</span>{score}</td><td>{_name(result.case)}{repeat}</td>'
        f"<td>{_name(result.label)}</td><td>{_name(result.model)}</td>"
        f'<td class="o">{_answer_html(seen_answer(result.generation))}</td><td class="w">{_why_html(result)}</td></tr>'
    )


def _answer_html(seen: SeenAnswer) -> str:
    parts = [f'<div class="pc-said">{_cut(seen.text)}</div>'] if seen.text else []
    parts += [f'<div class="pc-said">→ {_cut(call)}</div>' for call in seen.calls[:3]]
    more = len(seen.calls[3:]) + seen.more_calls
    parts += [f'<div class="pc-note">and {more} more calls</div>'] if more else []
    if seen.raw is not None:
        told = "The reply could not be read; it was kept:" if seen.text is None else "Not all of it could be read:"
        parts.append(f'<div class="pc-note">{told}</div><div class="pc-said">{_cut(seen.raw)}</div>')
    return "".join(parts)


def _why_html(result: ItemResult) -> str:
    lines, more = verdict_lines(result.verdicts, MAX_VERDICTS)
    if len(lines) < 2:
        return _cut(result.message)
    rest = f'<p class="pc-note">and {more} more</p>' if more else ""
    return outline(lines, _verdict_html) + rest


def _verdict_html(verdict: Verdict) -> str:
    facts = "".join(f", {fact}" for fact in verdict_facts(verdict))
    # What a set says is what its parts say, which stand below it.
    said = "" if verdict.parts else _cut(verdict.message, MAX_CELL_CHARS // 2)
    return f"{_esc(str(verdict.outcome))} <b>{_name(verdict_name(verdict))}</b>{facts}{': ' if said else ''}{said}"


def _cut(text: str, most: int = MAX_CELL_CHARS) -> str:
    return _esc(text[:most] + ("…" if len(text) > most else ""))


def _name(text: str) -> str:
    return _cut(text, MAX_NAME_CHARS)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}\u00a0ms"


def _esc(text: str) -> str:
    return html.escape(harmless(text))
