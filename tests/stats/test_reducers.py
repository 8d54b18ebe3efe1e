"""Reducers over the repeats of a case."""

from collections.abc import Iterator
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.errors import CardError
from promptcard_ext.stats.intervals import wilson
from promptcard_ext.stats.reducers import (
    Reduced,
    pass_at_k,
    pass_hat_k,
    reduce_repeats,
    reducer,
    summarise_reduced,
)
from tests.stats.results import ERROR, FAIL, PASS, UNSCORED, item, repeats

OUTCOMES = st.text("pfeu", min_size=1, max_size=8)
JUDGED = st.text("pf", min_size=1, max_size=12)
BINARY = ("mode", "max", "at-least-1", "at-least-2", "at-least-3")
GRADED = ("mean", "median", "pass@1", "pass@2", "pass@3", "pass^1", "pass^2", "pass^3")


def reduced(outcomes: str, how: str) -> Reduced:
    (row,) = reduce_repeats(repeats(outcomes), how)
    return row


def value(outcomes: str, how: str) -> float:
    found = reduced(outcomes, how).value
    assert found is not None
    return found


def resolutions(outcomes: str) -> Iterator[str]:
    """Return whatever the repeats might have been, had all of them been judged."""
    for letters in product(*("pf" if letter in "eu" else letter for letter in outcomes)):
        yield "".join(letters)


@given(OUTCOMES, st.sampled_from(BINARY))
def test_a_verdict_is_the_same_however_the_undecided_repeats_might_have_ended(outcomes: str, how: str) -> None:
    found = reduced(outcomes, how)
    if found.outcome in (PASS, FAIL):
        assert {reduced(letters, how).outcome for letters in resolutions(outcomes)} == {found.outcome}
    else:
        assert found.value is None
        assert found.reason in ("repeats_undecided", "mode_tied", "too_few_repeats")


@given(OUTCOMES, st.sampled_from(("max", "at-least-1", "at-least-2", "at-least-3")))
def test_what_all_of_them_agree_on_is_decided(outcomes: str, how: str) -> None:
    possible = {reduced(letters, how).outcome for letters in resolutions(outcomes)}
    if len(possible) == 1:
        assert reduced(outcomes, how).outcome in possible


@given(OUTCOMES, st.sampled_from(GRADED))
def test_repeats_without_verdict_count_as_nothing(outcomes: str, how: str) -> None:
    judged = "".join(letter for letter in outcomes if letter in "pf")
    found = reduced(outcomes, how)
    assert (found.judged, found.repeats) == (len(judged), len(outcomes))
    if judged:
        assert found.value == reduced(judged, how).value
    else:
        assert (found.outcome, found.reason) == (UNSCORED, "too_few_repeats")


@given(JUDGED)
def test_mean_pass_at_1_and_pass_hat_1_are_one_thing(outcomes: str) -> None:
    share = outcomes.count("p") / len(outcomes)
    for how in ("mean", "pass@1", "pass^1"):
        assert value(outcomes, how) == pytest.approx(share)


@given(JUDGED, st.sampled_from((*BINARY, *GRADED)))
def test_every_value_is_between_0_and_1_and_order_does_not_matter(outcomes: str, how: str) -> None:
    found = reduced(outcomes, how)
    assert found.value is None or 0 <= found.value <= 1
    assert reduced(outcomes[::-1], how).value == found.value


@given(JUDGED)
def test_more_tries_help_pass_at_k_and_hurt_pass_hat_k(outcomes: str) -> None:
    ks = range(1, len(outcomes) + 1)
    at, hat = [value(outcomes, f"pass@{k}") for k in ks], [value(outcomes, f"pass^{k}") for k in ks]
    assert at == sorted(at)
    assert hat == sorted(hat, reverse=True)
    assert at[-1] == value(outcomes, "max")
    assert hat[-1] == (1.0 if "f" not in outcomes else 0.0)


@given(JUDGED, st.integers(1, 12))
def test_one_pass_more_never_hurts(outcomes: str, k: int) -> None:
    better = outcomes.replace("f", "p", 1)
    for how in (f"pass@{k}", f"pass^{k}", f"at-least-{k}", "mean", "median", "max"):
        before, after = reduced(outcomes, how).value, reduced(better, how).value
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert after >= before - 1e-12


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_the_estimates_are_shares_of_all_choices_of_k_answers(given: tuple[int, int, int]) -> None:
    judged, passed, k = given
    chosen = list(combinations([True] * passed + [False] * (judged - passed), k))
    assert pass_at_k(judged, passed, k) == pytest.approx(sum(map(any, chosen)) / len(chosen))
    assert pass_hat_k(judged, passed, k) == pytest.approx(sum(map(all, chosen)) / len(chosen))


