"""Two runs against each other."""

import math
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from promptcard_ext.core.errors import RunError
from promptcard_ext.core.results import Call, Generation, ItemResult, Outcome
from promptcard_ext.stats.compared import Compared, MetricDifference, RunFacts
from promptcard_ext.stats.comparison import MAX_NAMED, compare_results
from tests.stats.results import ERROR, FAIL, OUTCOME, PASS, UNSCORED, item, verdict

A, B = RunFacts("a"), RunFacts("b")


def answer(text: str = "yes", latency_ms: float = 10.0, cost: str | None = None) -> Generation:
    return Generation("p", "m", "h", text, latency_ms, cost_usd=None if cost is None else Decimal(cost))


def judged(outcome: Outcome, case: str, repeat: int = 0, uid: str = "a", **more: Any) -> ItemResult:
    given = {"generation": answer(), **more}
    return item(outcome, case, repeat, verdict(outcome, uid), **given)


def numbered(results: list[ItemResult]) -> list[ItemResult]:
    return [replace(result, ordinal=ordinal) for ordinal, result in enumerate(results)]


def compared(a: list[ItemResult], b: list[ItemResult], facts_a: RunFacts = A, facts_b: RunFacts = B) -> Compared:
    return compare_results(numbered(a), numbered(b), facts_a, facts_b)


def rate(found: Compared) -> MetricDifference:
    (group,) = found.groups
    metric = group.metric("pass_rate")
    assert metric is not None
    return metric


@st.composite
def runs(draw: st.DrawFn) -> list[ItemResult]:
    models = draw(st.lists(st.sampled_from(["p:m", "p:n"]), min_size=1, unique=True))
    cases = draw(st.lists(st.sampled_from("abcdefg"), min_size=1, unique=True))
    repeats = draw(st.integers(1, 3))
    found = []
    for case in cases:
        for repeat in range(repeats):
            for model in models:
                outcome = OUTCOME[draw(st.sampled_from("ppffeu"))]
                latency, cost = draw(st.floats(0, 1e6)), draw(st.sampled_from([None, "0.1", "0.25"]))
                given = answer(draw(st.sampled_from(["yes", "no"])), latency, cost)
                found.append(judged(outcome, case, repeat, model=model, generation=given))
    return found


@given(runs())
def test_a_run_does_not_differ_from_itself(run: list[ItemResult]) -> None:
    found = compared(run, run)
    assert found.axes == ()
    assert found.flipped == 0
    assert (found.joined.only_a, found.joined.only_b) == ([], [])
    for group in found.groups:
        for metric in group.metrics:
            assert metric.word in ("undecided", "not known")
            assert metric.difference is None or metric.difference.mean == 0
    assert not any(pair.flipped or pair.answer_changed or pair.assertions_changed for pair in found.joined.pairs)
    assert all(moved == 0 for _, moved in found.mode_shifts())


@given(runs(), runs())
def test_the_other_way_round_every_difference_has_the_other_sign(a: list[ItemResult], b: list[ItemResult]) -> None:
    one, other = compared(a, b), compared(b, a)
    assert {(new, old): n for (old, new), n in one.matrix.items()} == other.matrix
    assert (one.cases.only_a, one.cases.only_b) == (other.cases.only_b, other.cases.only_a)
    groups = {(group.label_b, group.model_b): group for group in one.groups}
    for group in other.groups:
        for metric in group.metrics:
            mirrored = groups[group.label_a, group.model_a].metric(metric.metric, metric.name)
            assert mirrored is not None
            assert mirrored.left_out == metric.left_out
            if metric.difference is None or mirrored.difference is None:
                assert metric.difference is mirrored.difference
                continue
            assert metric.difference.mean == -mirrored.difference.mean
            assert metric.difference.sign == -mirrored.difference.sign
            assert metric.difference.low == (None if mirrored.difference.high is None else -mirrored.difference.high)


@given(runs())
def test_a_case_that_is_put_in_front_changes_nothing_of_the_others(run: list[ItemResult]) -> None:
    new = [judged(FAIL, "new case", model=run[0].model, generation=answer("something else", 1e9, "99"))]
    found = compared(run, new + run)
    assert found.flipped == 0
    assert [axis.name for axis in found.axes] == ["cases"]
    assert found.cases.only_b == {"new case": "case new case"}
    assert len(found.joined.pairs) == len(run)
    for group in found.groups:
        assert all(metric.difference is None or metric.difference.mean == 0 for metric in group.metrics)


def test_neither_errors_nor_what_nobody_judged_counts_as_pass_or_fail() -> None:
    a = [judged(outcome, case) for outcome, case in zip([PASS, PASS, ERROR, UNSCORED, FAIL], "vwxyz", strict=True)]
    b = [judged(outcome, case) for outcome, case in zip([PASS, ERROR, PASS, FAIL, FAIL], "vwxyz", strict=True)]
    found = compared(a, b)
    (group,) = found.groups
    assert (group.pairs, group.to_fail, group.to_pass, group.other_flips) == (5, 0, 0, 3)
    metric = rate(found)
    assert metric.left_out == 3
    assert metric.difference is not None
    assert (metric.difference.pairs, metric.difference.mean) == (2, 0)


