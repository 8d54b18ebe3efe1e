"""Assertions on the distance between two texts: levenshtein."""

from __future__ import annotations

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, Assertion, Check, Finding, register
from promptcard_ext.core.assertions.limits import too_long
from promptcard_ext.core.results import Outcome

DEFAULT_DISTANCE = 5
MAX_CHARS = 100_000


@register("levenshtein")
def levenshtein(assertion: Assertion) -> Check:
    """At most ``threshold`` (default 5) characters must be inserted, deleted or replaced to get ``value``.

    The score is 1 - distance / length of the longer text.
    """
    from rapidfuzz.distance import Levenshtein

    wanted = assertion.value
    if not isinstance(wanted, str) or len(wanted) > MAX_CHARS:
        raise assertion.invalid(f"'value' must be a text of at most {MAX_CHARS:,} characters")
    limit = DEFAULT_DISTANCE if assertion.threshold is None else assertion.threshold
    if not limit >= 0:
        raise assertion.invalid("'threshold' must be 0 or more")

    def check(answer: Answer) -> Finding:
        text = answer.output
        if text is None:
            return NO_TEXT
        least = abs(len(text) - len(wanted))
        if (unread := too_long(text, MAX_CHARS)) is not None:
            # No need to read what is too long by more than the limit.
            return _too_far(least, limit, 0.0, "at least ") if least > limit else unread
        distance = Levenshtein.distance(text, wanted)
        score = 1 - distance / max(len(text), len(wanted), 1)
        return Finding(Outcome.PASS, score=score) if distance <= limit else _too_far(distance, limit, score)

    return check


def _too_far(distance: int, limit: float, score: float, bound: str = "") -> Finding:
    message = f"The distance to the expected text is {bound}{distance:,}; the limit is {limit:g}."
    return Finding(Outcome.FAIL, "too_different", message, score)
