"""Assertions: pure, versioned functions over a generation.

Each kind registers a compiler: it checks the specification once and returns the function that judges.
"""

from promptcard_ext.core.assertions import resource, sets, structure, text  # noqa: F401  (registers the kinds)
from promptcard_ext.core.assertions.base import Assertion, kinds

__all__ = ["Assertion", "kinds"]
