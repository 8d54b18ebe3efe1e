"""The ledger: one row per item and assertion, those inside sets and cascades included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from promptcard_ext.core.results import ItemResult, Outcome, Verdict


class LedgerRow(Struct, frozen=True):
    """What one assertion said of one item.

    Attributes:
        ordinal: Place of the item in the plan.
        path: Place of the assertion: ``2`` is the third of the case, ``2.0`` the first one inside it. Empty, as are
            ``uid`` and ``type``, in the one row of an item that no assertion judged.
        type: Kind, with ``not-`` where it is negated.
        reason: Stable code, set whenever the outcome is not pass.
        score: 0 to 1, where the kind has degrees.
    """

    ordinal: int
    label: str
    model: str
    case: str
    case_uid: str
    repeat: int
    path: str
    uid: str
    type: str
    outcome: Outcome
    reason: str | None
    message: str
    score: float | None
    weight: float
    metric: str | None


def ledger(results: Iterable[ItemResult]) -> Iterator[LedgerRow]:
    """Return one row per item and assertion, in the order of the results; nothing is held back in memory.

    Example:
        >>> inner = Verdict("b", "contains", Outcome.FAIL, "not_contained")
        >>> outer = Verdict("a", "assert-set", Outcome.FAIL, "not_contained", parts=(inner,))
        >>> result = ItemResult(0, "c", 1, "c@1", "p:m", "n", "u", 0, Outcome.FAIL, verdicts=(outer,))
        >>> [(row.path, row.type, row.reason) for row in ledger([result])]
        [('0', 'assert-set', 'not_contained'), ('0.0', 'contains', 'not_contained')]
    """
    for result in results:
        for path, verdict in flattened(result.verdicts):
            yield _row(result, path, verdict)
        if not result.verdicts:
            yield _row(result, "", Verdict("", "", result.outcome, result.reason, result.message, result.score))


def _row(result: ItemResult, path: str, verdict: Verdict) -> LedgerRow:
    return LedgerRow(
        ordinal=result.ordinal,
        label=result.label,
        model=result.model,
        case=result.case,
        case_uid=result.case_uid,
        repeat=result.repeat,
        path=path,
        uid=verdict.uid,
        type=verdict.type,
        outcome=verdict.outcome,
        reason=verdict.reason,
        message=verdict.message,
        score=verdict.score,
        weight=verdict.weight,
        metric=verdict.metric,
    )


def flattened(verdicts: Sequence[Verdict], above: str = "") -> Iterator[tuple[str, Verdict]]:
    """Return every verdict with its path, one with parts before its parts."""
    for place, verdict in enumerate(verdicts):
        path = f"{above}{place}"
        yield path, verdict
        if verdict.parts:
            yield from flattened(verdict.parts, f"{path}.")
