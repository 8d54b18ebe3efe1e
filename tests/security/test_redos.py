"""Patterns and schemas as hostile input: trying a pattern ends within 0.3 seconds of processor time.

So does reading a schema, once for all answers, and so does checking an answer with it; here both are done.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.schema import SchemaTooCostly, count_anew, first_problem, validator_for
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.pattern import PatternInvalid, PatternTooCostly, search

from .limited import Used, explode

MAX_CPU_S = 0.6
MAX_PATTERN_S = 0.3

FOUND, NOT_FOUND, INVALID, COSTLY = "found", "not found", "invalid", "too costly"
FITS, WRONG, REFUSED = "fits", "wrong", "refused"

A = "a" * 50_000
PATTERNS: dict[str, tuple[str, str, str]] = {
    "(a+)+$": ("(a+)+$", A + "!", NOT_FOUND),
    "(a|aa)+$": ("(a|aa)+$", A + "!", NOT_FOUND),
    "(a|a?)+$": ("^(a|a?)+$", A + "!", NOT_FOUND),
    "(a*)*b": ("(a*)*b", A, NOT_FOUND),
    "((a*)*)*b": ("((a*)*)*b", A, NOT_FOUND),
    "(.*a){25}$": ("(.*a){25}$", A + "!", NOT_FOUND),
    "(.*a){12}b": ("(.*a){12}b", A, NOT_FOUND),
    "^(([a-z])+.)+[A-Z]([a-z])+$": ("^(([a-z])+.)+[A-Z]([a-z])+$", A, NOT_FOUND),
    "(x+x+)+y": ("(x+x+)+y", "x" * 50_000, NOT_FOUND),
    "mail": (r"^([a-zA-Z0-9])(([\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}[a-z]{2,3}$", A + "!", NOT_FOUND),
    "words": (r"^(\w+\s?)*$", "word " * 10_000 + "!", NOT_FOUND),
    "numbers": (r"^(\d+,?)+$", "1" * 50_000 + "x", NOT_FOUND),
    "quotes": (r'"(\\.|[^"])*"$', '"' + "\\a" * 25_000, NOT_FOUND),
    "white space": (r"\s+$", " " * 50_000 + "x", NOT_FOUND),
    "tags": (r"<(.*)>.*</(.*)>.*<(.*)>", "<" * 50_000, NOT_FOUND),
    "dots": (".*.*.*.*.*=.*", "x" * 50_000, NOT_FOUND),
    "options": ("(a?){500}(a){500}", "a" * 2000, FOUND),
    "options in options": ("((a?){30}){30}b", "a" * 4000, NOT_FOUND),
    "options in options, longer": ("((a?){30}){30}b", "a" * 10_000, COSTLY),
    "states": ("[ab]*a[ab]{900}c", "ab" * 500_000, COSTLY),
    "states of many": ("(?:a|b)*a(?:a|b){500}c", "abaab" * 100_000, COSTLY),
    "states within the limit": ("[ab]*a[ab]{200}c", "abaabbab" * 9000, NOT_FOUND),
    "classes": (r"(\pL+){50}c", "\u0101" * 100_000, COSTLY),
    "a huge count": ("a{1000000}", "a", INVALID),
    "counts of counts": ("((a{100}){100}){100}", "a", INVALID),
    "classes of counts": (r"((\pL{50}){20}){2}", "a", INVALID),
    "groups": ("(" * 900 + "a" + ")" * 900, "a", FOUND),
    "more groups": ("(" * 5000 + "a" + ")" * 5000, "a", INVALID),
    "back-reference": (r"(a+)\1+$", A, INVALID),
    "look-ahead": ("(?=(a+))a*b", A, INVALID),
    "look-behind": ("(?<=a+)b", A, INVALID),
    "atomic": ("(?>a+)b", A, INVALID),
    "possessive": ("a++b", A, INVALID),
    "alternatives": ("|".join(f"a{i}b" for i in range(300)) + "$", A[:8000], NOT_FOUND),
    "too long": ("a" * 2001, "a", INVALID),
    "a lone surrogate": ("\ud800", "a", INVALID),
    "a text of surrogates": ("(a+)+$", "\ud800" * 50_000, NOT_FOUND),
}


def doubling(levels: int) -> dict[str, Any]:
    """Return a schema in which every definition asks the next one twice."""
    definitions: dict[str, Any] = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": definitions | {f"a{levels}": {"type": "object"}}}


def within(levels: int, keyword: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = {keyword: [schema, schema] if keyword.endswith("Of") else schema}
    return schema


COLLIDING = [i * (2**61 - 1) for i in range(20_000)]
SCHEMAS: dict[str, tuple[Any, Any, str]] = {
    "pattern": ({"pattern": "^(a+)+$"}, A + "!", WRONG),
    "property names": ({"propertyNames": {"pattern": "^(a+)+$"}}, {A + "!": 1}, WRONG),
    "pattern properties": ({"patternProperties": {"^(a+)+$": False}}, {A + "!": 1}, FITS),
    "many pattern properties": (
        {"patternProperties": {f"(a|b)*a(a|b){{{i}}}c": {} for i in range(1, 250)}},
        {"ab" * 50 + str(i): 1 for i in range(500)},
        COSTLY,
    ),
    "additional properties": (
        {"patternProperties": {f"(a|b)*a(a|b){{{i}}}c": {} for i in range(1, 250)}, "additionalProperties": False},
        {"ab" * 50 + str(i): 1 for i in range(500)},
        COSTLY,
    ),
    "states": ({"pattern": "[ab]*a[ab]{900}c"}, "ab" * 500_000, COSTLY),
    "another dialect": (
        {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "^(a+)+$"}, A + "!", WRONG
    ),
    "another dialect inside": (
        {"allOf": [{"$schema": "http://json-schema.org/draft-04/schema#", "pattern": "^(a+)+$"}]}, A + "!", WRONG
    ),
    "references that double": (doubling(40), {}, COSTLY),
    "a circle": ({"$ref": "#"}, 1, COSTLY),
    "a circle of two": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, 1, COSTLY
    ),
    "a circle of all": ({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}, 1, COSTLY),
    "a dynamic circle": ({"$dynamicAnchor": "x", "anyOf": [{"$dynamicRef": "#x"}, {"$dynamicRef": "#x"}]}, 1, COSTLY),
    "one of one of": (within(7, "oneOf"), "x", WRONG),
    "any of any of any of": (within(20, "anyOf"), "x", REFUSED),
    "not not not": (within(60, "not"), 1, FITS),
    "too deep": (within(70, "not"), 1, REFUSED),
    "errors that quote": ({"anyOf": [{"type": "string"}] * 400}, ["x" * 1000] * 1500, COSTLY),
    "contains": ({"contains": {"contains": {"contains": {"const": 1}}}}, [[[0] * 60] * 60] * 60, COSTLY),
    "unique numbers": ({"uniqueItems": True}, COLLIDING, FITS),
    "unique lists": ({"uniqueItems": True}, [[i, *range(50)] for i in range(1500)], FITS),
    "unique, again and again": ({"allOf": [{"uniqueItems": True}] * 400}, COLLIDING, COSTLY),
    "a long enumeration": ({"items": {"enum": list(range(5000))}}, [4999] * 20_000, COSTLY),
    "an enumeration of lists": ({"items": {"enum": [[i] * 20 for i in range(500)]}}, [[499] * 20] * 2000, COSTLY),
    "a large constant": ({"items": {"const": ["x" * 40_000]}}, [["x" * 40_000]] * 20, FITS),
    "many properties": ({"items": {"properties": {f"p{i}": True for i in range(500)}}}, [{}] * 30_000, COSTLY),
    "many required": ({"items": {"required": [f"p{i}" for i in range(3000)]}}, [{}] * 30_000, WRONG),
    "many dependent": (
        {"items": {"dependentRequired": {f"p{i}": ["x"] for i in range(500)}}}, [{"y": 1}] * 30_000, COSTLY
    ),
    "unevaluated properties": (
        {"allOf": [{"properties": {f"p{i}": {}}} for i in range(100)], "unevaluatedProperties": False},
        {f"p{i}": 1 for i in range(100)},
        FITS,
    ),
    "unevaluated in unevaluated": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}] * 50, "unevaluatedProperties": False},
         "b": {"anyOf": [{"properties": {"x": {}}, "unevaluatedProperties": False}] * 50}}},
        {f"p{i}": 1 for i in range(1000)},
        COSTLY,
    ),
    "unevaluated items": (
        {"anyOf": [{"prefixItems": [True] * 3, "unevaluatedItems": False}] * 100}, list(range(5000)), COSTLY
    ),
    "a number that overflows": ({"multipleOf": 0.5}, 10**4000, COSTLY),
    "a small divisor": ({"multipleOf": 1e-300}, 1e300, WRONG),
    "too many parts": ({"properties": {f"p{i}": {} for i in range(3000)}}, {}, REFUSED),
    "too many truths": ({"allOf": [True] * 9000}, {}, REFUSED),
    "too long": ({"enum": ["x" * 60_000]}, {}, REFUSED),
    "another document": ({"$ref": "https://example.com/s.json"}, 1, REFUSED),
    "a file": ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, 1, REFUSED),
    "an identity elsewhere": ({"$id": "https://example.com/", "$ref": "other"}, 1, REFUSED),
    "a pattern that RE2 does not know": ({"pattern": "(?=(a+))"}, "a", REFUSED),
}  # fmt: skip


def try_pattern(source: str, text: str) -> str:
    try:
        return FOUND if search(source, text) else NOT_FOUND
    except PatternInvalid:
        return INVALID
    except PatternTooCostly:
        return COSTLY


def try_schema(schema: Any, value: Any) -> str:
    try:
        validator = validator_for(Assertion("contains", "x"), schema)
    except CardError:
        return REFUSED
    count_anew()
    try:
        return FITS if first_problem(validator, value) is None else WRONG
    except SchemaTooCostly:
        return COSTLY


def warm_up() -> str:
    """Do once what a process does once: the first schema also reads the schema of schemas."""
    return try_schema({"type": "object", "properties": {"a": {"pattern": "a"}}}, {"a": "b"})


BOMBS: dict[str, Callable[[], str]] = {
    **{f"pattern: {name}": partial(try_pattern, source, text) for name, (source, text, _) in PATTERNS.items()},
    **{f"schema: {name}": partial(try_schema, schema, value) for name, (schema, value, _) in SCHEMAS.items()},
}
EXPECTED = {f"pattern: {name}": outcome for name, (*_, outcome) in PATTERNS.items()} | {
    f"schema: {name}": outcome for name, (*_, outcome) in SCHEMAS.items()
}


@pytest.fixture(scope="module")
def used() -> dict[str, Used]:
    return explode(__name__)


def test_there_are_enough_of_them() -> None:
    assert min(len(PATTERNS), len(SCHEMAS)) >= 25


@pytest.mark.parametrize("name", BOMBS)
def test_every_check_ends_within_its_limit(used: dict[str, Used], name: str) -> None:
    assert used[name].outcome == EXPECTED[name]
    assert used[name].cpu_s <= (MAX_PATTERN_S if name.startswith("pattern") else MAX_CPU_S)


def test_values_of_the_bombs_are_such_as_an_answer_can_hold() -> None:
    for name, (_, value, _) in SCHEMAS.items():
        if name != "a number that overflows":
            assert len(json.dumps(value)) < 2_000_001
