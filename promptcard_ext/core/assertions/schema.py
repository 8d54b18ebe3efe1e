"""JSON Schema (2020-12) on schemas and answers that may come from anybody.

jsonschema does the work. What it does with Python's `re`, or in quadratic or exponential time, is done here instead:
a pattern goes through RE2, nothing is fetched, and one check may take a limited number of steps. A step is about five
microseconds; a keyword is charged for what it reads, and an error for the value that its message quotes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

from jsonschema import Draft202012Validator, ValidationError, exceptions, validators
from referencing import Registry

from promptcard_ext.core import pattern as patterns
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.identity import canonical_json
from promptcard_ext.core.rendering import size

MAX_SCHEMA_CHARS = 50_000
MAX_PARTS = 600
MAX_DEPTH = 64
MAX_STEPS = 40_000
# For what counting does not foresee: processor time, looked at between every hundred keywords.
MAX_CHECK_S = 0.2
# How much of a value is read, compared or quoted in the time of one step.
_READ_PER_STEP = 50


class SchemaTooCostly(Exception):
    """The schema takes too many steps on this answer."""


class Owner(Protocol):
    """What a schema belongs to: an assertion, a variable."""

    def invalid(self, problem: str) -> CardError:
        """Return the error that says what is wrong with it."""
        ...


def validator_for(owner: Owner, schema: dict[str, Any]) -> Any:
    """Return a validator that is safe to run on any answer.

    Raises:
        CardError: The schema is too long or too deep, not valid, or refers to another one.
    """
    if size(schema, MAX_SCHEMA_CHARS) > MAX_SCHEMA_CHARS:
        raise owner.invalid(f"the schema has more than {MAX_SCHEMA_CHARS:,} characters")
    try:
        text = canonical_json(schema)
    except (TypeError, ValueError, RecursionError):
        raise owner.invalid("the schema is not JSON") from None
    if len(text) > MAX_SCHEMA_CHARS:
        raise owner.invalid(f"the schema has more than {MAX_SCHEMA_CHARS:,} characters")
    if depth(schema) > MAX_DEPTH:
        raise owner.invalid(f"the schema is nested deeper than {MAX_DEPTH} levels")
    # A copy, which later changes of the caller's mapping do not reach.
    own = json.loads(text, object_hook=_without_dialect)
    if _count_parts(own) > MAX_PARTS:
        raise owner.invalid(f"the schema has more than {MAX_PARTS} parts")
    try:
        # Without the check of formats: it would try every pattern with `re`, which knows other patterns than RE2.
        Draft202012Validator.check_schema(own, format_checker=cast("Any", None))
    except exceptions.SchemaError as error:
        raise owner.invalid(f"the schema is not valid at {error.json_path}: {error.message:.200}") from None
    used: set[str] = set()
    _refuse_unsafe(owner, own, used)
    if "unevaluatedProperties" in used and (other := used & {"patternProperties", "dependentSchemas"}):
        raise owner.invalid(f"the schema uses 'unevaluatedProperties' with '{min(other)}', which is not supported")
    # An empty registry: a schema never fetches another one from the network.
    return _SAFE(own, registry=cast("Any", Registry()))


def count_anew() -> None:
    """Begin to count steps: before the values of each answer, which share what one check may take."""
    _local.steps = _local.look_at = MAX_STEPS
    _local.deadline = time.thread_time() + MAX_CHECK_S


def first_problem(validator: Any, value: Any) -> str | None:
    """Return what is wrong with ``value`` first, or None; after `count_anew`.

    Raises:
        SchemaTooCostly: It is not known after `MAX_STEPS` steps, or a number is too large to compute with.
    """
    try:
        problem = next(validator.iter_errors(value), None)
    except (OverflowError, patterns.PatternTooCostly) as error:
        raise SchemaTooCostly(f"The schema cannot be checked on this answer: {error!s:.200}.") from None
    except RecursionError:
        raise SchemaTooCostly("The schema refers to itself without end on this answer.") from None
    return None if problem is None else f"At {problem.json_path:.200}: {problem.message:.300}"


def problem_of(validator: Any, value: Any) -> str | None:
    """Return what is wrong with ``value``, also when it is too deep or too costly to check; or None."""
    if depth(value) > MAX_DEPTH:
        return f"it is nested deeper than {MAX_DEPTH} levels"
    count_anew()
    try:
        return first_problem(validator, value)
    except SchemaTooCostly as error:
        return str(error)


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


def _refuse_unsafe(owner: Owner, schema: Any, used: set[str]) -> None:
    if isinstance(schema, list):
        for part in schema:
            _refuse_unsafe(owner, part, used)
    elif isinstance(schema, dict):
        used.update(schema)
        for key in ("$ref", "$dynamicRef"):
            if isinstance(schema.get(key), str) and not schema[key].startswith("#"):
                raise owner.invalid(f"the schema refers to {schema[key]!r:.80}; only references within it work")
        if isinstance(schema.get("pattern"), str):
            _compile(owner, schema["pattern"])
        for source in schema.get("patternProperties") or ():
            _compile(owner, str(source))
        for part in schema.values():
            _refuse_unsafe(owner, part, used)


def _compile(owner: Owner, source: str) -> None:
    try:
        patterns.compile_re2(source)
    except patterns.PatternInvalid as error:
        raise owner.invalid(str(error)) from None


def _count_parts(schema: Any) -> int:
    """Count mappings, and lists of what may be schemas: checking the schema itself takes time for each."""
    count, stack = 0, [schema]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            count += 1
            stack.extend(part.values())
        elif isinstance(part, list):
            count += sum(1 for item in part if isinstance(item, bool | list))
            stack.extend(part)
    return count


# -- limits ----------------------------------------------------------------------------------------------------------

_LOOK_EVERY = 100
_local = threading.local()
_Keyword = Callable[[Any, Any, Any, Any], Any]


def _charge(steps: int) -> None:
    _local.steps -= steps
    if _local.steps < 0:
        raise SchemaTooCostly(f"The schema takes more than {MAX_STEPS:,} steps on this answer.")
    if _local.steps < _local.look_at:
        _local.look_at = _local.steps - _LOOK_EVERY
        if time.thread_time() > _local.deadline:
            raise SchemaTooCostly(f"The schema takes more than {MAX_CHECK_S:g} seconds on this answer.")


def _counted(name: str, keyword: _Keyword) -> _Keyword:
    reads_all = name.startswith("unevaluated")

    def run(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        # `properties`, `required` and others look at every name that the schema has, whatever the answer is.
        _charge(1 + (len(value) // _READ_PER_STEP if isinstance(value, dict | list) else 0))
        if reads_all and isinstance(instance, dict | list):
            _charge(len(instance))
        for error in keyword(validator, value, instance, schema) or ():
            # Its message quotes the value.
            _charge(size(instance, _READ_PER_STEP * MAX_STEPS) // _READ_PER_STEP)
            yield error

    run.__name__ = name
    return run


def _found(pattern: str, text: str) -> bool:
    compiled = patterns.compile_re2(pattern)
    _charge(compiled.programsize * len(text) // 1000)
    return patterns.search(pattern, text) is not None


# -- keywords --------------------------------------------------------------------------------------------------------


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _found(pattern, instance):
        yield ValidationError(f"{instance!r:.100} does not match {pattern!r}")


def _pattern_properties(validator: Any, by_pattern: dict[str, Any], instance: Any, _: Any) -> Iterator[Any]:
    if isinstance(instance, dict):
        for pattern, subschema in by_pattern.items():
            for name, value in instance.items():
                if _found(pattern, name):
                    yield from validator.descend(value, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, rest: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    known, by_pattern = schema.get("properties", {}), schema.get("patternProperties", {})
    _charge(len(instance) // _READ_PER_STEP)
    extras = [
        name for name in instance if name not in known and not any(_found(pattern, name) for pattern in by_pattern)
    ]
    if isinstance(rest, dict):
        for name in extras:
            yield from validator.descend(instance[name], rest, path=name)
    elif rest is False and extras:
        names = ", ".join(f"{name!r:.60}" for name in extras[:5])
        yield ValidationError(f"Additional properties are not allowed ({names})")


def _unique_items(_: Any, unique: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    if not unique or not isinstance(instance, list):
        return
    _charge(len(instance) // 2)
    if len({_identity(item) for item in instance}) < len(instance):
        yield ValidationError("The list has the same item twice")


def _enum(_: Any, values: list[Any], instance: Any, __: Any) -> Iterator[ValidationError]:
    if not _is_one_of(instance, values):
        yield ValidationError(f"{instance!r:.100} is not one of {values!r:.150}")


def _is_one_of(instance: Any, values: list[Any]) -> bool:
    if isinstance(instance, str):
        return instance in values
    _charge(len(values))
    return _identity(instance) in {_identity(value) for value in values}


def _const(_: Any, value: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    if _identity(instance) != _identity(value):
        yield ValidationError(f"{value!r:.150} was expected")


def _identity(value: Any) -> str:
    """Return a text that is the same for equal JSON values: 1 equals 1.0, and true is not 1.

    A text, because anybody can make numbers that have the same hash.
    """
    if isinstance(value, str):
        return f'"{value}'
    _charge(size(value, _READ_PER_STEP * MAX_STEPS) // _READ_PER_STEP)
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


_KEYWORDS: dict[str, Any] = dict(Draft202012Validator.VALIDATORS) | {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
    "enum": _enum,
    "const": _const,
}
_SAFE = cast("Any", validators).extend(
    Draft202012Validator, {name: _counted(name, keyword) for name, keyword in _KEYWORDS.items()}
)
