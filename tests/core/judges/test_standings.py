"""Who is best of several, from comparisons of two."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.judges.standings import Match, Standing, all_pairs, knockout
from tests.run_async import run_async

Result = Callable[[int, int], Match]


def standings(method: Callable[..., object], size: int, result: Result) -> tuple[dict[int, Standing], int]:
    met: list[tuple[int, int]] = []

    async def meet(one: int, other: int) -> Match:
        met.append((one, other))
        return result(one, other)

    async def main() -> dict[int, Standing]:
        return await method(range(size), meet)  # type: ignore[misc, no-any-return]

    return run_async(main()), len(met)


def by_rank(ranks: list[int]) -> Result:
    def result(one: int, other: int) -> Match:
        if ranks[one] == ranks[other]:
            return Match(None)
        return Match(one if ranks[one] > ranks[other] else other)

    return result


@pytest.mark.parametrize("method", [all_pairs, knockout])
@pytest.mark.parametrize("ranks", list(permutations([1, 2, 3, 4])))
def test_the_best_is_found_wherever_it_stands(method: Callable[..., object], ranks: tuple[int, ...]) -> None:
    found, _ = standings(method, 4, by_rank(list(ranks)))
    assert [found[place].best for place in range(4)] == [rank == 4 for rank in ranks]


def test_calls_grow_as_documented() -> None:
    assert standings(all_pairs, 5, by_rank([1, 2, 3, 4, 5]))[1] == 10
    assert standings(knockout, 16, by_rank(list(range(16))))[1] == 15
    assert standings(knockout, 7, by_rank(list(range(7))))[1] == 6


def test_scores_are_shares_of_points() -> None:
    found, _ = standings(all_pairs, 3, by_rank([1, 2, 1]))
    assert found == {0: Standing(False, 0.25), 1: Standing(True, 1.0), 2: Standing(False, 0.25)}


@pytest.mark.parametrize("method", [all_pairs, knockout])
def test_a_tie_at_the_top_has_no_winner_and_those_below_lose(method: Callable[..., object]) -> None:
    found, _ = standings(method, 4, by_rank([3, 1, 3, 2]))
    assert [found[place].best for place in range(4)] == [None, False, None, False]


def test_a_circle_has_no_winner() -> None:
    found, _ = standings(all_pairs, 3, lambda one, other: Match(one if (other - one) % 3 == 1 else other))
    assert {standing.best for standing in found.values()} == {None}


@pytest.mark.parametrize("method", [all_pairs, knockout])
def test_nothing_is_decided_by_comparisons_that_nobody_made(method: Callable[..., object]) -> None:
    found, _ = standings(method, 4, lambda one, other: Match(None, known=False))
    assert {standing.best for standing in found.values()} == {None}
    assert {standing.score for standing in found.values()} == {None}


def test_one_missing_comparison_below_the_top_changes_nothing() -> None:
    def result(one: int, other: int) -> Match:
        return Match(None, known=False) if {one, other} == {0, 1} else by_rank([1, 2, 3])(one, other)

    found, _ = standings(all_pairs, 3, result)
    assert [found[place].best for place in range(3)] == [False, False, True]
    assert found[0].score is None


matches = st.sampled_from(["first", "second", "tie", "unknown"])


@pytest.mark.parametrize("method", [all_pairs, knockout])
@given(st.integers(2, 7), st.lists(matches, min_size=21, max_size=21))
def test_there_is_at_most_one_winner_and_no_winner_without_losers(
    method: Callable[..., object], size: int, script: list[str]
) -> None:
    def result(one: int, other: int) -> Match:
        said = script[(one * 7 + other) % 21]
        return {"first": Match(one), "second": Match(other), "tie": Match(None), "unknown": Match(None, False)}[said]

    found, made = standings(method, size, result)
    best = [standing.best for standing in found.values()]
    assert len(found) == size
    assert made <= size * (size - 1) // 2
    assert best.count(True) <= 1
    assert (True in best) == (best.count(False) == size - 1)
