"""The short form of assertions in cells."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.interchange.csv_expected import PROMPTFOO_KINDS, format_expected, parse_expected
from tests.interchange.strategies import ANY, assertions


@pytest.mark.parametrize(
    ("cell", "spec"),
    [
        ("Paris", {"type": "equals", "value": "Paris"}),
        ("  Paris \n", {"type": "equals", "value": "Paris"}),
        ("Paris: the city", {"type": "equals", "value": "Paris: the city"}),
        ("https://example.org", {"type": "equals", "value": "https://example.org"}),
        ("equals:5", {"type": "equals", "value": "5"}),
        ("contains: a:b", {"type": "contains", "value": "a:b"}),
        ("not-icontains:X", {"type": "not-icontains", "value": "X"}),
        ("contains-any: a, b ,,c", {"type": "contains-any", "value": ["a", "b", "c"]}),
        ("is-json", {"type": "is-json"}),
        ('contains-json: {"type": "object"}', {"type": "contains-json", "value": {"type": "object"}}),
        ("regex: ^[a-z]+$", {"type": "regex", "value": "^[a-z]+$"}),
        ("similar: hi", {"type": "similar", "value": "hi", "threshold": 0.8}),
        ("similar(0.9):hi", {"type": "similar", "value": "hi", "threshold": 0.9}),
        ("similar:dot(0.9):hi", {"type": "similar:dot", "value": "hi", "threshold": 0.9}),
        ("similar:dotted", {"type": "similar", "value": "dotted", "threshold": 0.8}),
        ("rouge-n(0.6): text", {"type": "rouge-n", "value": "text", "threshold": 0.6}),
        ("levenshtein(5): text", {"type": "levenshtein", "value": "text", "threshold": 5.0}),
        ("cost(0.01)", {"type": "cost", "threshold": 0.01}),
        ("latency: 500", {"type": "latency", "threshold": 500.0}),
        ("word-count: 7", {"type": "word-count", "value": 7}),
        ('word-count: {"max": 7}', {"type": "word-count", "value": {"max": 7}}),
        ("grade: is kind", {"type": "llm-rubric", "value": "is kind"}),
        ("llm-rubric: [is] kind", {"type": "llm-rubric", "value": "[is] kind"}),
        ("fn: output.length", {"type": "javascript", "value": "output.length"}),
        ("eval:x", {"type": "javascript", "value": "x"}),
        ("python: len(output) > 3", {"type": "python", "value": "len(output) > 3"}),
        ("file://check.py:judge", {"type": "python", "value": "file://check.py:judge"}),
        ("file://check.js", {"type": "javascript", "value": "file://check.js"}),
        ("trajectory:step-count(3)", {"type": "trajectory:step-count", "threshold": 3.0}),
        ("contains", {"type": "contains"}),
    ],
)
def test_a_cell_is_an_assertion(cell: str, spec: dict[str, Any]) -> None:
    assert parse_expected(cell) == spec


def test_every_kind_of_promptfoo_is_known() -> None:
    assert len(PROMPTFOO_KINDS) >= 66
    for kind in PROMPTFOO_KINDS:
        assert parse_expected(f"not-{kind}: x")["type"] == f"not-{kind}"


@given(assertions(ANY))
def test_what_has_a_short_form_comes_back(assertion: Assertion) -> None:
    cell = format_expected(assertion)
    if cell is not None:
        assert Assertion(**parse_expected(cell)) == assertion


@pytest.mark.parametrize(
    "assertion",
    [
        Assertion("contains", "x", metric="m"),
        Assertion("contains", "x", weight=0.0),
        Assertion("contains", " x"),
        Assertion("contains-any", ["a,b"]),
        Assertion("equals", 5),
        Assertion("assert-set", assertions=(Assertion("is-json"),)),
    ],
)
def test_what_a_cell_cannot_hold_has_no_short_form(assertion: Assertion) -> None:
    assert format_expected(assertion) is None


@given(st.text())
def test_any_cell_is_an_assertion(cell: str) -> None:
    assert parse_expected(cell)["type"]
