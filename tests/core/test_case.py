"""Test cases and their identity."""

from typing import Any

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.case import Case, as_cases
from promptcard_ext.core.errors import CardError


def test_the_identity_is_that_of_the_variables() -> None:
    one = Case({"a": 1, "b": [2]}, (Assertion("contains", "x"),), name="first")
    two = Case({"b": [2], "a": 1}, name="second")
    assert one.uid == two.uid
    assert one.uid != Case({"a": 1, "b": [3]}).uid


def test_a_case_without_a_name_is_called_by_its_identity() -> None:
    case = Case({"a": 1})
    assert case.name == case.uid[:8]


def test_later_changes_of_the_callers_mapping_do_not_reach_it() -> None:
    variables = {"a": 1}
    case = Case(variables)
    uid = case.uid
    variables["a"] = 2
    assert case.uid == uid


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), b"bytes", {(1, 2): 3}])
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(CardError) as caught:
        Case({"a": value}, name="odd")
    assert caught.value.code == "case_invalid"
    assert "'odd'" in caught.value.message


def test_values_that_hold_themselves_or_are_too_deep_are_refused() -> None:
    around: list[Any] = []
    around.append(around)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (around, deep):
        with pytest.raises(CardError):
            Case({"a": value})


@pytest.mark.parametrize("fields", [{"variables": [1]}, {"variables": {"a": 1}, "name": 5}, {"variables": {1: 2}}])
def test_fields_are_checked(fields: dict[str, Any]) -> None:
    with pytest.raises(CardError):
        Case(**fields)


def test_odd_text_has_an_identity() -> None:
    assert len({Case({"a": text}).uid for text in ("\x00", "\ud800", "", "\uffff")}) == 4


def test_plain_mappings_become_cases() -> None:
    first, second = as_cases([{"a": 1}, Case({"a": 2}, name="two")])
    assert (first.variables, second.name) == ({"a": 1}, "two")


def test_two_cases_with_the_same_variables_are_refused() -> None:
    with pytest.raises(CardError) as caught:
        as_cases([Case({"a": 1}, name="one"), Case({"a": 1}, name="again")])
    assert caught.value.code == "case_twice"
    assert "'one' and 'again'" in caught.value.message


@pytest.mark.parametrize("odd", ["text", 5, None, ["a"]])
def test_what_is_no_case_is_refused(odd: Any) -> None:
    with pytest.raises(CardError):
        as_cases([odd])
