"""What earlier runs tell about the calls of the next: lengths, latencies, repetitions."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from promptcard_ext.core.results import Generation, ItemResult
from promptcard_ext.stats.estimate.spread import Seen

# Fewer values say less than the assumption does.
ENOUGH = 5
_KEPT = 200


class _Sample:
    """At most 200 of the values offered, each as likely as any other (reservoir sampling, Vitter's algorithm R)."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._offered = 0
        self._chance = Random(0)  # noqa: S311  reproducible, and nothing here is secret

    def offer(self, value: float) -> None:
        self._offered += 1
        if len(self.values) < _KEPT:
            self.values.append(value)
        elif (place := self._chance.randrange(self._offered)) < _KEPT:
            self.values[place] = value


class History:
    """Answers, judgements and embeddings of earlier runs, by purpose, card version and model.

    It keeps a sample, so that any number of results fits.

    Args:
        results: Results of earlier runs, or single generations of answers.
    """

    def __init__(self, results: Iterable[ItemResult | Generation] = ()) -> None:
        self._lengths: dict[tuple[str, str, str], _Sample] = {}
        self._latencies: dict[tuple[str, str, str], _Sample] = {}
        self._calls = self._answers = 0
        for result in results:
            self.add(result)

    def add(self, result: ItemResult | Generation) -> None:
        """Take in one more."""
        if isinstance(result, Generation):
            self._take("answer", "", f"{result.provider}:{result.model}", result)
            return
        if result.generation is not None:
            self._take("answer", result.label, result.model, result.generation)
        for call in result.calls:
            generation = call.generation
            self._take(call.purpose, "", f"{generation.provider}:{generation.model}", generation)

    def _take(self, purpose: str, label: str, model: str, generation: Generation) -> None:
        self._calls += generation.attempts
        self._answers += 1
        for name in {label, ""}:
            key = (purpose, name, model)
            if generation.tokens.output is not None:
                self._lengths.setdefault(key, _Sample()).offer(generation.tokens.output)
            if generation.latency_ms > 0:
                self._latencies.setdefault(key, _Sample()).offer(generation.latency_ms / 1000)

    def lengths(self, purpose: str, label: str, model: str) -> Seen | None:
        """Return the output tokens of this card version on this model, else of this model, else None."""
        return _seen(self._lengths, purpose, label, model)

    def latencies_s(self, purpose: str, label: str, model: str) -> Seen | None:
        """Return the latencies in seconds, in the same way."""
        return _seen(self._latencies, purpose, label, model)

    @property
    def repeated(self) -> float | None:
        """The share of calls that had to be made again, or None when nothing is known."""
        return None if self._answers < ENOUGH else (self._calls - self._answers) / self._answers


def _seen(samples: dict[tuple[str, str, str], _Sample], purpose: str, label: str, model: str) -> Seen | None:
    for name in (label, ""):
        sample = samples.get((purpose, name, model))
        if sample is not None and len(sample.values) >= ENOUGH:
            return Seen(sample.values)
    return None
