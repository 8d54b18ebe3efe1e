"""Intervals for rates and mean scores when a case may have been asked several times.

The method: an effective number of trials goes into Wilson's interval. It is the number of independent trials whose mean
would vary as much as the observed mean varies between cases (Korn and Graubard, "Confidence intervals for proportions
with small expected number of positive counts estimated from survey data", Survey Methodology 24 (1998); compared with
others by Franco, Little, Louis and Slud, "Comparative study of confidence intervals for proportions in complex sample
surveys", Journal of Survey Statistics and Methodology 7 (2019)). Two things differ from the source:

* It stays within what is possible. A mean of values between 0 and 1 varies at most as much as that of one trial per
  case, and repeats are taken to be no better than independent trials. With one trial per case both limits are the
  number of cases, and the interval is Wilson's.
* The variance is estimated with one twentieth of a case added that scores 1, and as much that scores 0. Without it ten
  cases that all pass, or all score 0.8, would seem not to vary at all. The twentieth, and no factor of Student's t,
  were chosen by simulation: ``python -m bench.stats``, results in bench/RESULTS.md.

It assumes that cases are independent of each other.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from promptcard_ext.stats.intervals import Interval, score_interval

ADDED = 0.05


@dataclass(slots=True)
class Sums:
    """Sums over cases of the case's weight and of its weighted points: all that an interval needs.

    Attributes:
        cases: Number of cases.
        weight: Sum of weights; the number of trials when each weighs 1.
        points: Sum of points.
        weight2: Sum of squared weights.
        points2: Sum of squared points.
        cross: Sum of weight × points.
    """

    cases: int = 0
    weight: float = 0
    points: float = 0
    weight2: float = 0
    points2: float = 0
    cross: float = 0

    def put(self, weight: float, points: float, sign: int = 1) -> None:
        """Add a case, or with ``sign`` -1 take it out again."""
        self.cases += sign
        self.weight += sign * weight
        self.points += sign * points
        self.weight2 += sign * weight * weight
        self.points2 += sign * points * points
        self.cross += sign * weight * points


class _Case(NamedTuple):
    weight: float
    points: float


class Clusters:
    """Trials or scores grouped by case, added one at a time; the interval is there at any time.

    Memory is one entry per case, whatever the number of repeats.

    Args:
        once: Every case comes once only; then nothing is kept of it but the sums.
    """

    __slots__ = ("_binary", "_by_case", "_once", "_sums")

    def __init__(self, *, once: bool = False) -> None:
        self._sums = Sums()
        self._once = once
        self._by_case: dict[Hashable, _Case] = {}
        self._binary = True

    def add(self, case: Hashable, points: float, weight: float = 1) -> None:
        """Add one trial or score.

        Args:
            case: Identity of the case.
            points: 0 to 1.
            weight: Greater than 0.
        """
        self._binary = self._binary and weight == 1 and points in (0, 1)
        if self._once:
            self._sums.put(weight, weight * points)
            return
        old = self._by_case.get(case)
        if old is not None:
            self._sums.put(*old, sign=-1)
            new = _Case(old.weight + weight, old.points + weight * points)
        else:
            new = _Case(weight, weight * points)
        self._sums.put(*new)
        self._by_case[case] = new

    @property
    def cases(self) -> int:
        """Number of cases with at least one trial."""
        return self._sums.cases

    def interval(self) -> Interval | None:
        """Return the mean of all points with its 95 % interval, or None when there are none."""
        return interval(self._sums, binary=self._binary)


def rate(cases: Iterable[tuple[int, int]]) -> Interval | None:
    """Return the pass rate over cases with its 95 % interval, or None when nothing was judged.

    Args:
        cases: For each case how often it passed, and how often it was judged. Cases never judged are passed over.

    Raises:
        ValueError: A case passed more often than it was judged, or a number is negative.

    Example:
        >>> [round(x, 3) for x in rate([(1, 1)] * 9 + [(0, 1)])]
        [0.9, 0.596, 0.982]
        >>> [round(x, 3) for x in rate([(5, 5)] * 9 + [(0, 5)])]
        [0.9, 0.596, 0.982]
    """
    sums = Sums()
    for passed, judged in cases:
        if not 0 <= passed <= judged:
            raise ValueError(f"{passed} passes in {judged} judged repeats")
        if judged:
            sums.put(judged, passed)
    return interval(sums)


def mean_score(cases: Iterable[Iterable[float]]) -> Interval | None:
    """Return the mean of all scores with its 95 % interval, or None when there is no score.

    With one case nearly nothing is known, and the interval says so.

    Args:
        cases: For each case the scores (0 to 1) of its repeats.

    Raises:
        ValueError: A score is not between 0 and 1.

    Example:
        >>> [round(x, 2) for x in mean_score([[0.8, 0.9], [0.7, 0.7], [0.9, 0.8]])]
        [0.8, 0.59, 0.92]
    """
    clusters = Clusters()
    for number, scores in enumerate(cases):
        for score in scores:
            if not 0 <= score <= 1:
                raise ValueError(f"{score} is not a score between 0 and 1")
            clusters.add(number, score)
    return clusters.interval()


def interval(sums: Sums, *, binary: bool = True) -> Interval | None:
    """Return the mean with its 95 % interval from sums over cases, or None when nothing weighs.

    Args:
        binary: Every one of the points is 0 or 1 and weighs 1, as with passes. Other scores may vary less than that.
    """
    if sums.weight <= 0:
        return None
    mean = min(1.0, max(0.0, sums.points / sums.weight))
    # As if every case had been tried once; less when some weigh more than others (Kish's effective number).
    trials = max(_effective(sums), sums.weight * sums.weight / sums.weight2)
    return score_interval(mean, min(trials, sums.weight) if binary else trials)


def _effective(sums: Sums) -> float:
    """Return how many independent trials would give the mean the variance that it has between cases."""
    size = sums.weight / sums.cases
    cases = sums.cases + 2 * ADDED
    mean = (sums.points + ADDED * size) / (size * cases)
    spread = sums.points2 - 2 * mean * sums.cross + mean * mean * sums.weight2
    added = ADDED * size * size * (mean * mean + (1 - mean) * (1 - mean))
    variance = (max(0.0, spread) + added) / (cases - 1) / (size * size)
    return mean * (1 - mean) / variance * sums.cases
