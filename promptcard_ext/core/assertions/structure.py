"""Assertions on structure: is-json, with a JSON Schema."""

from __future__ import annotations

import json
from typing import Any, cast

from promptcard_ext.core.assertions.base import PASSED, Assertion, Check, Finding, register
from promptcard_ext.core.assertions.text import _NO_TEXT, compile_pattern
from promptcard_ext.core.identity import canonical_json
from promptcard_ext.core.results import Generation, Outcome

MAX_SCHEMA_CHARS = 50_000
MAX_ANSWER_CHARS = 2_000_000
MAX_DEPTH = 64


@register("is-json")
def is_json(assertion: Assertion) -> Check:
    """The whole answer is JSON and, when ``value`` is a JSON Schema (2020-12), valid under it."""
    schema = assertion.value
    if schema is not None and not isinstance(schema, dict):
        raise assertion.invalid("'value' must be a JSON Schema (a mapping), or be left out")
    validator = _validator(assertion, schema) if schema else None

    def check(generation: Generation) -> Finding:
        if generation.output is None:
            return _NO_TEXT
        if len(generation.output) > MAX_ANSWER_CHARS:
            return Finding(Outcome.FAIL, "answer_too_long", "The answer is too long to be read as JSON.")
        try:
            value = json.loads(generation.output, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            return Finding(Outcome.FAIL, "not_json", f"The answer is not JSON: {error}.")
        if validator is None:
            return PASSED
        if _depth(value) > MAX_DEPTH:
            return Finding(Outcome.FAIL, "answer_too_deep", f"The JSON is nested deeper than {MAX_DEPTH} levels.")
        problem = next(validator.iter_errors(value), None)
        if problem is None:
            return PASSED
        return Finding(Outcome.FAIL, "schema_mismatch", f"At {problem.json_path}: {problem.message:.300}")

    return check


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _depth(value: Any) -> int:
    level, current = 0, [value]
    while current and level <= MAX_DEPTH:
        level += 1
        current = [
            child
            for node in current
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return level


def _validator(assertion: Assertion, schema: dict[str, Any]) -> Any:
    # jsonschema takes a while to import; most cards need none of it.
    from jsonschema import Draft202012Validator, exceptions, validators
    from referencing import Registry

    if len(canonical_json(schema)) > MAX_SCHEMA_CHARS:
        raise assertion.invalid(f"the schema has more than {MAX_SCHEMA_CHARS:,} characters")
    if _depth(schema) > MAX_DEPTH:
        raise assertion.invalid(f"the schema is nested deeper than {MAX_DEPTH} levels")
    _check_references_and_patterns(assertion, schema)
    try:
        Draft202012Validator.check_schema(schema)
    except exceptions.SchemaError as error:
        raise assertion.invalid(f"the schema is not valid at {error.json_path}: {error.message:.200}") from None
    safe = cast(Any, validators).extend(Draft202012Validator, {"pattern": _pattern, "patternProperties": _pattern_properties})
    # An empty registry: a schema never fetches another one from the network.
    return safe(schema, registry=cast("Any", Registry()))


def _check_references_and_patterns(assertion: Assertion, schema: Any) -> None:
    if isinstance(schema, list):
        for part in schema:
            _check_references_and_patterns(assertion, part)
    elif isinstance(schema, dict):
        for key in ("$ref", "$dynamicRef"):
            if isinstance(schema.get(key), str) and not schema[key].startswith("#"):
                raise assertion.invalid(f"the schema refers to {schema[key]!r:.80}; only references within it work")
        if isinstance(schema.get("pattern"), str):
            compile_pattern(assertion, schema["pattern"])
        for source in schema.get("patternProperties") or {}:
            compile_pattern(assertion, source)
        for part in schema.values():
            _check_references_and_patterns(assertion, part)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Any:
    """Replace jsonschema's check, which uses `re` and can be made to hang."""
    import re2
    from jsonschema import ValidationError

    if isinstance(instance, str) and not re2.search(pattern, instance.encode("utf-8", "replace").decode()):
        yield ValidationError(f"{instance!r:.100} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: dict[str, Any], instance: Any, schema: Any) -> Any:
    import re2

    if isinstance(instance, dict):
        for pattern, subschema in patterns.items():
            for name, value in instance.items():
                if re2.search(pattern, name):
                    yield from validator.descend(value, subschema, path=name, schema_path=pattern)
