"""What answers to changed prompts have in common."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.relations import NAMES, relation

LABELS = ("good", "very good", "bad")


@pytest.mark.parametrize(
    ("name", "one", "other", "holds"),
    [
        ("same_text", "Yes. ", "\nYes.", True),
        ("same_text", "Yes", "yes", False),
        ("same_label", "Yes.", "**YES**", True),
        ("same_label", "positive  mood", "Positive mood!", True),
        ("same_label", "yes", "no", False),
        ("same_label", "Straße", "STRASSE", True),
        ("same_label", "?", "!", False),
        ("equal_json", '{"a": 1, "b": [true]}', '{"b":[true],"a":1.0}', True),
        ("equal_json", "[1]", "[true]", False),
        ("equal_json", "null", "null", True),
        ("equal_json", "[1]", "It is [1]", False),
        ("equal_json", "[1]", "[" * 100_000, False),
        ("contains", "Paris", "It is PARIS, I think.", True),
        ("contains", "in  Paris", "in\nparis", True),
        ("contains", "It is Paris", "Paris", False),
        ("contains", "Paris", "", False),
    ],
)
def test_what_holds(name: str, one: str, other: str, holds: bool) -> None:
    same = relation(name)
    assert same.holds(same.read(one), same.read(other)) is holds


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("It is GOOD.", "good"),
        ("very good", "very good"),
        ("goodness", None),
        ("good or bad", None),
        ("Good, good!", "good"),
        ("very\ngood", "very good"),
        ("", None),
    ],
)
def test_the_label_that_occurs_in_an_answer(text: str, label: str | None) -> None:
    assert relation("same_label", LABELS).read(text) == label


@pytest.mark.parametrize(
    ("name", "text"), [("same_label", " "), ("contains", ""), ("equal_json", "NaN"), ("equal_json", "x")]
)
def test_what_cannot_be_compared(name: str, text: str) -> None:
    assert relation(name).read(text) is None


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text() | st.sampled_from(["a\ud800", "\x00", "[]", "0"]))
def test_an_answer_has_every_relation_with_itself(name: str, text: str) -> None:
    same: Any = relation(name)
    read = same.read(text)
    assert read is None or same.holds(read, same.read(text))
