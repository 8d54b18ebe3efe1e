"""Simulated embeddings: the words of a text, hashed into places and counted.

Texts with the same words have similar vectors, whatever they mean: K. Weinberger et al., "Feature hashing for large
scale multitask learning" (2009), without signs, so that no text has a vector of zeros and no similarity is below 0.
"""

from __future__ import annotations

import hashlib
import math
import re

DIMENSIONS = 256
_WORD = re.compile(r"\w+")


def vector(text: str) -> tuple[float, ...]:
    """Return a vector of 256 numbers, of length 1.

    Example:
        >>> vector("Red wine") == vector("wine, red!")
        True
    """
    counts = [0.0] * DIMENSIONS
    for word in _WORD.findall(text.lower()) or [text]:
        digest = hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()
        counts[int.from_bytes(digest[:4], "big") % DIMENSIONS] += 1.0
    length = math.sqrt(math.fsum(count * count for count in counts))
    return tuple(count / length for count in counts)
