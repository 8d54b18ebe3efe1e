"""Assertions on structure: is-json, with a JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, PASSED, Assertion, Check, Finding, register
from promptcard_ext.core.identity import refuse_constant
from promptcard_ext.core.results import Outcome

MAX_ANSWER_CHARS = 2_000_000


@register("is-json")
def is_json(assertion: Assertion) -> Check:
    """The whole answer is JSON and, when ``value`` is a JSON Schema (2020-12), valid under it."""
    schema = assertion.value
    if schema is not None and not isinstance(schema, dict):
        raise assertion.invalid("'value' must be a JSON Schema (a mapping), or be left out")
    problem_of = _schema_check(assertion, schema) if schema else None

    def check(answer: Answer) -> Finding:
        if answer.output is None:
            return NO_TEXT
        if len(answer.output) > MAX_ANSWER_CHARS:
            return Finding(Outcome.FAIL, "answer_too_long", "The answer is too long to be read as JSON.")
        try:
            value = json.loads(answer.output, parse_constant=refuse_constant)
        except (ValueError, RecursionError) as error:
            return Finding(Outcome.FAIL, "not_json", f"The answer is not JSON: {error}.")
        return PASSED if problem_of is None else problem_of(value)

    return check


def _schema_check(assertion: Assertion, schema: dict[str, Any]) -> Callable[[Any], Finding]:
    # jsonschema takes a while to import; most cards need none of it.
    from promptcard_ext.core.assertions.schema import MAX_DEPTH, SchemaTooCostly, depth, first_problem, validator_for

    validator = validator_for(assertion, schema)

    def check(value: Any) -> Finding:
        if depth(value) > MAX_DEPTH:
            return Finding(Outcome.FAIL, "answer_too_deep", f"The JSON is nested deeper than {MAX_DEPTH} levels.")
        try:
            problem = first_problem(validator, value)
        except SchemaTooCostly as error:
            return Finding(Outcome.ERROR, "schema_too_costly", str(error))
        return PASSED if problem is None else Finding(Outcome.FAIL, "schema_mismatch", problem)

    return check
