"""What came of comparing two runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from promptcard_ext.core.results import Outcome
from promptcard_ext.stats.joined_rows import Joined, Pair
from promptcard_ext.stats.paired import Difference
from promptcard_ext.stats.response_modes import mode_distance

Word = Literal["better", "worse", "undecided", "withheld", "not known"]
MetricName = Literal["pass_rate", "score", "latency_ms", "cost_usd"]


class RunFacts(Struct, frozen=True):
    """What is known of a run beside its results.

    Attributes:
        name: What to call it.
        judges: Models that judge; those that results name are added.
        parameters: Anything else that could explain a difference: settings, repeats.
    """

    name: str
    judges: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = {}


class Axis(Struct, frozen=True):
    """Something in which the two sides differ.

    Attributes:
        name: ``card``, ``models``, ``cases``, ``assertions``, ``judge`` or ``parameters``.
        text: How, for a person.
        withholds: Whether pass rates and scores cannot be compared because of it.
    """

    name: str
    text: str
    withholds: bool = False


class CaseSets(Struct, frozen=True):
    """Cases by identity, each with its name.

    Attributes:
        common: What both sides have.
        changed: Those of the common ones that were judged by other assertions.
    """

    common: dict[str, str]
    only_a: dict[str, str]
    only_b: dict[str, str]
    changed: dict[str, str]


class MetricDifference(Struct, frozen=True):
    """One metric of one card version on one model, compared over the pairs in which both sides have it.

    Attributes:
        metric: What its values are; a named metric has scores.
        difference: ``b − a``; None when it is withheld, or when no pair has it on both sides.
        left_out: Pairs in which a side has none: an error and what nobody judged are neither pass nor fail.
        withheld: Why there is no difference; empty otherwise.
        among_same: Where some assertions changed, the difference over the pairs whose assertions did not.
        name: Of a named metric, else empty.
    """

    metric: MetricName
    difference: Difference | None
    left_out: int = 0
    withheld: str = ""
    among_same: Difference | None = None
    name: str = ""

    @property
    def word(self) -> Word:
        """``better`` and ``worse`` when the interval leaves no doubt, ``undecided`` when zero is in it."""
        if self.withheld:
            return "withheld"
        if self.difference is None:
            return "not known"
        sign = self.difference.sign * (-1 if self.metric in ("latency_ms", "cost_usd") else 1)
        return "better" if sign > 0 else "worse" if sign < 0 else "undecided"


class ComparedGroup(Struct, frozen=True):
    """A card version on a model, on both sides.

    Attributes:
        matrix: Number of pairs by outcome in ``a`` and in ``b``; those that did not occur are not in it.
        metrics: Pass rate, latency, and where there are such things score, cost and named metrics.
    """

    label_a: str
    label_b: str
    model_a: str
    model_b: str
    matrix: dict[tuple[Outcome, Outcome], int]
    metrics: tuple[MetricDifference, ...]

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return sum(self.matrix.values())

    @property
    def to_fail(self) -> int:
        """Pairs that passed in ``a`` and fail in ``b``."""
        return self.matrix.get((Outcome.PASS, Outcome.FAIL), 0)

    @property
    def to_pass(self) -> int:
        """Pairs that failed in ``a`` and pass in ``b``."""
        return self.matrix.get((Outcome.FAIL, Outcome.PASS), 0)

    @property
    def other_flips(self) -> int:
        """Pairs that changed from or to error or unscored."""
        return sum(n for (old, new), n in self.matrix.items() if old is not new) - self.to_fail - self.to_pass

    def metric(self, kind: MetricName, name: str = "") -> MetricDifference | None:
        """Return one metric, or None when it is not there; a named one is a ``score`` with its name."""
        return next((one for one in self.metrics if (one.metric, one.name) == (kind, name)), None)


class Compared(Struct, frozen=True):
    """Two runs, compared; made by `compare_results`.

    Attributes:
        axes: In what the two differ.
        cases: Which cases they have.
        groups: The differences, one group for each card version and model that both have.
        joined: The rows they are made of.
    """

    a: RunFacts
    b: RunFacts
    axes: tuple[Axis, ...]
    cases: CaseSets
    groups: tuple[ComparedGroup, ...]
    joined: Joined

    @property
    def matrix(self) -> dict[tuple[Outcome, Outcome], int]:
        """Number of pairs by outcome in ``a`` and in ``b``, over all groups."""
        total: Counter[tuple[Outcome, Outcome]] = Counter()
        for group in self.groups:
            total.update(group.matrix)
        return dict(total)

    @property
    def flipped(self) -> int:
        """Pairs whose outcome changed."""
        return sum(number for (old, new), number in self.matrix.items() if old is not new)

    @property
    def withheld(self) -> str:
        """Why pass rates and scores are not compared; empty when they are."""
        return "; ".join(axis.text for axis in self.axes if axis.withholds)

    def mode_shifts(self) -> list[tuple[Pair, float]]:
        """Return for each question that was asked several times its first pair, and how far its answers moved.

        The distance is that of `mode_distance`, from 0 to 1; the greatest comes first.
        """
        asked: dict[tuple[str, str, str], list[Pair]] = {}
        for pair in self.joined.pairs:
            asked.setdefault((pair.b.case_uid, pair.b.label, pair.b.model), []).append(pair)
        found = []
        for pairs in asked.values():
            a = [pair.a.answer for pair in pairs if pair.a.answer is not None]
            b = [pair.b.answer for pair in pairs if pair.b.answer is not None]
            if len(pairs) > 1 and a and b:
                found.append((pairs[0], mode_distance(a, b)))
        return sorted(found, key=lambda shift: -shift[1])
