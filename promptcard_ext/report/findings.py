"""What a report needs to know of a run, gathered while its results go by once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.kernel.charts import LatencySamples
from promptcard_ext.kernel.overview import Picks, Reasons, Traits, gather
from promptcard_ext.report.cells import Cells
from promptcard_ext.report.checks import Checks
from promptcard_ext.stats.contests import Contests
from promptcard_ext.stats.derived import DerivedMetric

MAX_ITEMS = 100


class Findings:
    """Totals, and of each outcome the first items: memory does not grow with the number and length of answers.

    Args:
        results: In the order of the plan; read once.
        derived: Metrics to compute from the named ones.

    Attributes:
        rows: One row per card version and model.
        card_of: Card by label of its version.
        cases: Identities of the cases with a result; one that several cards are asked is one case.
        picks: The first items of each outcome.
    """

    def __init__(self, results: Iterable[ItemResult], derived: Sequence[DerivedMetric] = ()) -> None:
        self.card_of: dict[str, str] = {}
        self.cases: set[tuple[str, str]] = set()
        self.picks = {outcome: Picks(MAX_ITEMS) for outcome in Outcome}
        self.traits, self.contests, self.reasons = Traits(), Contests(), Reasons()
        self.checks, self.cells, self.latencies = Checks(), Cells(), LatencySamples()
        watchers = (self, self.traits, self.contests, self.reasons, self.checks, self.cells, self.latencies)
        self.rows = gather(results, watchers, derived)

    def add(self, result: ItemResult) -> None:
        """Take note of one result."""
        self.card_of[result.label] = result.card
        self.cases.add((result.case_uid, result.case))
        self.picks[result.outcome].add(result)
