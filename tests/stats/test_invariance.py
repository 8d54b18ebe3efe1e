"""Invariance rates."""

from promptcard_ext.stats.clusters import rate
from promptcard_ext.stats.intervals import wilson
from promptcard_ext.stats.invariance import invariance
from tests.stats.results import ERROR, FAIL, PASS, UNSCORED, item, verdict


def test_each_transform_has_a_rate_of_its_own_with_the_undecided_beside_it() -> None:
    def changed(case: str, typo: object, upper: object) -> object:
        parts = (verdict(typo, kind="metamorphic:typo"), verdict(upper, kind="metamorphic:case"))  # type: ignore[arg-type]
        return item(FAIL, case, 0, verdict(FAIL, kind="metamorphic", parts=parts))

    results = [changed("a", PASS, FAIL), changed("b", PASS, ERROR), changed("c", FAIL, UNSCORED)]
    typo, upper = invariance(results)  # type: ignore[arg-type]
    assert (typo.transform, typo.rate, typo.judged, typo.undecided) == ("typo", wilson(2, 3), 3, 0)
    assert (upper.transform, upper.rate, upper.judged, upper.undecided) == ("case", wilson(0, 1), 1, 2)


def test_variants_of_one_case_are_not_independent() -> None:
    def parts(outcome: object) -> list[object]:
        return [verdict(outcome, kind="metamorphic:typo") for _ in range(4)]  # type: ignore[arg-type]

    (row,) = invariance([item(PASS, "a", 0, *parts(PASS)), item(FAIL, "b", 0, *parts(FAIL))])  # type: ignore[arg-type]
    assert row.judged == 8
    assert row.rate == rate([(4, 4), (0, 4)])


def test_other_assertions_say_nothing_about_it() -> None:
    assert invariance([item(PASS, "a", 0, verdict(PASS)), item(ERROR)]) == []
