"""Derived metrics."""

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import ItemResult
from promptcard_ext.stats.derived import DerivedMetric, DerivedRow, DerivedTally, compute, formula_names, identifier
from promptcard_ext.stats.scores import metric_scores
from tests.stats.results import ERROR, FAIL, PASS, UNSCORED, item, verdict


def rows(results: Sequence[ItemResult], **formulas: str) -> dict[str, DerivedRow]:
    tally = DerivedTally([DerivedMetric(name, value) for name, value in formulas.items()])
    for result in results:
        tally.add(metric_scores(result), judged=bool(result.verdicts))
    return {row.name: row for row in tally.rows()}


def scored(case: str, **scores: float | None) -> ItemResult:
    """Return an item with a score for each metric, None where it is undecided."""
    verdicts = [
        verdict(ERROR, metric=name) if score is None else verdict(PASS, metric=name, score=score, weight=0.0)
        for name, score in scores.items()
    ]
    return item(PASS, case, 0, *verdicts)


def test_names_are_sums_over_the_items_and_count_is_their_number() -> None:
    results = [scored("a", tp=1, fp=0, fn=0), scored("b", tp=1, fp=1, fn=0), scored("c", tp=0, fp=0, fn=1)]
    found = rows(results, precision="tp / (tp + fp)", f1="2 * tp / (2 * tp + fp + fn)", share="tp / __count")
    assert found["precision"].value == pytest.approx(2 / 3)
    assert found["f1"].value == pytest.approx(4 / 6)
    assert found["share"] == DerivedRow("share", pytest.approx(2 / 3), None, 3, 0)


def test_an_item_with_an_undecided_metric_is_left_out_and_not_taken_for_nought() -> None:
    results = [scored("a", ape=0.5, tone=1), scored("b", ape=None, tone=0), item(ERROR, "c"), item(UNSCORED, "d")]
    found = rows(results, mape="ape / __count", tone="tone / __count")
    assert found["mape"] == DerivedRow("mape", 0.5, None, 1, 3)
    assert found["tone"] == DerivedRow("tone", 0.5, None, 2, 2)
    assert found["mape"].text == "0.5 over 1 items, 3 left out"


def test_an_item_without_the_metric_adds_nothing_to_it() -> None:
    found = rows([scored("a", tp=1), scored("b", fp=1), scored("c", fp=1)], precision="tp / (tp + fp)")
    assert (found["precision"].value, found["precision"].items) == (pytest.approx(1 / 3), 3)


def test_a_formula_may_use_one_before_it_over_its_own_items() -> None:
    results = [scored("a", tp=1, fp=1, fn=1), scored("b", tp=1, fp=0, fn=None)]
    found = rows(
        results,
        precision="tp / (tp + fp)",
        recall="tp / (tp + fn)",
        f1="2 * precision * recall / (precision + recall)",
    )
    assert (found["precision"].value, found["precision"].items) == (pytest.approx(2 / 3), 2)
    # Item b has no recall, so it is in neither of the two that make this one.
    assert (found["f1"].value, found["f1"].items) == (0.5, 1)


def test_what_is_not_defined_has_a_reason_and_no_value() -> None:
    results = [scored("a", x=0, z=None), scored("b", x=0, z=None)]
    found = rows(results, zero="1 / x", none="nowhere + 1", open="z", chain="zero + 1", later="after", after="x")
    assert {name: (row.value, row.reason) for name, row in found.items()} == {
        "zero": (None, "formula_undefined"),
        "none": (None, "metric_missing"),
        "open": (None, "metric_undecided"),
        "chain": (None, "formula_undefined"),
        "later": (None, "metric_missing"),
        "after": (0.0, None),
    }
    assert found["zero"].text == "undefined (formula_undefined, 0 of 2 left out)"


def test_two_metrics_that_are_written_alike_are_not_mixed_up() -> None:
    assert rows([scored("a", **{"a b": 1}), scored("b", **{"a-b": 0})], x="a_b")["x"].reason == "metric_ambiguous"


@pytest.mark.parametrize(
    ("metric", "written"),
    [("tone", "tone"), ("Answer relevance", "Answer_relevance"), ("a/b.c", "a_b_c"), ("2nd", "_2nd"), ("is", "is_"),
     ("Größe", "Größe"), ("ﬁt", "fit"), ("", "_")]
)  # fmt: skip
def test_how_names_are_written(metric: str, written: str) -> None:
    assert identifier(metric) == written


