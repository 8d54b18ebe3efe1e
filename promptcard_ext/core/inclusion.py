"""Composition: a card includes texts of other cards by name and version, and carries them from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from promptcard_ext.core.errors import CardError
from promptcard_ext.core.template import parse, parse_all
from promptcard_ext.core.template_language import REFERENCE

if TYPE_CHECKING:
    from promptcard_ext.core.card import Card

MAX_INCLUDED_CHARS = 300_000
MAX_INCLUDED = 100
Find = Callable[[str, int], "Card | None"]
Cards = Find | Iterable["Card"]


def composed(card: Card, cards: Cards) -> Card:
    """Return ``card`` with the texts of all that it includes; see `Card.compose`.

    Raises:
        CardError: A text is not there (``include_unknown``), or is another one than an included card carries
            (``include_conflict``).
    """
    find = cards if callable(cards) else _finder(cards)
    texts: dict[str, str] = {}
    wanted = [reference for one in card.templates for reference in one.included]
    while wanted:
        reference = wanted.pop()
        if reference in texts:
            continue
        found = _included(card, reference, find)
        texts[reference] = _text(found, reference)
        if len(texts) > MAX_INCLUDED or sum(map(len, texts.values())) > MAX_INCLUDED_CHARS:
            raise _too_large(card)
        for carried, text in found.includes.items():
            if texts.setdefault(carried, text) != text:
                raise CardError(
                    f"Card '{card.name}' would include two different texts as '{carried}'.", code="include_conflict"
                )
        wanted.extend(parse(texts[reference], f"card '{reference}'").included)
    return msgspec.structs.replace(card, includes=_reachable(card, texts))


def check_carried(card: Card) -> None:
    """Check the texts that a card carries.

    Raises:
        CardError: They are too large, or one is carried that nothing includes (``include_invalid``).
    """
    if not card.includes:
        return
    if len(card.includes) > MAX_INCLUDED or sum(map(len, card.includes.values())) > MAX_INCLUDED_CHARS:
        raise _too_large(card)
    if idle := card.includes.keys() - card.references:
        raise CardError(f"Card '{card.name}' carries the text of '{min(idle):.100}', which it does not include.",
                        code="include_invalid", hint="Let card.compose(…) set 'includes'.")  # fmt: skip


def _finder(cards: Iterable[Card]) -> Find:
    known = {(one.name, one.version): one for one in cards}
    return lambda name, version: known.get((name, version))


def _included(card: Card, reference: str, find: Find) -> Card:
    match = REFERENCE.fullmatch(reference)
    assert match is not None  # the template language lets nothing else through
    found = find(match[1], int(match[2]))
    if found is None:
        raise CardError(
            f"Card '{card.name}' includes '{reference}', and there is no such card or version.",
            code="include_unknown",
            hint=f"Save card '{match[1]}' first, or correct the version.",
        )
    return found


def _text(card: Card, reference: str) -> str:
    text = card.system if reference.endswith("#system") else card.template
    if not text:
        what = "system message" if reference.endswith("#system") else "user template"
        raise CardError(
            f"'{reference}' cannot be included: the card has no {what} of its own.",
            code="include_unknown",
            hint="Only the template and the system message of a card can be included, not the messages of a chat.",
        )
    return text


def _reachable(card: Card, texts: dict[str, str]) -> dict[str, str]:
    parsed = parse_all([source.text for source in card.sources], f"card '{card.name}'", texts)
    reached = frozenset().union(*(one.references for one in parsed))
    return {reference: texts[reference] for reference in sorted(reached)}


def _too_large(card: Card) -> CardError:
    return CardError(
        f"Card '{card.name}' includes more than {MAX_INCLUDED} texts, or {MAX_INCLUDED_CHARS:,} characters of them.",
        code="include_too_large",
    )
