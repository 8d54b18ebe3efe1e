"""Results of two runs as small rows, and the rows of both joined by identity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from promptcard_ext.core.results import ItemResult, Outcome
from promptcard_ext.stats.flips import unique_results
from promptcard_ext.stats.response_modes import normal_form
from promptcard_ext.stats.scores import item_points, metric_scores

_NOTHING: Mapping[str, float] = {}


class Row(NamedTuple):
    """What a comparison keeps of one result.

    Attributes:
        score: As `item_points` says; None for what is undecided.
        latency_ms: None when there is no answer that could be read.
        cost_usd: Of the answer and of further calls; None when a price is not known.
        assertions: Something that is equal for equal assertions (identity and weight); None when nothing judged it.
        answer: Something that is equal for answers with the same `normal_form`; None without an answer.
        named: Scores on named metrics, 0 to 1; those that are undecided are not in it.
    """

    ordinal: int
    case_uid: str
    case: str
    label: str
    model: str
    repeat: int
    outcome: Outcome
    reason: str | None
    score: float | None
    latency_ms: float | None
    cost_usd: float | None
    assertions: int | None
    answer: int | None
    named: Mapping[str, float]

    @property
    def passed(self) -> float | None:
        """1 for a pass, 0 for a fail, None for an error and for what nobody judged."""
        return 1.0 if self.outcome is Outcome.PASS else 0.0 if self.outcome is Outcome.FAIL else None


class Pair(NamedTuple):
    """The results of both sides for the same item."""

    a: Row
    b: Row

    @property
    def flipped(self) -> bool:
        """Whether the outcome changed."""
        return self.a.outcome is not self.b.outcome

    @property
    def assertions_changed(self) -> bool:
        """Whether it was judged by other assertions; not known, and so False, when one side was judged by none."""
        return None not in (self.a.assertions, self.b.assertions) and self.a.assertions != self.b.assertions

    @property
    def answer_changed(self) -> bool:
        """Whether the answer says something else."""
        return self.a.answer != self.b.answer


class SideRows:
    """The rows of one side, with its names in order of appearance.

    Raises:
        RunError: There are two results for one item (``results_twice``).
    """

    def __init__(self, results: Iterable[ItemResult], side: str) -> None:
        self.labels: dict[str, None] = {}
        self.models: dict[str, None] = {}
        self.judges: dict[str, None] = {}
        self._texts: dict[str, str] = {}
        self.rows = [self._row(result) for _, result in unique_results(results, side)]

    def _row(self, result: ItemResult) -> Row:
        self.labels.setdefault(result.label)
        self.models.setdefault(result.model)
        for call in result.calls:
            if call.purpose == "judge":
                self.judges.setdefault(f"{call.generation.provider}:{call.generation.model}")
        answer = result.generation
        readable = answer is not None and (answer.output is not None or answer.raw is None)
        latency = answer.latency_ms if answer is not None and readable else None
        text = None if answer is None else answer.output
        return Row(
            result.ordinal,
            self._once(result.case_uid),
            self._once(result.case),
            self._once(result.label),
            self._once(result.model),
            result.repeat,
            result.outcome,
            None if result.reason is None else self._once(result.reason),
            item_points(result),
            latency if latency is not None and math.isfinite(latency) else None,
            None if result.cost_usd is None else float(result.cost_usd),
            _assertions(result),
            None if text is None else hash(normal_form(text)),
            self._named(result),
        )

    def _named(self, result: ItemResult) -> Mapping[str, float]:
        if all(verdict.metric is None and not verdict.parts for verdict in result.verdicts):
            return _NOTHING
        scores = metric_scores(result).items()
        return {self._once(name): score.points for name, score in scores if score.points is not None}

    def _once(self, text: str) -> str:
        # The same few names a hundred thousand times.
        return self._texts.setdefault(text, text)


def _assertions(result: ItemResult) -> int | None:
    if not result.verdicts:
        return None
    return hash(tuple(sorted((verdict.uid, verdict.weight) for verdict in result.verdicts)))


class Joined(NamedTuple):
    """Rows of two sides, joined by case, card version, model and repeat; each list in the order of its plan.

    Attributes:
        labels, models: What was paired with what, from the name in ``a`` to the name in ``b``.
    """

    pairs: list[Pair]
    only_a: list[Row]
    only_b: list[Row]
    labels: Mapping[str, str]
    models: Mapping[str, str]


def join(a: SideRows, b: SideRows) -> Joined:
    """Join two sides. Places in a plan play no part in it.

    Versions and models are paired by name. Where no name is common and each side has one only, those are what is
    compared, and are paired.
    """
    labels, models = _paired(list(a.labels), list(b.labels)), _paired(list(a.models), list(b.models))
    waiting = {
        (row.case_uid, labels[row.label], models[row.model], row.repeat): row
        for row in a.rows
        if row.label in labels and row.model in models
    }
    pairs: list[Pair] = []
    only_b: list[Row] = []
    for row in b.rows:
        found = waiting.pop((row.case_uid, row.label, row.model, row.repeat), None)
        if found is None:
            only_b.append(row)
        else:
            pairs.append(Pair(found, row))
    paired = {pair.a.ordinal for pair in pairs}
    return Joined(pairs, [row for row in a.rows if row.ordinal not in paired], only_b, labels, models)


def _paired(a: Sequence[str], b: Sequence[str]) -> dict[str, str]:
    common = {name: name for name in a if name in b}
    return {a[0]: b[0]} if not common and len(a) == len(b) == 1 else common
