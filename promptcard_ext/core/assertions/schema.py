"""JSON Schema (2020-12) on schemas and answers that may come from anybody.

jsonschema does the work. What it does with Python's `re`, or in quadratic or exponential time, is done here instead:
a pattern goes through RE2, nothing is fetched, and one check may take a limited number of steps.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import re2
from jsonschema import Draft202012Validator, ValidationError, exceptions, validators
from referencing import Registry

from promptcard_ext.core.assertions.base import Assertion
from promptcard_ext.core.assertions.text import compile_pattern, utf8
from promptcard_ext.core.identity import canonical_json, json_key

MAX_SCHEMA_CHARS = 50_000
MAX_DEPTH = 64
MAX_STEPS = 500_000


class SchemaTooCostly(Exception):
    """The schema takes too many steps on this answer."""


def validator_for(assertion: Assertion, schema: dict[str, Any]) -> Any:
    """Return a validator that is safe to run on any answer.

    Raises:
        CardError: The schema is too long or too deep, not valid, or refers to another one.
    """
    text = canonical_json(schema)
    if len(text) > MAX_SCHEMA_CHARS:
        raise assertion.invalid(f"the schema has more than {MAX_SCHEMA_CHARS:,} characters")
    if depth(schema) > MAX_DEPTH:
        raise assertion.invalid(f"the schema is nested deeper than {MAX_DEPTH} levels")
    # A copy, which later changes of the caller's mapping do not reach.
    own = json.loads(text, object_hook=_without_dialect)
    try:
        # Without the check of formats: it would try every pattern with `re`, which knows other patterns than RE2.
        Draft202012Validator.check_schema(own, format_checker=cast("Any", None))
    except exceptions.SchemaError as error:
        raise assertion.invalid(f"the schema is not valid at {error.json_path}: {error.message:.200}") from None
    used: set[str] = set()
    _refuse_unsafe(assertion, own, used)
    if "unevaluatedProperties" in used and (other := used & {"patternProperties", "dependentSchemas"}):
        raise assertion.invalid(f"the schema uses 'unevaluatedProperties' with '{min(other)}', which is not supported")
    # An empty registry: a schema never fetches another one from the network.
    return _SAFE(own, registry=cast("Any", Registry()))


def first_problem(validator: Any, value: Any, carry_on: bool = False) -> str | None:
    """Return what is wrong with ``value`` first, or None.

    Args:
        carry_on: Go on counting the steps of the values before this one.

    Raises:
        SchemaTooCostly: It is not known after `MAX_STEPS` steps.
    """
    if not carry_on:
        _local.steps = 0
    problem = next(validator.iter_errors(value), None)
    return None if problem is None else f"At {problem.json_path}: {problem.message:.300}"


def depth(value: Any) -> int:
    """Return how deep ``value`` is nested, or a number above `MAX_DEPTH`."""
    level, current = 0, [value]
    while current and level <= MAX_DEPTH:
        level += 1
        current = [
            child
            for node in current
            if isinstance(node, dict | list | tuple)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return level


def _without_dialect(part: dict[str, Any]) -> dict[str, Any]:
    # At `$schema` jsonschema would go on with a stock validator of that dialect, and so with `re`.
    if isinstance(part.get("$schema"), str):
        del part["$schema"]
    return part


def _refuse_unsafe(assertion: Assertion, schema: Any, used: set[str]) -> None:
    if isinstance(schema, list):
        for part in schema:
            _refuse_unsafe(assertion, part, used)
    elif isinstance(schema, dict):
        used.update(schema)
        for key in ("$ref", "$dynamicRef"):
            if isinstance(schema.get(key), str) and not schema[key].startswith("#"):
                raise assertion.invalid(f"the schema refers to {schema[key]!r:.80}; only references within it work")
        if isinstance(schema.get("pattern"), str):
            compile_pattern(assertion, schema["pattern"])
        for source in schema.get("patternProperties") or ():
            compile_pattern(assertion, str(source))
        for part in schema.values():
            _refuse_unsafe(assertion, part, used)


def _found(pattern: str, text: str) -> bool:
    return re2.search(pattern, utf8(text)) is not None


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _found(pattern, instance):
        yield ValidationError(f"{instance!r:.100} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: dict[str, Any], instance: Any, _: Any) -> Iterator[Any]:
    if isinstance(instance, dict):
        for pattern, subschema in patterns.items():
            for name, value in instance.items():
                if _found(pattern, name):
                    yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, rest: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extras = [name for name in instance if name not in known and not any(_found(pattern, name) for pattern in patterns)]
    if isinstance(rest, dict):
        for name in extras:
            yield from validator.descend(instance[name], rest, path=name)
    elif rest is False and extras:
        names = ", ".join(f"{name!r:.60}" for name in extras[:5])
        yield ValidationError(f"Additional properties are not allowed ({names})")


def _unique_items(_: Any, unique: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    if unique and isinstance(instance, list) and len({json_key(item) for item in instance}) < len(instance):
        yield ValidationError("The list has the same item twice")


_local = threading.local()
_Keyword = Callable[[Any, Any, Any, Any], Any]


def _counted(keyword: _Keyword) -> _Keyword:
    def run(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        _local.steps += 1
        if _local.steps > MAX_STEPS:
            raise SchemaTooCostly(f"The schema takes more than {MAX_STEPS:,} steps on this answer.")
        return keyword(validator, value, instance, schema)

    return run


_KEYWORDS: dict[str, Any] = dict(Draft202012Validator.VALIDATORS) | {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
_SAFE = cast("Any", validators).extend(
    Draft202012Validator, {name: _counted(keyword) for name, keyword in _KEYWORDS.items()}
)
