"""Assertions: pure, versioned functions over a generation.

Each kind registers a compiler: it checks the specification once and returns the function that judges.
"""

from promptcard_ext.core.assertions import (  # noqa: F401  (registers the kinds)
    containment,
    context,
    corpus,
    distance,
    factuality,
    geval,
    human,
    hypertext,
    markup,
    max_score,
    metamorphic,
    perplexity,
    python,
    refusal,
    relevance,
    resource,
    rubric,
    select_best,
    sets,
    signals,
    similarity,
    sql,
    structure,
    text,
    tools,
    unsupported,
    words,
)
from promptcard_ext.core.assertions.base import Assertion, kinds

__all__ = ["Assertion", "kinds"]