def test_flips_are_counted_by_their_direction() -> None:
    a = [judged(outcome, str(case)) for case, outcome in enumerate([PASS, PASS, PASS, FAIL])]
    b = [judged(outcome, str(case)) for case, outcome in enumerate([FAIL, FAIL, PASS, PASS])]
    (group,) = compared(a, b).groups
    assert (group.to_fail, group.to_pass, group.other_flips) == (2, 1, 0)


def test_two_versions_are_paired_when_each_side_has_one() -> None:
    a = [judged(PASS, case, label="c@1") for case in "xyz"]
    b = [judged(FAIL, case, label="c@2") for case in "xyz"]
    found = compared(a, b)
    assert len(found.joined.pairs) == 3
    assert [(axis.name, axis.text) for axis in found.axes] == [("card", "c@1 → c@2")]
    (group,) = found.groups
    assert (group.label_a, group.label_b) == ("c@1", "c@2")


def test_of_several_versions_those_of_one_name_are_paired_and_others_are_not() -> None:
    a = [judged(PASS, "x", label=label) for label in ("c@1", "c@2")]
    b = [judged(PASS, "x", label=label) for label in ("c@2", "c@3")]
    found = compared(a, b)
    assert [pair.b.label for pair in found.joined.pairs] == ["c@2"]
    assert [row.label for row in found.joined.only_a] == ["c@1"]
    assert [axis.text for axis in found.axes] == ["only in a: c@1; only in b: c@3"]


def test_repeats_that_one_side_lacks_are_on_one_side_only() -> None:
    found = compared([judged(PASS, "x", 0)], [judged(PASS, "x", repeat) for repeat in range(3)])
    assert len(found.joined.pairs) == 1
    assert [row.repeat for row in found.joined.only_b] == [1, 2]


def test_with_other_assertions_no_difference_is_told_but_that_of_the_unchanged_cases() -> None:
    a = [judged(PASS, str(case)) for case in range(40)]
    b = [judged(PASS, str(case)) for case in range(20)]
    b += [judged(FAIL, str(case), uid="another") for case in range(20, 40)]
    found = compared(a, b)
    assert [(axis.name, axis.withholds) for axis in found.axes] == [("assertions", True)]
    assert set(found.cases.changed) == {str(case) for case in range(20, 40)}
    metric = rate(found)
    assert (metric.word, metric.difference) == ("withheld", None)
    assert metric.among_same is not None
    assert (metric.among_same.pairs, metric.among_same.mean) == (20, 0)
    (group,) = found.groups
    latency = group.metric("latency_ms")
    assert latency is not None
    assert latency.difference is not None


def test_the_same_assertions_in_another_order_are_the_same() -> None:
    two = (verdict(PASS, "a"), verdict(PASS, "b"))
    found = compared([item(PASS, "x", 0, *two)], [item(PASS, "x", 0, *two[::-1])])
    assert found.cases.changed == {}


def test_another_weight_is_another_assertion() -> None:
    one, other = (item(PASS, "x", 0, verdict(PASS, weight=weight)) for weight in (1.0, 2.0))
    assert compared([one], [other]).withheld


@pytest.mark.parametrize("asked", [True, False])
def test_with_another_judge_no_difference_is_told_if_the_judge_was_asked(asked: bool) -> None:
    calls = (Call("judge", answer()),) if asked else ()
    run = [judged(PASS, case, calls=calls) for case in "xyz"]
    found = compared(run, run, RunFacts("a", ("p:one",)), RunFacts("b", ("p:two",)))
    assert bool(found.withheld) is asked
    assert (rate(found).word == "withheld") is asked
    assert rate(found).among_same is None


def test_the_judges_that_results_name_are_enough() -> None:
    one, other = (
        [judged(PASS, "x", calls=(Call("judge", replace(answer(), model=model)),))] for model in ("one", "two")
    )
    assert "p:one → p:two" in compared(one, other).withheld


def test_parameters_that_differ_are_named() -> None:
    run = [judged(PASS, "x")]
    parameters = {"repeats": 1, "setting temperature": 0.0}, {"repeats": 3, "embedder": None}
    found = compared(run, run, *(RunFacts(name, (), values) for name, values in zip("ab", parameters, strict=True)))
    assert [(axis.name, axis.text) for axis in found.axes] == [("parameters", "repeats: 1 → 3")]
    assert not found.withheld


