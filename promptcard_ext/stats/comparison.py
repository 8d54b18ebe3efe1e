"""Two runs against each other: joined by identity, with differences that say how sure they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Any, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.stats.joined_rows import Joined, Pair, Row, SideRows, join
from promptcard_ext.stats.paired import Difference, PairedValues
from promptcard_ext.stats.response_modes import mode_distance

Word = Literal["better", "worse", "undecided", "withheld", "not known"]
MetricName = Literal["pass_rate", "score", "latency_ms", "cost_usd"]
# Of a version on a model; more would not be read.
MAX_NAMED = 20


class Measure(NamedTuple):
    """Something that results are compared by.

    Attributes:
        kind: What its values are; a named metric has scores.
        name: Of a named metric, else empty.
        value: Gives the value of a row, None where it has none.
    """

    kind: MetricName
    value: Callable[[Row], float | None]
    name: str = ""

    @property
    def judged(self) -> bool:
        """Whether assertions decide it, so that it cannot be compared when those or the judge are others."""
        return self.kind in ("pass_rate", "score")


MEASURES = (
    Measure("pass_rate", lambda row: row.passed),
    Measure("score", lambda row: row.score),
    Measure("latency_ms", lambda row: row.latency_ms),
    Measure("cost_usd", lambda row: row.cost_usd),
)


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


def compare_results(a: Iterable[ItemResult], b: Iterable[ItemResult], facts_a: RunFacts, facts_b: RunFacts) -> Compared:
    """Compare two runs, each read once.

    Results are joined by identity (case, card version, model, repeat), never by place. Differences are those of
    `stats.paired`: means over pairs with 95 % intervals, the case as cluster. Pass rates and scores are withheld when
    the judge or an assertion is another one; of errors and unscored items they say nothing. Each interval stands for
    itself: of forty lines two may show a difference by chance.

    Raises:
        RunError: One side has two results for one item (``results_twice``).
    """
    first, second = SideRows(a, f"'{facts_a.name:.60}'"), SideRows(b, f"'{facts_b.name:.60}'")
    joined = join(first, second)
    cases = _case_sets(first.rows, second.rows, joined.pairs)
    axes = _axes(first, second, joined, cases, facts_a, facts_b)
    reasons = {axis.name: axis.text for axis in axes if axis.withholds}
    groups = tuple(_group(pairs, reasons) for pairs in _grouped(joined.pairs).values())
    return Compared(facts_a, facts_b, axes, cases, groups, joined)


def _case_sets(a: list[Row], b: list[Row], pairs: list[Pair]) -> CaseSets:
    first, second = ({row.case_uid: row.case for row in rows} for rows in (a, b))
    return CaseSets(
        {uid: name for uid, name in second.items() if uid in first},
        {uid: name for uid, name in first.items() if uid not in second},
        {uid: name for uid, name in second.items() if uid not in first},
        {pair.b.case_uid: pair.b.case for pair in pairs if pair.assertions_changed},
    )


def _axes(
    a: SideRows, b: SideRows, joined: Joined, cases: CaseSets, facts_a: RunFacts, facts_b: RunFacts
) -> tuple[Axis, ...]:
    found = [
        _names_axis("card", a.labels, b.labels, joined.labels),
        _names_axis("models", a.models, b.models, joined.models),
    ]
    if cases.only_a or cases.only_b:
        found.append(Axis("cases", f"{len(cases.only_a):,} only in a, {len(cases.only_b):,} only in b"))
    if cases.changed:
        text = f"the assertions of {len(cases.changed):,} of {len(cases.common):,} common cases changed"
        found.append(Axis("assertions", text, withholds=True))
    judges_a, judges_b = ({*facts.judges, *side.judges} for facts, side in ((facts_a, a), (facts_b, b)))
    # A judge that nobody asked changes nothing.
    if judges_a != judges_b and (a.judges or b.judges):
        text = f"the judge is another one: {_listed(judges_a)} → {_listed(judges_b)}"
        found.append(Axis("judge", text, withholds=True))
    for name in dict.fromkeys([*facts_a.parameters, *facts_b.parameters]):
        old, new = facts_a.parameters.get(name), facts_b.parameters.get(name)
        if old != new and name in facts_a.parameters and name in facts_b.parameters:
            found.append(Axis("parameters", f"{name}: {old} → {new}"))
    return tuple(axis for axis in found if axis is not None)


def _names_axis(name: str, a: Iterable[str], b: Iterable[str], paired: Mapping[str, str]) -> Axis | None:
    changed = [f"{old} → {new}" for old, new in paired.items() if old != new]
    only_a = [one for one in a if one not in paired]
    only_b = [one for one in b if one not in paired.values()]
    parts = [*changed]
    parts += [f"only in a: {_listed(only_a)}"] if only_a else []
    parts += [f"only in b: {_listed(only_b)}"] if only_b else []
    return Axis(name, "; ".join(parts)) if parts else None


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return (", ".join(ordered[:5]) + (f" and {len(ordered) - 5} more" if len(ordered) > 5 else "")) or "none"


def _grouped(pairs: list[Pair]) -> dict[tuple[str, str], list[Pair]]:
    groups: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair.b.label, pair.b.model), []).append(pair)
    return groups


def _group(pairs: list[Pair], reasons: Mapping[str, str]) -> ComparedGroup:
    first = pairs[0]
    metrics = (_metric(measure, pairs, reasons) for measure in (*MEASURES, *_named(pairs)))
    return ComparedGroup(
        first.a.label,
        first.b.label,
        first.a.model,
        first.b.model,
        dict(Counter((pair.a.outcome, pair.b.outcome) for pair in pairs)),
        tuple(metric for metric in metrics if metric is not None),
    )


def _named(pairs: list[Pair]) -> list[Measure]:
    names = dict.fromkeys(name for pair in pairs for row in pair for name in row.named)
    return [Measure("score", partial(_score_on, name), name) for name in islice(names, MAX_NAMED)]


def _score_on(name: str, row: Row) -> float | None:
    return row.named.get(name)


def _worth_telling(measure: Measure, pairs: list[Pair]) -> bool:
    """Tell whether there is such a thing: scores that are more than pass and fail, costs that are known."""
    rows = (row for pair in pairs for row in pair)
    if measure.kind == "score" and not measure.name:
        return any(row.score not in (None, 0.0, 1.0) for row in rows)
    return measure.kind != "cost_usd" or any(row.cost_usd is not None for row in rows)


def _metric(measure: Measure, pairs: list[Pair], reasons: Mapping[str, str]) -> MetricDifference | None:
    if not _worth_telling(measure, pairs):
        return None
    everything, same = PairedValues(bounded=measure.judged), PairedValues(bounded=measure.judged)
    numbers: dict[str, int] = {}
    for pair in pairs:
        old, new = measure.value(pair.a), measure.value(pair.b)
        if old is not None and new is not None:
            case = numbers.setdefault(pair.b.case_uid, len(numbers))
            everything.add(case, old, new)
            if not pair.assertions_changed:
                same.add(case, old, new)
    found = MetricDifference(measure.kind, None, len(pairs) - len(everything), name=measure.name)
    if not (measure.judged and reasons):
        return replace(found, difference=everything.difference())
    among_same = None if "judge" in reasons else same.difference()
    return replace(found, withheld="; ".join(reasons.values()), among_same=among_same)
