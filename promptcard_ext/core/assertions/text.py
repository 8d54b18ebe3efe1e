"""Assertions on the text as a whole: equals, regex."""

from __future__ import annotations

import json
from typing import Any

from promptcard_ext.core import pattern as patterns
from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, PASSED, Assertion, Check, Finding, register
from promptcard_ext.core.assertions.limits import too_long
from promptcard_ext.core.identity import json_key
from promptcard_ext.core.results import Outcome

MAX_PATTERN_CHARS = 2_000


def _failed(reason: str, message: str) -> Finding:
    return Finding(Outcome.FAIL, reason, message)


@register("equals")
def equals(assertion: Assertion) -> Check:
    """The answer is ``value``: as text without white space at both ends, or as JSON when ``value`` is not a text."""
    if assertion.value is None:
        raise assertion.invalid("it needs a 'value'")
    wanted = assertion.value.strip() if isinstance(assertion.value, str) else assertion.value
    wanted_key = json_key(wanted)
    different = _failed("not_equal", f"The answer is not {wanted!r:.200}.")

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        if isinstance(wanted, str):
            return PASSED if answer.output.strip() == wanted else different
        try:
            return PASSED if json_key(json.loads(answer.output)) == wanted_key else different
        except json.JSONDecodeError:
            return _failed("not_json", "The answer is not JSON, and a value other than text was expected.")
        except (ValueError, RecursionError):
            # Deeper, or a longer number, than any value can be: whatever it is, it is another one.
            return different

    return check


@register("regex")
def regex(assertion: Assertion) -> Check:
    """The pattern is found somewhere in the answer (RE2 syntax: linear time, no look-around, no back-references)."""
    source = assertion.value
    if not isinstance(source, str) or not source:
        raise assertion.invalid("'value' must be a pattern that is not empty")
    if len(source) > MAX_PATTERN_CHARS:
        raise assertion.invalid(f"the pattern has {len(source):,} characters; the limit is {MAX_PATTERN_CHARS:,}")
    pattern = compile_pattern(assertion, source)
    unmatched = _failed("no_match", f"The pattern {source!r:.200} is not found in the answer.")

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        if (unread := too_long(answer.output)) is not None:
            return unread
        try:
            patterns.refuse_costly(pattern, answer.output)
        except patterns.PatternTooCostly as error:
            return Finding(Outcome.ERROR, "pattern_too_costly", f"The regex was not tried: {error}.")
        return PASSED if pattern.search(utf8(answer.output)) else unmatched

    return check


def utf8(text: str) -> str:
    """Return ``text`` as RE2 can read it: a lone surrogate has no UTF-8, and becomes a question mark."""
    return patterns.readable(text)


def compile_pattern(assertion: Assertion, source: str) -> Any:
    """Compile ``source`` with RE2, or raise what is wrong with it."""
    try:
        return patterns.compile_re2(source)
    except patterns.PatternInvalid as error:
        raise assertion.invalid(str(error)) from None
