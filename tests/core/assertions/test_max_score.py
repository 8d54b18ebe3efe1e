"""Max-score: the highest total of the other assertions, as far as it is known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.base import Contender
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import Outcome, Verdict
from tests.core.judges.script import Bench, an_answer, contest, saying

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
WON, LOST = (PASS, None), (FAIL, "not_best")
OPEN = (UNSCORED, "contest_undecided")


def said(kind: str, points: float | Outcome | None, weight: float = 1.0) -> Verdict:
    """Return a verdict with these points, or an undecided one."""
    if isinstance(points, Outcome):
        return Verdict("u", kind, points, "timeout", weight=weight)
    if points is None:
        return Verdict("u", kind, UNSCORED, "no_text", weight=weight)
    return Verdict("u", kind, PASS if points >= 0.5 else FAIL, None, "", points, weight=weight)


def compared(*entries: list[Verdict] | None, kind: str = "max-score", **more: Any) -> list[Verdict]:
    contenders = [
        Contender(None if verdicts is None else an_answer("x"), tuple(verdicts or ()), "m", str(place))
        for place, verdicts in enumerate(entries)
    ]
    bench = Bench(saying("never"), judges=())
    found = contest(Assertion(kind, **more), contenders, bench)
    assert bench.asked == []
    return found


def outcomes(*entries: list[Verdict] | None, **more: Any) -> list[tuple[Outcome, str | None]]:
    return [(one.outcome, one.reason) for one in compared(*entries, **more)]


def test_the_highest_mean_wins() -> None:
    found = compared([said("a", 1.0), said("b", 0.5)], [said("a", 1.0), said("b", 0.7)], [said("a", 0.0), said("b", 1)])
    assert [(one.outcome, one.reason) for one in found] == [LOST, WON, LOST]
    assert [one.score for one in found] == [0.75, 0.85, 0.5]


def test_weights_are_the_assertions_own_unless_given_by_type() -> None:
    first, second = [said("a", 1.0, 3), said("b", 0.0)], [said("a", 0.0, 3), said("b", 1.0)]
    assert outcomes(first, second) == [WON, LOST]
    assert outcomes(first, second, value={"weights": {"a": 1, "b": 2}}) == [LOST, WON]
    assert outcomes(first, second, options={"weights": {"b": 4}}) == [LOST, WON]
    assert compared(first, second, value={"weights": {"a": 3, "b": 1}})[0].score == 0.75


def test_a_sum_is_not_divided() -> None:
    found = compared([said("a", 1.0), said("b", 1.0)], [said("a", 0.5), said("b", 1.0)], value={"method": "sum"})
    assert [(one.outcome, one.message[:3]) for one in found] == [(PASS, "2, "), (FAIL, "1.5")]
    assert found[0].score is None


def test_all_at_the_top_pass() -> None:
    assert outcomes([said("a", 0.7)], [said("a", 0.7)], [said("a", 0.2)]) == [WON, WON, LOST]


@pytest.mark.parametrize("given_as", ["value", "options", "threshold"])
def test_a_total_below_the_threshold_wins_nothing(given_as: str) -> None:
    more: dict[str, Any] = {given_as: 0.8 if given_as == "threshold" else {"threshold": 0.8}}
    below = (FAIL, "score_below_threshold")
    assert outcomes([said("a", 0.7)], [said("a", 0.2)], **more) == [below, below]
    assert outcomes([said("a", 0.8)], [said("a", 0.9)], **more) == [LOST, WON]


@pytest.mark.parametrize("undecided", [UNSCORED, ERROR])
@pytest.mark.parametrize("kind", ["max-score", "not-max-score"])
def test_a_missing_verdict_that_could_change_the_winner_decides_nothing(undecided: Outcome, kind: str) -> None:
    found = outcomes([said("a", 1.0), said("b", undecided)], [said("a", 1.0), said("b", 0.5)], kind=kind)
    assert found == [OPEN, OPEN]


def test_a_missing_verdict_that_could_not_change_it_is_passed_over() -> None:
    ahead = [said("a", 1.0), said("b", 1.0)]
    assert outcomes(ahead, [said("a", 0.0), said("b", UNSCORED)]) == [WON, LOST]
    assert outcomes(ahead, [said("a", 1.0), said("b", UNSCORED)]) == [WON, OPEN]
    assert outcomes([said("a", 1.0), said("b", UNSCORED, 0)], [said("a", 0.5), said("b", 1.0, 0)]) == [WON, LOST]


def test_the_message_names_what_is_missing() -> None:
    found = compared([said("a", 1.0), said("b", ERROR)], [said("a", 1.0), said("b", 0.5)])
    assert "('b': timeout)" in found[0].message


def test_who_has_no_answer_does_not_compete() -> None:
    assert outcomes([said("a", 1.0)], None, [said("a", 0.5)]) == [WON, (UNSCORED, "no_answer"), LOST]
    assert outcomes([said("a", 1.0)], None) == [(UNSCORED, "nothing_to_compare"), (UNSCORED, "no_answer")]


def test_without_other_assertions_there_are_no_scores() -> None:
    assert outcomes([], []) == [(UNSCORED, "nothing_to_score")] * 2
    assert outcomes([said("a", 1, 0)], [said("a", 0, 0)]) == [(UNSCORED, "nothing_to_score")] * 2


@pytest.mark.parametrize(
    "more",
    [
        {"value": "average"},
        {"value": {"way": "average"}},
        {"value": {"method": "median"}},
        {"value": {"method": ["sum"]}},
        {"value": {"weights": {"a": -1}}},
        {"value": {"weights": {"a": "3"}}},
        {"value": {"weights": [3]}},
        {"value": {"threshold": "high"}},
        {"options": {"vote": "all"}},
    ],
)
def test_what_does_not_fit_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(CardError) as error:
        Assertion("max-score", **more)
    assert error.value.code == "assertion_invalid"


points = st.sampled_from([0.0, 0.25, 0.5, 1.0, None])


@given(st.lists(st.tuples(points, points), min_size=2, max_size=4), st.sampled_from(["average", "sum"]), st.data())
def test_a_verdict_holds_whatever_the_missing_ones_would_have_been(
    rows: list[tuple[float | None, float | None]], method: str, data: st.DataObject
) -> None:
    def run(of: list[tuple[float | None, float | None]]) -> list[tuple[Outcome, str | None]]:
        return outcomes(*([said("a", one), said("b", other)] for one, other in of), value={"method": method})

    filling = st.sampled_from([0.0, 0.5, 1.0])
    full = [tuple(data.draw(filling) if one is None else one for one in row) for row in rows]
    for before, after in zip(run(rows), run(full), strict=True):  # type: ignore[arg-type]
        assert before in (after, OPEN)
        assert after in (WON, LOST)
