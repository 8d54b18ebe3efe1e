"""Assertions on JSON: is-json and contains-json, with a JSON Schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, PASSED, Assertion, Check, Finding, register
from promptcard_ext.core.assertions.json_text import Unread, json_values, read_json
from promptcard_ext.core.assertions.limits import MAX_ANSWER_CHARS, TOO_COMPLEX, TOO_DEEP, TooComplex, too_long
from promptcard_ext.core.results import Outcome

__all__ = ["MAX_ANSWER_CHARS"]

_NONE_FOUND = Finding(Outcome.FAIL, "no_json", "The answer contains no JSON object or array.")


@register("is-json")
def is_json(assertion: Assertion) -> Check:
    """The whole answer is JSON and, when ``value`` is a JSON Schema (2020-12), valid under it."""
    problem_of = _schema_check(assertion)

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        try:
            value = read_json(answer.output)
        except Unread as unread:
            return unread.finding
        return PASSED if problem_of is None else problem_of(value)

    return check


@register("contains-json")
def contains_json(assertion: Assertion) -> Check:
    """A JSON object or array stands somewhere in the answer and, when ``value`` is a JSON Schema, is valid under it.

    Without a schema an array of nothing but whole numbers does not count beside other text: `[1]` is a footnote.
    """
    problem_of = _schema_check(assertion)

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        if (unread := too_long(answer.output)) is not None:
            return unread
        try:
            return _first(answer.output, problem_of)
        except TooComplex:
            return TOO_COMPLEX

    return check


_Problem = Callable[..., Finding]


def _first(text: str, problem_of: _Problem | None) -> Finding:
    """Return a pass when one value holds; else what is undecided, or the finding for the first value there is."""
    found: Finding | None = None
    for value, start, end in json_values(text):
        if problem_of is None:
            if not _footnote(value) or (not text[:start].strip() and not text[end:].strip()):
                return PASSED
            continue
        # All of them share the steps that one may take.
        finding = problem_of(value, found is not None)
        if finding.outcome in (Outcome.PASS, Outcome.ERROR):
            return finding
        if found is None or finding.outcome is Outcome.UNSCORED:
            found = finding
    return found or _NONE_FOUND


def _footnote(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)


def _schema_check(assertion: Assertion) -> _Problem | None:
    schema = assertion.value
    if schema is not None and not isinstance(schema, dict):
        raise assertion.invalid("'value' must be a JSON Schema (a mapping), or be left out")
    if not schema:
        return None
    # jsonschema takes a while to import; most cards need none of it.
    from promptcard_ext.core.assertions.schema import (
        MAX_DEPTH,
        SchemaTooCostly,
        count_anew,
        depth,
        first_problem,
        validator_for,
    )

    validator = validator_for(assertion, schema)

    def check(value: Any, carry_on: bool = False) -> Finding:
        if not carry_on:
            count_anew()
        if depth(value) > MAX_DEPTH:
            return TOO_DEEP
        try:
            problem = first_problem(validator, value)
        except SchemaTooCostly as error:
            return Finding(Outcome.ERROR, "schema_too_costly", str(error))
        return PASSED if problem is None else Finding(Outcome.FAIL, "schema_mismatch", problem)

    return check
