"""A card as HTML without scripts: what a saved notebook keeps of an editor."""

from __future__ import annotations

import json
import re

import msgspec

from promptcard_ext.core.card import Card
from promptcard_ext.core.variables import Variable
from promptcard_ext.kernel.html_table import cut, esc, framed, name_of, table

MAX_TEXT_CHARS = 20_000
MAX_TEXTS_BYTES = 100_000
MAX_MESSAGES = 60
MAX_PLAIN_CHARS = 60_000
_TAG = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_STYLE = (
    "<style>.pc-run .pc-message{margin:.5em 0;padding:6px 10px;border-left:3px solid rgba(128,128,128,.5);"
    "background:rgba(128,128,128,.08)}.pc-run .pc-message b.pc-v{color:#1a6fc4;font-weight:600}</style>"
)


def card_html(card: Card) -> str:
    """Return a card as HTML: messages with their variables in another colour, variables, settings."""
    room, shown = MAX_TEXTS_BYTES, []
    for source in card.sources:
        length, text = _fitting(source.text, room)
        room -= len(text.encode())
        more = len(source.text) - length
        rest = f'<div class="pc-note">and {more:,} more characters</div>' if more else ""
        note = f'<div class="pc-note">{esc(source.role)}</div>'
        shown.append(f'<div class="pc-message">{note}<div class="pc-said">{text}</div>{rest}</div>')
        if len(shown) == MAX_MESSAGES:
            break
    facts = [fact for fact in (card.description, ", ".join(card.tags), _settings(card)) if fact]
    head = f"<h4>{name_of(card.label)}{f' · {name_of(card.title)}' if card.title else ''}</h4>"
    notes = "".join(f'<p class="pc-note">{cut(fact, 1_000)}</p>' for fact in facts)
    return framed(_STYLE + head + notes + "".join(shown) + _variables(card))


def card_text(card: Card) -> str:
    """Return a card as plain text."""
    return "\n".join([card.label, *(f"[{source.role}]\n{source.text}" for source in card.sources)])[:MAX_PLAIN_CHARS]


def _fitting(text: str, room: int) -> tuple[int, str]:
    """Return how much of a text fits, and that as HTML."""
    length = min(len(text), MAX_TEXT_CHARS)
    while (size := len((shown := _marked(text[:length])).encode())) > room:
        length = max(0, length * room // size - 1)
        if not length:
            return 0, ""
    return length, shown


def _marked(text: str) -> str:
    parts, last = [], 0
    for found in _TAG.finditer(text):
        parts += [esc(text[last : found.start()]), f'<b class="pc-v">{esc(found[0])}</b>']
        last = found.end()
    return "".join([*parts, esc(text[last:])])


def _settings(card: Card) -> str:
    settings = msgspec.to_builtins(card.settings)
    return ", ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items())


def _variables(card: Card) -> str:
    if not card.variables:
        names = sorted(card.used_variables)
        return f'<p class="pc-note">Variables: {cut(", ".join(names))}</p>' if names else ""
    rows = [_row(variable) for variable in card.variables]
    return table(["variable", "type", "default", "trust", "description"], rows, len(rows), small=True)


def _row(one: Variable) -> list[str]:
    default = "required" if one.default is msgspec.UNSET else json.dumps(one.default, ensure_ascii=False, default=str)
    kind = f"{one.type}: {', '.join(one.values)}" if one.values else one.type
    return [name_of(one.name), cut(kind), cut(default), esc(one.trust), cut(one.description)]
