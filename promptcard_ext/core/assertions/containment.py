"""Assertions on parts of the text: contains and its kin, starts-with."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, PASSED, Assertion, Check, Finding, register
from promptcard_ext.core.results import Outcome

MAX_PARTS = 1_000
# What is longer is mostly a quote that was never closed.
MAX_PART_CHARS = 131_072


def text_value(assertion: Assertion) -> str:
    """Return ``value`` as the text to look for; a number is looked for as it is written.

    Raises:
        CardError: It is neither, or an empty text (``assertion_invalid``).
    """
    text = _as_text(assertion.value)
    if not text:
        raise assertion.invalid("'value' must be a text that is not empty, or a number")
    return text


def _as_text(value: object) -> str | None:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def text_values(assertion: Assertion) -> tuple[str, ...]:
    """Return the texts in ``value``: a list, or one text with commas between them and quotes where needed.

    Raises:
        CardError: There are none, or one is empty or not a text (``assertion_invalid``).
    """
    value = assertion.value
    parts = _split(assertion, value) if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise assertion.invalid("'value' must be a list of texts, or texts with commas between them")
    texts = [_as_text(part) for part in parts]
    if len(texts) > MAX_PARTS:
        raise assertion.invalid(f"'value' has {len(texts):,} texts; the limit is {MAX_PARTS:,}")
    if any(text and len(text) > MAX_PART_CHARS for text in texts):
        raise assertion.invalid(f"a text in 'value' has more than {MAX_PART_CHARS:,} characters")
    if not all(texts):
        raise assertion.invalid("a text in 'value' is empty (every answer contains it) or no text")
    return tuple(text for text in texts if text)


def _split(assertion: Assertion, line: str) -> list[str]:
    try:
        rows = list(csv.reader(io.StringIO(line), skipinitialspace=True))
    except csv.Error as error:
        raise assertion.invalid(f"'value' cannot be split at its commas: {error}") from None
    return [part.strip() for row in rows for part in row if part.strip()]


def _plain(text: str) -> str:
    return text


@register("contains")
def contains(assertion: Assertion) -> Check:
    """The answer contains ``value``; case matters."""
    wanted = text_value(assertion)
    missing = Finding(Outcome.FAIL, "not_contained", f"The answer does not contain {wanted!r:.200}.")

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        return PASSED if wanted in answer.output else missing

    return check


@register("icontains")
def icontains(assertion: Assertion) -> Check:
    """The answer contains ``value``, whatever the case (Unicode case folding)."""
    wanted = text_value(assertion)
    folded = wanted.casefold()
    missing = Finding(Outcome.FAIL, "not_contained", f"The answer does not contain {wanted!r:.200} in any case.")

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        return PASSED if folded in answer.output.casefold() else missing

    return check


def _any(assertion: Assertion, fold: Callable[[str], str]) -> Check:
    wanted = text_values(assertion)
    folded = tuple(fold(part) for part in wanted)
    missing = Finding(Outcome.FAIL, "none_contained", f"The answer contains none of {list(wanted)!r:.200}.")

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        text = fold(answer.output)
        return PASSED if any(part in text for part in folded) else missing

    return check


def _all(assertion: Assertion, fold: Callable[[str], str]) -> Check:
    wanted = text_values(assertion)
    folded = tuple(fold(part) for part in wanted)

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        text = fold(answer.output)
        missing = [part for part, found in zip(wanted, folded, strict=True) if found not in text]
        if not missing:
            return PASSED
        return Finding(Outcome.FAIL, "not_all_contained", f"The answer does not contain {missing!r:.200}.")

    return check


@register("contains-any")
def contains_any(assertion: Assertion) -> Check:
    """The answer contains at least one of the texts in ``value``."""
    return _any(assertion, _plain)


@register("icontains-any")
def icontains_any(assertion: Assertion) -> Check:
    """The answer contains at least one of the texts in ``value``, whatever the case."""
    return _any(assertion, str.casefold)


@register("contains-all")
def contains_all(assertion: Assertion) -> Check:
    """The answer contains each of the texts in ``value``, in any order."""
    return _all(assertion, _plain)


@register("icontains-all")
def icontains_all(assertion: Assertion) -> Check:
    """The answer contains each of the texts in ``value``, whatever the case and in any order."""
    return _all(assertion, str.casefold)


@register("starts-with")
def starts_with(assertion: Assertion) -> Check:
    """The answer begins with ``value``; white space before it does not count."""
    wanted = text_value(assertion)
    other = Finding(Outcome.FAIL, "other_start", f"The answer does not begin with {wanted!r:.200}.")

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        begins = answer.output.startswith(wanted) or answer.output.lstrip().startswith(wanted)
        return PASSED if begins else other

    return check