@given(st.text(max_size=20))
def test_every_metric_can_be_used_in_a_formula(metric: str) -> None:
    name = identifier(metric)
    assert name.isidentifier()
    result = item(PASS, "a", 0, verdict(PASS, metric=metric))
    assert rows([result], x=f"{name} + 1")["x"].value == 2


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("2 + 3 * 4", 14), ("-2 ** 2", -4), ("2 ^ 3", 8), ("1 + 2 ^ 2", 5), ("7 % 4", 3), ("(1 + 2) / 2", 1.5),
        ("min(3, 1, 2)", 1), ("max(1, 2)", 2), ("abs(-3)", 3), ("round(2.567, 1)", 2.6), ("round(2.4)", 2),
        ("sqrt(9)", 3), ("log(1)", 0), ("log(8, 2)", 3), ("exp(0)", 1), ("+1", 1), ("__count", 7),
    ],
)  # fmt: skip
def test_arithmetic(formula: str, value: float) -> None:
    assert compute(formula, {}, 7) == pytest.approx(value)


@pytest.mark.parametrize(
    "formula",
    ["1 / 0", "0 % 0", "(-1) ** 0.5", "sqrt(-1)", "log(0)", "10 ** 400", "9 ** 9 ** 9 ** 9", "exp(exp(9))", "1e999",
     "9" * 400, "1e308 * 10", "1e999 - 1e999", "round(1, 1e999)"]
)  # fmt: skip
def test_what_has_no_value_has_none(formula: str) -> None:
    assert compute(formula, {}) is None


HOSTILE = [
    "().__class__.__bases__", "__import__('os').system('true')", "open('x')", "lambda: 1", "[1] * 9", "'a' * 9",
    "f'{1}'", "a[0]", "a.b", "a if b else c", "a == b", "a and b", "x := 1", "max(*a)", "max(a=1)", "1j", "True",
    "None", "b'x'", "1; 2", "1\n2", "", " ", "(", "\x00", "\ud800", "(" * 240 + "1" + ")" * 240, "-" * 400 + "1",
    "sqrt(1, 2)", "min()", "eval(1)", "print(1)", "a" * 501, "~1", "1 << 9", "1 // 2", "1 | 2",
]  # fmt: skip


@pytest.mark.parametrize("formula", HOSTILE)
def test_whatever_is_not_arithmetic_is_refused(formula: str) -> None:
    with pytest.raises(CardError) as caught:
        DerivedMetric("m", formula)
    assert caught.value.code in ("derived_metric_invalid", "field_invalid")
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize(
    "formula", ["9 ** 9 ** 9 ** 9 ** 9", "round(5, -999999999)", "round(9, 999999999)", "2 ** 2 ** 2 ** 2 ** 99",
                "*".join(["9" * 60] * 8), "exp(exp(exp(exp(9))))"]
)  # fmt: skip
def test_a_bomb_is_over_at_once(formula: str) -> None:
    started = time.perf_counter()
    compute(formula, {})
    assert time.perf_counter() - started < 1


def test_a_function_is_no_metric_and_a_metric_no_function() -> None:
    assert formula_names("max(tone, max)") == {"tone", "max"}
    assert compute("max(tone, max)", {"tone": 1.0, "max": 5.0}) == 5


NUMBERS = st.one_of(st.integers(0, 99).map(str), st.floats(0.001, 99).map(lambda x: f"{x:.3f}"), st.just("a"))
FORMULAS = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "%"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda t: f"abs({t})"),
        inner.map(lambda t: f"-{t}"),
    ),
    max_leaves=8,
)


def test_what_is_beyond_all_numbers_is_none() -> None:
    assert compute("2 / a", {"a": 1.2e-308}) is not None
    assert compute("2 / a", {"a": 1.1e-308}) is None


@given(FORMULAS, st.floats(0.001, 10) | st.just(0.0))
def test_formulas_are_what_python_makes_of_them(formula: str, a: float) -> None:
    try:
        expected = float(eval(formula, {"__builtins__": {}, "abs": abs, "a": a}))
    except ZeroDivisionError:
        expected = None
    found = compute(formula, {"a": a})
    assert found == pytest.approx(expected) if expected is not None else found is None


def test_an_item_that_fails_counts_like_any_other() -> None:
    found = rows([item(FAIL, "a", 0, verdict(FAIL, metric="tone")), item(PASS, "b", 0, verdict(PASS, metric="tone"))],
                 share="tone / __count")  # fmt: skip
    assert found["share"].value == 0.5
