"""Names that people give to things: one line of text."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

# Something to see; no control characters, line breaks included, and nothing that has to be escaped to be stored, which
# would make it longer than it is. In Python '$' also fits before a line break at the end. Blanks come first of all, so
# that there is one way to read a text, and no looking ahead, which not everybody who reads the schema can.
Line = Annotated[
    str,
    Meta(
        pattern=r"^[^\S\u0000-\u001f]*[^\s\u0000-\u001f\u007f\ud800-\udfff\ufdd0]"
        r"[^\u0000-\u001f\u007f\ud800-\udfff\ufdd0]*$(?!\n)",
        min_length=1,
        max_length=255,
    ),
]
"""1 to 255 characters in one line, not all of them blank."""
