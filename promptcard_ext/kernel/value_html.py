"""Cards, cases, results and lists of them as HTML without scripts; importing this lets them show themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import singledispatch
from typing import Any

import msgspec

from promptcard_ext.core import shown
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.contract.cards import CardHead, SavedVersion
from promptcard_ext.core.contract.runs import RunOut
from promptcard_ext.core.results import Counts, ItemResult
from promptcard_ext.core.shown import Listing
from promptcard_ext.interchange.card_file import CardFile
from promptcard_ext.interchange.csv_expected import format_expected
from promptcard_ext.kernel.html_table import cut, esc, fitting, framed, ms, name_of, table, tag
from promptcard_ext.kernel.seen_answer import seen_answer
from promptcard_ext.kernel.verdict_outline import verdict_name
from promptcard_ext.local.run_folder import RunFolder
from promptcard_ext.local.run_head import RunHead
from promptcard_ext.stats.clusters import rate
from promptcard_ext.stats.ledger import flattened
from promptcard_ext.stats.summary import rate_text

MAX_TEXT_CHARS = 6_000
MAX_BODY_BYTES = 60_000
MAX_LINES = 100
STYLE = """<style>
.pc-run .pc-prompt{white-space:pre-wrap;overflow-wrap:anywhere;font-family:var(--jp-code-font-family,monospace);
 font-size:12px;padding:6px 10px;margin:.2em 0 .6em;border-left:3px solid rgba(128,128,128,.5);
 background:rgba(128,128,128,.09)}
