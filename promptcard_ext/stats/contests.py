"""How often each card version and model gave the best answer, where answers were compared with each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.stats.clusters import Clusters
from promptcard_ext.stats.intervals import Interval

KINDS = frozenset({"select-best", "max-score"})


class ContestRow(Struct, frozen=True):
    """One kind of comparison, for one card version on one model.

    Attributes:
        kind: ``select-best`` or ``max-score``.
        name: The metric that the assertion is named for, or its kind.
        best: Share of the comparisons that it was best in, with its 95 % interval by case; None when none was decided.
        decided: Comparisons with a verdict: the denominator.
        undecided: Comparisons without one.
    """

    kind: str
    name: str
    label: str
    model: str
    best: Interval | None
    decided: int
    undecided: int


@dataclass(slots=True)
class _Tally:
    clusters: Clusters = field(default_factory=Clusters)
    decided: int = 0
    undecided: int = 0


class Contests:
    """Comparisons, added one result at a time; memory is one small entry per case, card version and model."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, str, str], _Tally] = {}

    def add(self, result: ItemResult) -> None:
        """Add what the comparisons say of one answer; those that are negated are passed over."""
        for verdict in result.verdicts:
            if verdict.type not in KINDS:
                continue
            key = (verdict.type, verdict.metric or verdict.type, result.label, result.model)
            tally = self._tallies.setdefault(key, _Tally())
            if verdict.outcome in (Outcome.PASS, Outcome.FAIL):
                tally.decided += 1
                tally.clusters.add(result.case_uid, verdict.outcome is Outcome.PASS)
            else:
                tally.undecided += 1

    def rows(self) -> list[ContestRow]:
        """Return a row per comparison, card version and model, in order of first appearance.

        Example:
            >>> from promptcard_ext.core.results import Verdict
            >>> contests = Contests()
            >>> said = (Verdict("u", "select-best", Outcome.PASS),)
            >>> contests.add(ItemResult(0, "c", 1, "c@1", "p:m", "n", "u", 0, Outcome.PASS, verdicts=said))
            >>> [(row.name, row.best.rate, row.decided) for row in contests.rows()]
            [('select-best', 1.0, 1)]
        """
        return [
            ContestRow(*key, tally.clusters.interval(), tally.decided, tally.undecided)
            for key, tally in self._tallies.items()
        ]
