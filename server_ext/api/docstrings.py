"""Docstrings, as the OpenAPI document quotes them: what readers of Python get, without what only they need."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

_SECTION = re.compile(r"^(Args|Attributes|Example|Examples|Raises|Returns|Yields)( \(.*\))?:$")
_FIELDS = ("Args", "Attributes")
_ENTRY = re.compile(r"^(\w+(?:, \w+)*): (.*)$", re.DOTALL)


@dataclass(frozen=True)
class Docstring:
    """A docstring taken apart.

    Attributes:
        text: What it says in general, as Markdown; empty for none.
        fields: By name of an attribute, what it says about it, as Markdown.
    """

    text: str
    fields: dict[str, str]

    @property
    def summary(self) -> str:
        """The first line."""
        return self.text.partition("\n")[0]

    @property
    def rest(self) -> str:
        """What comes after the first line."""
        return self.text.partition("\n")[2].strip()


def read_docstring(doc: str | None) -> Docstring:
    """Return a docstring taken apart; its examples, errors and returned values are left out.

    Example:
        >>> read_docstring("A box.\\n\\nAttributes:\\n    a, b: Sides in ``cm``,\\n        both.").fields
        {'a': 'Sides in `cm`, both.', 'b': 'Sides in `cm`, both.'}
    """
    sections: dict[str, list[str]] = {"": []}
    lines = sections[""]
    for line in inspect.cleandoc(doc or "").splitlines():
        if found := _SECTION.match(line):
            lines = sections.setdefault(found[1], [])
        elif line and not line.startswith(" ") and lines is not sections[""]:
            lines = sections[""]
            lines += ["", line]
        else:
            lines.append(line)
    fields: dict[str, str] = {}
    for name in _FIELDS:
        fields |= _fields_of(sections.get(name, []))
    return Docstring(_markdown("\n".join(sections[""]).strip()), fields)


def _fields_of(lines: list[str]) -> dict[str, str]:
    entries: list[str] = []
    for line in inspect.cleandoc("\n".join(["", *lines])).splitlines():
        # Deeper lines go on with the entry; so does any line after a list of names that is too long for one.
        if entries and (line.startswith(" ") or (entries[-1].endswith(",") and ":" not in entries[-1])):
            entries[-1] += " " + line.strip()
        elif line:
            entries.append(line)
    found = [entry for one in entries if (entry := _ENTRY.match(one))]
    return {name: _markdown(entry[2]) for entry in found for name in entry[1].split(", ")}


def _markdown(text: str) -> str:
    return text.replace("``", "`")
