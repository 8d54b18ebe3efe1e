"""What the simulated models say: a few hand-written rules that read the prompt.

They know three kinds of task (choose a label, extract an invoice, summarise) well enough that a better prompt scores
better, which is what a demonstration has to show.
"""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptcard_ext.providers.simulated.provider import Profile

_STRICT = re.compile(r"\b(only|exactly|nothing else|no (?:other )?(?:text|comment|code fence))\b", re.IGNORECASE)
_LABELS = {
    "billing": r"charg|invoice|refund|payment|paid|bill|price|card|vat|money|rechnung|factur|cobr",
    "account_access": r"log ?in|sign ?in|password|locked|2fa|two-factor|reset|access|passwort|contraseña|connexion",
    "cancellation": r"cancel|terminat|close (?:my|our) account|unsubscribe|leave|kündig|résili|delete (?:my|our)",
    "bug": r"error|crash|broken|bug|fails?\b|500|not work|doesn.t work|stuck|blank|wrong|fehler|erreur|freez",
    "how_to": r"how (?:do|can|to)|where (?:do|can|is)|is (?:it|there)|can (?:i|we|you)|possible|wie |comment |cómo",
    "other": r".",
}
_MONTHS = {m: i + 1 for i, m in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])}
_OPENINGS = ("Sure! Here is what I found:", "Of course.", "Happy to help!")


def answer(prompt: str, profile: Profile, chance: random.Random) -> str:
    """Return an answer to ``prompt``; the same arguments give the same text."""
    strict = _STRICT.search(prompt) is not None
    talks = chance.random() < profile.chatter * (0.25 if strict else 1.0)
    slips = chance.random() < profile.slips
    if "invoice_number" in prompt:
        return _invoice(prompt, talks, slips)
    if "how_to" in prompt:
        return _label(prompt, talks, slips, chance)
    return _summary(prompt, talks, slips, chance)


def _subject(prompt: str) -> str:
    """Return the part of the prompt that is the material, not the instruction."""
    tagged = re.findall(r"<(\w+)>\s*(.*?)\s*</\1>", prompt, re.DOTALL)
    if tagged:
        return str(max(tagged, key=lambda pair: len(pair[1]))[1])
    head, _, tail = prompt.partition("\n\n")
    return tail or head


def _label(prompt: str, talks: bool, slips: bool, chance: random.Random) -> str:
    subject = _subject(prompt).lower()
    scores = {label: len(re.findall(pattern, subject)) for label, pattern in _LABELS.items() if label != "other"}
    label = max(scores, key=lambda name: scores[name]) if any(scores.values()) else "other"
    if slips:
        label = chance.choice(sorted(_LABELS))
    return f"{chance.choice(_OPENINGS)} This looks like **{label.replace('_', ' ').title()}**." if talks else label


def _invoice(prompt: str, talks: bool, slips: bool) -> str:
    text = _subject(prompt)
    number = re.search(r"(?:invoice|receipt|rechnung|facture|factura|credit note)\W*(?:no|nr|n°|number|#)?[.:#\s]*"
                       r"([A-Z0-9][\w/-]*\d[\w/-]*)", text, re.IGNORECASE)  # fmt: skip
    found: dict[str, Any] = {
        "vendor": next((line.strip() for line in text.splitlines() if line.strip()), "unknown"),
        "invoice_number": number.group(1) if number else None,
        "invoice_date": _date(text),
        "currency": _currency(text),
        "total": _total(text, slips),
        "line_items": [],
    }
    body = json.dumps(found, ensure_ascii=False)
    return f"Here is the JSON:\n```json\n{body}\n```" if talks else body


def _date(text: str) -> str | None:
    if found := re.search(r"\b(20\d\d)-(\d\d)-(\d\d)\b", text):
        return found.group()
    if found := re.search(r"\b(\d{1,2})[./-](\d{1,2})[./-](20\d\d)\b", text):
        return f"{found[3]}-{int(found[2]):02d}-{int(found[1]):02d}"
    if found := re.search(r"\b([A-Z][a-z]{2})[a-z]*\.? (\d{1,2}), (20\d\d)", text):
        month = _MONTHS.get(found[1].lower())
        return f"{found[3]}-{month:02d}-{int(found[2]):02d}" if month else None
    return None


def _currency(text: str) -> str | None:
    for sign, code in {"EUR": "EUR", "USD": "USD", "GBP": "GBP", "€": "EUR", "$": "USD", "£": "GBP"}.items():
        if sign in text:
            return code
    return None


def _total(text: str, slips: bool) -> float:
    amounts = re.findall(r"(?<![\d-])\d{1,3}(?:[., ]\d{3})*[.,]\d\d\b", text)
    values = [float(re.sub(r"\D", "", amount)) / 100 for amount in amounts] or [0.0]
    ordered = sorted(values)
    return ordered[-2] if slips and len(ordered) > 1 else ordered[-1]


def _summary(prompt: str, talks: bool, slips: bool, chance: random.Random) -> str:
    lines = [line.strip(" -*") for line in re.split(r"(?<=[.!?])\s+|\n", _subject(prompt)) if len(line.strip()) > 20]
    wanted = re.compile(
        r"\b(decid|agreed|will|by (?:mon|tue|wed|thu|fri|\d)|deadline|owner|due|must|approved|launch)", re.I
    )
    chosen = [line for line in lines if wanted.search(line)][:6] or lines[:3]
    if slips and len(chosen) > 1:
        chosen.pop(chance.randrange(len(chosen)))
    text = "\n".join(f"- {line}" for line in chosen)
    return f"{chance.choice(_OPENINGS)}\n\n{text}" if talks else text
