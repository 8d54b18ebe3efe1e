"""Two runs against each other: joined by identity, with differences that say how sure they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from promptcard_ext.core.results import ItemResult
from promptcard_ext.stats.compared import (
    Axis,
    CaseSets,
    Compared,
    ComparedGroup,
    MetricDifference,
    MetricName,
    RunFacts,
)
from promptcard_ext.stats.joined_rows import Joined, Pair, Row, SideRows, join
from promptcard_ext.stats.paired import PairedValues

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
