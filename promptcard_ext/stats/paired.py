"""Mean paired differences with intervals: the same cases, answered by two sides.

The estimator is the mean of ``b − a`` over pairs. Its standard error is the cluster-robust one with the case as cluster
(Liang and Zeger 1986; the factor C / (C − 1) and Student's t with C − 1 degrees of freedom: Cameron and Miller, "A
Practitioner's Guide to Cluster-Robust Inference", Journal of Human Resources 50 (2015); for evaluations of models:
Miller, "Adding Error Bars to Evals", arXiv:2411.00640 (2024)). With one pair a case it is the paired t interval.

Passes and scores are bounded, and most pairs agree: ten cases without a flip would seem to know for certain that there
is no difference. So two cases are added, one that differs by as much as possible upwards and one downwards (Bonett and
Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data", Journal of
Educational and Behavioral Statistics 37 (2012)). With repeats each of them counts as much as one trial does among
trials of the same case, (1 + (r − 1) ρ) / r of a case, where ρ is the intraclass correlation of the differences.

It assumes that cases are independent of each other, and that the mean over cases is nearly normal: with few cases and
latencies of which one in a hundred is enormous it is not.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

# Student's t, 97.5 %, for 1 to 4 degrees of freedom; beyond, the expansion below is right to four digits.
_T975 = (12.706205, 4.302653, 3.182446, 2.776445)
_Z = 1.959963984540054


class Difference(Struct, frozen=True):
    """A mean difference, ``b − a``.

    Attributes:
        a, b: Mean of each side over the same pairs.
        mean: Of the differences.
        low, high: Ends of the 95 % interval; None where one case is too little to know anything.
        pairs: How many pairs were compared.
        cases: How many cases they are of.
    """

    a: float
    b: float
    mean: float
    low: float | None
    high: float | None
    pairs: int
    cases: int

    @property
    def sign(self) -> int:
        """1 when the interval lies above zero, -1 when it lies below, 0 when zero is in it or it is not known."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


class PairedValues:
    """Values of two sides, added one pair at a time; memory is 20 bytes a pair.

    Args:
        bounded: The values are passes or scores from 0 to 1.
    """

    def __init__(self, *, bounded: bool = False) -> None:
        self._bounded = bounded
        self._cases = array("L")
        self._a, self._b = array("d"), array("d")

    def __len__(self) -> int:
        return len(self._a)

    def add(self, case: int, a: float, b: float) -> None:
        """Add one pair; ``case`` is the number of its case."""
        self._cases.append(case)
        self._a.append(a)
        self._b.append(b)

    def difference(self) -> Difference | None:
        """Return the mean difference with its interval, or None when there is no pair."""
        if not self._a:
            return None
        differences = [b - a for a, b in zip(self._a, self._b, strict=True)]
        found = paired_interval(self._cases, differences, bounded=self._bounded)
        number = len(differences)
        mean = math.fsum(differences) / number
        low, high = (None, None) if found is None else (min(found.low, mean), max(found.high, mean))
        a, b = math.fsum(self._a) / number, math.fsum(self._b) / number
        return Difference(a, b, mean, low, high, number, len(set(self._cases)))


class _Cluster(NamedTuple):
    size: int
    total: float
    squares: float


class Ends(NamedTuple):
    """The ends of an interval."""

    low: float
    high: float


def paired_interval(cases: Sequence[int], differences: Sequence[float], *, bounded: bool = False) -> Ends | None:
    """Return the 95 % interval of the mean of paired differences; None when it takes more than one case to know.

    Args:
        cases: For each pair the number of its case: pairs of one case are not independent.
        differences: For each pair ``b − a``.
        bounded: The differences are of values from 0 to 1.

    Example:
        >>> [round(end, 3) for end in paired_interval(range(10), [1, 1, 1, 0, 0, 0, 0, 0, 0, 0], bounded=True)]
        [-0.145, 0.645]
        >>> [round(end, 3) for end in paired_interval(range(3), [1.0, 2.0, 3.0])]
        [-0.484, 4.484]
    """
    clusters = _clusters(cases, differences)
    pairs, number = len(differences), len(clusters)
    size = pairs / number
    extra = _share_of_a_case(clusters, pairs) if bounded else 0.0
    if number + 2 * extra <= 1:
        return None
    most = max(map(abs, differences)) or 1.0
    trials = pairs + 2 * extra * size
    centre = math.fsum(differences) / trials
    squares = [(one.total - one.size * centre) ** 2 for one in clusters]
    squares += [extra * size * size * (most - centre) ** 2, extra * size * size * (most + centre) ** 2]
    effective = number + 2 * extra
    error = math.sqrt(effective / (effective - 1) * math.fsum(squares)) / trials
    half = t975(max(1, math.floor(effective - 1 + 1e-9))) * error
    low, high = centre - half, centre + half
    return Ends(max(-1.0, low), min(1.0, high)) if bounded else Ends(low, high)


def _clusters(cases: Sequence[int], differences: Sequence[float]) -> list[_Cluster]:
    by_case: dict[int, list[float]] = {}
    for case, difference in zip(cases, differences, strict=True):
        by_case.setdefault(case, []).append(difference)
    return [_Cluster(len(each), math.fsum(each), math.fsum(x * x for x in each)) for each in by_case.values()]


def _share_of_a_case(clusters: Sequence[_Cluster], pairs: int) -> float:
    """Return how much of a case one trial is worth: 1 when repeats always differ alike, 1 / repeats when at random."""
    number = len(clusters)
    if pairs == number:
        return 1.0
    mean = math.fsum(one.total for one in clusters) / pairs
    between = math.fsum(one.size * (one.total / one.size - mean) ** 2 for one in clusters)
    within = math.fsum(max(0.0, one.squares - one.total**2 / one.size) for one in clusters) / (pairs - number)
    if number == 1 or within <= 1e-12:
        return 1.0
    between /= number - 1
    usual = (pairs - sum(one.size**2 for one in clusters) / pairs) / (number - 1)
    correlation = min(1.0, max(0.0, (between - within) / (between + (usual - 1) * within)))
    size = pairs / number
    return (1 + (size - 1) * correlation) / size


def t975(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5), right to 0.02 %.

    Example:
        >>> [round(t975(degrees), 2) for degrees in (1, 5, 30, 1000)]
        [12.71, 2.57, 2.04, 1.96]
    """
    if degrees <= len(_T975):
        return _T975[degrees - 1]
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / degrees ** (k + 1) for k, term in enumerate(terms))
