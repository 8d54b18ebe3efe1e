"""Reducers: one value for each case out of its repeats.

Repeats that are error or unscored count as nothing. A reducer that ends in pass or fail does so only where it would be
the same however those had ended.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import Struct

from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.stats.clusters import Clusters
from promptcard_ext.stats.intervals import Interval
from promptcard_ext.stats.scores import item_points

MAX_K = 10_000


@dataclass(slots=True)
class Repeats:
    """The repeats of one case on one model.

    Attributes:
        points: Scores that are known, 0 to 1, for mean, median and max.
    """

    passed: int = 0
    failed: int = 0
    errored: int = 0
    unscored: int = 0
    points: list[float] = field(default_factory=list)

    def add(self, result: ItemResult) -> None:
        """Add one repeat."""
        name = _FIELD[result.outcome]
        setattr(self, name, getattr(self, name) + 1)
        if (points := item_points(result)) is not None:
            self.points.append(points)

    @property
    def judged(self) -> int:
        """Repeats that passed or failed."""
        return self.passed + self.failed

    @property
    def undecided(self) -> int:
        """Repeats that are error or unscored."""
        return self.errored + self.unscored


_FIELD = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "failed",
    Outcome.ERROR: "errored",
    Outcome.UNSCORED: "unscored",
}


class Reduction(NamedTuple):
    """What a reducer makes of the repeats.

    Attributes:
        value: 0 to 1; None when it is not decided.
        outcome: None for a value that has degrees.
        reason: Stable code when the outcome is not pass or there is no value.
    """

    value: float | None
    outcome: Outcome | None = None
    reason: str | None = None


TOO_FEW = Reduction(None, Outcome.UNSCORED, "too_few_repeats")
_PASSED = Reduction(1.0, Outcome.PASS)


def pass_at_k(judged: int, passed: int, k: int) -> float:
    """Return how probably at least one of ``k`` answers passes, estimated without bias from ``judged`` of them.

    Source: Chen et al., "Evaluating large language models trained on code", arXiv:2107.03374 (2021):
    1 − C(n − c, k) / C(n, k). Assumes that answers to one case are independent.

    Raises:
        ValueError: ``k`` is not between 1 and ``judged``, or ``passed`` not between 0 and ``judged``.

    Example:
        >>> pass_at_k(5, 1, 2)
        0.4
    """
    _check(judged, passed, k)
    return 1 - math.comb(judged - passed, k) / math.comb(judged, k)


def pass_hat_k(judged: int, passed: int, k: int) -> float:
    """Return how probably ``k`` answers all pass (pass^k), estimated without bias from ``judged`` of them.

    Source: Yao et al., "τ-bench: a benchmark for tool-agent-user interaction in real-world domains", arXiv:2406.12045
    (2024): C(c, k) / C(n, k). Assumes that answers to one case are independent.

    Raises:
        ValueError: ``k`` is not between 1 and ``judged``, or ``passed`` not between 0 and ``judged``.

    Example:
        >>> pass_hat_k(5, 4, 2)
        0.6
    """
    _check(judged, passed, k)
    return math.comb(passed, k) / math.comb(judged, k)


def _check(judged: int, passed: int, k: int) -> None:
    if not 0 <= passed <= judged or not 1 <= k <= judged:
        raise ValueError(f"{k} out of {judged} judged repeats, {passed} of them passed")


def _mean(repeats: Repeats, _: int) -> Reduction:
    return Reduction(statistics.fmean(repeats.points)) if repeats.points else TOO_FEW


def _median(repeats: Repeats, _: int) -> Reduction:
    return Reduction(statistics.median(repeats.points)) if repeats.points else TOO_FEW


def _mode(repeats: Repeats, _: int) -> Reduction:
    lead = repeats.passed - repeats.failed
    if abs(lead) > repeats.undecided:
        return _PASSED if lead > 0 else Reduction(0.0, Outcome.FAIL, "mostly_failed")
    return _undecided(repeats) if repeats.undecided else Reduction(None, Outcome.UNSCORED, "mode_tied")


def _max(repeats: Repeats, _: int) -> Reduction:
    # Only a full score cannot be surpassed by a repeat whose score is not known.
    known = len(repeats.points) == repeats.judged + repeats.undecided
    best = max(repeats.points, default=None)
    value = best if known or best == 1.0 else None
    if repeats.passed:
        return Reduction(value, Outcome.PASS)
    return _undecided(repeats) if repeats.undecided else Reduction(value, Outcome.FAIL, "never_passed")


def _at_least(repeats: Repeats, k: int) -> Reduction:
    if repeats.judged + repeats.undecided < k:
        return TOO_FEW
    if repeats.passed >= k:
        return _PASSED
    if repeats.passed + repeats.undecided < k:
        return Reduction(0.0, Outcome.FAIL, "passed_too_seldom")
    return _undecided(repeats)


def _pass_at(repeats: Repeats, k: int) -> Reduction:
    return Reduction(pass_at_k(repeats.judged, repeats.passed, k)) if repeats.judged >= k else TOO_FEW


def _pass_hat(repeats: Repeats, k: int) -> Reduction:
    return Reduction(pass_hat_k(repeats.judged, repeats.passed, k)) if repeats.judged >= k else TOO_FEW


def _undecided(repeats: Repeats) -> Reduction:
    return Reduction(None, Outcome.ERROR if repeats.errored else Outcome.UNSCORED, "repeats_undecided")


_REDUCERS: dict[str, Callable[[Repeats, int], Reduction]] = {
    "mean": _mean,
    "median": _median,
    "mode": _mode,
    "max": _max,
    "at-least-": _at_least,
    "pass@": _pass_at,
    "pass^": _pass_hat,
}
_WITH_K = re.compile(r"(at-least-|pass@|pass\^)([1-9][0-9]{0,4})")


class Reducer(NamedTuple):
    """A reducer by its name, ready to use."""

    name: str
    kind: str
    k: int

    def reduce(self, repeats: Repeats) -> Reduction:
        """Return what the reducer makes of the repeats of one case."""
        return _REDUCERS[self.kind](repeats, self.k)


def reducer(name: str) -> Reducer:
    """Return the reducer called ``mean``, ``median``, ``mode``, ``max``, ``at-least-2``, ``pass@3`` or ``pass^3``.

    Raises:
        CardError: There is none of that name (``reducer_unknown``).

    Example:
        >>> reducer("pass@3").k
        3
    """
    found = _WITH_K.fullmatch(name)
    if found is not None and int(found[2]) <= MAX_K:
        return Reducer(name, found[1], int(found[2]))
    if name in _REDUCERS and found is None and name[-1].isalpha():
        return Reducer(name, name, 0)
    raise CardError(
        f"There is no reducer {name!r:.60}.",
        hint=f"There are mean, median, mode, max, and at-least-K, pass@K, pass^K with K from 1 to {MAX_K:,}.",
        code="reducer_unknown",
    )


class Reduced(Struct, frozen=True):
    """One case on one model, its repeats made into one value.

    Attributes:
        value: 0 to 1; None when it is not decided.
        outcome: For mode, max and at-least-K pass or fail; None for a value that has degrees; error or unscored, with a
            ``reason``, when it is not decided.
        judged: Repeats that passed or failed.
        repeats: All repeats.
    """

    label: str
    model: str
    case: str
    case_uid: str
    reducer: str
    value: float | None
    outcome: Outcome | None
    reason: str | None
    judged: int
    repeats: int


def reduce_repeats(results: Iterable[ItemResult], how: str | Reducer) -> list[Reduced]:
    """Return one value per card version, model and case, in order of first appearance.

    Args:
        results: Of one run, in any order; memory is one entry per case and score.
        how: A reducer or its name.

    Raises:
        CardError: There is no reducer of that name (``reducer_unknown``).
    """
    chosen = reducer(how) if isinstance(how, str) else how
    groups: dict[tuple[str, str, str], tuple[str, Repeats]] = {}
    for result in results:
        key = (result.label, result.model, result.case_uid)
        groups.setdefault(key, (result.case, Repeats()))[1].add(result)
    rows = []
    for (label, model, uid), (case, repeats) in groups.items():
        value, outcome, reason = chosen.reduce(repeats)
        total = repeats.judged + repeats.undecided
        rows.append(Reduced(label, model, case, uid, chosen.name, value, outcome, reason, repeats.judged, total))
    return rows


class ReducedRow(Struct, frozen=True):
    """The mean over cases of a reducer's values, for one card version on one model.

    Attributes:
        mean: With its 95 % interval over cases; None when no case is decided.
        cases: Cases with a value: the denominator.
        undecided: Cases without.
    """

    label: str
    model: str
    reducer: str
    mean: Interval | None
    cases: int
    undecided: int


def summarise_reduced(rows: Iterable[Reduced]) -> list[ReducedRow]:
    """Return the mean over cases per card version, model and reducer."""
    groups: dict[tuple[str, str, str], tuple[Clusters, list[int]]] = {}
    for row in rows:
        key = (row.label, row.model, row.reducer)
        clusters, undecided = groups.setdefault(key, (Clusters(), [0]))
        if row.value is None:
            undecided[0] += 1
        else:
            clusters.add(row.case_uid, row.value)
    return [
        ReducedRow(*key, clusters.interval(), clusters.cases, undecided[0])
        for key, (clusters, undecided) in groups.items()
    ]
