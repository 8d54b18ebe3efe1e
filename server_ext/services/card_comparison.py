"""How one card differs from another: texts as unified diffs, variables and settings by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.cards import CardDiff, FieldChange, TextChange
from server_ext.services.text_diff import unified


def compare(base: Card, other: Card, base_name: str, other_name: str) -> CardDiff:
    """Return how one card differs from another; the names are for the heads of the diffs."""
    messages = _texts(_written(base), _written(other), base_name, other_name)
    variables = _fields(
        {variable.name: msgspec.to_builtins(variable) for variable in base.variables},
        {variable.name: msgspec.to_builtins(variable) for variable in other.variables},
    )
    settings = _fields(_settings(base), _settings(other))
    return CardDiff(base_name, other_name, not (messages or variables or settings), messages, variables, settings)


def _written(card: Card) -> dict[str, str]:
    texts = {source.place: source.text for source in card.sources}
    return texts | {f"includes['{name}']": text for name, text in card.includes.items()}


def _settings(card: Card) -> dict[str, Any]:
    roles = {f"{one.place}.role": one.role for one in card.sources if one.place.startswith("messages")}
    return {**msgspec.to_builtins(card.settings), **roles}


def _texts(base: Mapping[str, str], other: Mapping[str, str], base_name: str, other_name: str) -> list[TextChange]:
    return [
        TextChange(place, change, unified(base.get(place, ""), other.get(place, ""), base_name, other_name))
        for place, change in _changes(base, other)
    ]


def _fields(base: Mapping[str, Any], other: Mapping[str, Any]) -> list[FieldChange]:
    return [FieldChange(name, change, base.get(name), other.get(name)) for name, change in _changes(base, other)]


def _changes(
    base: Mapping[str, Any], other: Mapping[str, Any]
) -> list[tuple[str, Literal["added", "removed", "changed"]]]:
    found: list[tuple[str, Literal["added", "removed", "changed"]]] = []
    for name in {**base, **other}:
        if name not in base:
            found.append((name, "added"))
        elif name not in other:
            found.append((name, "removed"))
        elif base[name] != other[name]:
            found.append((name, "changed"))
    return found
