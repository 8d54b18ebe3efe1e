"""Cases from data frames."""

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import promptcard_ext as pc
from promptcard_ext.core.errors import CardError
from promptcard_ext.interchange.case_frames import to_cases

CITIES = pd.DataFrame(
    {
        "city": ["Rome", "Oslo", "Bonn"],
        "days": [3, 7, 1],
        "want": ["contains: Rome", None, "icontains: bonn"],
        "also": ["word-count(1): 80", "", np.nan],
        "topic": ["south,old", "north", None],
        "country": ["it", "no", None],
    }
)


def test_every_frame_makes_cases_once_the_package_is_asked_for_it() -> None:
    assert pc.frames.CaseFrame is type(CITIES.pc)
    cases = CITIES.pc.to_cases(["city", "days"], expect=["want", "also"], name="city", tags="topic", group="country")
    assert [case.name for case in cases] == ["Rome", "Oslo", "Bonn"]
    assert cases[0].variables == {"city": "Rome", "days": 3}
    assert [assertion.type for assertion in cases[0].assertions] == ["contains", "word-count"]
    assert [len(case.assertions) for case in cases] == [2, 0, 1]
    assert [case.metadata for case in cases] == [
        {"tags": ["south", "old"], "group": "it"}, {"tags": ["north"], "group": "no"}, {},
    ]  # fmt: skip


def test_cases_run_as_they_are() -> None:
    cases = CITIES.pc.to_cases(["city"], expect={"contains": "city"})
    run = pc.run(pc.Card("trip", "Go to {{ city }}."), cases, "simulated:echo").wait()
    assert run.counts.passed == 3


def test_columns_that_are_nothing_else_are_variables() -> None:
    cases = to_cases(CITIES, expect="want", tags=["topic"], group="country")
    assert set(cases[0].variables) == {"city", "days", "also"}
    renamed = to_cases(CITIES, {"place": "city"})
    assert renamed[0].variables == {"place": "Rome"}


def test_rows_with_the_same_variables_are_one_case() -> None:
    frame = pd.DataFrame({"q": ["a", "b", "a", "b"], "want": ["equals: 1", None, "equals: 1", None]})
    assert [case.variables["q"] for case in to_cases(frame, ["q"], expect="want")] == ["a", "b"]


def test_rows_that_contradict_each_other_are_named() -> None:
    frame = pd.DataFrame({"q": ["a", "b", "a"], "want": ["equals: 1", None, "equals: 2"]}, index=["x", "y", "z"])
    with pytest.raises(CardError, match=r"Rows 0 \(x\) and 2 \(z\)") as caught:
        to_cases(frame, ["q"], expect="want")
    assert caught.value.code == "case_twice"


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT])
def test_a_missing_value_leaves_its_variable_out(missing: object) -> None:
    frame = pd.DataFrame({"a": pd.Series(["x", missing], dtype=object), "b": ["y", "z"]})
    assert [case.variables for case in to_cases(frame)] == [{"a": "x", "b": "y"}, {"b": "z"}]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.str_("x"), "x"), (Decimal("2"), 2),
        (Decimal("2.5"), 2.5), (pd.Timestamp("2026-11-28 10:00"), "2026-11-28T10:00:00"),
        (datetime.date(2026, 11, 28), "2026-11-28"), (pd.Timedelta(minutes=1), "P0DT0H1M0S"),
        (np.array([1, 2]), [1, 2]), ([np.int64(1), None], [1, None]), ({"k": np.float64(1.5)}, {"k": 1.5}),
        (pd.Period("2026-11"), "2026-11"), ((1, "b"), [1, "b"]), (True, True), ("", ""),
    ],
)  # fmt: skip
def test_values_become_plain_json(value: object, plain: object) -> None:
    frame = pd.DataFrame({"v": pd.Series([value], dtype=object)})
    (case,) = to_cases(frame)
    assert case.variables == {"v": plain}
    assert type(case.variables["v"]) is type(plain)


def test_whole_numbers_stay_whole_beside_a_missing_one() -> None:
    for dtype in ("float64", "Int64"):
        cases = to_cases(pd.DataFrame({"n": pd.Series([1, None, 3], dtype=dtype), "k": [1, 2, 3]}))
        assert [case.variables.get("n") for case in cases] == [1, None, 3]
        assert all(not isinstance(case.variables.get("n"), float) for case in cases)
    cases = to_cases(pd.DataFrame({"n": [1.0, 2.0]}))
    assert [type(case.variables["n"]) for case in cases] == [float, float]


def test_categories_and_dates_are_taken_as_what_they_are() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(["x", "y"]), "d": pd.to_datetime(["2026-01-01", None])})
    assert [case.variables for case in to_cases(frame)] == [{"c": "x", "d": "2026-01-01T00:00:00"}, {"c": "y"}]


@pytest.mark.parametrize("value", [np.inf, b"bytes", object(), {"a": float("-inf")}, 1j])
def test_a_value_that_is_not_json_is_named_with_row_and_column(value: object) -> None:
    frame = pd.DataFrame({"ok": ["a", "b"], "bad": pd.Series(["fine", value], dtype=object)}).set_axis([10, 20])
    with pytest.raises(CardError, match=r"Row 1 \(20\), column 'bad'") as caught:
        to_cases(frame)
    assert caught.value.code == "case_invalid"


def test_an_assertion_that_makes_no_sense_is_named_with_row_and_column() -> None:
    frame = pd.DataFrame({"q": ["a", "b"], "want": ["contains: x", "word-count: many"]})
    with pytest.raises(CardError, match="Row 1, column 'want'"):
        to_cases(frame, ["q"], expect="want")


def test_columns_that_are_not_there_or_there_twice_are_named() -> None:
    with pytest.raises(CardError, match="no column 'citty'") as caught:
        to_cases(CITIES, ["citty"])
    assert (caught.value.code, caught.value.hint) == ("frame_column", "Did you mean 'city'?")
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(CardError, match="several columns 'a'"):
        to_cases(twice, ["a"])


def test_an_empty_frame_has_no_cases() -> None:
    assert to_cases(pd.DataFrame({"a": []})) == []


@given(st.lists(st.fixed_dictionaries({"a": st.integers(0, 3), "b": st.sampled_from(["x", "y", None])}), min_size=1))
def test_there_is_one_case_for_each_different_row(rows: list[dict[str, Any]]) -> None:
    cases = to_cases(pd.DataFrame(rows))
    different = {frozenset((name, value) for name, value in row.items() if value is not None) for row in rows}
    assert {frozenset(case.variables.items()) for case in cases} == different
    assert len({case.uid for case in cases}) == len(cases)
