"""How verdicts combine: weights, thresholds, and what stays undecided.

A verdict that is error or unscored stands for a score between 0 and 1 that nobody knows, and so does a set that was
decided although a part of it is not: one part of two has failed, so the set has, by 0 or by 0.5. A combination is pass
or fail only where it would be the same whatever those unknown scores are; otherwise it is itself error or unscored.
Of undecided verdicts alone nothing is decided, not even where a threshold of 0 lets everything pass: nobody judged.
"""

from __future__ import annotations

from collections.abc import Sequence

from promptcard_ext.core.results import Outcome, Verdict, all_of

# Weighted means of decimal fractions miss a threshold such as 0.7 by a rounding error.
_EPSILON = 1e-9
_UNDECIDED = frozenset((Outcome.ERROR, Outcome.UNSCORED))


def combine(verdicts: Sequence[Verdict], threshold: float | None = None) -> tuple[Outcome, float | None]:
    """Combine verdicts into one outcome and a score.

    Args:
        verdicts: Those of weight 0 are passed over: they inform, they decide nothing.
        threshold: Least weighted mean of the points (0 to 1) that passes; None wants every verdict to pass.

    Returns:
        The outcome, and the weighted mean of the points: None while one of the verdicts is undecided.
        Nothing that weighs is unscored, and where nobody judged the outcome is error or unscored.

    Example:
        >>> good, bad = Verdict("a", "equals", Outcome.PASS), Verdict("b", "regex", Outcome.FAIL)
        >>> combine([good, bad])[0], combine([good, bad], 0.5)
        (<Outcome.FAIL: 'fail'>, (<Outcome.PASS: 'pass'>, 0.5))
    """
    total = low = open_ = 0.0
    outcomes: set[Outcome] = set()
    for verdict in verdicts:
        if verdict.weight > 0:
            outcomes.add(verdict.outcome)
            total += verdict.weight
            points = verdict.points
            if points is None:
                open_ += verdict.weight
            else:
                low += verdict.weight * points
    if not outcomes:
        return Outcome.UNSCORED, None
    score = None if open_ else low / total
    if threshold is None or outcomes <= _UNDECIDED:
        return all_of(outcomes), score
    # Between these two is whatever the undecided ones may turn out to be.
    if low / total >= threshold - _EPSILON:
        return Outcome.PASS, score
    if (low + open_) / total < threshold - _EPSILON:
        return Outcome.FAIL, score
    return Outcome.ERROR if any(map(_broken, verdicts)) else Outcome.UNSCORED, score


def _broken(verdict: Verdict) -> bool:
    # A set may be decided and its score not be known; then it is a part of it that broke, or was not judged.
    return verdict.weight > 0 and (
        verdict.outcome is Outcome.ERROR or (verdict.points is None and any(map(_broken, verdict.parts)))
    )
