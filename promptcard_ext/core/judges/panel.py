"""Several judges vote. What those who did not judge would have said is unknown, and is never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

VOTES = ("majority", "all", "any", "mean")
_EPSILON = 1e-9


class Opinion(NamedTuple):
    """What one judge says.

    Attributes:
        score: 0 to 1, where the kind has degrees.
        reason: The judge's, for a person.
        code: Stable code, when it is not passed.
    """

    passed: bool
    score: float | None
    reason: str
    code: str

    @property
    def points(self) -> float:
        """The score; without degrees 1 or 0."""
        return float(self.passed) if self.score is None else self.score


def decide(vote: str, opinions: Sequence[Opinion], absent: int, threshold: float = 0.5) -> bool | None:
    """Return the panel's decision, or None when it has none.

    It has one only where it would be the same whatever those that did not judge would have said.

    Args:
        vote: ``majority`` (more than half of the panel), ``all``, ``any``, or ``mean`` (of the scores).
        absent: How many were asked and did not judge.
        threshold: Least mean that passes, 0 to 1.

    Example:
        >>> yes, no = Opinion(True, None, "", ""), Opinion(False, None, "", "not_best")
        >>> decide("majority", [yes, yes, no], 0), decide("majority", [yes, no], 0), decide("majority", [yes], 2)
        (True, None, None)
    """
    size, passed = len(opinions) + absent, sum(opinion.passed for opinion in opinions)
    failed = len(opinions) - passed
    if vote == "mean":
        points = sum(opinion.points for opinion in opinions)
        return _decided(points / size >= threshold - _EPSILON, (points + absent) / size < threshold - _EPSILON)
    if vote == "all":
        return _decided(passed == size, failed > 0)
    if vote == "any":
        return _decided(passed > 0, failed == size)
    return _decided(2 * passed > size, 2 * failed > size)


def _decided(passes: bool, fails: bool) -> bool | None:
    return True if passes else False if fails else None


def mean_score(opinions: Sequence[Opinion]) -> float | None:
    """Return the mean of the scores of those that judged; None for a single judgement without degrees."""
    if len(opinions) == 1:
        return opinions[0].score
    return sum(opinion.points for opinion in opinions) / len(opinions)
