"""Counting words, and what a word is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.words import words
from promptcard_ext.core.errors import CardError
from tests.core.assertions.judged import FAIL, PASS, of, outcome


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (2, "two words", PASS),
        (2, " two\n\twords ", PASS),
        (2.0, "two words", PASS),
        ("2", "two words", PASS),
        (2, "three words here", FAIL),
        (0, " ", PASS),
        ({"min": 2}, "one", FAIL),
        ({"min": 2}, "one two", PASS),
        ({"max": 2}, "one two", PASS),
        ({"max": 2}, "one two three", FAIL),
        ({"min": "1", "max": "3"}, "one two three", PASS),
        ({"min": 3, "max": 3}, "one two", FAIL),
    ],
)
def test_the_number_of_words(value: Any, text: str, expected: Any) -> None:
    assert outcome("word-count", value, text) is expected
    assert outcome("not-word-count", value, text) is expected.negated()


def test_the_message_says_how_many_there_are() -> None:
    one = of("word-count", {"min": 3}, "a b")
    assert (one.reason, one.message) == ("other_word_count", "It has 2 words, not 3 or more.")


@pytest.mark.parametrize(
    "value",
    [None, "many", -1, 1.5, True, {}, {"min": 3, "max": 2}, {"least": 1}, {"min": None}, [1], float("nan"), "9" * 10],
)
def test_a_number_that_cannot_be_one_is_refused(value: Any) -> None:
    with pytest.raises(CardError):
        Assertion("word-count", value)


@given(st.text(), st.integers(0, 20), st.integers(0, 20))
def test_a_range_holds_when_both_its_ends_do(text: str, one: int, two: int) -> None:
    least, most = sorted((one, two))
    both = outcome("word-count", {"min": least}, text) is PASS and outcome("word-count", {"max": most}, text) is PASS
    assert (outcome("word-count", {"min": least, "max": most}, text) is PASS) == both


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat's hat.", ["the", "cat's", "hat"]),
        ("3.5 %", ["3", "5"]),
        ("Straße", ["strasse"]),
        ("東京 is big", ["東", "京", "is", "big"]),
        ("'quoted'", ["quoted"]),
        ("…!", []),
        ("a\ud800b", ["a", "b"]),
    ],
)
def test_words_for_comparison(text: str, expected: list[str]) -> None:
    assert words(text) == expected
