"""What a run says."""

import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from promptcard_ext.core.results import Call, Counts, Generation, ItemResult, Outcome, Tokens, Verdict
from promptcard_ext.stats import latencies
from promptcard_ext.stats.clusters import rate
from promptcard_ext.stats.derived import DerivedMetric
from promptcard_ext.stats.intervals import Bounds, wilson
from promptcard_ext.stats.summary import CallSums, Total, cost_text, rate_text, summarise


def result(
    ordinal: int, outcome: Outcome, label: str = "c@1", cost: str | None = None, ms: float = 10, **more: Any
) -> ItemResult:
    generation = None
    if outcome is not Outcome.ERROR:
        generation = Generation("p", "m", "h", "x", ms, cost_usd=None if cost is None else Decimal(cost))
    given = {"case_uid": f"u{ordinal}", "repeat": 0, "generation": generation, **more}
    return ItemResult(ordinal, "c", 1, label, "p:m", "n", outcome=outcome, **given)


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


def test_repeats_of_a_case_are_not_taken_for_independent() -> None:
    repeats = [
        result(i, Outcome.PASS if i < 15 else Outcome.FAIL, case_uid=str(i // 5), repeat=i % 5) for i in range(20)
    ]
    (row,) = summarise(repeats)
    assert row.pass_rate == rate([(5, 5)] * 3 + [(0, 5)])
    # Four cases that always end alike tell no more than four trials.
    assert row.pass_rate == pytest.approx(wilson(3, 4))
    assert (row.cases, row.counts.judged) == (4, 20)


def test_errors_leave_open_what_the_rate_could_have_been() -> None:
    outcomes = [*[Outcome.PASS] * 6, Outcome.FAIL, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED]
    (row,) = summarise(result(i, outcome) for i, outcome in enumerate(outcomes))
    assert row.bounds == Bounds(0.6, 0.8)


def test_a_score_has_its_denominator_and_no_zeros_for_what_is_not_known() -> None:
    (row,) = summarise(
        [
            result(0, Outcome.PASS, score=0.9),
            result(1, Outcome.FAIL, score=0.5),
            result(2, Outcome.ERROR),
            result(3, Outcome.FAIL, verdicts=(Verdict("a", "x", Outcome.FAIL), Verdict("b", "y", Outcome.ERROR))),
        ]
    )
    assert row.score is not None
    assert (row.score.rate, row.scored) == (pytest.approx(0.7), 2)
    assert row.score_text.startswith("0.70 [")
    assert row.score_text.endswith("of 2, 2 undecided")
    (nothing,) = summarise([result(0, Outcome.ERROR)])
    assert nothing.score_text == "no score (0 of 1)"


def test_tokens_are_summed_over_the_answers_that_say_them() -> None:
    def answer(tokens: Tokens) -> Generation:
        return Generation("p", "m", "h", "x", 1.0, tokens)

    (row,) = summarise(
        [
            result(0, Outcome.PASS, generation=answer(Tokens(10, 5))),
            result(1, Outcome.PASS, generation=answer(Tokens(input=7))),
            result(2, Outcome.PASS, generation=answer(Tokens())),
        ]
    )
    assert (row.tokens_input, row.tokens_output) == (Total(17, 2), Total(5, 1))


def test_judges_are_counted_apart_from_answers() -> None:
    def call(purpose: str, cost: str | None, cached: bool = False) -> Call:
        price = None if cost is None else Decimal(cost)
        return Call(purpose, Generation("p", "j", "h", "x", 900.0, Tokens(3, 2), cost_usd=price), cached)

    calls = (call("judge", "0.25"), call("judge", "0.50", cached=True), call("judge", None), call("embedding", "0.01"))
    (row,) = summarise([result(0, Outcome.PASS, cost="1", calls=calls), result(1, Outcome.PASS, cost="1", cached=True)])
    embedding, judge = row.calls
    assert embedding == CallSums("embedding", 1, 0, 1, Decimal("0.01"), Decimal("0.01"), Total(3, 1), Total(2, 1))
    assert judge == CallSums("judge", 3, 1, 2, Decimal("0.75"), Decimal("0.25"), Total(9, 3), Total(6, 3))
    assert row.counts.cached == 1
    assert row.p50_ms == 10


def test_a_reply_that_nobody_could_read_has_no_latency() -> None:
    broken = Generation("p", "m", "h", None, 0.0, raw="<html>")
    (row,) = summarise([result(0, Outcome.PASS, ms=30), result(1, Outcome.ERROR, generation=broken)])
    assert row.p50_ms == 30


def test_metrics_and_what_is_derived_from_them_are_in_the_row() -> None:
    verdicts = (Verdict("a", "x", Outcome.PASS, metric="tone"), Verdict("b", "y", Outcome.FAIL, metric="facts"))
    (row,) = summarise(
        [result(0, Outcome.FAIL, verdicts=verdicts), result(1, Outcome.ERROR)],
        [DerivedMetric("both", "(tone + facts) / (2 * __count)")],
    )
    assert [(metric.name, metric.items) for metric in row.metrics] == [("tone", 1), ("facts", 1)]
    assert (row.derived[0].value, row.derived[0].items, row.derived[0].left_out) == (0.5, 1, 1)


def test_memory_grows_with_cases_and_not_with_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latencies, "EXACT", 100)

    def results(repeats: int) -> Iterator[ItemResult]:
        for ordinal in range(50 * repeats):
            answer = Generation("p", "m", "h", "x" * 1000, float(ordinal % 97 + 1))
            yield result(ordinal, Outcome.PASS, case_uid=str(ordinal % 50), generation=answer)

    def peak(repeats: int) -> int:
        tracemalloc.start()
        summarise(results(repeats))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(60) < peak(10) + 10_000
