"""What the simulated models say.

They know the starter cards by heart (`known_answers.json`) and spoil what they know, more often when the prompt leaves
the form of the answer open. So a better prompt scores better, as with a real model, and the figures mean nothing else.
Anything they do not know they answer with a sentence that says so.
"""

from __future__ import annotations

import json
import random
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptcard_ext.providers.simulated.profile import Profile

_STRICT = re.compile(r"\b(nothing else|one JSON object only|exactly (?:one|these|this)|never)\b", re.IGNORECASE)
_LABELS = ("account_access", "billing", "bug", "cancellation", "how_to", "other")
_OPENINGS = ("Sure! Here is what I found:", "Of course.", "Happy to help!")


def answer(prompt: str, profile: Profile, chance: random.Random) -> str:
    """Return an answer to ``prompt``; the same arguments give the same text."""
    known = _known(prompt)
    if known is None:
        return f"(simulated) I know only the starter cards, and this prompt of {len(prompt)} characters is not one."
    spoiled = profile.slips if _STRICT.search(prompt) else min(1.0, profile.slips * profile.looseness)
    return _spoil(known, chance) if chance.random() < spoiled else known


@cache
def _answers() -> tuple[tuple[str, str], ...]:
    text = resources.files(__package__).joinpath("known_answers.json").read_text("utf-8")
    return tuple((entry["excerpt"], entry["answer"]) for entry in json.loads(text))


def _known(prompt: str) -> str | None:
    return next((answer for excerpt, answer in _answers() if excerpt in prompt), None)


def _spoil(known: str, chance: random.Random) -> str:
    opening = chance.choice(_OPENINGS)
    if known in _LABELS:
        other = chance.choice([label for label in _LABELS if label != known])
        return chance.choice([other, f"{opening} **{known.replace('_', ' ').title()}**", f"Category: {known}"])
    if known.startswith("{"):
        return chance.choice([f"{opening}\n```json\n{known}\n```", _wrong_field(known, chance)])
    lines = known.splitlines()
    lines.pop(chance.randrange(1, len(lines)))
    return chance.choice([f"{opening}\n\n{known}", "\n".join(lines)])


def _wrong_field(known: str, chance: random.Random) -> str:
    value = json.loads(known)
    field = chance.choice(["total", "invoice_date", "currency"])
    value[field] = {"total": str(value["total"]), "invoice_date": "2025-01-01", "currency": "Euro"}[field]
    return json.dumps(value, ensure_ascii=False)