.pc-run .pc-prompt b{font-weight:600;color:var(--jp-brand-color1,#2e7fd0)}
.pc-run .pc-role{font-size:11.5px;opacity:.75}
.pc-run .pc-chip{display:inline-block;padding:0 7px;margin-right:4px;border-radius:9px;font-size:11.5px;
 background:rgba(128,128,128,.2)}
</style>"""
_VARIABLE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


@singledispatch
def value_html(value: Any) -> str | None:
    """Return a value as HTML, at most about 100 kB; None for what has no form of its own."""
    del value
    return None


def _page(title: str, *parts: str) -> str:
    return framed(STYLE + f"<h4>{title}</h4>" + "".join(fitting(parts, MAX_BODY_BYTES)))


# -- cards -----------------------------------------------------------------------------------------------------------


@value_html.register
def _card(card: Card) -> str:
    title = f" · {name_of(card.title)}" if card.title else ""
    chips = "".join(f'<span class="pc-chip">{name_of(one)}</span>' for one in card.tags)
    notes = [f"<p>{cut(text)}</p>" for text in (card.description, card.note) if text]
    return _page(
        f"{name_of(card.label)}{title}", f"<p>{chips}</p>" if chips else "", *notes, *_messages(card), _variables(card),
        _settings(card),
    )  # fmt: skip


def _messages(card: Card) -> Iterable[str]:
    for source in card.sources:
        place = "" if source.place in ("system", "template") else f" · {source.place}"
        text = source.text[:MAX_TEXT_CHARS] + ("…" if len(source.text) > MAX_TEXT_CHARS else "")
        yield f'<div class="pc-role">{source.role}{esc(place)}</div><div class="pc-prompt">{_marked(text)}</div>'


def _marked(text: str) -> str:
    """Return a template with what is filled in set apart."""
    parts, end = [], 0
    for found in _VARIABLE.finditer(text):
        parts += [esc(text[end : found.start()]), f"<b>{esc(found.group())}</b>"]
        end = found.end()
    return "".join([*parts, esc(text[end:])])


def _variables(card: Card) -> str:
    rows = [
        [
            name_of(one.name),
            esc(str(one.type)),
            "" if one.default is msgspec.UNSET else cut(_text(one.default)),
            cut(one.description),
        ]
        for one in card.variables
    ]
    if not rows and card.used_variables:
        return f'<p class="pc-note">Variables: {cut(", ".join(sorted(card.used_variables)))}</p>'
    return table(["variable", "type", "default", ""], rows, len(rows), small=True) if rows else ""


def _settings(card: Card) -> str:
    values = msgspec.to_builtins(card.settings)
    told = ", ".join(f"{name} {_text(value)}" for name, value in values.items())
    return f'<p class="pc-note">{cut(told)}</p>' if told else ""


@value_html.register
def _card_file(file: CardFile) -> str:
    rows = [[name_of(card.label), cut(card.note), f"{len(card.sources)}"] for card in file.versions]
    versions = table(["version", "note", "messages"], rows, len(rows), texts=2, small=True)
    return _page(name_of(file.name), versions, f"<p>{len(file.cases):,} cases</p>", _cases_table(file.cases))


@value_html.register
def _saved_version(saved: SavedVersion) -> str:
    when = f'<p class="pc-note">Saved {_moment(saved.created_at)}, content {esc(saved.content_hash[:12])}</p>'
    return _card(saved.card) + framed(when)


# -- cases -----------------------------------------------------------------------------------------------------------


@value_html.register
def _case(case: Case) -> str:
    rows = [[name_of(name), cut(_text(value))] for name, value in case.variables.items()]
    parts = [table(["variable", "value"], rows, len(rows), small=True)]
    parts.append("<ul>" + "".join(f"<li>{_assertion(one)}</li>" for one in case.assertions[:MAX_LINES]) + "</ul>")
    if not case.assertions:
        parts[-1] = '<p class="pc-note">No assertion: it will be unscored.</p>'
    facts = [("expected", case.expected_output), ("threshold", case.threshold), ("metadata", case.metadata or None)]
    told = " · ".join(f"{name} {cut(_text(value))}" for name, value in facts if value is not None)
    return _page(
        f"{name_of(case.name)} <small>{case.uid[:8]}</small>", *parts, f'<p class="pc-note">{told}</p>' if told else ""
    )


def _assertion(assertion: Assertion) -> str:
    short = format_expected(msgspec.structs.replace(assertion, metric=None, weight=1.0))
    if short is None:
        more = {name: value for name, value in msgspec.to_builtins(assertion).items() if name != "type"}
        return cut(f"{assertion.type} {_text(more)}")
    facts = [assertion.metric or "", "" if assertion.weight == 1 else f"weight {assertion.weight:g}"]
    told = ", ".join(filter(None, facts))
    return cut(f"{short} ({told})" if told else short)


def _cases_table(cases: Sequence[Case]) -> str:
    rows = (
        [
            name_of(case.name),
            cut(", ".join(f"{name}={_text(value)}" for name, value in case.variables.items()), 200),
            "<br>".join(_assertion(one) for one in case.assertions[:4])
            + (f"<br>and {len(case.assertions) - 4} more" if len(case.assertions) > 4 else ""),
        ]
        for case in cases[:MAX_LINES]
    )
    return table(["case", "variables", "assertions"], rows, len(cases), room=MAX_BODY_BYTES // 2) if cases else ""


# -- results and runs ------------------------------------------------------------------------------------------------


@value_html.register
def _result(result: ItemResult) -> str:
    seen = seen_answer(result.generation)
    answer = seen.text or "\n".join(f"→ {call}" for call in seen.calls) or seen.raw or ""
    rows = [
        [tag(verdict.outcome), name_of(verdict_name(verdict)), cut(verdict.message or verdict.reason or "")]
        for _, verdict in list(flattened(result.verdicts))[:MAX_LINES]
    ]
    took = "" if result.generation is None else f" · {ms(result.generation.latency_ms)}"
    repeat = f" #{result.repeat + 1}" if result.repeat else ""
    where = f"{name_of(result.case)}{repeat} · {name_of(result.label)} · {name_of(result.model)}"
    return _page(
        f"{tag(result.outcome)} {where}{took}",
        f'<div class="pc-prompt">{cut(answer, MAX_TEXT_CHARS)}</div>' if answer else "",
        f"<p>{cut(result.message)}</p>" if result.message and not rows else "",
        table(["outcome", "assertion", "why"], rows, len(rows)) if rows else "",
    )


@value_html.register
def _run(run: RunOut) -> str:
    return _page(name_of(run.name), _table([run]))


@value_html.register
def _run_head(head: RunHead) -> str:
    return _page(name_of(head.name), _table([head]))


@value_html.register
def _run_folder(folder: RunFolder) -> str:
    return _run_head(folder.head)


# -- lists -----------------------------------------------------------------------------------------------------------


@value_html.register
def _listing(values: Listing) -> str:  # type: ignore[type-arg]  # of anything
    if not values:
        return framed('<p class="pc-note">Nothing.</p>')
    return framed(STYLE + _table(list(values)))


def _table(values: Sequence[Any]) -> str:
    """Return values of one type as a table."""
    first = values[0]
    if isinstance(first, Case):
        return f'<p class="pc-note">{len(values):,} cases</p>{_cases_table(values)}'
    if isinstance(first, RunOut):
        rows = [[name_of(one.name), esc(one.status), *_counts(one.counts), _moment(one.created_at)] for one in values]
        return table(["run", "status", "items", "pass rate", "started"], rows[:MAX_LINES], len(rows), texts=2)
    if isinstance(first, RunHead):
        rows = [
            [name_of(one.name), esc(one.status), *_counts(one.counts or Counts()), _moment(one.started)]
            for one in values
        ]
        return table(["run", "status", "items", "pass rate", "started"], rows[:MAX_LINES], len(rows), texts=2)
    if isinstance(first, SavedVersion):
        rows = [[f"{one.version}", cut(one.card.note), one.content_hash[:8], _moment(one.created_at)] for one in values]
        return table(["version", "note", "content", "saved"], rows[:MAX_LINES], len(rows), small=True)
    if isinstance(first, CardHead):
        rows = [[name_of(one.name), name_of(one.title), f"{one.latest_version}", cut(", ".join(one.tags)),
                 _moment(one.updated_at)] for one in values]  # fmt: skip
        return table(["card", "title", "version", "tags", "changed"], rows[:MAX_LINES], len(rows))
    rows = [[cut(repr(one))] for one in values]
    return table([""], rows[:MAX_LINES], len(rows))


def _counts(counts: Counts) -> tuple[str, str]:
    found = rate([(counts.passed, counts.judged)]) if counts.judged else None
    done = f"{counts.done:,} of {counts.total:,}"
    # Without the cases nobody knows the interval: the rate and its denominator only.
    told = rate_text(found, counts) if found is None else re.sub(r" \[.*?\]", "", rate_text(found, counts))
    return done, esc(told)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(msgspec.to_builtins(value), ensure_ascii=False)


shown.draw = value_html
