"""Vectors as an endpoint gives them: checked, in order, in batches that every endpoint takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from promptcard_ext.core.errors import ProviderError
from promptcard_ext.providers.refusal import Refusal

# OpenAI takes 2,048 texts and 300,000 tokens at once; 128 vectors of 3,072 numbers as JSON stay below 10 MB.
MAX_TEXTS = 128
MAX_CHARS = 100_000


def in_batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in order, at most 128 and 100,000 characters at once; a longer one comes alone.

    Example:
        >>> [len(batch) for batch in in_batches(["a"] * 300)]
        [128, 128, 44]
    """
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and (len(batch) == MAX_TEXTS or size + len(text) > MAX_CHARS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch


class Vectors:
    """The vectors of a call, collected over its batches."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self._vectors: list[tuple[float, ...]] = []

    def add_indexed(self, data: Any, expected: int, raw: bytes) -> None:
        """Take a list of ``{"index": …, "embedding": […]}``, whose order is that of the indices.

        Raises:
            ProviderError: It is not one vector per text, as `add` says.
        """
        try:
            order = [entry.get("index", place) for place, entry in enumerate(data)]
            found = dict(zip(order, (entry["embedding"] for entry in data), strict=True))
            vectors = [found[place] for place in range(expected)]
            if len(data) != expected:
                raise KeyError
        except (KeyError, TypeError, AttributeError):
            raise self._unfit(f"not one vector for each of {expected} texts", raw) from None
        self.add(vectors, expected, raw)

    def add(self, vectors: Any, expected: int, raw: bytes) -> None:
        """Take a list of vectors.

        Raises:
            ProviderError: It is not one vector per text, they differ in length from each other or from those before,
                or a number is not finite (``broken_reply``).
        """
        if not isinstance(vectors, list) or len(vectors) != expected:
            raise self._unfit(f"not one vector for each of {expected} texts", raw)
        for vector in vectors:
            if not isinstance(vector, list) or not vector or not all(map(_is_finite, vector)):
                raise self._unfit("a vector holds something else than finite numbers", raw)
            if self._vectors and len(vector) != len(self._vectors[0]):
                raise self._unfit("the vectors differ in length", raw)
            self._vectors.append(tuple(map(float, vector)))

    def _unfit(self, why: str, raw: bytes) -> ProviderError:
        return self._refusal.broken(f"the embeddings cannot be used: {why}", raw)

    def all(self) -> tuple[tuple[float, ...], ...]:
        """Return all vectors, in the order of the texts."""
        return tuple(self._vectors)


def _is_finite(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)
