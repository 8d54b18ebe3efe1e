"""How often answers stay the same when the prompt is changed in a way that should not matter."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.stats.clusters import Clusters
from promptcard_ext.stats.intervals import Interval
from promptcard_ext.stats.ledger import flattened

PREFIX = "metamorphic:"


class InvarianceRow(Struct, frozen=True):
    """One change of the prompt, for one card version on one model.

    Attributes:
        transform: What was changed: ``typo``, ``case``, ``whitespace``, …
        rate: Share of changed prompts whose answer held, with its 95 % interval by case; None when none was judged.
        judged: Changed prompts with a verdict: the denominator.
        undecided: Changed prompts without one.
    """

    label: str
    model: str
    transform: str
    rate: Interval | None
    judged: int
    undecided: int


def invariance(results: Iterable[ItemResult]) -> list[InvarianceRow]:
    """Return a row per card version, model and change, from the parts of ``metamorphic`` verdicts."""
    groups: dict[tuple[str, str, str], tuple[Clusters, list[int]]] = {}
    for result in results:
        for _, verdict in flattened(result.verdicts):
            if not verdict.type.startswith(PREFIX):
                continue
            key = (result.label, result.model, verdict.type.removeprefix(PREFIX))
            clusters, counts = groups.setdefault(key, (Clusters(), [0, 0]))
            judged = verdict.outcome in (Outcome.PASS, Outcome.FAIL)
            counts[0 if judged else 1] += 1
            if judged:
                clusters.add(result.case_uid, verdict.outcome is Outcome.PASS)
    return [
        InvarianceRow(*key, clusters.interval(), judged, undecided)
        for key, (clusters, (judged, undecided)) in groups.items()
    ]
