"""Transforms: the same seed makes the same change, and what should not change stays."""

import re
import time
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.metamorphic import TRANSFORMS, case, locale, reorder_options, typo, whitespace

TEXTS = st.text(max_size=60) | st.from_regex(r"[A-Za-z]{1,9}( [A-Za-z]{1,9}){0,5}\n?[a-c]\) x", fullmatch=True)
VALUES = TEXTS | st.lists(st.integers(), max_size=5) | st.integers() | st.none() | st.dictionaries(TEXTS, TEXTS)
ANY = pytest.mark.parametrize("name", TRANSFORMS)


@ANY
@given(value=VALUES, seed=st.integers())
def test_the_same_seed_makes_the_same_change_of_the_same_type(name: str, value: Any, seed: int) -> None:
    change = TRANSFORMS[name].change
    once = change(value, Random(seed), {})
    assert once == change(value, Random(seed), {})
    assert type(once) is type(value)
    if not TRANSFORMS[name].random:
        assert once == change(value, Random(seed + 1), {})


@ANY
@pytest.mark.parametrize(
    "value",
    [
        "a" * 300_000,
        "1" * 300_000,
        "1," * 150_000,
        "a) " * 100_000,
        "\n" * 300_000,
        "a\ud800\x00bcd",
        "word " * 60_000,
    ],
    ids=lambda value: repr(value[:8]),
)
def test_a_hostile_text_is_changed_quickly(name: str, value: str) -> None:
    started = time.process_time()
    TRANSFORMS[name].change(value, Random(1), {})
    assert time.process_time() - started < 5


@given(st.text("abcXYZ ", max_size=60), st.integers(), st.floats(0, 0.5))
def test_typos_are_inside_of_longer_words_only(text: str, seed: int, rate: float) -> None:
    changed = typo(text, Random(seed), {"rate": rate})
    before, after = text.split(" "), changed.split(" ")
    assert [len(word) for word in after] == [len(word) for word in before]
    differing = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert all(len(old) >= 4 and (old[0], old[-1]) == (new[0], new[-1]) for old, new in differing)
    long = sum(len(word) >= 4 for word in before)
    assert len(differing) == (max(1, round(long * rate)) if long else 0)


def test_numbers_and_short_words_have_no_typos() -> None:
    assert typo("at 12345 or 9:30 we", Random(1), {"rate": 0.5}) == "at 12345 or 9:30 we"


@pytest.mark.parametrize(
    ("to", "expected"), [(None, "STRASSE AB"), ("upper", "STRASSE AB"), ("lower", "straße ab"), ("swap", "sTRASSE Ab")]
)
def test_case(to: str | None, expected: str) -> None:
    assert case("Straße aB", Random(1), {} if to is None else {"to": to}) == expected


@given(TEXTS, st.integers(), st.sampled_from(["all", "double", "trailing", "line_ends"]))
def test_only_white_space_changes(text: str, seed: int, how: str) -> None:
    changed = whitespace(text, Random(seed), {"how": how})
    assert re.sub(r"\s", "", changed) == re.sub(r"\s", "", text)
    assert changed.split() == text.split()


def test_white_space_of_each_kind() -> None:
    assert whitespace("a b", Random(1), {"how": "double"}) == "a  b"
    assert whitespace("a\nb", Random(1), {"how": "trailing"}) == "a \nb "
    assert whitespace("a\nb\r\n", Random(1), {"how": "line_ends"}) == "a\r\nb\r\n"
    assert whitespace("a b\nc", Random(1), {}) == "a  b \r\nc "


@given(st.lists(st.integers(0, 3), max_size=6), st.integers())
def test_a_list_gets_another_order_if_there_is_one(values: list[int], seed: int) -> None:
    changed = reorder_options(values, Random(seed), {})
    assert sorted(changed) == sorted(values)
    assert (changed != values) == (len(set(values)) > 1)


QUESTION = "Which?\na) red\nb) green\nc) blue\nOne letter.\n- x\nend"


@given(st.integers())
def test_options_in_a_text_change_places_with_their_labels_or_without(seed: int) -> None:
    moved = reorder_options(QUESTION, Random(seed), {})
    assert moved != QUESTION
    assert sorted(moved.split("\n")) == sorted(QUESTION.split("\n"))
    assert (moved.split("\n")[0], moved.split("\n")[4:]) == ("Which?", ["One letter.", "- x", "end"])
    stay = reorder_options(QUESTION, Random(seed), {"labels": "stay"}).split("\n")[1:4]
    assert [line[:3] for line in stay] == ["a) ", "b) ", "c) "]
    assert sorted(line[3:] for line in stay) == ["blue", "green", "red"]


@pytest.mark.parametrize("label", ["a) ", "(a) ", "A. ", "1. ", "12) ", "- ", "* ", "• ", "  b: "])
def test_what_is_an_option(label: str) -> None:
    assert reorder_options(f"{label}x\n{label}y", Random(1), {}) == f"{label}y\n{label}x"


@pytest.mark.parametrize("text", ["no\noptions", "a) one only", "I.e. x\nand so", "a)x\nb)y", ""])
def test_what_is_no_option(text: str) -> None:
    assert reorder_options(text, Random(1), {}) == text


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("1,234.50 and 0.75", "1.234,50 and 0,75"),
        ("12,345,678", "12.345.678"),
        ("on 2026-03-09.", "on 09.03.2026."),
        ("costs 3.5.", "costs 3,5."),
        ("(1.5)", "(1,5)"),
        ("version 1.2.3, at 10.0.0.1, v1.5, 1234, 12:30, 2026-13-01", None),
    ],
)
def test_numbers_and_dates_of_another_country_and_back(english: str, german: str | None) -> None:
    expected = english if german is None else german
    assert locale(english, Random(1), {}) == expected
    assert locale(expected, Random(1), {"to": "en"}) == english
