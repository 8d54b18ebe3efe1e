"""What a card would say for one case, how many tokens that is, and about what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import PromptCardError
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.token_range import prompt_tokens
from promptcard_ext.core.variables import Variable
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.stats.estimate import estimate

MAX_CHARS = 40_000
_SAMPLES: dict[str, Any] = {
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "list": [],
    "json": {},
    "datetime": "2026-01-01",
}


def previewed(card: Card, case: Case | None, model: str, prices: PriceBook) -> dict[str, Any]:
    """Return the messages of a card for a case as a browser gets them, or what is wrong with them.

    Args:
        case: None for sample values: defaults, and ``‹name›`` where there is none.
        model: Reference of the model that is priced, or nothing.
    """
    variables = sample(card) if case is None else case.variables
    try:
        messages = card.render(variables, "the sample" if case is None else f"case '{case.name:.60}'")
    except PromptCardError as error:
        return {"problem": harmless(str(error)), "messages": []}
    tokens = prompt_tokens(messages, card.settings)
    room, shown = MAX_CHARS, []
    for message in messages:
        text = harmless(message.content[: max(0, room)])
        shown.append({"role": message.role, "text": text, "cut": max(0, len(message.content) - max(0, room))})
        room -= len(message.content)
    count = {"low": round(tokens.low), "mid": round(tokens.mid), "high": round(tokens.high)}
    return {"problem": "", "messages": shown, "tokens": count, "cost": _cost(card, variables, model, prices)}


def sample(card: Card) -> dict[str, Any]:
    """Return values for the variables of a card that have no default."""
    if not card.variables:
        return {name: f"‹{name}›" for name in card.used_variables}
    return {one.name: _sample(one) for one in card.variables if one.default is msgspec.UNSET}


def _sample(variable: Variable) -> Any:
    if variable.type == "enum":
        return variable.values[0]
    if variable.type == "secret":
        return "env:SECRET"
    return _SAMPLES.get(variable.type, f"‹{variable.name}›")


def _cost(card: Card, variables: Mapping[str, Any], model: str, prices: PriceBook) -> dict[str, Any] | None:
    """Return what one call of a model costs, as the value that one in ten, every second and nine in ten stay below."""
    if not model.strip():
        return None
    try:
        found = estimate(Plan((card,), (model.strip(),), (Case(dict(variables)),)).prepare(), prices)
    except PromptCardError as error:
        return {"text": harmless(str(error)), "notes": []}
    if found.usd is None:
        return {"text": "price not known", "notes": []}
    low, mid, high = (_dollars(value) for value in (found.usd.p10, found.usd.p50, found.usd.p90))
    output = found.tokens_output
    notes = [f"The answer is taken to have {output.p10:,} to {output.p90:,} tokens.", *_of_prompt(found.assumptions)]
    return {"text": mid if low == high else f"{mid} ({low} to {high})", "notes": notes}


def _of_prompt(notes: Sequence[str]) -> list[str]:
    return [note for note in notes if note.startswith(("Input", "Answers"))]


def _dollars(value: Any) -> str:
    return f"${value.normalize():f}" if value else "$0"
