"""What a run says."""

from decimal import Decimal

import pytest

from promptcard_ext.core.results import Counts, Generation, ItemResult, Outcome
from promptcard_ext.stats.intervals import wilson
from promptcard_ext.stats.summary import cost_text, rate_text, summarise


def result(ordinal: int, outcome: Outcome, label: str = "c@1", cost: str | None = None, ms: float = 10) -> ItemResult:
    generation = None
    if outcome is not Outcome.ERROR:
        generation = Generation("p", "m", "h", "x", ms, cost_usd=None if cost is None else Decimal(cost))
    return ItemResult(ordinal, "c", 1, label, "p:m", "n", "u", 0, outcome, generation=generation)


def test_each_card_version_has_its_row_in_the_order_of_the_plan() -> None:
    rows = summarise([result(3, Outcome.PASS, "b"), result(1, Outcome.FAIL, "b"), result(0, Outcome.PASS, "a")])
    assert [(row.label, row.counts.total) for row in rows] == [("a", 1), ("b", 2)]
    assert rows[1].pass_rate == wilson(1, 2)


def test_errors_and_missing_verdicts_are_no_trials() -> None:
    outcomes = [Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED]
    (row,) = summarise([result(i, outcome) for i, outcome in enumerate(outcomes)])
    assert row.pass_rate == wilson(1, 2)
    assert row.rate_text == "50% [9–91] of 2, 2 without verdict"


def test_nothing_judged_has_no_rate() -> None:
    (row,) = summarise([result(0, Outcome.ERROR), result(1, Outcome.UNSCORED)])
    assert row.pass_rate is None
    assert row.rate_text == "no verdict (0 of 2)"


def test_latency_is_that_of_the_answers() -> None:
    (row,) = summarise([result(0, Outcome.PASS, ms=10), result(1, Outcome.FAIL, ms=30), result(2, Outcome.ERROR)])
    assert (row.p50_ms, row.p95_ms) == (20, 29)
    (broken,) = summarise([result(0, Outcome.ERROR)])
    assert broken.p50_ms is None


def test_no_result_has_no_row() -> None:
    assert summarise([]) == []


@pytest.mark.parametrize(
    ("passed", "failed", "text"), [(1000, 0, "100%"), (999, 1, "99%"), (1, 999, "1%"), (0, 1000, "0%"), (5, 1, "83%")]
)
def test_all_and_none_are_said_only_of_all_and_none(passed: int, failed: int, text: str) -> None:
    counts = Counts(passed + failed, passed + failed, passed, failed)
    assert rate_text(wilson(passed, passed + failed), counts).split(" ")[0] == text


@pytest.mark.parametrize(
    ("cost", "priced", "done", "text"),
    [
        ("0.0123", 48, 48, "$0.0123"),
        ("0.0061", 24, 48, "$0.0061 (24 of 48 priced)"),
        ("0", 0, 48, "not priced (0 of 48)"),
        ("0", 48, 48, "$0.0000"),
        ("0", 0, 0, "–"),
    ],
)
def test_a_cost_says_how_much_of_it_is_known(cost: str, priced: int, done: int, text: str) -> None:
    assert cost_text(Decimal(cost), priced, done) == text


def test_a_row_knows_its_cost() -> None:
    (row,) = summarise([result(0, Outcome.PASS, cost="0.5"), result(1, Outcome.PASS)])
    assert row.cost_text == "$0.5000 (1 of 2 priced)"
