"""What single fields of a reply may hold. Nonsense is unknown: it is not counted, not shown and not judged."""

from __future__ import annotations

import math
from typing import Any

_FITTING = 1e-3


def token_count(value: Any) -> int | None:
    """Return a count that a provider reported; nonsense (negative, fractional, text) is unknown, not counted."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def label(value: Any) -> str | None:
    """Return a short printable text, such as a finish reason or the name of a model, or None."""
    return value[:200] if isinstance(value, str) and value.isprintable() else None


def text_of_content(content: Any) -> tuple[str | None, bool]:
    """Return the text of a message, and whether that is all there is.

    Some servers write a list of parts; those of text are joined, others (images, thoughts) have none.

    Example:
        >>> text_of_content([{"type": "text", "text": "4"}, {"type": "text", "text": "2"}])
        ('42', True)
    """
    if content is None or isinstance(content, str):
        return content, True
    if not isinstance(content, list):
        return None, False
    texts = [_text_of_part(part) for part in content]
    found = [text for text in texts if text is not None]
    return "".join(found) if found else None, len(found) == len(texts)


def _text_of_part(part: Any) -> str | None:
    if isinstance(part, dict):
        part = part.get("text", part.get("refusal"))
    return part if isinstance(part, str) else None


def log_probabilities(entries: Any) -> tuple[float, ...] | None:
    """Return the logarithms of a list of tokens, each ``{"logprob": …}`` or a number.

    One that is missing, above 0 or not finite makes all unknown: a mean over the others would be of another answer.

    Example:
        >>> log_probabilities([{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": None}])
    """
    if not isinstance(entries, list) or not entries:
        return None
    values = [_logarithm(entry.get("logprob") if isinstance(entry, dict) else entry) for entry in entries]
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) else None


def _logarithm(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    # The rounding of a certain token may end just above 0.
    return min(0.0, value) if value <= _FITTING else None
