"""How two states of a card differ: line by line, and between three of them field by field."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from promptcard_ext.core.errors import CardError
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.widgets.editing.fields import Field, are_alike, fields_of, with_field
from promptcard_ext.widgets.editing.form import Form

# Comparing lines takes time that grows with the product of their numbers; beyond this they count as replaced.
MAX_LINES = 1_000
MAX_SHOWN = 2_000
MAX_LINE_CHARS = 2_000
_AT_BEGIN = re.compile(r"@@ -[01][, ]")
Line = tuple[str, str]
Side = Literal["base", "theirs", "mine"]


def lines(before: str, after: str) -> list[Line]:
    """Return the lines of a difference with what they begin with: ``+``, ``-``, blank, or ``@`` for those left out.

    Example:
        >>> lines("a\\nb", "a\\nc")
        [(' ', 'a'), ('-', 'b'), ('+', 'c')]
    """
    old, new = (text.split("\n") if text else [] for text in (before, after))
    if max(len(old), len(new)) > MAX_LINES:
        found = [("-", line) for line in old] + [("+", line) for line in new]
    else:
        found = []
        unified = list(difflib.unified_diff(old, new, lineterm="", n=3))[2:]
        if unified and _AT_BEGIN.match(unified[0]):
            unified = unified[1:]
        found = [(line[0], "" if line.startswith("@@ -") else line[1:]) for line in unified]
    return [(sign, harmless(line[:MAX_LINE_CHARS])) for sign, line in found[:MAX_SHOWN]]


def compared(before: Form, after: Form) -> list[dict[str, Any]]:
    """Return the fields that differ, each with its lines."""
    alike = are_alike(before, after)
    old, new = (fields_of(form, by_message=alike) for form in (before, after))
    found = []
    for place in {**old, **new}:
        was, now = old.get(place), new.get(place)
        if _differ(was, now):
            label = (now or was or Field("", "", "", None)).label
            found.append({"label": harmless(label), "lines": lines(_said(was), _said(now))})
    return found


class Choice(NamedTuple):
    """A field that two people have changed, or one of them.

    Attributes:
        chosen: Which state is taken; None when both have changed it, each in another way.
    """

    id: str
    label: str
    base: Field | None
    theirs: Field | None
    mine: Field | None
    chosen: Side | None

    def outline(self) -> dict[str, Any]:
        """Return it as a browser gets it."""
        return {
            "id": self.id,
            "label": harmless(self.label),
            "base": _shown(self.base),
            "theirs": lines(_said(self.base), _said(self.theirs)),
            "mine": lines(_said(self.base), _said(self.mine)),
            "chosen": self.chosen,
        }


def choices(base: Form, theirs: Form, mine: Form) -> list[Choice]:
    """Return the fields in which ``theirs`` and ``mine`` differ; where only one has changed, its change is chosen."""
    alike = are_alike(base, theirs, mine)
    old, other, own = (fields_of(form, by_message=alike) for form in (base, theirs, mine))
    found = []
    for place in {**old, **other, **own}:
        was, now, here = old.get(place), other.get(place), own.get(place)
        if not _differ(now, here):
            continue
        chosen: Side | None = "mine" if not _differ(was, now) else "theirs" if not _differ(was, here) else None
        label = (here or now or was or Field("", place, "", None)).label
        found.append(Choice(place, label, was, now, here, chosen))
    return found


def resolved(mine: Form, open_choices: list[Choice], taken: Mapping[str, str]) -> Form:
    """Return the form after a choice for each field.

    Args:
        taken: ``base``, ``theirs`` or ``mine`` by field; fields with only one change need none.

    Raises:
        CardError: A field that both have changed is not decided (``merge_open``).
    """
    form = mine
    for choice in open_choices:
        side = taken.get(choice.id) or choice.chosen
        if side not in ("base", "theirs", "mine"):
            raise CardError(f"Nothing is chosen yet for {choice.label}.", hint="Choose a side.", code="merge_open")
        if side != "mine":
            field = choice.base if side == "base" else choice.theirs
            form = with_field(form, choice.id, field.value if field else None)
    return form


def _differ(one: Field | None, other: Field | None) -> bool:
    return (one is None) != (other is None) or _said(one) != _said(other)


def _said(field: Field | None) -> str:
    return field.text if field else ""


def _shown(field: Field | None) -> str:
    return harmless(_said(field)[:20_000])
