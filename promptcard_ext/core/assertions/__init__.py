"""Assertions: pure, versioned functions over a generation.

Each kind registers a compiler: it checks the specification once and returns the function that judges.
"""

from promptcard_ext.core.assertions import (  # noqa: F401  (registers the kinds)
    context,
    factuality,
    geval,
    human,
    max_score,
    relevance,
    resource,
    rubric,
    select_best,
    sets,
    structure,
    text,
    unsupported,
)
from promptcard_ext.core.assertions.base import Assertion, kinds

__all__ = ["Assertion", "kinds"]
