"""What a run was and what it says, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC

from markupsafe import Markup

from promptcard_ext.core.results import Outcome
from promptcard_ext.kernel.row_facts import call_facts
from promptcard_ext.report.piece import Piece, join, listed, name, note, several, text_of
from promptcard_ext.report.reasons import sentence
from promptcard_ext.report.run import ReportRun
from promptcard_ext.stats.summary import SummaryRow, cost_text

MAX_REASONS = 20


def header(run: ReportRun) -> Piece:
    """Return what was run, when and with what outcome in numbers."""
    counts = run.counts
    tiles = [
        ("items" if counts.done == counts.total else f"of {counts.total:,} items", f"{counts.done:,}", ""),
        ("passed", f"{counts.passed:,}", "pc-is-pass" if counts.passed else ""),
        ("failed", f"{counts.failed:,}", "pc-is-fail" if counts.failed else ""),
        ("errors", f"{counts.errored:,}", "pc-is-error" if counts.errored else ""),
        ("unscored", f"{counts.unscored:,}", ""),
    ]
    facts = list(_facts(run))
    html = Markup('<div class="pc-tiles">{}</div>{}<dl class="pc-facts">{}</dl>{}').format(
        join(
            Markup('<div class="pc-tile {}"><b>{}</b><span>{}</span></div>').format(c, n, what) for what, n, c in tiles
        ),
        _bar(run),
        join(Markup("<dt>{}</dt><dd>{}</dd>").format(term, value) for term, value in facts),
        _simulated(run),
    )
    lines = [f"{term}: {text_of(value)}" for term, value in facts]
    numbers = ", ".join(f"{number} {what}" for what, number, _ in tiles)
    return Piece(html, "\n".join([numbers, *lines, *([_simulated(run).striptags()] if run.simulated else [])]))


def _facts(run: ReportRun) -> Iterator[tuple[str, str]]:
    yield "Run", name(run.name)
    if run.info.get("id"):
        yield "Id", Markup("<code>{}</code>").format(name(str(run.info["id"])))
    yield "Status", run.status
    started, finished = run.time("started_at") or run.time("created_at"), run.time("finished_at")
    if started is not None:
        yield "When", f"{started.astimezone(UTC):%d %B %Y, %H:%M} UTC".lstrip("0")
    if started is not None and finished is not None:
        yield "Duration", _duration((finished - started).total_seconds())
    elif run.info.get("duration_s") is not None:
        yield "Duration", _duration(run.info["duration_s"])
    for what, names in (("Version", run.labels), ("Model", run.models)):
        if names:
            yield f"{what}{'s' if len(names) > 1 else ''}", _names(names)
    repeats = f", each asked {run.repeats} times" if run.repeats > 1 else ""
    yield "Cases", f"{run.cases:,}{repeats}"
    yield "Cost", cost_text(run.counts.cost_usd, run.counts.priced, run.counts.done)
    if run.counts.priced and run.counts.spent_usd != run.counts.cost_usd:
        yield "Spent this time", f"${run.counts.spent_usd:.4f}"
    if run.counts.cached:
        yield "From the store", f"{run.counts.cached:,} of {several(run.counts.done, 'answer')}"
    if calls := call_facts(run.rows):
        yield "Further calls", "; ".join(calls)
    if run.info.get("engine_version"):
        yield "Engine", f"Prompt Cards {run.info['engine_version']}"


def _names(names: Sequence[str], most: int = 12) -> Markup:
    shown = [Markup('<span class="pc-name">{}</span>').format(name(each)) for each in names[:most]]
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return Markup("{}{}").format(join(shown, Markup(", ")), rest)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _bar(run: ReportRun) -> Markup:
    counts = run.counts
    parts = (("pass", counts.passed), ("fail", counts.failed), ("error", counts.errored), ("unscored", counts.unscored))
    total = max(1, counts.total, counts.done)
    return Markup('<div class="pc-bar">{}</div>').format(
        join(
            Markup('<span class="pc-{}" style="width:{}%" title="{} {}"></span>').format(
                what, f"{100 * n / total:.3f}", n, what
            )
            for what, n in parts
            if n
        )
    )


def _simulated(run: ReportRun) -> Markup:
    if not run.simulated:
        return Markup("")
    return Markup(
        '<p class="pc-callout pc-warn"><b>Simulated: not from a model.</b> '
        "The answers, latencies and costs of {} are drawn by a program. They show how a report reads, "
        "and say nothing about how good a prompt is.</p>"
    ).format(listed([*map(name, run.simulated)]))


def verdict(run: ReportRun) -> Piece:
    """Return what the run says, in sentences: the best version on each model, how sure that is, what is missing."""
    if not run.rows:
        empty = "No item has a result, so there is nothing to compare."
        return Piece(join([_ending(run), note(empty)]), empty)
    cards = list(dict.fromkeys(run.card_of.values()))
    groups: dict[tuple[str, str], list[SummaryRow]] = {}
    for row in run.rows:
        groups.setdefault((run.card_of[row.label], row.model), []).append(row)
    blocks = []
    told = set()
    for (card, model), rows in sorted(groups.items(), key=lambda group: cards.index(group[0][0])):
        if card not in told:
            told.add(card)
            blocks.append(_headline([group for (of, _), group in groups.items() if of == card]))
        state, sentence = _compare(rows)
        where = f"{name(card)} on {name(model)}" if len(cards) > 1 else f"On {name(model)}"
        blocks.append(
            Markup('<div class="pc-callout pc-{}"><p class="pc-where">{}</p><p>{}</p></div>').format(
                state, where, sentence
            )
        )
    html = join([_ending(run), *blocks, _missing(run), _repeats(run)])
    return Piece(html, _as_text(html))


def _compare(rows: Sequence[SummaryRow]) -> tuple[str, Markup]:
    """Return ``clear``, ``open`` or ``only``, and the sentences about the versions of one card on one model."""
    judged = [row for row in rows if row.pass_rate is not None]
    silent = [_version(row) for row in rows if row.pass_rate is None]
    tail = (
        Markup(" {} {} no verdict at all.").format(listed(silent), "has" if len(silent) == 1 else "have")
        if silent
        else Markup("")
    )
    if not judged:
        return "open", tail
    ranked = sorted(judged, key=_order, reverse=True)
    best = ranked[0]
    if len(ranked) == 1:
        return "only", Markup("{} passes {}.{}").format(_version(best), best.rate_text, tail)
    level = [row for row in ranked if _order(row) == _order(best)]
    if len(level) > 1:
        first = Markup("{} pass equally often: {}.").format(listed([_version(row) for row in level]), _rates(level))
    else:
        first = Markup("{} passes most often: {}.").format(_version(best), best.rate_text)
    behind = [row for row in ranked if row not in level]
    # The leaders have one rate but maybe not one denominator; a version is behind them only if it is behind each.
    apart = [row for row in behind if all(_apart(row, leader) for leader in level)]
    close = [row for row in behind if row not in apart]
    sentences = [first, *([_says_apart(apart)] if apart else []), *([_says_close(close)] if close else [])]
    return ("open" if close or len(level) > 1 else "clear"), Markup("{}{}").format(join(sentences, Markup(" ")), tail)


def _headline(groups: Sequence[Sequence[SummaryRow]]) -> Markup:
    """Return one sentence about a card on all models, where there are several models and versions."""
    groups = [group for group in groups if sum(row.pass_rate is not None for row in group) > 1]
    if len(groups) < 2:
        return Markup("")
    leaders, clear = set(), 0
    for group in groups:
        ranked = sorted((row for row in group if row.pass_rate), key=_order, reverse=True)
        leaders.add(ranked[0].label if _order(ranked[0]) > _order(ranked[1]) else "")
        clear += all(_apart(row, ranked[0]) for row in ranked[1:])
    if len(leaders) > 1 or "" in leaders:
        return Markup('<p class="pc-head">No version passes most often on all {} models.</p>').format(len(groups))
    many = "all of them" if clear == len(groups) else f"{clear} of them"
    sure = (
        f"the 95\u00a0% intervals lie apart on {many}" if clear else "the 95\u00a0% intervals overlap on each of them"
    )
    models = "both models" if len(groups) == 2 else f"all {len(groups)} models"
    if len(groups) == 2:
        sure = sure.replace("all of them", "both").replace("each of them", "both").replace("1 of them", "one of them")
    return Markup('<p class="pc-head"><b>{}</b> passes most often on {}; {}.</p>').format(
        name(leaders.pop()), models, sure
    )


def _order(row: SummaryRow) -> float:
    return row.pass_rate.rate if row.pass_rate else -1.0


def _apart(low: SummaryRow, high: SummaryRow) -> bool:
    return low.pass_rate is not None and high.pass_rate is not None and low.pass_rate.high < high.pass_rate.low


def _says_apart(rows: Sequence[SummaryRow]) -> Markup:
    named = listed([Markup("{} ({})").format(_version(row), row.rate_text) for row in rows])
    if len(rows) == 1:
        return Markup("{} lies below, and the 95\u00a0% intervals do not overlap.").format(named)
    return Markup("{} lie below, and their 95\u00a0% intervals do not reach the best one's.").format(named)


def _says_close(rows: Sequence[SummaryRow]) -> Markup:
    named = listed([Markup("{} ({})").format(_version(row), row.rate_text) for row in rows])
    return Markup("{} {} behind, but the 95\u00a0% intervals overlap: <b>not separated by this many cases</b>.").format(
        named, "is" if len(rows) == 1 else "are"
    )


def _rates(rows: Sequence[SummaryRow]) -> str:
    return " and ".join(dict.fromkeys(row.rate_text for row in rows))


def _version(row: SummaryRow) -> Markup:
    return Markup("<b>{}</b>").format(name(row.label))


def _ending(run: ReportRun) -> Markup:
    counts = run.counts
    error = run.info.get("error")
    if run.status == "failed":
        why = error.get("message", "") if isinstance(error, dict) else str(error or "")
        return Markup('<p class="pc-callout pc-bad"><b>The run failed.</b> {}</p>').format(why[:400])
    if counts.done < counts.total:
        done = f"{counts.done:,} of {several(counts.total, 'item')} have a result."
        why = "The run was cancelled" if run.status == "cancelled" else "The run has not ended"
        return Markup('<p class="pc-callout pc-warn"><b>{}: {}</b> The numbers are about these only.</p>').format(
            why, done
        )
    return Markup("")


def _missing(run: ReportRun) -> Markup:
    counts = run.counts
    without = counts.done - counts.judged
    if not without:
        return note("Every item was judged: nothing is left out of the rates.")
    why = [each for each in run.findings.reasons.by_urgency() if each[0] in (Outcome.ERROR, Outcome.UNSCORED)]
    items = [
        Markup("<li>{} {}: {}</li>").format(
            f"{number:,}",
            ("error" if number == 1 else "errors") if outcome is Outcome.ERROR else "unscored",
            told_reason(reason),
        )
        for outcome, reason, number in why[:MAX_REASONS]
    ]
    if len(why) > MAX_REASONS:
        items.append(Markup("<li>{} for other reasons</li>").format(sum(number for _, _, number in why[MAX_REASONS:])))
    head = f"{without:,} of {several(counts.done, 'item')} {'has' if without == 1 else 'have'} no verdict"
    return Markup('<div class="pc-callout pc-warn"><p><b>{}</b>, and {} in no pass rate:</p><ul>{}</ul></div>').format(
        head, "is" if without == 1 else "are", join(items)
    )


def told_reason(reason: str) -> Markup:
    """Return what a reason means, with its code."""
    if not reason:
        return Markup("no reason was given")
    return Markup("{} <code>{}</code>").format(sentence(reason), name(reason))


def _repeats(run: ReportRun) -> Markup:
    if run.repeats < 2:
        return Markup("")
    return note(
        f"Each case was asked {run.repeats} times. Answers to one case resemble each other, and the intervals allow "
        f"for that: they rest on {several(run.cases, 'case')} rather than on the number of answers."
    )


def _as_text(html: Markup) -> str:
    lines = html.replace(Markup("</p>"), Markup("</p>\n")).replace(Markup("</li>"), Markup("</li>\n")).split("\n")
    return "\n".join(text for line in lines if (text := text_of(line)))
