"""How verdicts combine: what nobody knows is never made into a pass or a fail.

Scores, weights and thresholds are eighths and whole numbers, whose sums are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.base import Finding, compiled
from promptcard_ext.core.assertions.judging import check_one
from promptcard_ext.core.assertions.judging import verdict as verdict_of
from promptcard_ext.core.assertions.sets import explain
from promptcard_ext.core.composition import combine
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.results import Outcome, Verdict
from promptcard_ext.stats.ledger import flattened
from promptcard_ext.stats.reducers import reduce_repeats
from promptcard_ext.stats.scores import item_points, metric_scores
from tests.core.assertions.asker import Asks, graded, text
from tests.stats.results import item

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED
DECIDED, UNDECIDED = (PASS, FAIL), (ERROR, UNSCORED)

eighths = st.integers(0, 8).map(lambda n: n / 8)
thresholds = st.none() | eighths
weights = st.integers(0, 3).map(float)


def verdict(outcome: Outcome, score: float | None = None, weight: float = 1.0, **more: Any) -> Verdict:
    return Verdict("uid", "contains", outcome, None if outcome is PASS else "why", score=score, weight=weight, **more)


decided = st.builds(verdict, st.sampled_from(DECIDED), st.none() | eighths, weights)
undecided = st.builds(verdict, st.sampled_from(UNDECIDED), st.none(), weights)
verdicts = st.lists(decided | undecided, max_size=5)


def resolutions(given: Sequence[Verdict]) -> Iterator[list[Verdict]]:
    """Yield whatever the verdicts might have been, had all been judged: the two extremes of each undecided one."""
    extremes = ((PASS, 1.0), (FAIL, 0.0))
    for choice in product(*(extremes if one.outcome in UNDECIDED else ((one.outcome, one.score),) for one in given)):
        yield [verdict(*chosen, weight=one.weight) for chosen, one in zip(choice, given, strict=True)]


class TestVerdicts:
    @given(verdicts, thresholds)
    def test_a_decision_would_be_the_same_whatever_the_undecided_ones_were(
        self, given: list[Verdict], threshold: float | None
    ) -> None:
        outcome, _ = combine(given, threshold)
        if outcome in DECIDED:
            assert {combine(one, threshold)[0] for one in resolutions(given)} == {outcome}

    @given(verdicts, thresholds)
    def test_what_could_not_be_otherwise_is_decided_once_anything_is(
        self, given: list[Verdict], threshold: float | None
    ) -> None:
        possible = {combine(one, threshold)[0] for one in resolutions(given)}
        if len(possible) == 1 and any(one.weight and one.outcome in DECIDED for one in given):
            assert combine(given, threshold)[0] in possible

    @given(st.lists(undecided, min_size=1, max_size=4), thresholds, st.lists(decided, max_size=2))
    def test_what_nobody_judged_stays_so_whatever_the_threshold(
        self, given: list[Verdict], threshold: float | None, silent: list[Verdict]
    ) -> None:
        without_weight = [verdict(one.outcome, one.score, 0.0) for one in silent]
        outcome, score = combine([*given, *without_weight], threshold)
        broken = any(one.weight and one.outcome is ERROR for one in given)
        assert (outcome, score) == (ERROR if broken else UNSCORED, None)

    @given(verdicts, thresholds, st.lists(decided | undecided, max_size=3))
    def test_what_weighs_nothing_decides_nothing(
        self, given: list[Verdict], threshold: float | None, more: list[Verdict]
    ) -> None:
        silent = [verdict(one.outcome, one.score, 0.0) for one in more]
        assert combine([*silent, *given], threshold) == combine(given, threshold)

    @given(verdicts, thresholds)
    def test_order_does_not_matter(self, given: list[Verdict], threshold: float | None) -> None:
        assert combine(given[::-1], threshold) == combine(given, threshold)

    @given(verdicts, thresholds)
    def test_there_is_a_score_only_when_everything_that_weighs_has_one(
        self, given: list[Verdict], threshold: float | None
    ) -> None:
        _, score = combine(given, threshold)
        weighing = [one for one in given if one.weight]
        assert (score is None) == (not weighing or any(one.points is None for one in weighing))
        assert score is None or 0 <= score <= 1

    @given(st.lists(decided, max_size=5), eighths)
    def test_a_better_verdict_never_makes_the_whole_worse(self, given: list[Verdict], threshold: float) -> None:
        better = [verdict(PASS, 1.0, one.weight) if place == 0 else one for place, one in enumerate(given)]
        rank = (FAIL, UNSCORED, PASS)
        for limit in (None, threshold):
            assert rank.index(combine(better, limit)[0]) >= rank.index(combine(given, limit)[0])

    @given(verdicts, thresholds)
    def test_there_is_a_reason_unless_it_passes(self, given: list[Verdict], threshold: float | None) -> None:
        outcome, score = combine(given, threshold)
        reason, _ = explain(outcome, given, threshold, score)
        allowed: dict[Outcome, set[str | None]] = {
            PASS: {None},
            FAIL: {"why", "score_below_threshold"},
            ERROR: {"why"},
        }
        assert reason in allowed.get(outcome, {"why", "nothing_weighs", "no_assertions"})

    def test_a_threshold_is_not_missed_by_a_rounding_error(self) -> None:
        assert combine([verdict(FAIL, score) for score in (0.6, 0.7, 0.8)], 0.7)[0] is PASS

    def test_a_set_that_was_decided_without_its_score_being_known_leaves_a_threshold_open(self) -> None:
        broken = verdict(ERROR)
        parts = verdict(FAIL, parts=(verdict(FAIL), broken))
        assert combine([parts])[0] is FAIL
        assert combine([parts, verdict(PASS)], 0.5)[0] is PASS
        assert combine([parts, verdict(PASS)], 0.75)[0] is ERROR


class TestNegation:
    @given(
        st.builds(Finding, st.sampled_from(DECIDED), st.just("why"), st.just("Why."), st.none() | eighths)
        | st.builds(Finding, st.sampled_from(UNDECIDED), st.just("why"), st.just("Why."), st.none())
    )
    def test_it_swaps_pass_and_fail_and_leaves_everything_else(self, finding: Finding) -> None:
        plain, negated = (verdict_of(compiled(Assertion(kind, "x")), finding) for kind in ("contains", "not-contains"))
        assert negated.outcome is plain.outcome.negated()
        assert negated.outcome.negated() is plain.outcome
        if plain.outcome in UNDECIDED:
            assert (negated.outcome, negated.reason, negated.message, negated.score) == (*finding[:3], None)
        elif plain.score is not None:
            assert negated.score == 1 - plain.score
        assert negated.reason == {FAIL: "contains_held", PASS: None}.get(negated.outcome, "why")


# -- trees of real assertions ----------------------------------------------------------------------------------------

ANSWER = "a" * 8
OUTAGE = ProviderError("down", code="provider_5xx")
LEAVES = {
    "pass": Assertion("contains", "a"),
    "fail": Assertion("contains", "z"),
    "error": Assertion("contains", "a", transform="{{ vars.nothing }}"),
    "outage": Assertion("similar", "x", provider="e:m"),
    "unscored": Assertion("human"),
    "unpriced": Assertion("cost", threshold=1),
}
BROKEN = {"error": "missing_variable", "outage": "provider_5xx"}
NOBODY = {"unscored": "needs_human", "unpriced": "unpriced"}


class Leaf(NamedTuple):
    """An assertion that does not decide has ``truth``: what it would have said."""

    assertion: Assertion
    truth: Assertion | None = None

    def built(self, known: bool) -> Assertion:
        return self.truth if known and self.truth is not None else self.assertion

    def leaves(self) -> Iterator[Leaf]:
        yield self


class Node(NamedTuple):
    kind: str
    fields: dict[str, Any]
    inner: tuple[Any, ...]

    def built(self, known: bool) -> Assertion:
        return Assertion(self.kind, assertions=tuple(one.built(known) for one in self.inner), **self.fields)

    def leaves(self) -> Iterator[Leaf]:
        for one in self.inner:
            yield from one.leaves()


def away(distance: int, passes: bool) -> Assertion:
    """Return an assertion whose score on the answer is 1 - distance / 8."""
    limit = 8 if passes else max(0, distance - 1)
    return Assertion("levenshtein", "b" * distance + "a" * (8 - distance), threshold=limit)


def changed(leaf: Assertion, negated: bool, weight: float) -> Assertion:
    return msgspec.structs.replace(leaf, type="not-" * negated + leaf.type, weight=weight, metric="m")


def leaf_of(leaf: Assertion, truth: Assertion, negated: bool, weight: float) -> Leaf:
    unknown = leaf in (LEAVES[name] for name in (*BROKEN, *NOBODY))
    given = changed(leaf, negated, weight)
    return Leaf(given, changed(truth, negated, weight) if unknown else None)


known_leaves = st.sampled_from([LEAVES["pass"], LEAVES["fail"]]) | st.builds(away, st.integers(0, 8), st.booleans())
unknown_leaves = st.sampled_from([LEAVES[name] for name in (*BROKEN, *NOBODY)])


def trees(leaves: st.SearchStrategy[Assertion], least_weight: int = 0, levels: int = 3) -> st.SearchStrategy[Any]:
    weight = st.integers(least_weight, 2).map(float)

    def level(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        some = st.lists(inner, min_size=1, max_size=3).map(tuple)
        negation = st.sampled_from(["", "not-"])
        sets = st.builds(
            lambda prefix, threshold, weight, inner: Node(
                f"{prefix}assert-set", {"threshold": threshold, "weight": weight}, inner
            ),
            negation, thresholds, weight, some,
        )  # fmt: skip
        weighing = some.filter(lambda parts: all(part.built(False).weight for part in parts))
        limits = st.sampled_from([{}, {"pass_at": 0.75}, {"fail_at": 0.0}, {"fail_at": 0.25, "pass_at": 0.5}])
        cascades = st.builds(
            lambda prefix, options, weight, inner: Node(
                f"{prefix}cascade", {"options": options, "weight": weight}, inner
            ),
            negation, limits, weight, weighing,
        )  # fmt: skip
        return sets | cascades

    leaf = st.builds(leaf_of, leaves, known_leaves, st.booleans(), weight)
    found = level(leaf)
    for _ in range(levels - 1):
        found |= level(leaf | found)
    return found


def judged(tree: Any, known: bool = False) -> Verdict:
    return judged_as(tree.built(known))


def judged_as(assertion: Assertion) -> Verdict:
    if (one := compiled(assertion)).check is not None:
        return check_one(one, text(ANSWER))
    return graded(assertion, text(ANSWER), Asks(vectors=lambda _: OUTAGE))


class TestTrees:
    @given(trees(known_leaves | unknown_leaves))
    def test_a_decision_would_be_the_same_whatever_the_undecided_ones_were(self, tree: Node) -> None:
        found, truth = judged(tree), judged(tree, known=True)
        if found.outcome in DECIDED:
            assert found.outcome is truth.outcome
        if found.points is not None:
            assert found.points == truth.points

    @given(trees(unknown_leaves))
    def test_a_tree_that_nobody_judged_is_undecided_and_says_why(self, tree: Node) -> None:
        found = judged(tree)
        assert found.outcome in UNDECIDED
        reasons = BROKEN if found.outcome is ERROR else {**NOBODY, "": "nothing_weighs"}
        assert found.reason in reasons.values()

    @given(trees(known_leaves, least_weight=1))
    def test_a_tree_that_everybody_judged_is_decided(self, tree: Node) -> None:
        found = judged(tree)
        assert found.outcome in DECIDED
        assert found.points is not None

    @given(trees(known_leaves | unknown_leaves))
    def test_what_is_not_decided_has_the_reason_of_one_that_is_not(self, tree: Node) -> None:
        found = judged(tree)
        given = [leaf.assertion for leaf in tree.leaves()]
        codes = {**BROKEN, **NOBODY}
        there = {code for name, code in codes.items() if any(one.kind == LEAVES[name].kind for one in given)}
        if found.outcome is ERROR:
            assert found.reason in there & set(BROKEN.values())
        elif found.outcome is UNSCORED:
            assert found.reason in there & set(NOBODY.values()) | {"nothing_weighs"}

    @given(trees(known_leaves | unknown_leaves, least_weight=1, levels=1))
    def test_negating_a_set_of_one_twice_changes_nothing(self, tree: Node) -> None:
        plain = judged(tree)
        once = Assertion("not-assert-set", assertions=(tree.built(False),))
        twice = Assertion("not-assert-set", assertions=(once,))
        assert judged_as(once).outcome is plain.outcome.negated()
        assert judged_as(twice).outcome is plain.outcome
        assert judged_as(twice).score == (None if plain.points is None else pytest.approx(plain.points))
        if plain.outcome in UNDECIDED:
            assert {judged_as(one).reason for one in (once, twice)} == {plain.reason}


class TestItems:
    @given(st.lists(trees(known_leaves | unknown_leaves), min_size=1, max_size=2), thresholds)
    def test_items_scores_and_metrics_are_known_or_left_open(self, trees: list[Node], threshold: float | None) -> None:
        found, truth = ([judged(tree, known) for tree in trees] for known in (False, True))
        outcome, score = combine(found, threshold)
        result = item(outcome, "u", 0, *found, score=score)
        known = combine(truth, threshold)
        if outcome in DECIDED:
            assert outcome is known[0]
        if (points := item_points(result)) is not None:
            assert points == item_points(item(known[0], "u", 0, *truth, score=known[1]))
        rows = [one for _, one in flattened(result.verdicts) if one.metric == "m"]
        if rows:
            value = metric_scores(result)["m"].points
            assert (value is None) == any(one.points is None for one in rows)

    @given(
        st.lists(verdicts, min_size=1, max_size=4),
        thresholds,
        st.sampled_from(("mode", "max", "at-least-1", "at-least-2")),
    )
    def test_no_reducer_over_repeats_makes_a_verdict_of_none(
        self, repeats: list[list[Verdict]], threshold: float | None, how: str
    ) -> None:
        (found,) = reduce_repeats(_items(repeats, threshold), how)
        if found.outcome in DECIDED:
            for better in (True, False):
                resolved = [list(resolutions(one))[0 if better else -1] for one in repeats]
                # A repeat without anything that weighs stays as it is: nobody would ever have judged it.
                (known,) = reduce_repeats(_items(resolved, threshold), how)
                assert known.outcome is found.outcome
        if all(combine(one, threshold)[0] in UNDECIDED for one in repeats):
            assert found.outcome in UNDECIDED


def _items(repeats: list[list[Verdict]], threshold: float | None) -> list[Any]:
    made = []
    for number, one in enumerate(repeats):
        outcome, score = combine(one, threshold)
        made.append(item(outcome, "u", number, *one, score=score))
    return made


@pytest.mark.parametrize("threshold", [None, 0.0, 0.5])
def test_an_empty_list_is_unscored(threshold: float | None) -> None:
    assert combine([], threshold) == (UNSCORED, None)
