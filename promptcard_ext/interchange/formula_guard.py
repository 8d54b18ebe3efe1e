"""Cells that a spreadsheet would take for formulas.

A text such as ``=HYPERLINK(…)`` in an answer would be run by the program that opens the table. Such a text gets an
apostrophe in front, which spreadsheets show as text; reading takes exactly that one away again, so nothing is lost.
"""

from __future__ import annotations

import re

# What begins a formula, in full width too; white space before it is passed over by spreadsheets. A text that already
# begins with apostrophes before such a sign gets one more, or reading could not tell it from a guarded one.
_FORMULA = re.compile(r"'*[\s\x00\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|'*[\t\r\n]")


def guarded(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula.

    Example:
        >>> guarded("=1+1"), guarded("fine"), unguarded(guarded("'=1+1"))
        ("'=1+1", 'fine', "'=1+1")
    """
    return "'" + text if _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """Return the text that `guarded` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