def test_costs_that_are_not_known_are_no_costs_of_zero() -> None:
    a = [judged(PASS, "x", generation=answer(cost="0.5")), judged(PASS, "y", generation=answer())]
    b = [judged(PASS, "x", generation=answer(cost="0.75")), judged(PASS, "y", generation=answer(cost="9"))]
    (group,) = compared(a, b).groups
    cost = group.metric("cost_usd")
    assert cost is not None
    assert cost.difference is not None
    assert (cost.difference.mean, cost.difference.pairs, cost.left_out) == (0.25, 1, 1)


def test_scores_are_compared_where_there_are_degrees() -> None:
    a, b = ([judged(PASS, str(i), score=0.8 + shift + i / 1000) for i in range(20)] for shift in (0, 0.1))
    (group,) = compared(a, b).groups
    score = group.metric("score")
    assert score is not None
    assert score.difference is not None
    assert (score.word, score.difference.mean) == ("better", pytest.approx(0.1))
    (group,) = compared([judged(PASS, "x")], [judged(FAIL, "x")]).groups
    assert group.metric("score") is None


def test_slower_and_dearer_are_worse() -> None:
    a, b = (
        [judged(PASS, str(i), generation=answer("yes", 10 + i % 3 + more, f"0.{1 + more:.0f}")) for i in range(30)]
        for more in (0, 5)
    )
    (group,) = compared(a, b).groups
    assert {metric.metric: metric.word for metric in group.metrics} == {
        "pass_rate": "undecided", "latency_ms": "worse", "cost_usd": "worse",
    }  # fmt: skip


def test_answers_that_moved_among_the_same_outcomes_are_found() -> None:
    a = [judged(PASS, case, repeat, generation=answer("yes")) for case in "xy" for repeat in range(4)]
    b = [judged(PASS, "x", repeat, generation=answer("no" if repeat else "Yes.")) for repeat in range(4)]
    b += [judged(PASS, "y", repeat) for repeat in range(4)]
    found = compared(a, b)
    assert [(pair.b.case_uid, moved) for pair, moved in found.mode_shifts()] == [("x", 0.75), ("y", 0)]
    assert sum(pair.answer_changed for pair in found.joined.pairs) == 3


def test_two_results_for_one_item_are_refused() -> None:
    with pytest.raises(RunError) as caught:
        compared([judged(PASS, "x"), judged(FAIL, "x")], [judged(PASS, "x")])
    assert caught.value.code == "results_twice"


def test_two_runs_of_the_same_card_are_rarely_said_to_differ() -> None:
    chance = random.Random(7)
    studies, wrong = 150, {"pass_rate": 0, "latency_ms": 0}
    for _ in range(studies):
        hard = [chance.betavariate(2, 1) for _ in range(30)]
        sides = [
            [
                judged(
                    PASS if chance.random() < hard[case] else FAIL,
                    str(case),
                    repeat,
                    generation=answer("yes", chance.lognormvariate(5 + hard[case], 0.5)),
                )
                for case in range(30)
                for repeat in range(3)
            ]
            for _ in "ab"
        ]
        (group,) = compared(*sides).groups
        for name in wrong:
            wrong[name] += any(one.metric == name and one.word in ("better", "worse") for one in group.metrics)
    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)
    assert max(wrong.values()) / studies <= most


def test_named_metrics_are_compared_each_for_itself() -> None:
    def results(passed: int) -> list[ItemResult]:
        found = []
        for case in range(40):
            outcome = PASS if case < passed else FAIL
            said = (verdict(PASS, "a", metric="format"), verdict(outcome, "b", metric="tone"))
            found.append(item(outcome, str(case), 0, *said))
        return found

    (group,) = compared(results(10), results(35)).groups
    words = {metric.name: metric.word for metric in group.metrics if metric.name}
    assert words == {"format": "undecided", "tone": "better"}
    tone = group.metric("score", "tone")
    assert tone is not None
    assert tone.difference is not None
    assert tone.difference.mean == pytest.approx(25 / 40)
    assert group.metric("score") is None


def test_an_undecided_metric_is_left_out() -> None:
    a = [item(PASS, str(i), 0, verdict(PASS, metric="tone")) for i in range(3)]
    b = [item(ERROR, str(i), 0, verdict(ERROR, metric="tone")) for i in range(2)]
    b.append(item(PASS, "2", 0, verdict(PASS, metric="tone")))
    (group,) = compared(a, b).groups
    tone = group.metric("score", "tone")
    assert tone is not None
    assert tone.difference is not None
    assert (tone.difference.pairs, tone.left_out) == (1, 2)


def test_of_endlessly_many_metrics_the_first_are_compared() -> None:
    run = [item(PASS, "x", 0, *(verdict(PASS, metric=f"m{i}") for i in range(3 * MAX_NAMED)))]
    (group,) = compared(run, run).groups
    assert [metric.name for metric in group.metrics if metric.name] == [f"m{i}" for i in range(MAX_NAMED)]
