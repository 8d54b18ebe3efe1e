"""Named metrics."""

import pytest

from promptcard_ext.core.results import ItemResult
from promptcard_ext.stats.intervals import wilson
from promptcard_ext.stats.metrics import MetricRow, MetricTally
from promptcard_ext.stats.scores import MetricScore, item_points, metric_scores
from tests.stats.results import ERROR, FAIL, PASS, UNSCORED, item, verdict


def rows(*results: ItemResult) -> tuple[MetricRow, ...]:
    tally = MetricTally()
    for result in results:
        tally.add(result.case_uid, metric_scores(result))
    return tally.rows()


def test_a_metric_is_the_mean_over_items_with_its_denominator() -> None:
    (row,) = rows(*(item(PASS, str(i), 0, verdict(PASS if i else FAIL, metric="tone")) for i in range(4)))
    assert (row.name, row.mean, row.items, row.undecided) == ("tone", wilson(3, 4), 4, 0)
    assert row.text == "0.75 [0.30–0.95] of 4"


def test_an_undecided_assertion_is_neither_nought_nor_one() -> None:
    known = item(PASS, "a", 0, verdict(PASS, metric="tone", score=0.8))
    (row,) = rows(known, item(ERROR, "b", 0, verdict(ERROR, metric="tone")))
    assert row.mean is not None
    assert (row.mean.rate, row.items, row.undecided) == (0.8, 1, 1)
    (nothing,) = rows(item(UNSCORED, "b", 0, verdict(UNSCORED, metric="tone")))
    assert (nothing.mean, nothing.text) == (None, "no score (0 of 1)")


def test_assertions_of_one_metric_are_weighed_within_an_item() -> None:
    result = item(
        FAIL, "a", 0, verdict(PASS, metric="tone", weight=3.0), verdict(FAIL, metric="tone"), verdict(FAIL, metric="x")
    )
    assert metric_scores(result) == {"tone": MetricScore(0.75, 4.0), "x": MetricScore(0.0, 1.0)}
    undecided = item(ERROR, "a", 0, verdict(PASS, metric="tone"), verdict(ERROR, metric="tone"))
    assert metric_scores(undecided) == {"tone": MetricScore(None, 2.0)}


def test_items_count_with_the_weight_of_their_assertions() -> None:
    (row,) = rows(
        item(PASS, "a", 0, verdict(PASS, metric="tone", weight=3.0)), item(FAIL, "b", 0, verdict(FAIL, metric="tone"))
    )
    assert row.mean is not None
    assert row.mean.rate == 0.75


def test_what_weighs_nothing_for_the_outcome_is_measured_all_the_same() -> None:
    result = item(PASS, "a", 0, verdict(PASS, metric="tp", weight=0.0), verdict(FAIL, metric="tp", weight=0.0))
    assert metric_scores(result) == {"tp": MetricScore(0.5, 2.0)}


def test_assertions_inside_a_set_have_metrics_too() -> None:
    inner = verdict(FAIL, metric="inner")
    found = metric_scores(item(FAIL, "a", 0, verdict(FAIL, metric="outer", score=0.5, parts=(inner,))))
    assert found == {"outer": MetricScore(0.5, 1.0), "inner": MetricScore(0.0, 1.0)}


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_not_known(score: float) -> None:
    result = item(PASS, "a", 0, verdict(PASS, metric="tone", score=score), score=score)
    assert metric_scores(result)["tone"].points is None
    assert item_points(result) is None


def test_the_points_of_an_item() -> None:
    assert item_points(item(PASS, score=0.7)) == 0.7
    assert (item_points(item(PASS)), item_points(item(FAIL))) == (1.0, 0.0)
    assert (item_points(item(ERROR)), item_points(item(UNSCORED))) == (None, None)
    # Decided, and yet nobody knows the score.
    assert item_points(item(FAIL, "a", 0, verdict(FAIL), verdict(ERROR))) is None
    assert item_points(item(FAIL, "a", 0, verdict(FAIL), verdict(ERROR, weight=0.0))) == 0.0
