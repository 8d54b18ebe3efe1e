"""Assertions on meaning, by embeddings: similar, similar:cosine, similar:dot, similar:euclidean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import mul

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import NO_TEXT, PASSED, Assertion, Finding, Graded, register
from promptcard_ext.core.assertions.limits import refuse_options
from promptcard_ext.core.ports import Asker
from promptcard_ext.core.results import Outcome

DEFAULT_THRESHOLD = 0.75
MAX_REFERENCES = 100
_TOLERANCE = 1e-9
NO_EMBEDDER = Finding(
    Outcome.UNSCORED, "no_embedder", "There is no embedding model: name one for the run, or as 'provider'."
)

Vector = Sequence[float]
Measure = Callable[[Vector, Vector], float]


class _Unusable(Exception):
    """Vectors that cannot be compared; the text says why."""


@register("similar", "similar:cosine", needs=("embedder",))
def cosine(assertion: Assertion) -> Graded:
    """The cosine of the angle between the embeddings of answer and ``value`` reaches ``threshold`` (0.75).

    ``value`` may be a list: the most similar text counts. A negative cosine is score 0.
    """
    return _similarity(assertion, _cosine, lambda found: found)


@register("similar:dot", needs=("embedder",))
def dot(assertion: Assertion) -> Graded:
    """The dot product of the embeddings of answer and ``value`` reaches ``threshold`` (0.75); else as ``similar``."""
    return _similarity(assertion, _dot, lambda found: found)


@register("similar:euclidean", needs=("embedder",))
def euclidean(assertion: Assertion) -> Graded:
    """The distance between the embeddings of answer and ``value`` is at most ``threshold`` (0.75).

    ``value`` may be a list: the nearest text counts. The score is 1 / (1 + distance).
    """
    return _similarity(assertion, math.dist, lambda distance: 1 / (1 + distance), farthest=True)


def _similarity(
    assertion: Assertion, measure: Measure, score_of: Callable[[float], float], farthest: bool = False
) -> Graded:
    texts = _references(assertion)
    threshold = _threshold(assertion, farthest)
    refuse_options(assertion)

    async def grade(answer: Answer, asker: Asker) -> Finding:
        model = assertion.judges[0] if assertion.judges else asker.embedder
        if answer.output is None:
            return NO_TEXT
        if model is None:
            return NO_EMBEDDER
        if not answer.output.strip():
            # Most models have no vector for it, and it says nothing that the reference says.
            return Finding(Outcome.FAIL, "not_similar", "The answer is empty.", 0.0)
        vectors = await asker.embed(model, [answer.output, *texts])
        try:
            found = _best(_checked(vectors, 1 + len(texts)), measure, farthest)
        except _Unusable as problem:
            return Finding(Outcome.ERROR, "embedding_invalid", f"{model} gave vectors that cannot be used: {problem}.")
        return _finding(found, threshold, min(1.0, max(0.0, score_of(found))), farthest)

    return Graded(grade)


def _references(assertion: Assertion) -> list[str]:
    value = assertion.value
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts or not all(isinstance(one, str) for one in texts):
        raise assertion.invalid("'value' must be a text, or a list of texts")
    if not all(one.strip() for one in texts):
        raise assertion.invalid("a text in 'value' is empty")
    if len(texts) > MAX_REFERENCES:
        raise assertion.invalid(f"'value' has {len(texts):,} texts; the limit is {MAX_REFERENCES}")
    if len(assertion.judges) > 1:
        raise assertion.invalid("'provider' must be one embedding model")
    return list(texts)


def _threshold(assertion: Assertion, farthest: bool) -> float:
    threshold = DEFAULT_THRESHOLD if assertion.threshold is None else assertion.threshold
    if not math.isfinite(threshold):
        raise assertion.invalid("'threshold' must be a number")
    if farthest and threshold < 0:
        raise assertion.invalid(f"'threshold' is {threshold:g}; a distance is 0 or more")
    return threshold


def _checked(vectors: Sequence[Vector], expected: int) -> Sequence[Vector]:
    if len(vectors) != expected:
        raise _Unusable(f"{len(vectors)} for {expected} texts")
    length = len(vectors[0])
    if not length or any(len(vector) != length for vector in vectors):
        raise _Unusable("they are empty, or of different lengths")
    for vector in vectors:
        if not _is_finite(vector):
            raise _Unusable("a part is not a finite number")
        if not any(vector):
            raise _Unusable("a vector is zero, and has no direction")
    return vectors


def _is_finite(vector: Vector) -> bool:
    try:
        return all(map(math.isfinite, vector))
    except (TypeError, OverflowError):
        return False


def _best(vectors: Sequence[Vector], measure: Measure, farthest: bool) -> float:
    answer, *references = vectors
    found = [measure(answer, reference) for reference in references]
    if not all(map(math.isfinite, found)):
        raise _Unusable("their numbers are too large")
    return min(found) if farthest else max(found)


def _cosine(one: Vector, other: Vector) -> float:
    # Scaled first, so that neither squares nor products leave the range of a float.
    one, other = _unit(one), _unit(other)
    return max(-1.0, min(1.0, _dot(one, other)))


def _unit(vector: Vector) -> Vector:
    largest = max(map(abs, vector))
    scaled = [part / largest for part in vector]
    length = math.hypot(*scaled)
    return [part / length for part in scaled]


def _dot(one: Vector, other: Vector) -> float:
    return math.fsum(map(mul, one, other))


def _finding(found: float, threshold: float, score: float, farthest: bool) -> Finding:
    if farthest:
        if found <= threshold + _TOLERANCE:
            return PASSED._replace(score=score)
        return Finding(Outcome.FAIL, "not_similar", f"The distance is {found:.4f}; the limit is {threshold:g}.", score)
    if found >= threshold - _TOLERANCE:
        return PASSED._replace(score=score)
    return Finding(Outcome.FAIL, "not_similar", f"The similarity is {found:.4f}, below {threshold:g}.", score)
