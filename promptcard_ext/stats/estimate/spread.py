"""How something varies from call to call: an assumed shape, or values seen before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from statistics import NormalDist
from typing import NamedTuple, Protocol

_NORMAL = NormalDist()
# Models and prompts change between the run that was seen and the one to come.
DRIFT = 0.1


class Moments(NamedTuple):
    """Mean and standard deviation of one value."""

    mean: float
    sd: float


class Spread(Protocol):
    """A distribution over positive values.

    Attributes:
        doubt: How little is known of its level, as the sigma of a log-normal factor that all values share. Without it
            the total of thousands of calls would look certain, however wrong the assumption about each.
    """

    doubt: float

    def moments(self, factor: float, limit: float | None) -> Moments:
        """Return mean and deviation of values that are ``factor`` times as large, and cut off at ``limit``."""

    def draw(self, chance: Random) -> float:
        """Return one value."""


class Assumed:
    """A log-normal distribution.

    Args:
        median: Half of the values are above it.
        sigma: Standard deviation of the logarithm.
        doubt: See `Spread`.
    """

    def __init__(self, median: float, sigma: float, doubt: float) -> None:
        self.median, self.sigma, self.doubt = median, sigma, doubt

    def moments(self, factor: float, limit: float | None) -> Moments:
        """Return the moments of the log-normal distribution, cut off at ``limit`` (its partial expectations)."""
        mu, variance = math.log(self.median * factor), self.sigma**2
        if limit is None:
            mean = math.exp(mu + variance / 2)
            return Moments(mean, mean * math.sqrt(math.exp(variance) - 1))
        place = (math.log(limit) - mu) / self.sigma
        above = 1 - _NORMAL.cdf(place)
        first = math.exp(mu + variance / 2) * _NORMAL.cdf(place - self.sigma) + limit * above
        second = math.exp(2 * mu + 2 * variance) * _NORMAL.cdf(place - 2 * self.sigma) + limit**2 * above
        return Moments(first, math.sqrt(max(0.0, second - first**2)))

    def draw(self, chance: Random) -> float:
        """Return one value."""
        return self.median * math.exp(self.sigma * chance.gauss(0, 1))


class Seen:
    """Values of earlier calls.

    Their mean has a standard error, which is the doubt about the level, together with an allowance for what has
    changed since (10 %).
    """

    def __init__(self, values: Sequence[float]) -> None:
        self.values = tuple(values)
        mean, sd = self.moments(1, None)
        error = sd / mean / math.sqrt(len(values)) if mean else 0.0
        self.doubt = math.hypot(error, DRIFT)

    def moments(self, factor: float, limit: float | None) -> Moments:
        """Return the moments of the values, each scaled and cut off."""
        scaled = [value * factor for value in self.values]
        if limit is not None:
            scaled = [min(value, limit) for value in scaled]
        mean = sum(scaled) / len(scaled)
        return Moments(mean, math.sqrt(sum((value - mean) ** 2 for value in scaled) / len(scaled)))

    def draw(self, chance: Random) -> float:
        """Return one of the values."""
        return chance.choice(self.values)
