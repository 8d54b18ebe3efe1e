"""Intervals for rates of independent trials, bounds, and percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """A rate with its interval; all between 0 and 1."""

    rate: float
    low: float
    high: float


class Bounds(NamedTuple):
    """The rate if everything undecided had failed (``low``) and if it had passed (``high``); both between 0 and 1."""

    low: float
    high: float


Z95 = 1.959963984540054


def wilson(successes: int, trials: int, z: float = Z95) -> Interval | None:
    """Return a rate with its Wilson score interval, or None when there was no trial.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    It assumes independent trials. Repeats of one case are not independent: for those there is `clusters.rate`, which
    is this interval when every case was tried once.

    Args:
        successes: 0 to ``trials``.
        trials: Number of trials, 0 or more.
        z: Normal quantile; the default gives 95 %.

    Raises:
        ValueError: ``successes`` is not between 0 and ``trials``.

    Example:
        >>> [round(x, 3) for x in wilson(9, 10)]
        [0.9, 0.596, 0.982]
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    return score_interval(successes / trials, trials, z) if trials else None


def score_interval(rate: float, trials: float, z: float = Z95) -> Interval:
    """Return the Wilson interval of a rate (0 to 1) seen in ``trials`` independent trials, not necessarily whole."""
    spread = z * z / trials
    centre = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials))
    # The exact ends at 0 and 1 would otherwise miss by a rounding error.
    low = 0.0 if rate == 0 else max(0.0, centre - half)
    high = 1.0 if rate == 1 else min(1.0, centre + half)
    return Interval(rate, low, high)


def bounds(passed: int, failed: int, undecided: int) -> Bounds | None:
    """Return the least and greatest pass rate that the undecided items leave possible, or None without any item.

    This is no interval of confidence: it holds for certain, and says nothing about other cases.

    Raises:
        ValueError: A count is negative.

    Example:
        >>> bounds(8, 1, 1)
        Bounds(low=0.8, high=0.9)
    """
    if min(passed, failed, undecided) < 0:
        raise ValueError(f"{passed} passed, {failed} failed and {undecided} undecided")
    items = passed + failed + undecided
    return Bounds(passed / items, (passed + undecided) / items) if items else None


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which ``share`` (0 to 1) of ``values`` lie, linearly interpolated; None when empty.

    Same definition as NumPy's default (Hyndman and Fan, type 7).

    Raises:
        ValueError: ``share`` is not between 0 and 1.

    Example:
        >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
        2.5
    """
    if not 0 <= share <= 1:
        raise ValueError(f"{share} is not between 0 and 1")
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
