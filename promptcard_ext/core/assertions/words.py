"""Assertions on words, and what a word is: word-count."""

from __future__ import annotations

import re
from typing import Any

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, PASSED, Assertion, Check, Finding, register
from promptcard_ext.core.results import Outcome

# Languages without spaces: one character is one word, which is how their translations are scored too.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['’][^\W{_UNSPACED}]+)*")


def words(text: str) -> list[str]:
    """Return the words of ``text`` for comparison: case folded, without punctuation.

    Example:
        >>> words("It's 5 o'clock, 東京!")
        ["it's", '5', "o'clock", '東', '京']
    """
    return _WORD.findall(text.casefold())


@register("word-count")
def word_count(assertion: Assertion) -> Check:
    """The answer has ``value`` words, or between ``min`` and ``max`` of them, both included.

    A word is what stands between white space.
    """
    least, most = _range(assertion)

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        count = len(answer.output.split())
        if least <= count and (most is None or count <= most):
            return PASSED
        return Finding(Outcome.FAIL, "other_word_count", f"It has {count:,} words, not {_described(least, most)}.")

    return check


def _range(assertion: Assertion) -> tuple[int, int | None]:
    value = assertion.value
    if not isinstance(value, dict):
        exact = _count(assertion, value)
        return exact, exact
    if not value or not value.keys() <= {"min", "max"}:
        raise assertion.invalid("'value' must be a number, or have 'min' or 'max' or both")
    least = _count(assertion, value["min"]) if "min" in value else 0
    most = _count(assertion, value["max"]) if "max" in value else None
    if most is not None and least > most:
        raise assertion.invalid(f"'min' ({least}) is above 'max' ({most})")
    return least, most


def _count(assertion: Assertion, value: Any) -> int:
    # A text, because a value with {{ variables }} is one.
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == int(value):
        return int(value)
    raise assertion.invalid("a number of words is a whole number of 0 or more")


def _described(least: int, most: int | None) -> str:
    if most is None:
        return f"{least:,} or more"
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
