"""How verdicts combine: weights, thresholds, and what stays undecided.

A verdict that is error or unscored stands for a score between 0 and 1 that nobody knows. A combination is pass or fail
only where it would be the same whatever those unknown scores are; otherwise it is itself error or unscored.
"""

from __future__ import annotations

from collections.abc import Sequence

from promptcard_ext.core.results import Outcome, Verdict, all_of

# Weighted means of decimal fractions miss a threshold such as 0.7 by a rounding error.
_EPSILON = 1e-9


def combine(verdicts: Sequence[Verdict], threshold: float | None = None) -> tuple[Outcome, float | None]:
    """Combine verdicts into one outcome and a score.

    Args:
        verdicts: Those of weight 0 are passed over: they inform, they decide nothing.
        threshold: Least weighted mean of the points (0 to 1) that passes; None wants every verdict to pass.

    Returns:
        The outcome, and the weighted mean of the points: None while one of the verdicts is undecided.
        Nothing that weighs is unscored.

    Example:
        >>> good, bad = Verdict("a", "equals", Outcome.PASS), Verdict("b", "regex", Outcome.FAIL)
        >>> combine([good, bad])[0], combine([good, bad], 0.5)
        (<Outcome.FAIL: 'fail'>, (<Outcome.PASS: 'pass'>, 0.5))
    """
    weighing = [verdict for verdict in verdicts if verdict.weight > 0]
    if not weighing:
        return Outcome.UNSCORED, None
    low, high = _bounds(weighing)
    score = low if all(verdict.points is not None for verdict in weighing) else None
    if threshold is None:
        return all_of(verdict.outcome for verdict in weighing), score
    if low >= threshold - _EPSILON:
        return Outcome.PASS, score
    if high < threshold - _EPSILON:
        return Outcome.FAIL, score
    return _undecided(weighing), score


def _bounds(verdicts: Sequence[Verdict]) -> tuple[float, float]:
    """Return the least and the greatest weighted mean that the undecided verdicts leave possible."""
    total = low = high = 0.0
    for verdict in verdicts:
        points = verdict.points
        total += verdict.weight
        low += verdict.weight * (0.0 if points is None else points)
        high += verdict.weight * (1.0 if points is None else points)
    return low / total, high / total


def _undecided(verdicts: Sequence[Verdict]) -> Outcome:
    return Outcome.ERROR if any(verdict.outcome is Outcome.ERROR for verdict in verdicts) else Outcome.UNSCORED
