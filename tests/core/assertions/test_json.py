"""JSON within other text."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions.json_text import json_values
from tests.core.assertions.judged import ERROR, FAIL, PASS, UNSCORED, of, outcome

NUMBER = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("text", "schema", "reason"),
    [
        ('Sure: {"a": 1}!', None, None),
        ('```json\n["a"]\n```', None, None),
        ("{}", None, None),
        ("no", None, "no_json"),
        ("{not: json}", None, "no_json"),
        ('{"a": 1', None, "no_json"),
        ('{"a": NaN}', None, "no_json"),
        ("5", None, "no_json"),
        ("as shown in [1] and [2, 3]", None, "no_json"),
        ("nothing []", None, "no_json"),
        ("[1]", None, None),
        (" [1, 2]\n", None, None),
        ("sides [1.5, 2]", None, None),
        ("see [1]: [1, 2]", {"type": "array", "minItems": 2}, None),
        ('first {"n": "x"}, then {"n": 2}', NUMBER, None),
        ('first {"n": "x"}, then {"m": 2}', NUMBER, "schema_mismatch"),
        ('a broken {"n": 1, and {"n": 2}', NUMBER, None),
        ('["unbalanced {"n": 1}', NUMBER, None),
        ('[{"n": 1}, {"n": 2}, {"n"', NUMBER, None),
        ("{{ braces }} {x}", None, "no_json"),
        ('{"{": "}"}', None, None),
    ],
)
def test_what_is_found(text: str, schema: Any, reason: str | None) -> None:
    one = of("contains-json", schema, text)
    assert one.reason == reason
    assert of("not-contains-json", schema, text).outcome is one.outcome.negated()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.text(), st.text("abc .,:\n", max_size=9))
def test_an_object_is_found_whatever_stands_around_it(value: Any, before: str, after: str) -> None:
    for text in (json.dumps({"x": value}), json.dumps({"x": value}, indent=1, ensure_ascii=False)):
        found = list(json_values(f"{before}{text}{after}"))
        assert any(text in f"{before}{text}{after}"[start:end] for _, start, end in found)


@given(JSON)
def test_what_is_json_contains_it(value: Any) -> None:
    text = json.dumps(value)
    assert (outcome("contains-json", None, text) is PASS) == isinstance(value, dict | list)


HALF_A_MEGABYTE = 500_000
HOSTILE = {
    "openings": "[" * HALF_A_MEGABYTE,
    "objects within": '{"a":' * (HALF_A_MEGABYTE // 5),
    "both": '[1,{"a":' * (HALF_A_MEGABYTE // 8),
    "nan at the end": "[" * 900 + "1," * (HALF_A_MEGABYTE // 2) + "NaN",
    "half strings": '["' * (HALF_A_MEGABYTE // 2),
    "beginnings": '{"a"\n' * (HALF_A_MEGABYTE // 5),
    "many": '{"a":1}' * (HALF_A_MEGABYTE // 7),
    "cut off": "[" + "[1,2,3]," * (HALF_A_MEGABYTE // 8),
    "long numbers": ("[" + "9" * 5000 + "]") * 100,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("schema", [None, {"type": "string"}, NUMBER])
def test_no_answer_takes_long(text: str, schema: Any) -> None:
    started = time.process_time()
    one = of("contains-json", schema, text)
    assert time.process_time() - started < 5
    assert one.outcome in (PASS, FAIL) or one.reason in ("answer_too_complex", "schema_too_costly")


@pytest.mark.parametrize("prefix", ["", "not-"])
def test_an_answer_beyond_the_limits_is_unscored_either_way(prefix: str) -> None:
    for text, reason in ((" " * 2_000_001, "answer_too_long"), ("[" * 400_000, "answer_too_complex")):
        one = of(f"{prefix}contains-json", None, text)
        assert (one.outcome, one.reason) == (UNSCORED, reason)


def test_a_value_too_deep_to_be_judged_leaves_it_open_unless_another_one_holds() -> None:
    deep = '{"a":' * 80 + "1" + "}" * 80
    assert of("contains-json", NUMBER, deep + '{"n": "x"}').reason == "answer_too_deep"
    assert of("contains-json", NUMBER, deep + '{"n": 1}').outcome is PASS


def test_all_values_of_an_answer_share_the_steps_of_the_schema() -> None:
    schema = {"items": {"items": {"items": {"type": "string"}}}}
    # Each takes few steps.
    row = json.dumps([[["x"] * 20] * 20 + [[1]]])
    one = of("contains-json", schema, row * 400)
    assert (one.outcome, one.reason) == (ERROR, "schema_too_costly")
    assert of("contains-json", schema, row * 4).reason == "schema_mismatch"


def test_what_an_earlier_answer_took_is_not_counted_for_this_one() -> None:
    deep = '{"a":' * 80 + "1" + "}" * 80
    levels: dict[str, Any] = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)}
    bomb = {"$ref": "#/$defs/a0", "$defs": levels | {"a40": {}}}
    assert of("is-json", bomb, "{}").reason == "schema_too_costly"
    assert of("contains-json", NUMBER, deep + '{"n": "x"}').reason == "answer_too_deep"
