"""A comparison as HTML without scripts: what a saved notebook keeps of it, always below 150 kB."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.kernel.compared_entry import Entry
from promptcard_ext.kernel.comparison_words import (
    difference_text,
    flips_text,
    headline,
    name_text,
    notes_of,
    value_text,
    word_text,
)
from promptcard_ext.kernel.html_table import cut, esc, framed, name_of, table, tag
from promptcard_ext.kernel.overview import URGENCY
from promptcard_ext.kernel.seen_answer import seen_answer
from promptcard_ext.stats.compared import ComparedGroup, MetricDifference
from promptcard_ext.stats.paired import Difference
from promptcard_ext.stats.response_modes import Mode
from promptcard_ext.stats.word_diff import Piece, word_diff

if TYPE_CHECKING:
    from promptcard_ext.kernel.comparison import Comparison

MAX_FLIPS = 100
MAX_FLIPS_BYTES = 80_000
MAX_MODES = 12
MAX_MODES_BYTES = 12_000
MAX_TABLE_BYTES = 24_000
# Of an answer in the table; a difference further behind is seen when one browses.
MAX_DIFF_CHARS = 700
# What is the same on both sides is shortened to so many characters at either end.
CONTEXT_CHARS = 60

STYLE = """<style>
.pc-run ins,.pc-run del{text-decoration:none;border-radius:2px;padding:0 1px}
.pc-run del+ins{margin-left:3px}.pc-run ins{background:rgba(46,158,91,.28)}.pc-run del{background:rgba(214,69,69,.28)}
.pc-run .pc-scale{position:relative;display:inline-block;width:130px;height:16px;vertical-align:middle}
.pc-run .pc-scale i{position:absolute;display:block}
.pc-run .pc-zero{left:50%;top:0;bottom:0;width:1px;background:rgba(128,128,128,.8)}
.pc-run .pc-line{top:7px;height:2px;background:currentColor;opacity:.65}
.pc-run .pc-point{top:4px;width:8px;height:8px;margin-left:-4px;border-radius:50%;background:currentColor}
.pc-run .pc-better{color:#2a9458}.pc-run .pc-worse{color:#d64545}
.pc-run .pc-head{font-size:14px}
.pc-run .pc-compared table.pc-table{width:auto}.pc-run .pc-compared table.pc-table td{min-width:0}
.pc-run .pc-compared table.pc-table td:nth-last-child(-n+5){white-space:nowrap}
.pc-run .pc-flipped table.pc-table td{min-width:0}
.pc-run .pc-flipped table.pc-table td.t:nth-last-child(-n+2){min-width:9em}
</style>"""


def comparison_html(comparison: Comparison) -> str:
    """Return two runs next to each other: what differs, how sure that is, and the items that flipped."""
    compared = comparison.compared
    names = f"{name_of(comparison.a.facts.name)} → {name_of(comparison.b.facts.name)}"
    notes = "".join(f"<li>{cut(note)}</li>" for note in notes_of(compared, comparison.notes))
    body = [
        f"<h4>{names}</h4>",
        f'<p class="pc-head"><b>{esc(headline(compared))}</b></p>',
        f"<p>{esc(flips_text(compared))}</p>",
        f'<ul class="pc-note">{notes}</ul>' if notes else "",
        _differences(compared.groups),
        _flips(comparison),
        _modes(comparison),
    ]
    return framed(STYLE + "".join(body))


# -- differences -----------------------------------------------------------------------------------------------------


def _differences(groups: tuple[ComparedGroup, ...]) -> str:
    if not groups:
        return ""
    names = [*_heads(groups), "", "a", "b", "b − a [95\u00a0%]", "", ""]
    rows = [row for group in groups for row in _group_rows(group, groups)]
    return f'<div class="pc-compared">{table(names, rows, len(rows), room=MAX_TABLE_BYTES)}</div>'


def _heads(groups: tuple[ComparedGroup, ...]) -> list[str]:
    """Return the columns it takes to tell the groups apart."""
    several = (len({group.label_b for group in groups}) > 1, len({group.model_b for group in groups}) > 1)
    return [name for name, needed in zip(("card version", "model"), several, strict=True) if needed]


def _group_rows(group: ComparedGroup, groups: tuple[ComparedGroup, ...]) -> Iterator[list[str]]:
    names = {
        "card version": _renamed(group.label_a, group.label_b),
        "model": _renamed(group.model_a, group.model_b),
    }
    heads = [names[head] for head in _heads(groups)]
    for metric in group.metrics:
        yield [*heads, *_difference(metric, groups)]
        # Said once: the lines below it are of the same.
        heads = [""] * len(heads)


def _difference(metric: MetricDifference, groups: tuple[ComparedGroup, ...]) -> list[str]:
    name, difference = metric.metric, metric.difference or metric.among_same
    if difference is None:
        return [name_of(name_text(metric)), "–", "–", "–", "", f"{word_text(metric)}{_left_out(metric)}"]
    most = max(_reach(one) for each in groups if (one := each.metric(name, metric.name)) is not None)
    told = esc(difference_text(name, difference))
    kind = f"pc-{metric.word}" if metric.word in ("better", "worse") else ""
    return [
        name_of(name_text(metric)), value_text(name, difference.a), value_text(name, difference.b),
        f"{told}<br><small>only cases with the same assertions</small>" if metric.withheld else told,
        f'<span class="{kind}">{_scale(difference, most)}</span>',
        f'<span class="{kind}">{word_text(metric)}</span>{_left_out(metric)}',
    ]  # fmt: skip


def _renamed(a: str, b: str) -> str:
    return name_of(b) if a == b else f"{name_of(a)} → {name_of(b)}"


def _left_out(metric: MetricDifference) -> str:
    return f"<br><small>{metric.left_out:,} pairs without</small>" if metric.left_out else ""


def _reach(metric: MetricDifference) -> float:
    found = metric.difference or metric.among_same
    return 0.0 if found is None else max(abs(x) for x in (found.mean, found.low, found.high) if x is not None)


def _scale(difference: Difference, most: float) -> str:
    """Return a picture: the interval and its mean left or right of zero, which is in the middle."""

    def place(value: float) -> float:
        return 50 + 48 * value / most if most else 50.0

    line = ""
    if difference.low is not None and difference.high is not None:
        start, end = place(difference.low), place(difference.high)
        line = f'<i class="pc-line" style="left:{start:.1f}%;width:{end - start:.1f}%"></i>'
    point = f'<i class="pc-point" style="left:{place(difference.mean):.1f}%"></i>'
    return f'<span class="pc-scale"><i class="pc-zero"></i>{line}{point}</span>'


# -- case by case ----------------------------------------------------------------------------------------------------


def _flips(comparison: Comparison) -> str:
    flipped = [entry for entry in comparison.entries if entry.pair is not None and entry.pair.flipped]
    alone = len(comparison.entries) - len(comparison.compared.joined.pairs)
    note = f'<p class="pc-note">{alone:,} items are only on one side.</p>' if alone else ""
    if not flipped:
        return note
    ordered = sorted(flipped, key=lambda entry: URGENCY[entry.some.outcome])
    heads = _heads(comparison.groups)
    rows = (_flip(comparison, entry, heads) for entry in islice(ordered, MAX_FLIPS))
    shown = table(["a", "b", "case", *heads, "answers", "why"], rows, len(flipped), room=MAX_FLIPS_BYTES)
    head = f"{len(flipped):,} flipped"
    return f'{note}<details open class="pc-flipped"><summary>{head}</summary>{shown}</details>'


def _flip(comparison: Comparison, entry: Entry, heads: list[str]) -> list[str]:
    a, b = comparison.results(entry)
    row = entry.some
    before, after = (one.outcome if one is not None else Outcome.UNSCORED for one in (a, b))
    repeat = f" #{row.repeat + 1}" if comparison.repeats > 1 else ""
    why = (b.message or b.reason or "") if b is not None else ""
    if not why and a is not None:
        why = f"no longer: {a.message or a.reason}"
    names = {"card version": name_of(row.label), "model": name_of(row.model)}
    return [
        tag(before), tag(after), name_of(row.case) + repeat, *(names[head] for head in heads),
        f'<div class="pc-said">{"".join(_marked(word_diff(_answer(a), _answer(b))))}</div>', cut(why),
    ]  # fmt: skip


def _answer(result: ItemResult | None) -> str:
    if result is None:
        return ""
    seen = seen_answer(result.generation)
    return seen.text or " ".join(f"→ {call}" for call in seen.calls) or seen.raw or ""


def _marked(pieces: list[Piece]) -> Iterator[str]:
    room = MAX_DIFF_CHARS
    for piece in pieces:
        text = piece.text
        if piece.side == "both" and len(text) > 2 * CONTEXT_CHARS + 20:
            text = f"{text[:CONTEXT_CHARS]} … {text[-CONTEXT_CHARS:]}"
        shown = cut(text, room)
        yield shown if piece.side == "both" else f"<del>{shown}</del>" if piece.side == "a" else f"<ins>{shown}</ins>"
        room -= len(text)
        if room <= 0:
            return


# -- response modes --------------------------------------------------------------------------------------------------


def _modes(comparison: Comparison) -> str:
    shifts = [(pair, moved) for pair, moved in comparison.compared.mode_shifts() if moved > 0]
    if not shifts:
        return ""
    rows = [row for pair, _ in shifts[:MAX_MODES] for row in _modes_of(comparison, Entry(*pair))]
    names = ["case", "model", "answer", "a", "b", ""]
    head = f"Answers of {len(shifts):,} repeated questions came in other shares"
    more = f", {MAX_MODES} are shown" if len(shifts) > MAX_MODES else ""
    return (
        f"<details><summary>{head}{more}</summary>"
        f"{table(names, rows, len(rows), texts=3, room=MAX_MODES_BYTES)}</details>"
    )


def _modes_of(comparison: Comparison, entry: Entry) -> list[list[str]]:
    row = entry.some
    modes = comparison.modes(entry)[:6]
    return [[name_of(row.case), name_of(row.model), *_mode(mode)] for mode in modes]


def _mode(mode: Mode) -> list[str]:
    return [
        f'<div class="pc-said">{cut(mode.text, 160)}</div>', f"{mode.a:,} ({mode.share_a:.0%})",
        f"{mode.b:,} ({mode.share_b:.0%})", mode.change,
    ]  # fmt: skip
