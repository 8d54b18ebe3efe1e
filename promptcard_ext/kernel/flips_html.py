"""What a re-grade changed, as HTML: outcomes before and now, assertions, and the items that flipped."""

from __future__ import annotations

from promptcard_ext.core.results import Outcome
from promptcard_ext.kernel.html_table import esc, framed, name_of, table, tag
from promptcard_ext.kernel.overview import URGENCY
from promptcard_ext.stats import flips as flips_module
from promptcard_ext.stats.flips import FlipTable, ItemFlip, TypeFlips, moves_text

MAX_ITEMS_BYTES = 95_000
# A longer list of items is folded.
MAX_OPEN = 20


def flips_html(flips: FlipTable) -> str:
    """Return what changed between two judgements: outcomes before and now, and the items that changed."""
    before, now = flips.passed
    net = f"{before:,} of {flips.compared:,} passed before, {now:,} now ({_signed(now - before)})"
    alone = [(flips.only_before, "only before"), (flips.only_after, "only now")]
    facts = [net, *(f"{_items_text(number)} {when}" for number, when in alone if number)]
    body = [
        f"<h4>{esc(flips.text)}</h4>",
        f'<p class="pc-note">{" · ".join(facts)}</p>' if flips.compared or len(facts) > 1 else "",
        _matrix(flips),
        _types(flips),
        _items(flips),
    ]
    return framed("".join(body))


def _signed(number: int) -> str:
    return f"+{number:,}" if number > 0 else f"−{-number:,}" if number else "±0"


def _matrix(flips: FlipTable) -> str:
    rows = [
        [tag(before), *(_moved(count, before, now) for count, now in zip(row, Outcome, strict=True))]
        for before, row in zip(Outcome, flips.rows(), strict=True)
        if any(row)
    ]
    return table(["before \\ now", *map(str, Outcome)], rows, len(rows), texts=1, small=True) if rows else ""


def _moved(count: int, before: Outcome, now: Outcome) -> str:
    if now is before:
        return f"{count:,}"
    # A column of zeros would hide what moved.
    return f"<b>{count:,}</b>" if count else "·"


def _types(flips: FlipTable) -> str:
    rows = [_type(each) for each in flips.types if moves_text(each.matrix) or each.added or each.removed]
    names = ["assertion", "flipped", "changed", "added", "removed"]
    return table(names, rows, len(rows), texts=2, small=True) if rows else ""


def _type(flips: TypeFlips) -> list[str]:
    counts = (flips.changed, flips.added, flips.removed)
    return [name_of(flips.type), moves_text(flips.matrix) or "none", *(f"{count:,}" for count in counts)]


def _items(flips: FlipTable) -> str:
    if not flips.items:
        return ""
    names = ["case", "card version", "model", "before", "now", "why"]
    # What got worse first; otherwise in the order of the plan.
    ordered = sorted(flips.items, key=lambda flip: URGENCY[flip.after])
    repeats = any(flip.repeat for flip in ordered)
    rows = (_item(flip, repeats=repeats) for flip in ordered)
    unfolded = " open" if len(ordered) <= MAX_OPEN else ""
    head = f"{_items_text(len(ordered))} flipped"
    return (
        f"<details{unfolded}><summary>{head}</summary>"
        f"{table(names, rows, len(ordered), room=MAX_ITEMS_BYTES)}</details>"
    )


def _items_text(number: int) -> str:
    return f"{number:,} item{'' if number == 1 else 's'}"


def _item(flip: ItemFlip, *, repeats: bool) -> list[str]:
    repeat = f" #{flip.repeat + 1}" if repeats else ""
    why = flip.reason_after or (f"no longer {flip.reason_before}" if flip.reason_before else "")
    return [
        name_of(flip.case) + repeat, name_of(flip.label), name_of(flip.model), tag(flip.before), tag(flip.after),
        name_of(why),
    ]  # fmt: skip


flips_module.as_html = flips_html
