"""Parts of the text: one, any, all, the beginning."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.containment import text_values
from promptcard_ext.core.errors import CardError
from tests.core.assertions.judged import FAIL, PASS, of, outcome


@pytest.mark.parametrize(
    ("kind", "value", "text", "reason"),
    [
        ("contains", 0, "costs 10", None),
        ("contains", 40.5, "40.5 EUR", None),
        ("contains", 40.0, "40 EUR", None),
        ("icontains", 7, "seven", "not_contained"),
        ("contains-any", ["cat", "dog"], "a dog", None),
        ("contains-any", ["cat", "dog"], "a Dog", "none_contained"),
        ("icontains-any", ["cat", "STRASSE"], "Straße", None),
        ("icontains-any", ["cat"], "dog", "none_contained"),
        ("contains-all", ["a", "b"], "b a", None),
        ("contains-all", ["a", "b", "c"], "a", "not_all_contained"),
        ("icontains-all", ["A", "b"], "aB", None),
        ("icontains-all", ["A", "x"], "ab", "not_all_contained"),
        ("starts-with", "Yes", "Yes, sir", None),
        ("starts-with", "Yes", "\n Yes", None),
        ("starts-with", " Yes", " Yes", None),
        ("starts-with", "yes", "Yes", "other_start"),
        ("starts-with", "Yes", "Oh yes. Yes", "other_start"),
    ],
)
def test_what_is_contained(kind: str, value: Any, text: str, reason: str | None) -> None:
    assert of(kind, value, text).reason == reason
    assert of(f"not-{kind}", value, text).reason == (f"{kind}_held" if reason is None else None)


def test_what_is_missing_of_all_is_named() -> None:
    assert "['b', 'c']" in of("contains-all", ["a", "b", "c"], "a").message


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("a,b", ("a", "b")),
        (" a , b ,", ("a", "b")),
        ('"1,000", in stock', ("1,000", "in stock")),
        ('"say ""hi""",b', ('say "hi"', "b")),
        ("a\nb,c", ("a", "b", "c")),
        ("one", ("one",)),
    ],
)
def test_one_line_is_split_at_its_commas(line: str, parts: tuple[str, ...]) -> None:
    assert text_values(Assertion("contains-any", line)) == parts


@pytest.mark.parametrize(
    "value", ["", " , ", [], None, [""], ["a", ""], [None], [True], {"a": 1}, 5, ["a"] * 1001, '"' + "a" * 200_000]
)
@pytest.mark.parametrize("kind", ["contains-any", "icontains-all", "tool-call-f1"])
def test_a_list_without_texts_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(CardError) as caught:
        Assertion(kind, value)
    assert caught.value.code == "assertion_invalid"


TEXTS = st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=4)


@given(TEXTS, st.text())
def test_any_and_all_are_what_contains_says_of_each(parts: list[str], text: str) -> None:
    each = [outcome("contains", part, text) is PASS for part in parts]
    assert outcome("contains-any", parts, text) is (PASS if any(each) else FAIL)
    assert outcome("contains-all", parts, text) is (PASS if all(each) else FAIL)


@given(TEXTS, st.text())
def test_no_case_is_more_than_case(parts: list[str], text: str) -> None:
    for kind in ("contains-any", "contains-all"):
        if outcome(kind, parts, text) is PASS:
            assert outcome(f"i{kind}", parts, text) is PASS