@pytest.mark.parametrize("given", [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4)])
def test_estimates_refuse_what_cannot_be(given: tuple[int, int, int]) -> None:
    for estimate in (pass_at_k, pass_hat_k):
        with pytest.raises(ValueError):
            estimate(*given)


def test_ten_thousand_repeats_are_no_trouble() -> None:
    assert 0 < pass_at_k(10_000, 3, 5_000) < 1


@pytest.mark.parametrize(
    ("outcomes", "how", "outcome", "reason"),
    [
        ("ppf", "mode", PASS, None),
        ("pff", "mode", FAIL, "mostly_failed"),
        ("pf", "mode", UNSCORED, "mode_tied"),
        ("ppfu", "mode", UNSCORED, "repeats_undecided"),
        ("ppfe", "mode", ERROR, "repeats_undecided"),
        ("ppe", "mode", PASS, None),
        ("fep", "max", PASS, None),
        ("ff", "max", FAIL, "never_passed"),
        ("fe", "max", ERROR, "repeats_undecided"),
        ("ppu", "at-least-2", PASS, None),
        ("pffe", "at-least-3", FAIL, "passed_too_seldom"),
        ("pfe", "at-least-2", ERROR, "repeats_undecided"),
        ("pfu", "at-least-2", UNSCORED, "repeats_undecided"),
        ("p", "at-least-2", UNSCORED, "too_few_repeats"),
        ("pe", "pass@2", UNSCORED, "too_few_repeats"),
        ("pe", "pass^2", UNSCORED, "too_few_repeats"),
        ("ee", "mean", UNSCORED, "too_few_repeats"),
        ("ee", "mode", ERROR, "repeats_undecided"),
    ],
)
def test_verdicts_and_reasons(outcomes: str, how: str, outcome: object, reason: str | None) -> None:
    found = reduced(outcomes, how)
    assert (found.outcome, found.reason) == (outcome, reason)
    assert (found.value is None) == (reason not in (None, "mostly_failed", "never_passed", "passed_too_seldom"))


def test_scores_are_reduced_where_there_are_scores() -> None:
    results = [item(PASS, "u", 0, score=0.9), item(FAIL, "u", 1, score=0.2), item(FAIL, "u", 2, score=0.4)]
    found = {how: reduce_repeats(results, how)[0].value for how in ("mean", "median", "max")}
    assert found == {"mean": pytest.approx(0.5), "median": 0.4, "max": 0.9}


def test_the_best_score_is_not_known_while_a_repeat_is_open_that_may_be_better() -> None:
    results = [item(PASS, "u", 0, score=0.9), item(ERROR, "u", 1)]
    (found,) = reduce_repeats(results, "max")
    assert (found.outcome, found.value) == (PASS, None)
    (full,) = reduce_repeats([item(PASS, "u", 0, score=1.0), item(ERROR, "u", 1)], "max")
    assert full.value == 1.0


def test_cases_models_and_versions_are_kept_apart() -> None:
    results = repeats("pp") + repeats("pf", "v") + repeats("ff", model="p:n") + repeats("fp", label="c@2")
    rows = reduce_repeats(results, "mean")
    assert [(row.label, row.model, row.case_uid, row.value) for row in rows] == [
        ("c@1", "p:m", "u", 1.0), ("c@1", "p:m", "v", 0.5), ("c@1", "p:n", "u", 0.0), ("c@2", "p:m", "u", 0.5)
    ]  # fmt: skip


def test_the_mean_over_cases_has_cases_for_its_denominator() -> None:
    rows = reduce_repeats(repeats("pp", "a") + repeats("pp", "b") + repeats("pf", "c") + repeats("pe", "d"), "pass^2")
    (row,) = summarise_reduced(rows)
    assert (row.mean, row.cases, row.undecided, row.reducer) == (wilson(2, 3), 3, 1, "pass^2")
    (nothing,) = summarise_reduced(reduce_repeats(repeats("e"), "mean"))
    assert (nothing.mean, nothing.cases, nothing.undecided) == (None, 0, 1)


@pytest.mark.parametrize("name", ["mean", "median", "mode", "max", "at-least-1", "pass@10", "pass^10000"])
def test_names(name: str) -> None:
    assert reducer(name).name == name


@pytest.mark.parametrize(
    "name", ["", "avg", "Mean", "at-least-", "pass@", "pass^", "pass@0", "pass@-1", "pass@1.5", "pass@01", "pass@10001",
             "pass@²", "mean ", "at-least-2\n", "\x00", "\ud800", "pass@" + "9" * 100_000]
)  # fmt: skip
def test_other_names_are_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(CardError, match="pass@K") as caught:
        reducer(name)
    assert caught.value.code == "reducer_unknown"
    assert len(str(caught.value)) < 300
