"""How one card differs from another: texts as unified diffs, variables and settings by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from promptcard_ext.core.card import Card
from promptcard_ext.core.contract.cards import CardDiff, FieldChange, TextChange

# Comparing lines takes time that grows with the product of their numbers; beyond this they count as replaced.
MAX_LINES = 1_000


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


def unified(base: str, other: str, base_name: str = "base", other_name: str = "other") -> str:
    r"""Return the unified diff of two texts, in time that their lengths bound.

    Example:
        >>> print(unified("a\nb", "a\nc"))
        --- base
        +++ other
        @@ -1,2 +1,2 @@
         a
        -b
        +c
    """
    # Not by splitlines(): a difference in line ends is one.
    before, after = (text.split("\n") if text else [] for text in (base, other))
    if max(len(before), len(after)) > MAX_LINES:
        gone, come = [f"-{line}" for line in before], [f"+{line}" for line in after]
        place = f"@@ -1,{len(before)} +1,{len(after)} @@"
        return "\n".join([f"--- {base_name}", f"+++ {other_name}", place, *gone, *come])
    return "\n".join(difflib.unified_diff(before, after, base_name, other_name, lineterm=""))
