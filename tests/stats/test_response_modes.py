"""Which answers came how often."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.stats.response_modes import mode_distance, normal_form, response_modes

ANSWERS = st.lists(st.sampled_from(["yes", "Yes.", "no", '{"a": 1, "b": 2}', '{"b":2,"a":1}', ""]), max_size=12)


@given(ANSWERS, ANSWERS)
def test_every_answer_is_counted_once_on_its_side(a: list[str], b: list[str]) -> None:
    modes = response_modes(a, b)
    assert (sum(mode.a for mode in modes), sum(mode.b for mode in modes)) == (len(a), len(b))
    assert len({normal_form(mode.text) for mode in modes}) == len(modes)


@given(ANSWERS.filter(bool), ANSWERS.filter(bool))
def test_the_distance_is_half_of_what_the_shares_differ_by(a: list[str], b: list[str]) -> None:
    shares = sum(abs(mode.share_a - mode.share_b) for mode in response_modes(a, b)) / 2
    first, second = ([hash(normal_form(text)) for text in side] for side in (a, b))
    assert mode_distance(first, second) == pytest.approx(shares)
    assert mode_distance(first, first) == 0
    assert 0 <= mode_distance(first, second) <= 1


def test_modes_appear_vanish_and_change_how_often_they_come() -> None:
    modes = {mode.text: mode.change for mode in response_modes(["a", "a", "b", "c"], ["a", "d", "d", "c"])}
    assert modes == {"a": "less often", "b": "vanished", "c": "as often", "d": "appeared"}


def test_what_moved_most_comes_first() -> None:
    modes = response_modes(["a"] * 5 + ["b"] * 5, ["a"] * 6 + ["c"] * 4)
    assert [mode.text for mode in modes] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Paris", " paris. ", True), ("Paris", "London", False), ('{"a": [1, 2]}', '{ "a" :[1,2] }', True),
        ('{"a": 1}', '{"a": true}', False), ("{broken", "{broken ", True), ("...", "", False), ("1.5", "1,5", False),
        ("[1]" * 3, "[1] [1] [1]", False), ('{"a": NaN}', '{"a":  NaN}', True),
    ],
)  # fmt: skip
def test_answers_are_the_same_when_they_say_the_same(one: str, other: str, same: bool) -> None:
    assert (normal_form(one) == normal_form(other)) is same
