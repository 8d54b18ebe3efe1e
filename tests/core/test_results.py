"""The four outcomes and their algebra."""

from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.results import Counts, Generation, ItemResult, Outcome, all_of

OUTCOMES = st.lists(st.sampled_from(Outcome), max_size=6)


@given(OUTCOMES)
def test_a_whole_fails_only_if_a_part_fails(outcomes: list[Outcome]) -> None:
    assert (all_of(outcomes) is Outcome.FAIL) == (Outcome.FAIL in outcomes)


@given(OUTCOMES)
def test_a_whole_passes_only_if_all_parts_pass(outcomes: list[Outcome]) -> None:
    assert (all_of(outcomes) is Outcome.PASS) == (bool(outcomes) and set(outcomes) == {Outcome.PASS})


@given(OUTCOMES)
def test_an_error_is_never_made_up(outcomes: list[Outcome]) -> None:
    assert all_of(outcomes) in outcomes or not outcomes


@given(st.lists(st.sampled_from(Outcome), max_size=4))
def test_order_does_not_matter(outcomes: list[Outcome]) -> None:
    assert len({all_of(order) for order in permutations(outcomes)}) == 1


@given(OUTCOMES, OUTCOMES)
def test_parts_may_be_put_together_in_groups(one: list[Outcome], two: list[Outcome]) -> None:
    if one and two:
        assert all_of([all_of(one), all_of(two)]) is all_of(one + two)


def test_nothing_asserted_is_unscored() -> None:
    assert all_of([]) is Outcome.UNSCORED


@pytest.mark.parametrize(
    ("outcome", "negated"),
    [
        (Outcome.PASS, Outcome.FAIL),
        (Outcome.FAIL, Outcome.PASS),
        (Outcome.ERROR, Outcome.ERROR),
        (Outcome.UNSCORED, Outcome.UNSCORED),
    ],
)
def test_negation_knows_only_pass_and_fail(outcome: Outcome, negated: Outcome) -> None:
    assert outcome.negated() is negated
    assert outcome.negated().negated() is outcome


@given(st.lists(st.tuples(st.sampled_from(Outcome), st.none() | st.decimals(0, 1, places=6)), max_size=20))
def test_counts_add_up_and_cost_counts_only_what_is_priced(rows: list[tuple[Outcome, Decimal | None]]) -> None:
    counts = Counts(total=len(rows))
    for ordinal, (outcome, cost) in enumerate(rows):
        generation = Generation("p", "m", "h", "x", 1.0, cost_usd=cost)
        counts.add(ItemResult(ordinal, "c", 1, "c@1", "p:m", "n", "u", 0, outcome, generation=generation))
    assert counts.passed + counts.failed + counts.errored + counts.unscored == counts.done == len(rows)
    assert counts.judged == sum(outcome in (Outcome.PASS, Outcome.FAIL) for outcome, _ in rows)
    costs = [cost for _, cost in rows if cost is not None]
    assert (counts.priced, counts.cost_usd) == (len(costs), sum(costs, Decimal(0)))
