"""What an assertion reads at most, and how a specification gives its own limits.

An answer beyond a limit is *unscored*: nobody has read it, so nobody can say that it is right or wrong. A specification
that cannot be worked off (a schema of too many steps) is an *error*: it is the check that has to be mended.
"""

from __future__ import annotations

import math

from promptcard_ext.core.assertions.base import Assertion, Finding
from promptcard_ext.core.results import Outcome

MAX_ANSWER_CHARS = 2_000_000

TOO_DEEP = Finding(Outcome.UNSCORED, "answer_too_deep", "The answer is nested too deep to be read.")
TOO_COMPLEX = Finding(Outcome.UNSCORED, "answer_too_complex", "The answer takes too many steps to be read.")


class TooComplex(Exception):
    """Reading the answer takes more steps than there are."""


def too_long(text: str, limit: int = MAX_ANSWER_CHARS) -> Finding | None:
    """Return what is found of a text of more than ``limit`` characters, or None when it is short enough."""
    if len(text) <= limit:
        return None
    message = f"The answer has {len(text):,} characters; this assertion reads {limit:,}."
    return Finding(Outcome.UNSCORED, "answer_too_long", message)


def share(assertion: Assertion, default: float) -> float:
    """Return the ``threshold``, a number from 0 to 1.

    Raises:
        CardError: It is another number (``assertion_invalid``).
    """
    threshold = default if assertion.threshold is None else assertion.threshold
    if not 0 <= threshold <= 1:
        raise assertion.invalid(f"'threshold' is {threshold:g}; it must be between 0 and 1")
    return threshold


def graded(score: float, threshold: float, reason: str, what: str) -> Finding:
    """Return pass or fail of a score from 0 to 1 that must reach ``threshold``.

    Args:
        reason: Code of the failure.
        what: Name of the score, for the message.
    """
    # A sum of fractions misses a threshold such as 0.7 by a rounding error.
    if score >= threshold or math.isclose(score, threshold, abs_tol=1e-9):
        return Finding(Outcome.PASS, score=score)
    return Finding(Outcome.FAIL, reason, f"{what} is {score:.4f}; at least {threshold:g} is wanted.", score)


def refuse_options(assertion: Assertion, *known: str) -> None:
    """Raise when the assertion has an option that its kind does not know: a typing error would go unnoticed.

    Raises:
        CardError: There is such an option (``assertion_invalid``).
    """
    for name in assertion.options:
        if name not in known:
            raise assertion.invalid(f"there is no option {name!r:.60}; there is {' and '.join(known)}")
