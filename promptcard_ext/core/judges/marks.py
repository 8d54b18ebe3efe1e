"""Marks around what is judged, which nobody who wrote it can foresee.

The tag in the marks is a hash of everything between them: the same question has the same tag, so it can be answered
from a cache; a text that contains its own tag would be a fixed point of SHA-256, and is tagged anew all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from promptcard_ext.core.identity import digest

_TAG_CHARS = 16


def tag_of(version: int, parts: Mapping[str, str]) -> str:
    """Return 16 hexadecimal digits that stand in none of the parts.

    Args:
        version: Of the protocol, so that another version asks another question.
        parts: What goes between marks, by name.
    """
    salt = 0
    while True:
        tag = digest([version, list(parts.items()), salt])[:_TAG_CHARS]
        if not any(tag in text for text in parts.values()):
            return tag
        salt += 1


def marked(name: str, text: str, tag: str) -> str:
    """Return ``text`` between marks."""
    return f"<<begin {name} {tag}>>\n{text}\n<<end {name} {tag}>>"
