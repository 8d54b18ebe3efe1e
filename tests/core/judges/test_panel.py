"""Votes: decided only where those that did not judge could not change it."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.judges.panel import VOTES, Opinion, decide, mean_score

YES, NO = Opinion(True, None, "", ""), Opinion(False, None, "", "criterion_not_met")


def opinions(pattern: str) -> list[Opinion]:
    return [YES if one == "+" else NO for one in pattern]


@pytest.mark.parametrize(
    ("vote", "cast", "absent", "expected"),
    [
        ("majority", "+", 0, True),
        ("majority", "-", 0, False),
        ("majority", "++-", 0, True),
        ("majority", "+--", 0, False),
        ("majority", "+-", 0, None),
        ("majority", "++", 1, True),
        ("majority", "+-", 1, None),
        ("majority", "+", 1, None),
        ("majority", "++-", 2, None),
        ("majority", "", 3, None),
        ("all", "+++", 0, True),
        ("all", "++-", 0, False),
        ("all", "++", 1, None),
        ("all", "-", 2, False),
        ("any", "--+", 0, True),
        ("any", "---", 0, False),
        ("any", "--", 1, None),
        ("any", "+", 2, True),
        ("mean", "+-", 0, True),
        ("mean", "+--", 0, False),
        ("mean", "++", 1, True),
        ("mean", "+-", 1, None),
    ],
)
def test_how_a_panel_votes(vote: str, cast: str, absent: int, expected: bool | None) -> None:
    assert decide(vote, opinions(cast), absent) is expected


def test_the_mean_is_of_the_scores_whatever_the_verdicts() -> None:
    cast = [Opinion(False, 0.9, "", ""), Opinion(True, 0.6, "", "")]
    assert decide("mean", cast, 0, 0.75) is True
    assert decide("mean", cast, 0, 0.76) is False
    assert mean_score(cast) == 0.75
    assert mean_score([YES]) is None
    assert mean_score([YES, NO]) == 0.5


many = st.lists(
    st.builds(lambda passed, score: Opinion(passed, score, "", "x"), st.booleans(), st.floats(0, 1)), max_size=5
)


@given(st.sampled_from(VOTES), many, st.integers(0, 3), st.floats(0, 1))
def test_no_vote_of_the_absent_could_change_a_decision(
    vote: str, cast: list[Opinion], absent: int, threshold: float
) -> None:
    if not cast and not absent:
        return
    decision = decide(vote, cast, absent, threshold)
    extremes = [Opinion(True, 1.0, "", ""), Opinion(False, 0.0, "", "x")]
    outcomes = {decide(vote, [*cast, *rest], 0, threshold) for rest in product(extremes, repeat=absent)}
    if decision is not None:
        assert outcomes == {decision}
    elif absent:
        assert len(outcomes) > 1 or None in outcomes
